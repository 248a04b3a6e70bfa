"""[7] The outbox: tells each client that a session is over, and writes down every try.

A delivery is a row before it is a request (session_ending.py), so nothing that dies loses it. It is
sent at once, side by side with the others; what fails is tried again with growing pauses. None of
this can delay or undo the user's own logout.
"""

import json
import random
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass

import requests
import structlog
from sqlalchemy import Engine, select, update
from sqlalchemy.orm import Session
from urllib3.exceptions import HTTPError

from idp.fetch import Door, FetchError, fault_in_words, read_some
from idp.keys import KeyRing
from idp.logout_token import TYPE, logout_token_claims
from idp.models import Client, Delivery, DeliveryAttempt
from idp.session_ending import LEASE_SECONDS, end_sessions, expired_sessions
from pickup_web import events
from pickup_web.clock import now

SIDE_BY_SIDE = 32  # requests a process makes at the same time
LOOK_SECONDS = 1.0  # how often a process looks for deliveries that are due
BATCH = 50  # deliveries a process takes in one look, so that the others get some, too
FIRST_PAUSE, LONGEST_PAUSE = 1, 60  # seconds between tries: doubled each time
MAX_ANSWER = 4096  # bytes of a client's answer that we read
USER_AGENT = "Pickup-IdP (back-channel logout)"

LOG = structlog.get_logger()


@dataclass(frozen=True)
class Outcome:
    """How one try went."""

    word: str
    is_final: bool
    status: int | None = None
    answer: str = ""


class Outbox:
    """Sends what session_ending.py wrote. One a process; processes share the table, never a try."""

    def __init__(
        self, engine: Engine, keys: KeyRing, door: Door, *, issuer: str, redirect_wait: float, policy: str
    ) -> None:
        self._engine, self._keys, self._door, self._issuer = engine, keys, door, issuer
        self._redirect_wait, self._policy = redirect_wait, policy
        self._record_lock = threading.Lock()  # one database, one writer: better to queue here than to collide there
        self._start_threads()

    def _start_threads(self) -> None:
        self._pool = ThreadPoolExecutor(SIDE_BY_SIDE, thread_name_prefix="delivery")
        self._http = self._door.session(SIDE_BY_SIDE)

    def run_in_background(self) -> None:
        """Called in each worker after gunicorn's fork: look after what is due, for ever."""
        self._start_threads()
        threading.Thread(target=self._look_for_ever, name="outbox", daemon=True).start()

    def send(self, delivery_ids: Sequence[str]) -> None:
        """Send these now, all at once; wait for them no longer than a user may be kept waiting."""
        wait(
            [self._pool.submit(self._try, delivery_id) for delivery_id in delivery_ids],
            timeout=self._redirect_wait,
        )

    def _look_for_ever(self) -> None:
        while True:
            time.sleep(spread(LOOK_SECONDS))
            try:
                self.look()
            except Exception:  # the next look may succeed, and there must be one
                LOG.exception("op.outbox.failed")

    def look(self) -> None:
        """End sessions whose time is over, take deliveries that are due, forget old events."""
        with Session(self._engine) as db:
            for reason, sids in expired_sessions(db, BATCH).items():
                self.send_later(end_sessions(db, sids, reason, self._policy))
            is_due = select(Delivery.id).where(
                Delivery.state == "pending", Delivery.next_try_at <= now(), Delivery.taken_until <= now()
            )
            due = [delivery_id for delivery_id in db.scalars(is_due.limit(BATCH)) if claim(db, delivery_id)]
            events.prune(db)
            db.commit()
        self.send_later(due)

    def send_later(self, delivery_ids: Sequence[str]) -> None:
        """Send these now, and do not wait for them."""
        for delivery_id in delivery_ids:
            self._pool.submit(self._try, delivery_id)

    def _try(self, delivery_id: str) -> None:
        """One try: sign, post, write down. An unexpected fault leaves the row to the next look."""
        try:
            with Session(self._engine, expire_on_commit=False) as db:
                delivery = db.get_one(Delivery, delivery_id)
                client = db.get(Client, delivery.client_id)
            if delivery.state != "pending":
                return
            if client is None or not client.backchannel_logout_uri:
                attempt, outcome = None, Outcome("client or its logout URI was removed", is_final=True)
            else:
                attempt, outcome = self._send_one_or_say_why(delivery, client)
            with self._record_lock, Session(self._engine) as db, db.begin():
                record_try(db, delivery, attempt, outcome)
        except Exception:
            LOG.exception("op.logout.try_failed", delivery=delivery_id)

    def _send_one_or_say_why(self, delivery: Delivery, client: Client) -> tuple[DeliveryAttempt | None, Outcome]:
        """A fault of our own, such as an algorithm without a key, is given up at the deadline like any other."""
        try:
            return self._send_one(delivery, client)
        except Exception:
            LOG.exception("op.logout.try_failed", delivery=delivery.id)
            return None, Outcome("fault of the provider", is_final=False)

    def _send_one(self, delivery: Delivery, client: Client) -> tuple[DeliveryAttempt, Outcome]:
        claims = logout_token_claims(
            issuer=self._issuer,
            client_id=client.client_id,
            sub=delivery.sub,
            sid=delivery.sid,
            now=now(),
            reason=delivery.reason if client.tell_logout_reason else None,
        )
        # BCL §2.6 (3): with the algorithm registered for the client's ID tokens.
        token = self._keys.sign(claims, alg=client.id_token_signed_response_alg, typ=TYPE)
        started, at = time.monotonic(), now()
        outcome = self._post(client, token)
        attempt = DeliveryAttempt(
            jti=claims["jti"],
            delivery_id=delivery.id,
            at=at,
            milliseconds=round((time.monotonic() - started) * 1000),
            outcome=outcome.word,
            status=outcome.status,
            answer=outcome.answer,
        )
        return attempt, outcome

    def _post(self, client: Client, token: str) -> Outcome:
        """BCL §2.5: a form post with one parameter, and nothing else."""
        try:
            self._door.check(client.backchannel_logout_uri or "")
            with self._http.post(
                client.backchannel_logout_uri or "",
                data={"logout_token": token},
                # A connection of its own: an old one may be closed by the other side just as we write.
                headers={"User-Agent": USER_AGENT, "Connection": "close"},
                timeout=(client.connect_timeout, client.read_timeout),
                allow_redirects=False,  # BCL-31: the token is for this address and no other
                stream=True,
            ) as response:
                body, _ = read_some(response, MAX_ANSWER)
                return judge(response.status_code, body, asks_again="Retry-After" in response.headers)
        except FetchError as error:
            return Outcome(f"the logout URI {error}", is_final=True)
        except (requests.RequestException, HTTPError, OSError) as error:
            return Outcome(fault_in_words(error), is_final=False)


def spread(seconds: float) -> float:
    """A little more, at random: what was started together should not stay together."""
    return seconds * random.uniform(1, 1.3)  # noqa: S311 # no secret depends on it


def claim(db: Session, delivery_id: str) -> bool:
    """Take a due delivery, unless another process was faster. The row tells until when it is taken."""
    is_mine = (Delivery.state == "pending", Delivery.next_try_at <= now(), Delivery.taken_until <= now())
    mine = update(Delivery).where(Delivery.id == delivery_id, *is_mine)
    taken = db.scalar(mine.values(taken_until=now() + LEASE_SECONDS).returning(Delivery.id))
    db.commit()
    return taken is not None


def judge(status: int, body: bytes, *, asks_again: bool = False) -> Outcome:
    """What a client's answer means. ``asks_again``: it said when to come back (RFC 9110 §10.2.3)."""
    if status in (200, 204):  # BCL §2.8; some frameworks turn an empty 200 into 204
        return Outcome("delivered", is_final=True, status=status)
    if 300 <= status < 400:
        return Outcome("redirect", is_final=True, status=status)
    if status >= 500 or status in (408, 429):  # BCL-35: may pass
        return Outcome("server error", is_final=False, status=status)
    if asks_again:  # it could not check the token just now, for want of our keys; the token is not what was wrong
        return Outcome("asked to come back", is_final=False, status=status, answer=own_words(body))
    return Outcome("refused", is_final=True, status=status, answer=own_words(body))


def own_words(body: bytes) -> str:
    """The client's error (BCL §2.8), for the ledger; behaviour never depends on it (BCL-66)."""
    try:
        answer = json.loads(body)
        return ": ".join(str(answer[name])[:200] for name in ("error", "error_description") if name in answer)
    except (ValueError, TypeError, RecursionError):
        return ""


def record_try(db: Session, delivery: Delivery, attempt: DeliveryAttempt | None, outcome: Outcome) -> None:
    """Write the try down and set when the next one is due."""
    tries = delivery.tries + 1
    pause = min(FIRST_PAUSE * 2**delivery.tries, LONGEST_PAUSE)
    next_try_at = now() + round(spread(pause))
    if outcome.is_final:
        state = "delivered" if outcome.word == "delivered" else "refused"
    else:
        state = "pending" if next_try_at < delivery.give_up_at else "given_up"
    if attempt is not None:
        db.add(attempt)
    values = {
        "tries": tries, "state": state, "outcome": outcome.word, "next_try_at": next_try_at, "taken_until": 0
    }  # fmt: skip
    # Only while it is open: a try that was slow must not undo what a later one achieved.
    db.execute(update(Delivery).where(Delivery.id == delivery.id, Delivery.state == "pending").values(values))
    events.record(
        db,
        "op.logout.retrying" if state == "pending" else f"op.logout.{state}",
        sid=delivery.sid,
        jti=attempt.jti if attempt else None,
        client_id=delivery.client_id,
        outcome=outcome.word,
        status=outcome.status,
        milliseconds=attempt.milliseconds if attempt else None,
        attempt=tries,
        answer=outcome.answer or None,
    )
