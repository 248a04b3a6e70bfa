"""Named events: the log, the record that tests and lessons read, one vocabulary (docs/events.md).

A name says who, what and how it went: ``op.logout.delivered``, ``rp.logout_token.rejected``. An
event never carries a token, a code, a password or a cookie.
"""

from collections.abc import Iterable
from typing import Any

import structlog
from blinker import Signal
from flask import Blueprint, Flask, Response, jsonify, request
from sqlalchemy import JSON, BigInteger, String, delete, event, func, select
from sqlalchemy.orm import Mapped, Session, SessionTransaction, mapped_column

from pickup_web import clock
from pickup_web.database import Base, add_row, add_rows, db

COLUMNS = ("name", "sid", "jti", "client_id", "outcome")  # what an event says in words of its own
KEEP = 10_000  # rows; older ones are deleted, so that rejected tokens cannot fill the disk
LINES = "event lines"  # in Session.info: what the log is told after the commit
LOG = structlog.get_logger()
recorded = Signal()  # ``rows``: the events, as they were just recorded


class Event(Base):
    """One event. ``at`` is in seconds since the epoch; ``outcome`` is a word, ``detail`` what belongs to the name."""

    __tablename__ = "event"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[int] = mapped_column(BigInteger)
    name: Mapped[str] = mapped_column(String(80), index=True)
    sid: Mapped[str | None] = mapped_column(String(255), index=True)
    jti: Mapped[str | None] = mapped_column(String(255))
    client_id: Mapped[str | None] = mapped_column(String(255))
    outcome: Mapped[str | None] = mapped_column(String(255))
    detail: Mapped[dict[str, Any]] = mapped_column(JSON)

    def as_dict(self) -> dict[str, Any]:
        """The event as /events shows it."""
        columns = ("id", "at", "name", "sid", "jti", "client_id", "outcome", "detail")
        return {column: getattr(self, column) for column in columns}


def record(
    session: Session,
    name: str,
    *,
    sid: str | None = None,
    jti: str | None = None,
    client_id: str | None = None,
    outcome: str | None = None,
    **detail: Any,
) -> None:
    """Add the event to the caller's transaction: it is recorded if, and only if, what it tells happened."""
    record_all(session, [dict(name=name, sid=sid, jti=jti, client_id=client_id, outcome=outcome, **detail)])


def record_all(session: Session, happened: Iterable[dict[str, Any]]) -> None:
    """The same for many events, with the arguments of :func:`record`, in one statement."""
    rows = []
    lines = session.info.setdefault(LINES, [])
    for each in happened:
        known = {name: each.get(name) for name in COLUMNS}
        detail = {name: value for name, value in each.items() if name not in COLUMNS}
        rows.append({**known, "at": clock.now(), "detail": detail})
        lines.append(each)
    if len(rows) == 1:
        add_row(session, Event, **rows[0])
    else:
        add_rows(session, Event, rows)
    recorded.send(rows=rows)


@event.listens_for(Session, "after_commit")
def write_lines(session: Session) -> None:
    """Log the transaction's events after its commit, so that no other writer waits for the log."""
    if session.in_nested_transaction():  # only a savepoint was released
        return
    for line in session.info.pop(LINES, []):
        LOG.info(line["name"], **{name: value for name, value in line.items() if name != "name"})


@event.listens_for(Session, "after_transaction_end")
def drop_lines(session: Session, transaction: SessionTransaction) -> None:
    """After a rollback, nothing is logged."""
    if transaction.parent is None:
        session.info.pop(LINES, None)


def record_signal(_app: Flask, *, name: str, **values: Any) -> None:
    """Receiver for the relying party's signal ``protocol_event``: record it, in a transaction of its own."""
    with Session(db.engine) as session, session.begin():
        record(session, name, **values)
        prune(session)


def prune(session: Session) -> None:
    """Forget all but the newest :data:`KEEP` events."""
    oldest, newest = (session.scalar(select(which(Event.id))) for which in (func.min, func.max))
    if oldest and newest and newest - oldest >= KEEP:  # else there is nothing to write
        session.execute(delete(Event).where(Event.id <= newest - KEEP))


def init_app(app: Flask, *, show: bool) -> None:
    """With the demo switch on, ``GET /events`` shows the rows of the table to anyone."""
    if show:
        blueprint = Blueprint("events", __name__)
        blueprint.get("/events")(list_events)
        app.register_blueprint(blueprint)


def list_events() -> Response:
    """``?after=ID&sid=…&name=…`` → ``{"events": […]}``, oldest first, 200 at most."""
    after = max(0, min(request.args.get("after", 0, type=int), 2**31 - 1))  # what a database can compare with
    query = select(Event).where(Event.id > after).order_by(Event.id).limit(200)
    for column in (Event.sid, Event.name):
        if value := request.args.get(column.key):
            query = query.where(column == value.replace("\0", "?"))  # not every database can be asked for it
    return jsonify(events=[each.as_dict() for each in db.session.scalars(query)])
