"""[7] Server-side sessions, so that a logout token can end a session without its browser (BCL §2.7).

A session is found by the browser's cookie, by (iss, sid) and by (iss, sub). All workers and replicas read the same
table in each request, so a logout applies to all of them immediately.
"""

import hashlib
import hmac
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from flask import Flask, Request, Response
from flask.json.tag import TaggedJSONSerializer
from flask.sessions import SessionInterface, SessionMixin
from sqlalchemy import ColumnElement, Engine, and_, delete, or_, select, tuple_, update
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session, sessionmaker
from werkzeug.datastructures import CallbackDict

from relying_party.clock import now
from relying_party.encryption import Encryption
from relying_party.errors import LoginFailed, RelyingPartyError, ReplayedToken
from relying_party.logout_token import MAX_AGE, LogoutToken
from relying_party.models import CarriedOutLogout, StoredSession
from relying_party.signals import EndedSession

IDLE_SECONDS = 30 * 60  # a session ends after this time without a request
ABSOLUTE_SECONDS = 8 * 3600  # a session ends after this time in any case
ANONYMOUS_SECONDS = 3600  # lifetime of a session without a user
TOUCH_SECONDS = 60  # precision of last_seen_at; saves a write for most requests
REMEMBER_SECONDS = 3600  # how long a logout also rejects sign-ins that are still under way
FORGET_SECONDS = 24 * 3600  # how long an ended session keeps the reason of its end
RENEWAL_SECONDS = 20  # after this time, another request may renew the access token
CLEANING_BATCH = 500  # rows deleted at a time

COLLISIONS = ("40001", "40P01")  # PostgreSQL: serialization failure and deadlock; the transaction is to be retried
TRIES = 10

EXPIRED = "Your session expired."
BACK_CHANNEL = "Your session was ended at the identity provider (IdP)."
FRONT_CHANNEL = "Your session was ended at the identity provider (IdP), with this browser."
REPLACED = "Someone signed in again with this browser."
LOGGED_OUT = "You logged out here."
OWN_REASONS = (EXPIRED, REPLACED, LOGGED_OUT, FRONT_CHANNEL)  # any other reason came with a logout token

T = TypeVar("T")
_serializer = TaggedJSONSerializer()


@dataclass(frozen=True)
class Ending:
    """When and why a session ended."""

    at: int
    reason: str
    sid: str | None = None

    @property
    def by_logout_token(self) -> bool:
        """Whether the identity provider ended the session over the back channel."""
        return self.reason not in OWN_REASONS


class AppSession(CallbackDict[str, Any], SessionMixin):
    """``flask.session``: the app's values and the user who is signed in.

    ``login`` has the claims and tokens (login.stored_login), or is None. ``ended`` says why this browser's last session
    ended; such a session has no values, only the sign-ins that the browser has started.
    """

    def __init__(self, stored: StoredSession | None = None, ended: Ending | None = None) -> None:
        row = stored if ended is None else None
        super().__init__(_serializer.loads(row.data) if row and row.data else None, on_update=_mark_modified)
        self.key = row.id_hash if row else None  # the hash of the cookie; None without an active session
        self.row = row
        self.browser_key = stored.id_hash if stored else None  # the hash of the cookie, also of an ended session
        self.logins: list[dict[str, Any]] = (stored and stored.logins) or []
        self.login: dict[str, Any] | None = None
        self.ended = ended
        self.modified = False
        self.watched_only = False  # this request only watches the session, which does not extend it
        self.new_cookie: str | None = None


def _mark_modified(session: CallbackDict[str, Any]) -> None:
    session.modified = True  # type: ignore[attr-defined] # it is an AppSession, which CallbackDict cannot know


def hash_of(cookie: str) -> str:
    """The key of a cookie's row."""
    return hashlib.sha256(cookie.encode()).hexdigest()


class SessionStore:
    """The table of sessions. Each method is one short transaction."""

    def __init__(self, engine: Engine, encryption: Encryption) -> None:
        self._encryption = encryption
        self._db = sessionmaker(engine, expire_on_commit=False)
        # For signing in and applying a logout token, which read each other's rows. SERIALIZABLE makes PostgreSQL run
        # them as if one after the other; SQLite has only one writer at a time.
        strict = engine.execution_options(isolation_level="SERIALIZABLE")
        self._strict = sessionmaker(strict, expire_on_commit=False)

    def load(self, cookie: str) -> AppSession:
        """The session of ``cookie``; an empty one if it does not exist or has ended."""
        with self._db() as db:
            row = db.get(StoredSession, hash_of(cookie))
        session = AppSession(row, ending_of(row)) if row else AppSession()
        if session.row and session.row.sub:
            session.login = self._encryption.decrypt(session.row.login)  # None after SECRET_KEY was changed
        return session

    def ending(self, key: str) -> Ending | None:
        """When and why the session with this key ended; None while it is active."""
        with self._db() as db:
            row = db.get(StoredSession, key)
            return Ending(now(), EXPIRED) if row is None else ending_of(row)

    def save(self, session: AppSession) -> None:
        """Store the app's values, unless the session has ended meanwhile."""
        data = _serializer.dumps(dict(session))
        if session.key is None:
            if session:  # an empty session needs no row and no cookie
                self._create_anonymous(session, data)
        else:
            # Conditional, so that it does not undo a logout that arrived during this request.
            self._update_active(session.key, data=data, last_seen_at=now())

    def _create_anonymous(self, session: AppSession, data: str = "") -> None:
        cookie, row = new_row(ANONYMOUS_SECONDS)
        row.data, row.logins = data, session.logins
        with self._db.begin() as db:
            db.add(row)
        session.key = session.browser_key = hash_of(cookie)
        session.new_cookie = cookie

    def remember_login(self, session: AppSession, login: dict[str, Any], *, most: int) -> None:
        """Store a sign-in that this browser starts. Older ones than the newest ``most`` are dropped."""
        if session.browser_key is None:
            self._create_anonymous(session)
        with self._db.begin() as db:
            session.logins = [*_lock_logins(db, session), login][-most:]
            _write_logins(db, session)

    def take_login(self, session: AppSession, state: str) -> dict[str, Any] | None:
        """Remove and return the sign-in with this ``state``, if it exists. Each one can be taken once."""
        with self._db.begin() as db:
            logins = _lock_logins(db, session)
            found = next((one for one in logins if hmac.compare_digest(one["state"].encode(), state.encode())), None)
            session.logins = [one for one in logins if one is not found]
            _write_logins(db, session)
        return found

    def touch(self, session: AppSession) -> None:
        """Store the time of this request, unless it only watches the session."""
        if session.watched_only or session.key is None or session.row is None:
            return
        if session.row.last_seen_at < now() - TOUCH_SECONDS:
            self._update_active(session.key, last_seen_at=now())

    @contextmanager
    def renewal(self, session: AppSession) -> Iterator[bool]:
        """Give True to one request, which may renew the access token; False to the others meanwhile.

        RFC 9700 §4.14.2: with rotation, a second use of a refresh token is treated as theft.
        """
        key, at = session.key or "", now()
        is_free = or_(StoredSession.renewing_until.is_(None), StoredSession.renewing_until <= at)
        is_ours = self._update_active(key, is_free, renewing_until=at + RENEWAL_SECONDS)
        try:
            yield is_ours
        finally:
            if is_ours:
                self._update_active(key, renewing_until=None)

    def reload_login(self, session: AppSession) -> None:
        """Read the login again, because another request may have renewed its tokens."""
        with self._db() as db:
            row = db.get(StoredSession, session.key)
        session.login = self._encryption.decrypt(row.login) if row and not ending_of(row) else None

    def update_login(self, session: AppSession, login: dict[str, Any]) -> None:
        """Store renewed tokens."""
        session.login = login
        if session.key:
            self._update_active(session.key, login=self._encryption.encrypt(login))

    def _update_active(self, key: str, *conditions: ColumnElement[bool], **values: Any) -> bool:
        mine = (StoredSession.id_hash == key, *_is_active(), *conditions)
        with self._db.begin() as db:
            done = update(StoredSession).where(*mine).values(**values).returning(StoredSession.id_hash)
            return db.scalar(done.execution_options(synchronize_session=False)) is not None

    def sign_in(self, session: AppSession, login: dict[str, Any]) -> list[EndedSession]:
        """Create a session with a new cookie for the user of ``login``; return the session that it replaces.

        Raises :class:`LoginFailed` if a logout token for this session has arrived before the sign-in was complete.
        """
        claims = login["claims"]
        cookie, row = new_row(ABSOLUTE_SECONDS)
        row.iss, row.sub, row.sid = claims["iss"], claims["sub"], claims.get("sid")
        row.login = self._encryption.encrypt(login)
        row.logins = session.logins  # other tabs may be signing in

        def act(db: Session) -> list[EndedSession]:
            # Insert the row before looking for a logout, so that a logout in between finds the row.
            db.add(row)
            db.flush()
            if db.scalar(select(CarriedOutLogout.jti).where(_ends_login(claims)).limit(1)):
                raise LoginFailed("The session was ended before the login was complete. Please sign in again.")
            return _end(db, StoredSession.id_hash == session.key, REPLACED) if session.key else []

        replaced = self._serially(act)
        session.clear()
        session.key = session.browser_key = hash_of(cookie)
        session.row, session.login = None, login
        session.new_cookie, session.modified, session.ended = cookie, False, None
        self.clean_up()
        return replaced

    def sign_out(self, session: AppSession, reason: str) -> list[EndedSession]:
        """End this browser's session, empty ``session``, and return the ended one."""
        ended = []
        if session.key:
            with self._db.begin() as db:
                ended = _end(db, StoredSession.id_hash == session.key, reason)
        session.clear()
        session.key = session.row = session.login = None
        return ended

    def end_in_browser(self, key: str, iss: str, sid: str, reason: str) -> list[EndedSession]:
        """End the session with this key, if its ID token has this ``iss`` and ``sid``; return it.

        Raises :class:`RelyingPartyError` if it is another one. The list is empty if it has already ended.
        """
        with self._db.begin() as db:
            row = db.get(StoredSession, key)
            if row is not None and (row.iss, row.sid) != (iss, sid):
                raise RelyingPartyError("iss and sid are not those of this browser's session.")
            return _end(db, StoredSession.id_hash == key, reason)

    def apply_logout(self, token: LogoutToken) -> list[EndedSession]:
        """End the sessions that ``token`` identifies, and return them. The list may be empty (BCL §2.7).

        Raises :class:`ReplayedToken` if this token was applied before.
        """
        reason = reason_of(token)

        def act(db: Session) -> list[EndedSession]:
            # One transaction stores the jti and ends the sessions. If the process crashes in between, neither happens,
            # and the provider's retry is not rejected as a replay.
            db.add(_record_of(token, reason))
            # BCL §2.6 step 8: verify that no logout token with the same jti was received recently. The database
            # enforces it for all workers: the key (iss, jti) is unique.
            db.flush()
            return _end(db, _meant_by(token), reason)

        try:
            return self._serially(act)
        except IntegrityError as error:
            raise ReplayedToken("This logout token was used before.", token.jti) from error

    def _serially(self, act: Callable[[Session], T]) -> T:
        """Run ``act`` in a serializable transaction; retry after a collision with another one."""
        for _ in range(TRIES):
            try:
                with self._strict.begin() as db:
                    return act(db)
            except DBAPIError as error:
                if getattr(error.orig, "sqlstate", None) not in COLLISIONS:
                    raise
                collision = error
        raise collision

    def clean_up(self) -> None:
        """Delete a batch of rows that are no longer needed."""
        logout = CarriedOutLogout
        batches = (
            ((StoredSession.id_hash,), StoredSession.expires_at < now() - FORGET_SECONDS),
            ((logout.iss, logout.jti), logout.keep_until < now()),
        )
        with self._db.begin() as db:
            for key, is_old in batches:
                some = select(*key).where(is_old).limit(CLEANING_BATCH)
                unwanted = delete(key[0].class_).where(tuple_(*key).in_(some))
                db.execute(unwanted.execution_options(synchronize_session=False))


def new_row(seconds: int) -> tuple[str, StoredSession]:
    """A new session: its cookie, and its row, which expires after ``seconds``."""
    cookie = secrets.token_urlsafe(32)
    at = now()
    return cookie, StoredSession(
        id_hash=hash_of(cookie), created_at=at, last_seen_at=at, expires_at=at + seconds, data=""
    )


def ending_of(row: StoredSession) -> Ending | None:
    """When and why the row's session ended or expired; None while it is active."""
    if row.ended_at is not None:
        return Ending(row.ended_at, row.end_reason or EXPIRED, row.sid)
    over_at = min(row.expires_at, row.last_seen_at + IDLE_SECONDS)
    return Ending(over_at, EXPIRED, row.sid) if over_at <= now() else None


def reason_of(token: LogoutToken) -> str:
    """A sentence for the user."""
    return token.reason or BACK_CHANNEL


def _lock_logins(db: Session, session: AppSession) -> list[dict[str, Any]]:
    # This UPDATE changes nothing. It locks the row, so that other requests of this browser wait, on both databases.
    mine = StoredSession.id_hash == session.browser_key
    same = update(StoredSession).where(mine).values(created_at=StoredSession.created_at)
    return db.scalar(same.returning(StoredSession.logins)) or []


def _write_logins(db: Session, session: AppSession) -> None:
    mine = StoredSession.id_hash == session.browser_key
    db.execute(update(StoredSession).where(mine).values(logins=session.logins))


def _is_active() -> tuple[ColumnElement[bool], ...]:
    at = now()
    return (
        StoredSession.ended_at.is_(None),
        StoredSession.expires_at > at,
        StoredSession.last_seen_at > at - IDLE_SECONDS,
    )


def _end(db: Session, which: ColumnElement[bool], reason: str) -> list[EndedSession]:
    # BCL §2.7: the RP MUST clear any state associated with the session.
    # expires_at is set, too, so that clean_up finds all old rows with one index.
    wiped = {"data": "", "login": None, "ended_at": now(), "end_reason": reason, "expires_at": now()}
    ended = db.execute(
        update(StoredSession)
        .where(which, StoredSession.ended_at.is_(None))
        .values(wiped)
        .returning(StoredSession.id_hash, StoredSession.iss, StoredSession.sub, StoredSession.sid)
        .execution_options(synchronize_session=False)
    )
    return [EndedSession(key, iss, sub, sid) for key, iss, sub, sid in ended if iss is not None and sub is not None]


def _meant_by(token: LogoutToken) -> ColumnElement[bool]:
    # BCL §2.7: the RP locates the sessions identified by iss and sub, sid or both. sub alone: all the user's sessions.
    conditions = [StoredSession.iss == token.iss]
    if token.sid is not None:
        conditions.append(StoredSession.sid == token.sid)
    if token.sub is not None:
        conditions.append(StoredSession.sub == token.sub)
    return and_(*conditions)


def _ends_login(claims: dict[str, Any]) -> ColumnElement[bool]:
    # A provider does not use a sid again, so a logout for it applies to every ID token with it. A user signs in again,
    # so a logout for a sub applies only to ID tokens that were not issued later.
    logout = CarriedOutLogout
    same_sid = and_(logout.sid == claims.get("sid"), or_(logout.sub.is_(None), logout.sub == claims["sub"]))
    same_sub = and_(logout.sid.is_(None), logout.sub == claims["sub"], logout.iat >= claims["iat"])
    return and_(logout.iss == claims["iss"], or_(same_sid, same_sub))


def _record_of(token: LogoutToken, reason: str) -> CarriedOutLogout:
    at = now()
    return CarriedOutLogout(
        iss=token.iss,
        jti=token.jti,
        sub=token.sub,
        sid=token.sid,
        iat=token.iat,
        received_at=at,
        # claims.check_times rejects the token after exp, and after iat + MAX_AGE in any case.
        keep_until=max(min(token.exp, token.iat + MAX_AGE), at) + REMEMBER_SECONDS,
        reason=reason,
    )


class ServerSideSessions(SessionInterface):
    """Connects :class:`SessionStore` to Flask. The cookie is a random number."""

    def __init__(self, store: SessionStore, *, https: bool) -> None:
        self.store, self.https = store, https

    def get_cookie_name(self, app: Flask) -> str:
        """Flask's setting; instead of its default, ``__Host-session`` for https, Path=/ and no Domain.

        RFC 6265bis §4.1.3.2: a browser accepts a cookie with this prefix only from the host itself, so a neighbouring
        host cannot set another user's session.
        """
        name = super().get_cookie_name(app)
        is_hosts = self.https and self.get_cookie_path(app) == "/" and self.get_cookie_domain(app) is None
        return "__Host-session" if is_hosts and name == "session" else name

    def open_session(self, app: Flask, request: Request) -> AppSession:
        """Load the session of the request's cookie."""
        cookie = request.cookies.get(self.get_cookie_name(app))
        return self.store.load(cookie) if cookie else AppSession()

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """Store a changed session, and set a new cookie if there is one."""
        session = cast(AppSession, session)  # from open_session
        if session.modified:
            self.store.save(session)
        else:
            self.store.touch(session)
        if session.new_cookie:
            response.set_cookie(
                self.get_cookie_name(app),
                session.new_cookie,
                path=self.get_cookie_path(app),
                domain=self.get_cookie_domain(app),
                httponly=True,
                secure=self.https,  # SESSION_COOKIE_SECURE is off by default
                samesite="Lax",  # sent with the provider's redirect, but not with another site's form
            )
        response.vary.add("Cookie")  # RFC 9111 §4.1: a cache must not give one browser's response to another
        if session.login is not None:
            response.headers.setdefault("Cache-Control", "no-store")  # the Back button must not show an ended session
