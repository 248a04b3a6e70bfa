"""Slows down password guessing: after ten wrong passwords in a row, each further try has to wait longer.

Tries are counted per typed name, also for names that do not exist, in the database that all workers share.
A browser in which the user has signed in before has its own count. So an attacker who guesses cannot lock
the user out (OWASP calls this a device cookie).
"""

import hmac
import secrets

from flask import request
from sqlalchemy import update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response

from idp.models import FailedLogins
from idp.prepared import COUNT_FAILURE, FAILED_LOGINS, FORGET_FAILURES, FORGET_OLD_FAILURES
from idp.provider import current_provider
from pickup_web.clock import now
from pickup_web.database import add_row, relax
from pickup_web.security import cookie_name
from pickup_web.words import duration

FREE = 10  # wrong passwords in a row without a wait, because people mistype
LONGEST_WAIT = 300  # seconds; 288 tries a day, where NIST SP 800-63B §5.2.2 allows 100 in a row
FORGOTTEN_SECONDS = 3600
FORGET_AT_ONCE = 10  # old rows deleted per try; each try adds at most one, so the table stays small
COOKIE = "pickup_idp_known"
COOKIE_SECONDS = 365 * 24 * 3600


def reserve_attempt(db: Session, key: str) -> int:
    """0 if the password may be checked now, else the seconds to wait. Commits.

    The try counts as wrong until :func:`forget`. After many wrong passwords, only one of several simultaneous
    requests gets the next try.
    """
    row = FAILED_LOGINS.first(db, {"wanted": key})
    is_free = row is None or row.failures < FREE or row.failed_at + FORGOTTEN_SECONDS <= now()
    if not is_free and row.wait_until > now():
        return int(row.wait_until) - now()
    relax(db)  # a power cut may forgive the last tries, so no fsync
    if is_free:
        if count(db, key) <= FREE:
            db.commit()
            return 0
        db.rollback()  # simultaneous requests used up the free tries
        return 1
    pause = min(2 ** (row.failures - FREE), LONGEST_WAIT)
    mine = update(FailedLogins).where(FailedLogins.key == key, FailedLogins.wait_until <= now())
    one_more = {"failures": FailedLogins.failures + 1, "failed_at": now(), "wait_until": now() + pause}
    taken = db.scalar(mine.values(one_more).returning(FailedLogins.key))
    db.commit()
    return 0 if taken else pause


def sentence(seconds: int) -> str:
    """The message on the page, the same for names that do not exist."""
    return f"Too many wrong passwords for this name. Try again in {duration(seconds)}."


def count(db: Session, key: str) -> int:
    """Count one more try; returns the new count. The caller commits."""
    at = now()
    old = {"wanted": key, "long_ago": at - FORGOTTEN_SECONDS, "most": FORGET_AT_ONCE}
    FORGET_OLD_FAILURES.execute(db, old)
    counted = COUNT_FAILURE.first(db, {"wanted": key, "at": at})
    if counted is None:
        try:
            with db.begin_nested():
                add_row(db, FailedLogins, key=key, failures=1, failed_at=at, wait_until=0)
        except IntegrityError:  # another worker inserted the row first
            counted = COUNT_FAILURE.first(db, {"wanted": key, "at": at})
    return counted.failures if counted else 1


def forget(db: Session, key: str) -> None:
    """Reset the count after the right password. The caller commits."""
    FORGET_FAILURES.execute(db, {"wanted": key})


def remember(response: Response, username: str) -> None:
    """Mark this browser as one that the user has signed in with."""
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
    """The id of this browser, if the user has signed in with it before; else empty."""
    known, _, sealed = request.cookies.get(cookie_name(COOKIE, current_provider().issuer), "").rpartition(".")
    return known if known and hmac.compare_digest(seal(username, known).encode(), sealed.encode()) else ""


def key_of(username: str) -> str:
    """The row's key for a login. An HMAC, because people also type passwords into the username field."""
    return seal(username, known_as(username), "count")


def key_of_account(username: str) -> str:
    """The row's key on the account page. No device cookie: deleting it would give a signed-in attacker new tries."""
    return seal(username, "", "account")


def seal(username: str, *more: str) -> str:
    """An HMAC with the IdP's secret key, so that only the IdP can make it."""
    secret = current_provider().settings.secret_key.get_secret_value().encode()
    text = "\0".join(("failed-logins", username.strip().lower(), *more))
    return hmac.new(secret, text.encode(errors="surrogatepass"), "sha256").hexdigest()
