"""The session that all apps share. A sign-in creates it; the browser's cookie identifies it."""

import secrets

from flask import request
from sqlalchemy import update
from werkzeug.wrappers import Response

from idp.models import IDLE_SECONDS, ActiveSession, SsoSession, hash_of
from idp.prepared import ALIVE_BY_COOKIE, LOCK_VERIFIED_USER, TOUCH_ALIVE
from idp.provider import current_provider
from pickup_web import events
from pickup_web.clock import now
from pickup_web.database import db
from pickup_web.security import cookie_name

COOKIE = "pickup_idp_session"
ABSOLUTE_SECONDS = 10 * 3600  # a session ends after a working day, even if it is in use
TOUCH_SECONDS = 60  # precision of last_seen_at; saves a write per request


def current_sso_session() -> ActiveSession | None:
    """The active session of this browser's cookie, if any."""
    cookie = cookie_of_browser()
    if not cookie:
        return None
    row = ALIVE_BY_COOKIE.first(db.session, {"cookie_hash": hash_of(cookie)})
    session = ActiveSession._make(row) if row else None
    if session is None or is_over(session):
        return None
    if session.last_seen_at < now() - TOUCH_SECONDS:
        lock_if_active(session.sid)
        db.session.commit()
    return session


def is_active(sid: str) -> bool:
    """Whether this session is active, in any browser. Unlike :func:`lock_if_active`, this does not extend it."""
    session = db.session.get(SsoSession, sid)
    return session is not None and session.ended_at is None and not is_over(session)


def is_over(session: SsoSession | ActiveSession) -> bool:
    """Whether the session has expired, even if the background loop has not ended it yet."""
    return session.expires_at <= now() or session.last_seen_at + IDLE_SECONDS <= now()


def lock_if_active(sid: str) -> bool:
    """Locks the row if the session is active; anyone ending it waits for our commit."""
    return TOUCH_ALIVE.first(db.session, {"wanted": sid, "at": now()}) is not None


def start_session(sub: str, verified_hash: str) -> str | None:
    """Starts or renews the browser's session after the password was verified; returns its new cookie.

    None if the password changed, or the user was disabled, since ``verified_hash`` was checked. The same user keeps
    the session and its ``sid``; login.py has already ended a session of another user. The caller commits.
    """
    cookie, session = secrets.token_urlsafe(32), current_sso_session()
    # A change of the password or the account either commits before this, and the sign-in fails, or waits for our
    # commit, and ends this session with the others.
    if db.session.scalar(LOCK_VERIFIED_USER, {"wanted": sub, "verified": verified_hash}) is None:
        db.session.rollback()
        return None
    if session and session.sub == sub and lock_if_active(session.sid):  # it may have ended since it was read
        renewed = update(SsoSession).where(SsoSession.sid == session.sid)
        db.session.execute(renewed.values(cookie_hash=hash_of(cookie), auth_time=now(), last_seen_at=now()))
        events.record(db.session, "op.session.reauthenticated", sid=session.sid)
    else:
        new = new_session(sub, cookie)
        db.session.add(new)
        events.record(db.session, "op.session.created", sid=new.sid)
    return cookie


def new_session(sub: str, cookie: str) -> SsoSession:
    """A new session. ``sid`` is independent of the cookie, because ID tokens contain it."""
    at = now()
    return SsoSession(
        sid=secrets.token_urlsafe(24),
        cookie_hash=hash_of(cookie),
        sub=sub,
        auth_time=at,
        amr=["pwd"],  # RFC 8176 §2
        created_at=at,
        last_seen_at=at,
        expires_at=at + ABSOLUTE_SECONDS,
        user_agent=request.user_agent.string[:255],
    )


def cookie_of_browser() -> str | None:
    """The request's session cookie, valid or not."""
    return request.cookies.get(cookie_name(COOKIE, current_provider().issuer))


def set_cookie(response: Response, cookie: str) -> None:
    """SameSite=Lax: the browser sends it when an app redirects here, but not with a form posted from another site."""
    issuer = current_provider().issuer
    name, secure = cookie_name(COOKIE, issuer), issuer.startswith("https://")
    response.set_cookie(name, cookie, httponly=True, secure=secure, samesite="Lax")


def delete_cookie(response: Response) -> None:
    """After a logout. Must be Secure as before, or the browser ignores it."""
    issuer = current_provider().issuer
    response.delete_cookie(cookie_name(COOKIE, issuer), secure=issuer.startswith("https://"))
