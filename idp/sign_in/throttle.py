"""Wrong passwords in a row make the next try wait, longer each time: nobody guesses all night long.

Counted by the name that was typed, whether or not somebody has it, in the database: for all workers.
A browser in which that person has signed in before has a count of its own. So a stranger who guesses
makes strangers wait, and never the person (OWASP calls this a device cookie).
"""

import hmac
import secrets

from flask import request
from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response

from idp.models import FailedLogins
from idp.provider import current_provider
from pickup_web.clock import now
from pickup_web.database import add_row
from pickup_web.security import cookie_name
from pickup_web.words import duration

FREE = 10  # wrong passwords in a row that cost nothing: people mistype, and try the ones they remember
LONGEST_WAIT = 300  # seconds; 288 tries a day, where NIST SP 800-63B §5.2.2 allows 100 in a row
FORGOTTEN_SECONDS = 3600
FORGET_AT_ONCE = 10  # rows; more than one try can add, so the table stays small whatever is typed
COOKIE = "pickup_idp_known"
COOKIE_SECONDS = 365 * 24 * 3600


def reserve_attempt(db: Session, key: str) -> int:
    """0: the password may be looked at, and is counted as a wrong one until :func:`forget`. Commits.

    After many wrong ones that is one try a pause, whoever comes at once.
    """
    row = db.execute(
        select(FailedLogins.failures, FailedLogins.failed_at, FailedLogins.wait_until).where(FailedLogins.key == key)
    ).one_or_none()
    if row is None or row.failures < FREE or row.failed_at + FORGOTTEN_SECONDS <= now():
        if count(db, key) <= FREE:
            db.commit()
            return 0
        db.rollback()  # others came at once, and took what was free
        return 1
    if row.wait_until > now():
        return int(row.wait_until) - now()
    pause = min(2 ** (row.failures - FREE), LONGEST_WAIT)
    mine = update(FailedLogins).where(FailedLogins.key == key, FailedLogins.wait_until <= now())
    one_more = {"failures": FailedLogins.failures + 1, "failed_at": now(), "wait_until": now() + pause}
    taken = db.scalar(mine.values(one_more).returning(FailedLogins.key))
    db.commit()
    return 0 if taken else pause


def sentence(seconds: int) -> str:
    """What a person is told, whether or not somebody has that name."""
    return f"Too many wrong passwords for this name. Try again in {duration(seconds)}."


def count(db: Session, key: str) -> int:
    """One more try; returns how many that makes. The caller commits."""
    at = now()
    is_old = FailedLogins.failed_at <= at - FORGOTTEN_SECONDS
    some = FailedLogins.key.in_(select(FailedLogins.key).where(is_old).limit(FORGET_AT_ONCE))
    forgotten = delete(FailedLogins).where(is_old, some | (FailedLogins.key == key))
    db.execute(forgotten.execution_options(synchronize_session=False))
    one_more = update(FailedLogins).where(FailedLogins.key == key)
    one_more = one_more.values(failures=FailedLogins.failures + 1, failed_at=at).returning(FailedLogins.failures)
    one_more = one_more.execution_options(synchronize_session=False)
    failures: int | None = db.scalar(one_more)
    if failures is not None:
        return failures
    try:
        with db.begin_nested():
            add_row(db, FailedLogins, key=key, failures=1, failed_at=at, wait_until=0)
    except IntegrityError:  # another worker's was the first
        failures = db.scalar(one_more)
    return failures or 1


def forget(db: Session, key: str) -> None:
    """The right password. The caller commits."""
    mine = delete(FailedLogins).where(FailedLogins.key == key)
    db.execute(mine.execution_options(synchronize_session=False))


def remember(response: Response, username: str) -> None:
    """From now on this browser is one of the person's own."""
    known, issuer = known_as(username) or secrets.token_urlsafe(16), current_provider().issuer
    response.set_cookie(
        cookie_name(COOKIE, issuer),
        f"{known}.{seal(username, known)}",
        max_age=COOKIE_SECONDS,
        httponly=True,
        secure=issuer.startswith("https://"),
        samesite="Lax",
    )


def known_as(username: str) -> str:
    """What we call this browser, if that person has signed in in it; else empty."""
    known, _, sealed = request.cookies.get(cookie_name(COOKIE, current_provider().issuer), "").rpartition(".")
    return known if known and hmac.compare_digest(seal(username, known).encode(), sealed.encode()) else ""


def key_of(username: str) -> str:
    """What is counted at the login. Keyed, as people type passwords into the name's field, too."""
    return seal(username, known_as(username), "count")


def key_of_account(username: str) -> str:
    """What is counted where somebody is signed in: whoever sits there could forget any cookie but that one."""
    return seal(username, "", "account")


def seal(username: str, *more: str) -> str:
    """Only we can make it."""
    secret = current_provider().settings.secret_key.get_secret_value().encode()
    text = "\0".join(("failed-logins", username.strip().lower(), *more))
    return hmac.new(secret, text.encode(errors="surrogatepass"), "sha256").hexdigest()
