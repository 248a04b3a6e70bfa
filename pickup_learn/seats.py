"""Class mode: the seats of a room, and which steps the record showed of each.

A seat is a person whose account ``make class`` created. What a learner's browser says about progress is not asked:
a tick is made by the step's check (steps.py) from the messages of that person alone.
"""

import threading
import time
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from sqlalchemy import JSON, BigInteger, Engine, String, delete, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from pickup_learn import practice
from pickup_learn.acts import in_order
from pickup_learn.collector import now_ms
from pickup_learn.join import Message
from pickup_learn.record import Base, Record
from pickup_learn.verdicts import ALL, Runs, verdicts_on
from pickup_web.database import add_rows

PAUSE_SECONDS = 2.0  # the board is computed at most this often, however many people look at it
NOBODY = ""  # whose acts have no person, such as a request that curl sent


class Seat(Base):
    """One seat. Messages before ``since``, and later ones of the sessions ``old_sids``, do not count."""

    __tablename__ = "seat"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    since: Mapped[int] = mapped_column(BigInteger)
    old_sids: Mapped[list[str]] = mapped_column(JSON)


class Tick(Base):
    """A step that the record showed of a seat. It stays when the messages are deleted."""

    __tablename__ = "tick"

    seat: Mapped[str] = mapped_column(String(64), primary_key=True)
    step: Mapped[str] = mapped_column(String(80), primary_key=True)


class Row(NamedTuple):
    """One line of the board."""

    name: str
    done: list[str]  # steps and labs, in the order of ALL


class Seats:
    """The seats and their ticks, in the database of the record."""

    def __init__(self, engine: Engine, record: Record) -> None:
        self._engine, self._record = engine, record
        self._computing = threading.Lock()
        self._computed_at = -PAUSE_SECONDS
        self._rows: list[Row] = []
        self._last = 0  # the newest message that the ticks include

    def open(self, names: Iterable[str]) -> None:
        """Put these seats on the board; those that are on it stay as they are."""
        with Session(self._engine) as session, session.begin():
            known = set(session.scalars(select(Seat.name)))
            add_rows(session, Seat, [seat_row(name, []) for name in names if name not in known])

    def reset(self, name: str) -> bool:
        """Clear the seat's ticks; nothing that its sessions did or still do counts. False if there is no such seat."""
        old_sids = {str(one["sid"]) for one in self._record.messages_of(name) if one["sid"]}
        with Session(self._engine) as session, session.begin():
            if session.get(Seat, name) is None:
                return False
            session.execute(delete(Tick).where(Tick.seat == name))
            session.merge(Seat(**seat_row(name, sorted(old_sids))))
        return True

    def of(self, name: str) -> Seat | None:
        """The seat of that person, if they have one."""
        with Session(self._engine) as session:
            return session.get(Seat, name)

    def board(self) -> list[Row]:
        """Each seat with its ticks; the last row has the steps that requests without a person showed."""
        with self._computing:
            if time.monotonic() - self._computed_at >= PAUSE_SECONDS:
                self._rows = self._compute()
                self._computed_at = time.monotonic()
            return self._rows

    def _compute(self) -> list[Row]:
        changed, last = self._record.people_since(self._last)
        runs = practice.runs()  # one query for all seats
        with Session(self._engine) as session, session.begin():
            seats = {seat.name: seat for seat in session.scalars(select(Seat).order_by(Seat.name))}
            done: dict[str, set[str]] = {name: set() for name in seats}
            for tick in session.scalars(select(Tick)):
                done.setdefault(tick.seat, set()).add(tick.step)
            if not seats:
                return []
            seats[NOBODY] = Seat(**seat_row(NOBODY, []) | {"since": min(seat.since for seat in seats.values())})
            for name in changed & seats.keys():
                new = self._newly_done(seats[name], done.get(name, set()), runs)
                add_rows(session, Tick, [{"seat": name, "step": step} for step in new])
                done.setdefault(name, set()).update(new)
        self._last = last
        return [Row(name, [step for step in ALL if step in done.get(name, ())]) for name in seats]

    def _newly_done(self, seat: Seat, done: Collection[str], runs: Runs) -> list[str]:
        messages = counted(in_order(self._record.messages_of(seat.name)), seat.since, seat.old_sids)
        return [step for step, verdict in verdicts_on(messages, runs, without=done).items() if verdict.seen]


def seat_row(name: str, old_sids: Sequence[str]) -> dict[str, object]:
    """A seat that begins now."""
    return {"name": name, "since": now_ms(), "old_sids": list(old_sids)}


def counted(messages: Iterable[Message], since: int, old_sids: Collection[str]) -> list[Message]:
    """The messages of a seat that count: later than its last reset, and of no session before it."""
    return [one for one in messages if one["at"] >= since and one["sid"] not in old_sids]
