"""[7] The outbox: tells each client that a session is over, and writes down every try.

A delivery is a row before it is a request (session_ending.py), so nothing that dies loses it. It is
sent at once, side by side with the others; what fails is tried again with growing pauses. None of
this can delay or undo the user's own logout.

    take the rows ─ sign ─ post ─ write down, many at a time

A row that was taken is nobody else's until ``taken_until``. Who was killed in between has at worst told
an app what it then hears once more: the result of a try is written after the answer, never before.
"""

import asyncio
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from textwrap import shorten
from typing import Any, NamedTuple
from urllib.parse import urlencode
from weakref import WeakValueDictionary

import structlog
from sqlalchemy import Engine, bindparam, or_, select, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from idp.background.clean_up import clean_up
from idp.flow.logout_token import TYPE, logout_token_claims
from idp.flow.session_ending import (
    LEASE_SECONDS,
    Reason,
    end_participations,
    end_sessions,
    expired_sessions,
    finish_endings,
    unfinished_endings,
    unfinished_removals,
)
from idp.models import OUTCOME_LENGTH, Client, Delivery, DeliveryAttempt
from idp.outbox.http import (
    BODY_SECONDS,
    LOOK_UP_SECONDS,
    AddressError,
    Answer,
    FetchError,
    GuardedHttpClient,
    Request,
    in_background,
)
from idp.tokens.signing_keys import SigningKeys
from pickup_web import events
from pickup_web.clock import now
from pickup_web.database import add_rows, table_of

IN_FLIGHT = 512  # requests a process makes at the same time: each is an open file
IN_HAND = 1000  # deliveries a process takes out of the table at most, so that the others get some, too
LOOK_SECONDS = 1.0  # how often a process looks for deliveries that are due,
ROUND_SECONDS = 60  # and for what somebody left unfinished or nobody needs any more
PUMP_SECONDS = 0.1  # and while there are more of them than it can have in hand
SIGNED_AT_ONCE = 16  # before the first of them goes out: signing is what takes the longest
# A client's own patience goes as far as this: with look-up and body less than a lease, or two could be at one row.
MAX_CONNECT_SECONDS, MAX_READ_SECONDS = 5.0, 10.0
MANY = 20  # deliveries in hand; while there are more than so many,
GATHER_SECONDS = 0.02  # a result waits so long for others to be written down with,
GATHER_TIMES = 10  # and so often at most, while there are apps that were not asked yet
REFUSALS = 3  # answers of 400 that make it final; an app has no other status for a fault that passes (BCL §2.8)
FIRST_PAUSE, LONGEST_PAUSE = 1, 60  # seconds between tries: doubled each time
FARTHEST_SECONDS = 2 * LONGEST_PAUSE  # no next try is set farther ahead than this
MAX_ANSWER = 4096  # bytes of a client's answer that we read
USER_AGENT = "Pickup-IdP (back-channel logout)"

LOG = structlog.get_logger()


class Job(NamedTuple):
    """A delivery in hand, with what is known of its client; without a URI, if that is gone."""

    id: str
    client_id: str
    sid: str
    sub: str
    host: str
    reason: str
    tries: int
    give_up_at: int
    taken_until: int
    refusals: int
    uri: str | None
    alg: str | None
    tell_reason: bool | None
    connect_timeout: float | None
    read_timeout: float | None
    ca_certificates: str | None

    def longest_try(self) -> float:
        """Seconds that a try can take."""
        connect, read = self.patience()
        return LOOK_UP_SECONDS + connect + read + BODY_SECONDS

    def patience(self) -> tuple[float, float]:
        """Seconds to connect, and to wait for the answer."""
        return min(self.connect_timeout or 0, MAX_CONNECT_SECONDS), min(self.read_timeout or 0, MAX_READ_SECONDS)


@dataclass(frozen=True)
class Outcome:
    """How one try went. ``state``: what is to become of the delivery; a pending one is tried again."""

    word: str
    state: str
    status: int | None = None
    answer: str = ""

    def in_ledger(self) -> str:
        """The word as the ledger's columns hold it: SQLite stores a longer one, PostgreSQL refuses the whole row."""
        return shorten(self.word, OUTCOME_LENGTH, placeholder="…")


class Result(NamedTuple):
    """A try, to be written down. Without ``jti`` nothing was sent."""

    job: Job
    outcome: Outcome
    at: int
    milliseconds: int | None = None
    jti: str | None = None


class Outbox:
    """Sends what session_ending.py wrote. One a process; processes share the table, never a try."""

    def __init__(
        self,
        engine: Engine,
        keys: SigningKeys,
        http: GuardedHttpClient,
        *,
        issuer: str,
        redirect_wait: float,
        policy: str,
        per_host: int,
    ) -> None:
        self._engine, self._keys, self._http, self._issuer = engine, keys, http, issuer
        self._redirect_wait, self._policy, self._per_host = redirect_wait, policy, per_host
        self._lock = threading.Lock()
        self._in_hand: Counter[str] = Counter()  # deliveries by host
        # What follows belongs to the thread that makes the requests.
        self._all_slots = asyncio.Semaphore(IN_FLIGHT)
        self._unsigned = 0
        self._signing = asyncio.Semaphore(SIGNED_AT_ONCE)
        self._host_slots: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._results: list[tuple[Result, asyncio.Future[None]]] = []
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="ledger")  # one database, one writer
        self._is_writing = False

    def run_in_background(self) -> None:
        """Called in each worker after gunicorn's fork: look after what is due, for ever."""
        threading.Thread(target=self._look_for_ever, name="outbox", daemon=True).start()

    def send(self, delivery_ids: Sequence[str]) -> None:
        """Send these now, all at once; wait for them no longer than a user may be kept waiting."""
        try:
            self.send_later(delivery_ids).result(self._redirect_wait)
        except TimeoutError:
            return
        except Exception:  # the session has ended, and the rows are there: whoever looks next sends them
            LOG.exception("op.outbox.failed")

    def send_later(self, delivery_ids: Sequence[str]) -> Future[Any]:
        """Send these now, and do not wait for them. The caller took them, or has just written them."""
        jobs = load(self._engine, delivery_ids)
        with self._lock:
            self._in_hand.update(job.host for job in jobs)
        return in_background(self._deliver_all(jobs))

    # --- what is due ---

    def _look_for_ever(self) -> None:
        next_round = 0.0
        while True:
            time.sleep(spread(LOOK_SECONDS))
            try:
                while self.look():
                    time.sleep(PUMP_SECONDS)
                if next_round <= time.monotonic():
                    next_round = time.monotonic() + spread(ROUND_SECONDS)
                    self.go_round()
            except Exception:  # the next look may succeed, and there must be one
                LOG.exception("op.outbox.failed")

    def look(self) -> bool:
        """End sessions whose time is over, take deliveries that are due, forget old events.

        Returns whether there may be more to do right away.
        """
        with self._lock:
            # What stands in line for a host that is slow must not keep out what is for others.
            room = IN_HAND - sum(min(number, self._per_host) for number in self._in_hand.values())
            busy = [host for host, number in self._in_hand.items() if number >= self._per_host]
        with Session(self._engine) as db:
            self._end(db, expired_sessions(db, IN_HAND))
            due = take(db, room, busy) if room > 0 else []
            events.prune(db)
            db.commit()
        self.send_later(due)
        return room > 0 and len(due) == room

    def go_round(self) -> None:
        """Finish what a process that was killed left unfinished, and delete what nobody needs any more."""
        with Session(self._engine) as db:
            for reason, sids in unfinished_endings(db, IN_HAND).items():
                self.send_later(finish_endings(db, sids, reason, self._policy))
            for client in unfinished_removals(db):
                self.send_later(end_participations(db, client, Reason.CLIENT_REMOVED, self._policy))
            clean_up(db)

    def _end(self, db: Session, sessions: dict[Reason, list[str]]) -> None:
        for reason, sids in sessions.items():
            self.send_later(end_sessions(db, sids, reason, self._policy))

    # --- one delivery ---

    async def _deliver_all(self, jobs: list[Job]) -> None:
        await asyncio.gather(*(self._deliver(job) for job in jobs))

    async def _deliver(self, job: Job) -> None:
        """One try. An unexpected fault leaves the row to whoever looks when the lease is over."""
        try:
            async with self._host_slot(job.host), self._all_slots:
                if now() + job.longest_try() > job.taken_until:
                    return  # it stood in line for too long, and goes to the end of it
                result = await self._try(job)
            await self._write_down(result)
        except Exception:
            LOG.exception("op.logout.try_failed", delivery=job.id)
        finally:
            with self._lock:
                self._in_hand[job.host] -= 1
                if not self._in_hand[job.host]:
                    del self._in_hand[job.host]

    def _host_slot(self, host: str) -> asyncio.Semaphore:
        """So many at a time to one host; who waits for a slow one takes nobody else's place."""
        slot = self._host_slots.get(host)
        if slot is None:
            slot = self._host_slots[host] = asyncio.Semaphore(self._per_host)
        return slot

    async def _try(self, job: Job) -> Result:
        """Sign and post. A fault of our own, such as an algorithm without a key, is given up at the deadline, too."""
        if job.uri is None:
            return Result(job, Outcome("The client has no back-channel logout URI any more.", "not_sent"), now())
        try:
            claims = logout_token_claims(
                issuer=self._issuer,
                client_id=job.client_id,
                sub=job.sub,
                sid=job.sid,
                now=now(),
                reason=job.reason if job.tell_reason else None,
            )
            # BCL §2.6 (3): with the algorithm registered for the client's ID tokens.
            self._unsigned += 1
            async with self._signing:
                self._unsigned -= 1
                token = self._keys.sign(claims, alg=job.alg or "", typ=TYPE)
                await asyncio.sleep(0)  # let those go out that are signed
        except Exception:
            LOG.exception("op.logout.try_failed", delivery=job.id)
            return Result(job, Outcome("fault of the provider", "pending"), now())
        started, at = time.monotonic(), now()
        outcome = await post(self._http, job.uri, token, *job.patience(), job.ca_certificates)
        return Result(job, outcome, at, round((time.monotonic() - started) * 1000), claims["jti"])

    # --- the ledger ---

    async def _write_down(self, result: Result) -> None:
        """Written together with the others that come meanwhile: a commit waits for the disk, whatever is in it."""
        loop = asyncio.get_running_loop()
        is_written = loop.create_future()
        self._results.append((result, is_written))
        if not self._is_writing:
            self._is_writing = True
            while self._results:
                await self._gather_results()
                batch, self._results = self._results, []
                try:
                    await loop.run_in_executor(self._writer, self._write, [one for one, _ in batch])
                except Exception:
                    LOG.exception("op.outbox.failed")
                for _, waiter in batch:
                    waiter.set_result(None)
            self._is_writing = False
        await is_written

    async def _gather_results(self) -> None:
        """While many are in hand: first what the apps wait for, then what the ledger waits for."""
        for _ in range(GATHER_TIMES):
            if self._in_hand.total() > len(self._results) + MANY:
                await asyncio.sleep(GATHER_SECONDS)
            if not self._unsigned:
                return

    def _write(self, results: list[Result]) -> None:
        """All together; if one cannot be written, the others must not be lost with it."""
        try:
            self._write_together(results)
        except OperationalError:  # it is the database itself; the rows are tried again after their lease
            raise
        except Exception:
            LOG.exception("op.outbox.failed")
            for result in results:
                self._write_alone(result)

    def _write_together(self, results: list[Result]) -> None:
        with Session(self._engine) as db, db.begin():
            record_tries(db, results)

    def _write_alone(self, result: Result) -> None:
        """If need be without the app's own words, the one part that is not ours."""
        for outcome in (result.outcome, replace(result.outcome, answer="")):
            try:
                self._write_together([result._replace(outcome=outcome)])
                break
            except Exception:
                LOG.exception("op.logout.try_failed", delivery=result.job.id)


async def post(
    http: GuardedHttpClient,
    uri: str,
    token: str,
    connect_timeout: float,
    read_timeout: float,
    ca_certificates: str | None = None,
) -> Outcome:
    """BCL §2.5: a form post with one parameter, and nothing else. BCL-31: for this address and no other."""
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
    """What a client's answer means. Its status is its word (BCL §2.8), however odd the body: that is noted."""
    status = answer.status
    if status in (200, 204):  # BCL §2.8; some frameworks turn an empty 200 into 204
        return Outcome(answer.fault or "delivered", "delivered", status)
    if 300 <= status < 400:
        return Outcome("redirect", "refused", status)
    if status >= 500 or status in (408, 429):  # BCL-35: may pass
        return Outcome("server error", "pending", status)
    if "retry-after" in answer.headers:  # RFC 9110 §10.2.3: it could not check the token, for want of our keys
        return Outcome("asked to come back", "pending", status, own_words(answer.body))
    return Outcome("refused", "refused", status, own_words(answer.body))


def own_words(body: bytes) -> str:
    """The client's error (BCL §2.8), for the ledger; behaviour never depends on it (BCL-66)."""
    try:
        answer = json.loads(body)
        words = ": ".join(str(answer[name])[:200] for name in ("error", "error_description") if name in answer)
    except (ValueError, TypeError, RecursionError):
        return ""
    return "".join(
        char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in words
    )  # as databases take it


def spread(seconds: float) -> float:
    """A little more, at random: what was started together should not stay together."""
    return seconds * random.uniform(1, 1.3)  # noqa: S311 # no secret depends on it


# --- rows ---


def load(engine: Engine, delivery_ids: Sequence[str]) -> list[Job]:
    """What is still to be sent of these, in their order."""
    if not delivery_ids:
        return []
    columns = (
        Delivery.id, Delivery.client_id, Delivery.sid, Delivery.sub, Delivery.host, Delivery.reason, Delivery.tries,
        Delivery.give_up_at, Delivery.taken_until, Delivery.refusals, Client.backchannel_logout_uri,
        Client.id_token_signed_response_alg, Client.tell_logout_reason, Client.connect_timeout, Client.read_timeout,
        Client.ca_certificates,
    )  # fmt: skip
    query = select(*columns).outerjoin(Client, Client.client_id == Delivery.client_id)
    with Session(engine) as db:
        return [
            Job._make(row)
            for row in db.execute(query.where(Delivery.id.in_(delivery_ids), Delivery.state == "pending"))
        ]


def take(db: Session, limit: int, but_not_to: Collection[str] = ()) -> list[str]:
    """Take deliveries that are due, unless another process was faster. The row tells until when they are taken.

    If it is not tried by then, it is behind all that are due meanwhile. A time so far ahead as we never set it is
    of a clock that was wrong then, or is now.
    """
    is_late, is_odd = Delivery.next_try_at <= now(), Delivery.next_try_at > now() + FARTHEST_SECONDS
    is_let_go = or_(Delivery.taken_until <= now(), Delivery.taken_until > now() + LEASE_SECONDS)
    is_free = (Delivery.state == "pending", is_let_go)
    due = select(Delivery.id).where(*is_free, Delivery.host.not_in(but_not_to)).order_by(Delivery.next_try_at)
    # One after the other: each is a piece of the index, both together are not.
    found = [one for when in (is_late, is_odd) for one in db.scalars(due.where(when).limit(limit))][:limit]
    if not found:  # mostly; and a look must not keep those who write waiting
        return []
    still = (*is_free, or_(is_late, is_odd))
    free = select(Delivery.id).where(Delivery.id.in_(found), *still).with_for_update(skip_locked=True)
    mine = update(Delivery).where(Delivery.id.in_(free), *still).execution_options(synchronize_session=False)
    until = now() + LEASE_SECONDS
    taken = db.scalars(mine.values(taken_until=until, next_try_at=until).returning(Delivery.id)).all()
    db.commit()
    return list(taken)


def record_tries(db: Session, results: list[Result]) -> None:
    """Write the tries down, and set when the next one of each is due."""
    add_rows(db, DeliveryAttempt, [attempt_of(result) for result in results if result.jti is not None])
    row = table_of(Delivery).c
    # Only while it is open, and not what another process took meanwhile: a try that was slow must not undo what a
    # later one achieves. But an app that was told was told.
    mine = update(table_of(Delivery)).where(
        row.id == bindparam("its_id"), row.state == "pending", row.taken_until <= bindparam("latest_lease")
    )
    changes = [changes_by(result) for result in results]
    db.connection().execute(mine.values({name: bindparam(name) for name in CHANGED}), changes)
    events.record_all(db, map(event_of, results, changes))


CHANGED = ("tries", "refusals", "state", "note", "outcome", "next_try_at", "taken_until")


def changes_by(result: Result) -> dict[str, Any]:
    """What becomes of the delivery's row."""
    job, outcome = result.job, result.outcome
    next_try_at = now() + round(spread(min(FIRST_PAUSE * 2**job.tries, LONGEST_PAUSE)))
    is_400 = outcome.state == "refused" and outcome.status == 400
    has_time = next_try_at < job.give_up_at
    state = outcome.state
    if state == "pending" and not has_time:
        state = "given_up"
    elif is_400 and job.refusals + 1 < REFUSALS and has_time:
        state = "pending"
    return {
        "its_id": job.id,
        "latest_lease": 2**62 if outcome.state == "delivered" else job.taken_until,
        "tries": job.tries + 1,
        "refusals": job.refusals + is_400,
        "state": state,
        "note": outcome.word if outcome.state == "not_sent" else "",
        "outcome": "" if outcome.state == "not_sent" else outcome.in_ledger(),
        "next_try_at": next_try_at,
        "taken_until": 0,
    }


def attempt_of(result: Result) -> dict[str, Any]:
    """The try's own row."""
    return {
        "jti": result.jti,
        "delivery_id": result.job.id,
        "at": result.at,
        "milliseconds": result.milliseconds,
        "outcome": result.outcome.in_ledger(),
        "status": result.outcome.status,
        "answer": result.outcome.answer,
    }


def event_of(result: Result, change: dict[str, Any]) -> dict[str, Any]:
    """What the log and the record say of the try."""
    job, outcome, state = result.job, result.outcome, change["state"]
    return {
        "name": "op.logout.retrying" if state == "pending" else f"op.logout.{state}",
        "sid": job.sid,
        "jti": result.jti,
        "client_id": job.client_id,
        "outcome": outcome.word,
        "status": outcome.status,
        "milliseconds": result.milliseconds,
        "attempt": change["tries"],
        "answer": outcome.answer or None,
    }
