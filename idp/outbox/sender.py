"""The outbox: sends the deliveries that step [11] queued, in parallel, and records each attempt.

The steps themselves are passed in as a function (flow/delivery.py). This file limits how many run at once, so that
no slow or unreachable host delays the others, and no delivery delays or undoes the user's own logout.
"""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Protocol
from weakref import WeakValueDictionary

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from idp.outbox.http import in_background
from idp.outbox.ledger import Attempt, Job, load_jobs, record_attempts
from pickup_web.clock import now

IN_FLIGHT = 512  # simultaneous requests of a process; each is an open file
IN_HAND = 1000  # most deliveries a process claims, so that the other workers get some too
SIGNED_AT_ONCE = 16  # before the first of them is sent, because signing takes longest
MANY = 20  # while more deliveries than this are in hand,
GATHER_SECONDS = 0.02  # a result waits this long to be recorded with others,
GATHER_TIMES = 50  # and at most this often, while some apps have not been called yet
DRAIN_SECONDS = 5.0  # longer than most apps take, and part of the time that a process has to stop

LOG = structlog.get_logger()


class Deliver(Protocol):
    """flow/delivery.py's step, with all but ``sign`` bound."""

    async def __call__(self, job: Job, *, sign: Any) -> Attempt: ...


class Signer(Protocol):
    """``SigningKeys``."""

    def sign(self, claims: dict[str, Any], *, alg: str, typ: str) -> str: ...


class Outbox:
    """One per process. Processes share the table, but never an attempt."""

    def __init__(self, engine: Engine, deliver: Deliver, keys: Signer, *, redirect_wait: float, per_host: int) -> None:
        self._engine, self._deliver_one, self._keys = engine, deliver, keys
        self.redirect_wait, self._per_host = redirect_wait, per_host
        self._lock = threading.Lock()
        self._in_hand: Counter[str] = Counter()  # deliveries by host
        # The following belongs to the thread that makes the requests.
        self._all_slots = asyncio.Semaphore(IN_FLIGHT)
        self._unsigned = 0
        self._signing = asyncio.Semaphore(SIGNED_AT_ONCE)
        self._host_slots: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._results: list[tuple[Attempt, asyncio.Future[None]]] = []
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="ledger")  # one database, one writer
        self._is_writing = False

    def send(self, delivery_ids: Sequence[str]) -> None:
        """Send these now, all at once; wait no longer than a user's redirect may wait."""
        try:
            self.send_later(delivery_ids).result(self.redirect_wait)
        except TimeoutError:
            return
        except Exception:  # the session has ended and the rows exist: the next worker that polls sends them
            LOG.exception("op.outbox.failed")

    def send_later(self, delivery_ids: Sequence[str]) -> Future[Any]:
        """Send these now, without waiting. The caller has claimed them, or has just queued them."""
        jobs = load_jobs(self._engine, delivery_ids)
        with self._lock:
            self._in_hand.update(job.host for job in jobs)
        return in_background(self._deliver_all(jobs))

    def drain(self, seconds: float = DRAIN_SECONDS) -> None:
        """Before the process ends: wait until the attempts in hand are recorded. Else another process repeats them."""
        until = time.monotonic() + seconds
        while self._in_hand and time.monotonic() < until:
            time.sleep(0.02)  # between two looks

    def room(self) -> tuple[int, list[str]]:
        """How many more deliveries this process can accept, and the hosts whose queue is full."""
        with self._lock:
            # Deliveries that wait for a slow host must not block those to other hosts.
            taken = sum(min(number, self._per_host) for number in self._in_hand.values())
            return IN_HAND - taken, [host for host, number in self._in_hand.items() if number >= self._per_host]

    # --- concurrency ---

    async def _deliver_all(self, jobs: list[Job]) -> None:
        await asyncio.gather(*(self._deliver(job) for job in jobs))

    async def _deliver(self, job: Job) -> None:
        """One attempt. After an unexpected error another worker claims the row when its lease is over."""
        try:
            async with self._host_slot(job.host), self._all_slots:
                if now() + job.longest_try() > job.taken_until:
                    return  # it waited here too long, so it goes to the end of the queue
                attempt = await self._deliver_one(job, sign=self._sign)
            await self._write_down(attempt)
        except Exception:
            LOG.exception("op.logout.try_failed", delivery=job.id)
        finally:
            with self._lock:
                self._in_hand[job.host] -= 1
                if not self._in_hand[job.host]:
                    del self._in_hand[job.host]

    def _host_slot(self, host: str) -> asyncio.Semaphore:
        """Limits concurrency per host, so that a slow host cannot use up the global limit."""
        slot = self._host_slots.get(host)
        if slot is None:
            slot = self._host_slots[host] = asyncio.Semaphore(self._per_host)
        return slot

    async def _sign(self, claims: dict[str, Any], alg: str, typ: str) -> str:
        """A few signatures at a time, so that the first tokens are sent while the others are being signed."""
        self._unsigned += 1
        async with self._signing:
            self._unsigned -= 1
            token = self._keys.sign(claims, alg=alg, typ=typ)
            await asyncio.sleep(0)  # lets the signed ones be sent
            return token

    # --- the ledger ---

    async def _write_down(self, attempt: Attempt) -> None:
        """Batches results: a commit costs one fsync, however many rows it has."""
        loop = asyncio.get_running_loop()
        is_written = loop.create_future()
        self._results.append((attempt, is_written))
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
        """While many are in hand, calling the remaining apps has priority over recording."""
        for _ in range(GATHER_TIMES):
            if self._in_hand.total() > len(self._results) + MANY:
                await asyncio.sleep(GATHER_SECONDS)
            if not self._unsigned:
                return

    def _write(self, attempts: list[Attempt]) -> None:
        """Record them together. If one cannot be recorded, the others are recorded without it."""
        try:
            self._write_together(attempts)
        except OperationalError:  # the database is unavailable; the rows are retried after their lease
            raise
        except Exception:
            LOG.exception("op.outbox.failed")
            for attempt in attempts:
                self._write_alone(attempt)

    def _write_together(self, attempts: list[Attempt]) -> None:
        with Session(self._engine) as db, db.begin():
            record_attempts(db, attempts)

    def _write_alone(self, attempt: Attempt) -> None:
        """If it fails again, without the app's own text, the only part we did not create."""
        for outcome in (attempt.outcome, replace(attempt.outcome, answer="")):
            try:
                self._write_together([attempt._replace(outcome=outcome)])
                break
            except Exception:
                LOG.exception("op.logout.try_failed", delivery=attempt.job.id)
