"""The signed-in browsers of Practice: rows in the database. The cookie has a random value, the row its hash."""

import hashlib
import secrets
from collections.abc import Mapping
from typing import Any

from flask import g, session
from sqlalchemy import ColumnElement, delete, select

from pickup_learn.practice.models import PracticeSession, UsedToken
from pickup_learn.practice.settings import behaviour_of
from pickup_web import clock, events
from pickup_web.database import db

KEEP_SECONDS = 24 * 3600  # how long an ended session can still tell its tab why
COOKIE = "practice"  # its name in the signed cookie of Pickup Learn


def current() -> PracticeSession | None:
    """This browser's session, active or ended."""
    value = session.get(COOKIE)
    if "practice_session" not in g:
        g.practice_session = db.session.get(PracticeSession, hash_of(value)) if isinstance(value, str) else None
    found: PracticeSession | None = g.practice_session
    return found


def person() -> PracticeSession | None:
    """This browser's session if it is active."""
    found = current()
    return found if found and found.ended_at is None else None


def hash_of(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()


def begin(claims: Mapping[str, Any], name: str, id_token: str) -> bool:
    """Sign this browser in; False if a logout token has already ended the session, while the code was exchanged."""
    sub, sid = str(claims["sub"]), str(claims["sid"])
    if before := person():
        end(before, "You signed in again.")
    value = secrets.token_urlsafe(32)  # a new one for each sign-in, so that nobody can plant it before
    db.session.add(
        PracticeSession(
            key=hash_of(value),
            sub=sub,
            sid=sid,
            name=name[:255],
            id_token=id_token,
            in_memory=behaviour_of(db.session, sub)["storage"] == "memory",
            started_at=clock.now(),
        )
    )
    db.session.flush()  # a logout that comes now waits for our commit, and then finds this row
    if db.session.scalar(select(UsedToken.jti).where(UsedToken.sub == sub, UsedToken.sid == sid).limit(1)):
        db.session.rollback()
        return False
    old = PracticeSession.ended_at < clock.now() - KEEP_SECONDS
    db.session.execute(delete(PracticeSession).where(PracticeSession.sub == sub, old))
    events.record(db.session, "rp.session.created", sid=sid)
    events.prune(db.session)
    db.session.commit()
    session[COOKIE] = value
    g.pop("practice_session", None)
    return True


def end(found: PracticeSession, reason: str) -> None:
    """In the caller's transaction."""
    found.ended_at, found.reason = clock.now(), reason
    events.record(db.session, "rp.session.ended", sid=found.sid, outcome=reason)


def named_by(claims: Mapping[str, Any]) -> list[PracticeSession]:
    """The active sessions that a logout token names: of its sid, of its sub, or of both (BCL §2.6).

    Worker 2 answers the IdP. It does not see what worker 1 keeps in its memory.
    """
    which: list[ColumnElement[bool]] = [PracticeSession.ended_at.is_(None), PracticeSession.in_memory.is_(False)]
    which += [getattr(PracticeSession, name) == claims[name] for name in ("sub", "sid") if name in claims]
    return list(db.session.scalars(select(PracticeSession).where(*which)))
