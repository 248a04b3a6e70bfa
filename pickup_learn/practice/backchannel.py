"""``POST /practice/bclogout``: takes a logout token, as the settings say (Back-Channel Logout §2.5 to 2.8)."""

import threading
import time
from time import sleep
from typing import Any

from flask import Response, current_app, g, jsonify, redirect, request
from flask.typing import ResponseReturnValue
from sqlalchemy import delete, select

from pickup_learn.forgery import ISSUER_PATH, foreign_public_key
from pickup_learn.practice import sessions
from pickup_learn.practice.models import PracticeSession, UsedToken
from pickup_learn.practice.provider import Unreachable, current_idp
from pickup_learn.practice.receiver import Claims, Refused, unverified, verified
from pickup_learn.practice.settings import Behaviour, behaviour_of
from pickup_learn.practice.sign_in import address
from pickup_web import clock, csrf, events, messages
from pickup_web.database import db

IDS = ("sub", "sid")
KEEP = 1_000  # used tokens of a person
PLACES = 32  # requests that may wait at once; each holds a thread of Pickup Learn (gunicorn.conf.py has more)

waiting = threading.BoundedSemaphore(PLACES)


def receive() -> ResponseReturnValue:
    """What stands in front of the receiver: the service itself, its filters and its speed."""
    tokens = request.form.getlist("logout_token")
    if "traceparent" not in request.headers:  # the IdP sends it: record that this request comes from somebody else
        g.message.sender = messages.OUTSIDE
    behaviour = behaviour_of(db.session, person_named_by(unverified(tokens[0]) if tokens else {}))
    if behaviour["service"] == "stopped":
        return uncached(jsonify(error="The app behind this address is stopped."), 503)
    if behaviour["https"] == "redirect":
        return redirect(address("practice.bclogout").replace("http://", "https://", 1), 308)
    if behaviour["csrf"] == "everything":
        csrf.protect()
    if seconds := int(behaviour["answer_time"]):
        db.session.commit()  # no transaction is open while we wait
        if not waiting.acquire(blocking=False):
            return later("Practice is overloaded.")
        try:
            sleep(seconds)
        finally:
            waiting.release()
    return answer(tokens, behaviour)


def person_named_by(claims: Claims) -> str | None:
    """Whose settings apply. The token is not verified yet, so this decides nothing else."""
    sub, sid = (value if isinstance(value, str) and value.isprintable() else None for value in map(claims.get, IDS))
    if sub or not sid:
        return sub
    return db.session.scalar(select(PracticeSession.sub).where(PracticeSession.sid == sid))


def answer(tokens: list[str], behaviour: Behaviour) -> Response:
    """BCL §2.8: 200 if the logout succeeded, 400 if the request or its token is invalid."""
    try:
        ended = attempt(tokens, behaviour)
    except Refused as refused:
        db.session.rollback()
        events.record(db.session, "rp.logout_token.rejected", outcome=str(refused))
        events.prune(db.session)  # refused tokens must not fill the disk
        db.session.commit()
        if behaviour["invalid"] == "200":
            return uncached(Response(), 200)
        return uncached(jsonify(error="invalid_request", error_description=str(refused)), 400)
    except Unreachable as error:  # the token may be good: the IdP may send it again
        return later(str(error))
    return uncached(jsonify(sessions_ended=ended), 200)


def later(reason: str) -> Response:
    """The sender may try again (RFC 9110 §15.6.4)."""
    response = uncached(jsonify(error="temporarily_unavailable", error_description=reason), 503)
    response.headers["Retry-After"] = "2"
    return response


def attempt(tokens: list[str], behaviour: Behaviour) -> int:
    """Apply the token; in a lab, the first attempt crashes and the load balancer makes a second one."""
    # BCL §2.5: the body has the parameter logout_token. A second one would let two parsers read different tokens.
    if len(tokens) != 1:
        raise Refused("logout_token must be sent exactly once.")
    if "retried" in behaviour.conditions:
        claims = check(tokens[0], behaviour)
        remember(claims, behaviour)
        db.session.rollback()  # the crash: what was not committed is lost
    return apply(check(tokens[0], behaviour), behaviour)


def check(token: str, behaviour: Behaviour) -> Claims:
    """The claims of a good token."""
    idp = current_idp()
    own_issuer = str(current_app.config["LEARN_URL"]) + ISSUER_PATH  # of the workbench; no other address is called
    is_own = behaviour["issuer"] == "any" and unverified(token).get("iss") == own_issuer

    def key(kid: str | None) -> Any:
        if is_own:
            return foreign_public_key()
        if behaviour["keys"] == "never" and "rotated" in behaviour.conditions:
            raise Refused("The key that signed the token is not among the cached keys.")
        return idp.key(kid)

    now = time.time()
    claims = verified(token, key, behaviour, issuer=own_issuer if is_own else idp.issuer, now=now)
    if "sub_only" in behaviour.conditions:
        claims.pop("sid", None)
    if not claims.keys() & IDS:  # it would name all sessions of all people
        raise Refused("Both sub and sid are missing.")
    return claims


def remember(claims: Claims, behaviour: Behaviour) -> None:
    """BCL §2.6: a token with this jti must not have been applied before. In the same transaction as the logout,
    so that a crash in between leaves the retry acceptable."""
    if "jti" not in claims:  # only with the fault of a lab
        return
    key = str(claims.get("sub", "")), claims["jti"]
    if db.session.get(UsedToken, key):
        raise Refused("This logout token was used before.")
    db.session.add(UsedToken(sub=key[0], jti=key[1], sid=claims.get("sid"), at=clock.now()))
    db.session.flush()
    newest = select(UsedToken.jti).where(UsedToken.sub == key[0]).order_by(UsedToken.at.desc())
    db.session.execute(
        delete(UsedToken).where(UsedToken.sub == key[0], UsedToken.jti.in_(newest.offset(KEEP).limit(KEEP)))
    )
    if behaviour["jti_guard"] == "seen":
        db.session.commit()


def apply(claims: Claims, behaviour: Behaviour) -> int:
    """End the sessions that the token names; returns how many there were. None is a success, too (BCL §2.7)."""
    remember(claims, behaviour)
    if behaviour["ends_by"] == "sid" and "sid" not in claims:
        raise Refused("The logout token has no sid.")
    found = sessions.named_by(claims)
    for one in found:
        sessions.end(one, "You were logged out at another app.")
    events.record(
        db.session,
        "rp.logout_token.accepted",
        sid=claims.get("sid"),
        jti=claims.get("jti"),
        outcome=f"{len(found)} ended",
    )
    events.prune(db.session)
    db.session.commit()
    return len(found)


def uncached(response: Response, status: int) -> Response:
    """BCL §2.8: the answer must not be cached."""
    response.status_code = status
    response.headers["Cache-Control"] = "no-store"
    return response


def wrong_method() -> Response:
    """``GET /practice/bclogout``: BCL §2.5 uses POST."""
    response = uncached(jsonify(error="invalid_request", error_description="A logout token is sent with POST."), 405)
    response.headers["Allow"] = "POST"
    return response
