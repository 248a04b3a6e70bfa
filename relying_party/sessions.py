"""[7] Sessions are rows on the server, so that somebody else than the browser can end them.

A session can be asked for by the browser's cookie, by (iss, sid) and by (iss, sub). Every worker
and every replica asks the same table, each time: a logout is seen by all of them at once.
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
from relying_party.errors import LoginFailed, ReplayedToken
from relying_party.logout_token import MAX_AGE, LogoutToken
from relying_party.models import CarriedOutLogout, StoredSession
from relying_party.signals import EndedSession

IDLE_SECONDS = 30 * 60  # a session ends when nobody used it for so long,
ABSOLUTE_SECONDS = 8 * 3600  # and after a working day in any case
ANONYMOUS_SECONDS = 3600  # how long a browser may take to sign in
TOUCH_SECONDS = 60  # how exactly we know when a session was last used; saves a write a request
REMEMBER_SECONDS = 3600  # how long a logout is remembered for logins that are still under way
FORGET_SECONDS = 24 * 3600  # how long an ended session can still say why it ended
RENEWAL_SECONDS = 20  # after which a request that renews the access token is taken for dead
CLEANING_BATCH = 500  # rows; cleaning up is work in small pieces, never a stop

COLLISIONS = ("40001", "40P01")  # PostgreSQL: serialization failure, deadlock; one of the two is to be tried again
TRIES = 10

EXPIRED = "Your session expired."
BACK_CHANNEL = "Your session was ended at the identity provider (IdP)."
REPLACED = "Someone signed in again with this browser."
LOGGED_OUT = "You logged out here."

T = TypeVar("T")
_serializer = TaggedJSONSerializer()


@dataclass(frozen=True)
class Ending:
    """When and why a session ended."""

    at: int
    reason: str


class AppSession(CallbackDict[str, Any], SessionMixin):
    """``flask.session``: the application's values, and who is signed in.

    ``login`` holds what the provider vouched for (see login.py), or is None. ``ended`` tells why this
    browser, which was signed in, is so no more; of its row only the logins it has begun are left.
    """

    def __init__(self, stored: StoredSession | None = None, ended: Ending | None = None) -> None:
        row = stored if ended is None else None
        super().__init__(_serializer.loads(row.data) if row and row.data else None, on_update=_mark_modified)
        self.key = row.id_hash if row else None  # the hash of the cookie's value; None as long as there is no session
        self.row = row
        self.browser_key = stored.id_hash if stored else None  # the same, also of a session that ended
        self.logins: list[dict[str, Any]] = (stored and stored.logins) or []
        self.login: dict[str, Any] | None = None
        self.ended = ended
        self.modified = False
        self.watched_only = False  # this request only looks whether the session lives, which is no use of it
        self.new_cookie: str | None = None


def _mark_modified(session: CallbackDict[str, Any]) -> None:
    session.modified = True  # type: ignore[attr-defined] # it is an AppSession, which CallbackDict cannot know


def hash_of(cookie: str) -> str:
    """What the table knows a cookie by."""
    return hashlib.sha256(cookie.encode()).hexdigest()


class SessionStore:
    """The table of sessions. Every method is one short transaction of its own."""

    def __init__(self, engine: Engine, encryption: Encryption) -> None:
        self._encryption = encryption
        self._db = sessionmaker(engine, expire_on_commit=False)
        # For the two acts that look at each other's rows, signing in and being logged out: each sees the
        # other whole or not at all. SQLite has one writer at a time anyway.
        strict = engine.execution_options(isolation_level="SERIALIZABLE")
        self._strict = sessionmaker(strict, expire_on_commit=False)

    def load(self, cookie: str) -> AppSession:
        """The browser's session; an empty one if it has none, or one that ended."""
        with self._db() as db:
            row = db.get(StoredSession, hash_of(cookie))
        session = AppSession(row, ending_of(row)) if row else AppSession()
        if session.row and session.row.sub:
            session.login = self._encryption.decrypt(session.row.login)  # None after SECRET_KEY was changed
        return session

    def ending(self, key: str) -> Ending | None:
        """When and why the session with this key ended; None while it lives."""
        with self._db() as db:
            row = db.get(StoredSession, key)
            return Ending(now(), EXPIRED) if row is None else ending_of(row)

    def save(self, session: AppSession) -> None:
        """Write back the application's values, unless the session ended meanwhile."""
        data = _serializer.dumps(dict(session))
        if session.key is None:
            if session:  # else there is nothing to remember: no row, no cookie
                self._begin_anonymous(session, data)
        else:
            # Conditional: a logout that came while this request was running is not undone.
            self._update_live(session.key, data=data, last_seen_at=now())

    def _begin_anonymous(self, session: AppSession, data: str = "") -> None:
        cookie, row = new_row(ANONYMOUS_SECONDS)
        row.data, row.logins = data, session.logins
        with self._db.begin() as db:
            db.add(row)
        session.key = session.browser_key = hash_of(cookie)
        session.new_cookie = cookie

    def remember_login(self, session: AppSession, login: dict[str, Any], *, most: int) -> None:
        """Keep a login that this browser begins; of very many the ``most`` newest count."""
        if session.browser_key is None:
            self._begin_anonymous(session)
        with self._db.begin() as db:
            session.logins = [*_lock_logins(db, session), login][-most:]
            _write_logins(db, session)

    def take_login(self, session: AppSession, state: str) -> dict[str, Any] | None:
        """The begun login with this ``state``, if there is one. It is used up: only one answer gets it."""
        with self._db.begin() as db:
            logins = _lock_logins(db, session)
            found = next((one for one in logins if hmac.compare_digest(one["state"].encode(), state.encode())), None)
            session.logins = [one for one in logins if one is not found]
            _write_logins(db, session)
        return found

    def touch(self, session: AppSession) -> None:
        """Remember that the session is in use."""
        if session.watched_only or session.key is None or session.row is None:
            return
        if session.row.last_seen_at < now() - TOUCH_SECONDS:
            self._update_live(session.key, last_seen_at=now())

    @contextmanager
    def renewal(self, session: AppSession) -> Iterator[bool]:
        """Whether it is this request that renews the access token; False while another one does.

        A refresh token may be good for one use, and a second one be taken for theft (RFC 9700 §4.14.2).
        """
        key, at = session.key or "", now()
        nobody_else = or_(StoredSession.renewing_until.is_(None), StoredSession.renewing_until <= at)
        is_ours = self._update_live(key, nobody_else, renewing_until=at + RENEWAL_SECONDS)
        try:
            yield is_ours
        finally:
            if is_ours:
                self._update_live(key, renewing_until=None)

    def reload_login(self, session: AppSession) -> None:
        """What another request made of it."""
        with self._db() as db:
            row = db.get(StoredSession, session.key)
        session.login = self._encryption.decrypt(row.login) if row and not ending_of(row) else None

    def update_login(self, session: AppSession, login: dict[str, Any]) -> None:
        """Keep renewed tokens."""
        session.login = login
        if session.key:
            self._update_live(session.key, login=self._encryption.encrypt(login))

    def _update_live(self, key: str, *conditions: ColumnElement[bool], **values: Any) -> bool:
        mine = (StoredSession.id_hash == key, *_alive(), *conditions)
        with self._db.begin() as db:
            done = update(StoredSession).where(*mine).values(**values).returning(StoredSession.id_hash)
            return db.scalar(done.execution_options(synchronize_session=False)) is not None

    def sign_in(self, session: AppSession, login: dict[str, Any]) -> list[EndedSession]:
        """A new session, with a new cookie, for the person ``login`` is about; returns the one it replaces.

        Raises :class:`LoginFailed` if a logout for it has already come: it overtook the login.
        """
        claims = login["claims"]
        cookie, row = new_row(ABSOLUTE_SECONDS)
        row.iss, row.sub, row.sid = claims["iss"], claims["sub"], claims.get("sid")
        row.login = self._encryption.encrypt(login)
        row.logins = session.logins  # of other tabs

        def act(db: Session) -> list[EndedSession]:
            # Insert first, look second: a logout that comes between the two finds the row.
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
        """End this browser's session here, and go on with an empty one; returns the ended one."""
        ended = []
        if session.key:
            with self._db.begin() as db:
                ended = _end(db, StoredSession.id_hash == session.key, reason)
        session.clear()
        session.key = session.row = session.login = None
        return ended

    def apply_logout(self, token: LogoutToken) -> list[EndedSession]:
        """End every session ``token`` means, and return them. None is fine: they are gone already.

        Raises :class:`ReplayedToken` if this token was carried out before.
        """
        reason = reason_of(token)

        def act(db: Session) -> list[EndedSession]:
            # One transaction: reserve the jti, end the sessions. A crash in between undoes both, and
            # the provider's retry is not taken for a replay.
            db.add(_record_of(token, reason))
            db.flush()  # BCL §2.6 (8): the key (iss, jti) is unique, for all workers alike
            return _end(db, _meant_by(token), reason)

        try:
            return self._serially(act)
        except IntegrityError as error:
            raise ReplayedToken("This logout token was used before.", token.jti) from error

    def _serially(self, act: Callable[[Session], T]) -> T:
        """Run ``act`` in a serializable transaction, and anew if it collided with another one."""
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
        """Delete some rows that nobody needs any more."""
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
    """The cookie's value and the row of a new session that lives for ``seconds`` at most."""
    cookie = secrets.token_urlsafe(32)
    at = now()
    return cookie, StoredSession(
        id_hash=hash_of(cookie), created_at=at, last_seen_at=at, expires_at=at + seconds, data=""
    )


def ending_of(row: StoredSession) -> Ending | None:
    """Whether the row's session is over, by an act or by the clock."""
    if row.ended_at is not None:
        return Ending(row.ended_at, row.end_reason or EXPIRED)
    over_at = min(row.expires_at, row.last_seen_at + IDLE_SECONDS)
    return Ending(over_at, EXPIRED) if over_at <= now() else None


def reason_of(token: LogoutToken) -> str:
    """Why, in a sentence for the person."""
    return token.reason or BACK_CHANNEL


def _lock_logins(db: Session, session: AppSession) -> list[dict[str, Any]]:
    # Written, though not changed: who wants to change them at the same time waits here, with either database.
    mine = StoredSession.id_hash == session.browser_key
    same = update(StoredSession).where(mine).values(created_at=StoredSession.created_at)
    return db.scalar(same.returning(StoredSession.logins)) or []


def _write_logins(db: Session, session: AppSession) -> None:
    mine = StoredSession.id_hash == session.browser_key
    db.execute(update(StoredSession).where(mine).values(logins=session.logins))


def _alive() -> tuple[ColumnElement[bool], ...]:
    # What ended, by an act or by one of the two clocks, stays ended, whoever still wants to write.
    at = now()
    return (
        StoredSession.ended_at.is_(None),
        StoredSession.expires_at > at,
        StoredSession.last_seen_at > at - IDLE_SECONDS,
    )


def _end(db: Session, which: ColumnElement[bool], reason: str) -> list[EndedSession]:
    # BCL §2.7: all state that belongs to the session goes, the tokens above all.
    # It has expired, too, from now on: one index finds all rows to clean away.
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
    # BCL §2.7: sid → that session; sub alone → all of the user's; both → those that match both.
    conditions = [StoredSession.iss == token.iss]
    if token.sid is not None:
        conditions.append(StoredSession.sid == token.sid)
    if token.sub is not None:
        conditions.append(StoredSession.sub == token.sub)
    return and_(*conditions)


def _ends_login(claims: dict[str, Any]) -> ColumnElement[bool]:
    # A sid never comes back, so a logout for it always wins. A user does come back: a logout of all
    # their sessions wins over ID tokens that are not younger than itself.
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
        # A token whose exp is beyond all reason dies of its iat: claims.check_times.
        keep_until=max(min(token.exp, token.iat + MAX_AGE), at) + REMEMBER_SECONDS,
        reason=reason,
    )


class ServerSideSessions(SessionInterface):
    """Connects :class:`SessionStore` to Flask: the cookie is an opaque, random id."""

    def __init__(self, store: SessionStore, *, https: bool) -> None:
        self.store, self.https = store, https

    def get_cookie_name(self, app: Flask) -> str:
        """Flask's setting. Its default becomes ``__Host-session`` where a browser takes that: by https, for Path=/.

        RFC 6265bis §4.1.3.2: no neighbouring host can plant a cookie of such a name, and so sign a browser in.
        """
        name = super().get_cookie_name(app)
        is_hosts = self.https and self.get_cookie_path(app) == "/" and self.get_cookie_domain(app) is None
        return "__Host-session" if is_hosts and name == "session" else name

    def open_session(self, app: Flask, request: Request) -> AppSession:
        """The session of the request's cookie."""
        cookie = request.cookies.get(self.get_cookie_name(app))
        return self.store.load(cookie) if cookie else AppSession()

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        """Write what changed; set the cookie when there is a new one."""
        session = cast(AppSession, session)  # it is what open_session made
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
                httponly=True,  # no script needs it
                secure=self.https,  # not left to a setting that is off by default
                samesite="Lax",  # comes along with the provider's redirect, but not with another site's form
            )
        response.vary.add("Cookie")  # RFC 9111 §4.1: what we say to one browser is not for another one
        if session.login is not None:
            response.headers.setdefault("Cache-Control", "no-store")  # nothing of an ended session out of a cache
