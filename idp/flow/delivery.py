"""[13] One delivery: sign a logout token for one client, POST it, judge the answer, decide when to try next.

    claims (logout_token.py) ─ sign ─ POST ─ judge ─ next try

The outbox calls :func:`deliver` for each row that it claimed, in parallel (BCL §2.3), and records each attempt
(outbox/sender.py, outbox/ledger.py). A row exists before its first attempt, and an attempt is recorded after its
answer. So a killed process loses no delivery; at worst an app is notified twice.
"""

import json
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlencode

import structlog

from idp.flow.logout_token import TYPE, logout_token_claims
from idp.outbox.http import AddressError, Answer, FetchError, GuardedHttpClient, Request
from idp.outbox.ledger import LONGEST_PAUSE, Attempt, Job, Outcome
from pickup_web.clock import now

FIRST_PAUSE = 1  # second until the second attempt; doubled each time, up to LONGEST_PAUSE
REFUSALS = 3  # a 400 is final the third time; BCL §2.8 gives an app no other status for a temporary fault
MAX_ANSWER = 4096  # bytes of a client's answer that are read
USER_AGENT = "Pickup-IdP (back-channel logout)"

Sign = Callable[[dict[str, Any], str, str], Awaitable[str]]  # claims, alg, typ → the token

LOG = structlog.get_logger()


async def deliver(job: Job, *, issuer: str, sign: Sign, http: GuardedHttpClient) -> Attempt:
    """One attempt at one client. A fault of the client is returned as an outcome, never raised."""
    if job.uri is None:
        gone = Outcome("The client no longer has a back-channel logout URI.", "not_sent")
        return Attempt(job, gone, now(), "not_sent", now())
    claims = logout_token_claims(
        issuer=issuer,
        client_id=job.client_id,
        sub=job.sub,
        sid=job.sid,
        now=now(),
        reason=job.reason if job.tell_reason else None,
    )
    try:
        # BCL §2.4: signed like an ID token. BCL §2.6 step 3: with the algorithm registered for the client's ID tokens.
        token = await sign(claims, job.alg or "", TYPE)
    except Exception:  # our own fault, such as an algorithm without a key: retried until the deadline, as well
        LOG.exception("op.logout.try_failed", delivery=job.id)
        fault = Outcome("fault of the provider", "pending")
        return Attempt(job, fault, now(), *next_step(job, fault))
    started, at = time.monotonic(), now()
    outcome = await post(http, job.uri, token, *job.patience(), job.ca_certificates)
    milliseconds = round((time.monotonic() - started) * 1000)
    return Attempt(job, outcome, at, *next_step(job, outcome), milliseconds, claims["jti"])


async def post(
    http: GuardedHttpClient,
    uri: str,
    token: str,
    connect_timeout: float,
    read_timeout: float,
    ca_certificates: str | None = None,
) -> Outcome:
    """BCL §2.5: a form post with the one parameter ``logout_token``, to the registered address and no other."""
    request = Request(
        uri,
        form=urlencode({"logout_token": token}).encode(),
        limit=MAX_ANSWER,
        connect_seconds=connect_timeout,
        answer_seconds=read_timeout,
        ca_certificates=ca_certificates,
        user_agent=USER_AGENT,
    )
    try:
        return judge(await http.ask(request))
    except AddressError as error:
        return Outcome(f"the logout URI {error}", "refused")
    except FetchError as error:
        return Outcome(str(error), "pending")


def judge(answer: Answer) -> Outcome:
    """What a client's answer means. Only the status decides (BCL §2.8). An unusual body is noted in the ledger."""
    status = answer.status
    if status in (200, 204):  # BCL §2.8; some frameworks turn an empty 200 into 204
        return Outcome(answer.fault or "delivered", "delivered", status)
    if 300 <= status < 400:  # not followed, because it would send the token to an address that is not registered
        return Outcome("redirect", "refused", status)
    if status >= 500 or status in (408, 429):  # temporary
        return Outcome("server error", "pending", status)
    if "retry-after" in answer.headers:  # RFC 9110 §10.2.3: the client could not fetch our keys to check the token
        return Outcome("asked to come back", "pending", status, own_words(answer.body))
    return Outcome("refused", "refused", status, own_words(answer.body))


def next_step(job: Job, outcome: Outcome) -> tuple[str, int]:
    """The delivery's new state, and when the next attempt is due if it is still pending.

    BCL §2.5: the OP sends again only after a fault that may be temporary, and after a delay.
    """
    next_try_at = now() + round(spread(min(FIRST_PAUSE * 2**job.tries, LONGEST_PAUSE)))
    has_time = next_try_at < job.give_up_at
    if outcome.state == "pending" and not has_time:
        return "given_up", next_try_at
    if outcome.is_400 and job.refusals + 1 < REFUSALS and has_time:
        return "pending", next_try_at
    return outcome.state, next_try_at


def own_words(body: bytes) -> str:
    """The client's error (BCL §2.8), for the ledger. Nothing depends on it."""
    try:
        answer = json.loads(body)
        words = ": ".join(str(answer[name])[:200] for name in ("error", "error_description") if name in answer)
    except (ValueError, TypeError, RecursionError):
        return ""
    # Some databases reject NUL and other unprintable characters.
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in words)


def spread(seconds: float) -> float:
    """Up to 30 % more, at random, so that deliveries queued together are not all retried at the same time."""
    return seconds * random.uniform(1, 1.3)  # noqa: S311 # no secret depends on it
