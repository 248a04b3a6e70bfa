"""Deliveries: list them with every attempt, export them, and send one again."""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import StringIO
from typing import Any

from sqlalchemy import ColumnElement, Select, func, or_, select, tuple_, update
from sqlalchemy.orm import Session, aliased

from idp.models import Client, Delivery, DeliveryAttempt, SsoSession, User
from idp.operations import NotFoundError, OperationError
from idp.outbox.ledger import LEASE_SECONDS, offered_seconds
from idp.provider import current_provider
from pickup_web import events
from pickup_web.clock import now

LAST_TRIES, ALL_TRIES = 10, 10_000  # of each delivery
PAGE = 500  # entries that an export holds in memory at a time
COLUMNS = (
    "delivery", "ended", "app", "app_name", "person", "sid", "reason", "state", "note", "next_try",
    "attempt", "milliseconds", "outcome", "status", "answer", "jti",
)  # fmt: skip


@dataclass(frozen=True)
class Search:
    """Filters; None matches everything. ``since`` and ``until`` are seconds since the epoch."""

    client_id: str | None = None
    sub: str | None = None
    sid: str | None = None
    state: str | None = None  # pending, delivered, refused, given_up, not_sent
    outcome: str | None = None  # of the last attempt
    since: int | None = None
    until: int | None = None  # exclusive
    offset: int = 0
    limit: int = 50


@dataclass
class Entry:
    """A delivery and its attempts, oldest first. A list has only the last :data:`LAST_TRIES` of them."""

    delivery: Delivery
    client_name: str | None  # None if the client's row was deleted
    username: str | None
    attempts: list[DeliveryAttempt] = field(default_factory=list)
    all_attempts: int = 0  # the total


@dataclass
class Ending:
    """The deliveries of one ended session: those on this page, and the number on all pages, by state."""

    entries: list[Entry]
    states: dict[str, int]

    @property
    def total(self) -> int:
        """How many deliveries the search finds on all pages."""
        return sum(self.states.values())


def search(db: Session, wanted: Search) -> tuple[list[Entry], int]:
    """One page of entries, newest first, and the total."""
    conditions = conditions_of(wanted)
    total = db.scalar(select(func.count()).select_from(Delivery).where(*conditions)) or 0
    return read(db, newest(conditions).offset(wanted.offset).limit(wanted.limit), LAST_TRIES), total


def by_ending(db: Session, wanted: Search, entries: Iterable[Entry]) -> list[Ending]:
    """Groups entries that :func:`search` found by ended session and reason, newest first.

    One session can have two reasons: an app was removed from it first, and later it ended.
    """
    groups: dict[tuple[str, str], Ending] = {}
    for entry in entries:
        key = (entry.delivery.sid, entry.delivery.reason)
        groups.setdefault(key, Ending([], {})).entries.append(entry)
    columns = (Delivery.sid, Delivery.reason, Delivery.state)
    these = Delivery.sid.in_({sid for sid, _ in groups})
    counted = select(*columns, func.count()).where(*conditions_of(wanted), these).group_by(*columns)
    for sid, reason, state, count in db.execute(counted.order_by(Delivery.state)):
        if (sid, reason) in groups:
            groups[sid, reason].states[state] = count
    return list(groups.values())


def get_delivery(db: Session, delivery_id: str) -> Entry:
    """One entry; :class:`NotFoundError`."""
    found = read(db, newest([Delivery.id == delivery_id])) if delivery_id.isprintable() else []
    if not found:
        raise NotFoundError("There is no such delivery.")
    return found[0]


def send_again(db: Session, delivery_id: str, by: str) -> Entry:
    """Send a delivery again now, whatever its state, with a new retry deadline.

    :class:`OperationError` if there is no URL to send it to, or if a worker is sending it now.
    """
    delivery = get_delivery(db, delivery_id).delivery
    client = db.get(Client, delivery.client_id)
    if client is None or client.removed_at is not None:
        raise OperationError("The app was removed, so there is nowhere to send it.")
    if not client.backchannel_logout_uri:
        raise OperationError("The app has no back-channel logout URL, so there is nowhere to send it.")
    at = now()
    free = update(Delivery).where(
        Delivery.id == delivery_id, or_(Delivery.state != "pending", Delivery.taken_until <= at)
    )
    reset = {"state": "pending", "note": "", "tries": 0, "refusals": 0}
    times = {"next_try_at": at, "taken_until": at + LEASE_SECONDS}
    taken = db.scalar(free.values(**reset, **times, give_up_at=at + offered_seconds(client)).returning(Delivery.id))
    if taken is None:
        db.rollback()
        raise OperationError("It is being sent now.")
    events.record(db, "op.logout.sent_again", sid=delivery.sid, client_id=delivery.client_id, by=by)
    db.commit()
    current_provider().outbox.send([delivery_id])
    return get_delivery(db, delivery_id)


def export_csv(db: Session, wanted: Search) -> Iterator[str]:
    """The deliveries as CSV (RFC 4180), in pieces: a line for each attempt, or one line if there was none."""
    yield as_csv([COLUMNS])
    conditions = conditions_of(wanted)
    after: list[ColumnElement[bool]] = []
    while entries := read(db, newest([*conditions, *after]).limit(PAGE)):
        yield as_csv(line for entry in entries for line in lines_of(entry))
        last = entries[-1].delivery  # not an offset: rows are added while this is read
        after = [tuple_(Delivery.created_at, Delivery.id) < tuple_(last.created_at, last.id)]


def conditions_of(wanted: Search) -> list[ColumnElement[bool]]:
    """The filters as SQL conditions."""
    conditions = [
        column == value
        for column, value in [
            (Delivery.client_id, wanted.client_id),
            (Delivery.sid, wanted.sid),
            (Delivery.state, wanted.state),
            (Delivery.outcome, wanted.outcome),
        ]
        if value is not None
    ]
    if wanted.sub is not None:
        conditions.append(Delivery.sid.in_(select(SsoSession.sid).where(SsoSession.sub == wanted.sub)))
    if wanted.since is not None:
        conditions.append(Delivery.created_at >= wanted.since)
    if wanted.until is not None:
        conditions.append(Delivery.created_at < wanted.until)
    return conditions


def newest(conditions: list[ColumnElement[bool]]) -> Select[Delivery, str, str]:
    """Deliveries, newest first, with the names of app and person."""
    query = (
        select(Delivery, Client.name, User.username)
        .outerjoin(Client, Client.client_id == Delivery.client_id)
        .outerjoin(SsoSession, SsoSession.sid == Delivery.sid)
        .outerjoin(User, User.sub == SsoSession.sub)
    )
    return query.where(*conditions).order_by(Delivery.created_at.desc(), Delivery.id.desc())


def read(db: Session, query: Select[Delivery, str, str], at_most: int = ALL_TRIES) -> list[Entry]:
    """The entries with their attempts, in two queries. Rereads rows that the session already has."""
    found = db.execute(query.execution_options(populate_existing=True)).all()
    entries = {delivery.id: Entry(delivery, name, username) for delivery, name, username in found}
    of_each: dict[str, Any] = {"partition_by": DeliveryAttempt.delivery_id}
    age = func.row_number().over(**of_each, order_by=DeliveryAttempt.at.desc()).label("age")
    ranked = select(DeliveryAttempt, age, func.count().over(**of_each).label("total"))
    tries = ranked.where(DeliveryAttempt.delivery_id.in_(entries)).subquery()
    attempt = aliased(DeliveryAttempt, tries)
    for one, total in db.execute(select(attempt, tries.c.total).where(tries.c.age <= at_most).order_by(attempt.at)):
        entry = entries[one.delivery_id]
        entry.attempts.append(one)
        entry.all_attempts = total
    return list(entries.values())


def lines_of(entry: Entry) -> Iterator[list[Any]]:
    """An entry's lines, in the order of :data:`COLUMNS`."""
    row = entry.delivery
    next_try = moment(row.next_try_at) if row.state == "pending" else ""
    beginning = [
        row.id, moment(row.created_at), row.client_id, text(entry.client_name), text(entry.username), row.sid,
        text(row.reason), row.state, row.note, next_try,
    ]  # fmt: skip
    for one in entry.attempts:
        yield [*beginning, moment(one.at), one.milliseconds, one.outcome, one.status, text(one.answer), one.jti]
    if not entry.attempts:
        yield [*beginning, "", "", "", "", "", ""]


def moment(seconds: int) -> str:
    """ISO 8601, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def text(words: str | None) -> str:
    """Text from outside, escaped so that a spreadsheet does not run it as a formula."""
    return f"'{words}" if words and words[0] in "=+-@\t\r" else words or ""


def as_csv(lines: Any) -> str:
    """The lines, quoted where necessary."""
    out = StringIO()
    csv.writer(out).writerows(lines)
    return out.getvalue()
