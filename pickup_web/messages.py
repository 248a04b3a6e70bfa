"""The record of protocol messages: what a service receives and sends (docs/events.md).

Only with the demo switch ``PICKUP_DEMO_EVENTS``. Without it, no hook is installed and ``GET /messages`` does not exist.
A request only takes a note. A thread makes the rows, so that no request waits for the record:

    request ─ note ─▶ queue ─ thread, every 100 ms ─ message_row.py ─▶ table ─▶ GET /messages
"""

import atexit
import json
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import structlog
from flask import Blueprint, Flask, Response, g, has_request_context, request, request_finished, request_started
from sqlalchemy import Result, Text, delete, func, insert, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.sql.expression import bindparam

from pickup_web import events, trace
from pickup_web import message_shape as shape
from pickup_web.database import db, engine_of, relax, table_of
from pickup_web.message_row import CHANNELS, Note, content_of, row_of
from pickup_web.schema import create_if_missing

KEEP = 10_000  # rows; older rows are deleted
PRUNE_EVERY = 100  # rows
MAX_QUEUE = 2_000  # notes that wait for the thread; older ones are lost
WAIT_SECONDS = 0.1  # how long the thread collects notes before it writes them together
MAX_ANSWER = 500  # rows in one answer
MAX_LENGTH = 1024 * 1024  # characters after which an answer has no further row
SENDERS = {"backchannel_logout": "idp"}  # of requests between services that do not name their sender
OUTSIDE = "outside"  # anyone else who sends such a request, such as an attacker
FAILURES = ("failed", "rejected", "refused", "throttled")  # the last word of an event that is a refusal
ENVIRON = {
    name: "CONTENT_TYPE" if name == "content-type" else f"HTTP_{name.upper().replace('-', '_')}"
    for name in shape.REQUEST_HEADERS
}

Known: TypeAlias = Callable[[Response], Mapping[str, str | None]]
Tabs: TypeAlias = Callable[[], Mapping[str, int]]

LOG = structlog.get_logger()


class Base(DeclarativeBase):
    """The record's table in each service's database."""


class Message(Base):
    """One message at this service's edge, as JSON."""

    __tablename__ = "message"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012 # ids must not repeat after a reset

    id: Mapped[int] = mapped_column(primary_key=True)
    content: Mapped[str] = mapped_column(Text)


# Statements on the table need a quarter of the time of those on the model.
TABLE = table_of(Message)
INSERT = insert(TABLE)
PRUNE = delete(TABLE).where(TABLE.c.id <= select(func.max(TABLE.c.id)).scalar_subquery() - bindparam("keep"))


# --- recording ---


class Recorder:
    """The recorder of one service.

    ``kinds`` maps the recorded endpoints to kinds of message. ``known`` returns what the view knows about its request:
    state, sid, client_id, sub. ``tabs`` returns how many browsers have a tab open, by sid.
    """

    def __init__(
        self,
        app: Flask,
        service: str,
        base_url: str,
        kinds: Mapping[str, str],
        known: Known,
        tabs: Tabs | None = None,
    ) -> None:
        self.service, self._base_url, self._kinds, self._known, self._tabs = service, base_url, kinds, known, tabs
        self._engine = engine_of(app)
        self.queue: deque[Note] = deque(maxlen=MAX_QUEUE)
        self._filled, self._writing = threading.Event(), threading.Lock()
        self.is_failing, self._unpruned = False, 0
        create_if_missing(self._engine, Base.metadata)

    def add(self, note: Note) -> None:
        """Give the note to the thread."""
        self.queue.append(note)
        if not self._filled.is_set():
            self._filled.set()

    # --- incoming requests ---

    def request_started(self, _app: Flask, **_: Any) -> None:
        """Receiver for Flask's signal: take a note if the endpoint is part of the protocol."""
        environ = request.environ
        span = trace.of_request()
        if kind := self._kinds.get(request.endpoint or ""):
            sender = "browser" if CHANNELS[kind] == "front" else SENDERS.get(kind)
            url = self._base_url + environ.get("PATH_INFO", "")
            g.message = Note(kind, "in", sender, self.service, environ["REQUEST_METHOD"], url, span)

    def request_finished(self, _app: Flask, *, response: Response, **_: Any) -> None:
        """Receiver for Flask's signal: complete the note."""
        note: Note | None = g.pop("message", None)
        if note is None:
            return
        try:
            self._complete(note, response)
            self.add(note)
        except Exception as error:  # the record must not fail the request
            self._log_failure(error)

    def _complete(self, note: Note, response: Response) -> None:
        note.end()
        note.status = response.status_code
        environ, sent = request.environ, response.headers
        note.request_headers = {name: environ[key] for name, key in ENVIRON.items() if environ.get(key)}
        # Another IdP may send no traceparent, but the app accepts a logout token only from its IdP.
        if note.kind in SENDERS and note.status >= 400 and "traceparent" not in note.request_headers:
            note.sender = OUTSIDE
        # Only what the view has read: a body that the view refused is not read here either.
        form = vars(request).get("form")
        note.request_parameters = {**dict(request.args.lists()), **dict(form.lists() if form else ())}
        note.request_body = getattr(request, "_cached_data", None) if request.is_json else None
        note.response_headers = {name: "\n".join(sent.getlist(name)) for name in shape.RESPONSE_HEADERS if name in sent}
        if response.is_json and not response.is_streamed:
            note.response_body = response.get_data()
        note.known.update({name: value for name, value in self._known(response).items() if value})

    # --- the table ---

    def start(self) -> None:
        """Called in each worker after gunicorn's fork."""
        threading.Thread(target=self._write_forever, name="messages", daemon=True).start()
        atexit.register(self.flush)

    def _write_forever(self) -> None:
        while True:
            self._filled.wait()
            time.sleep(WAIT_SECONDS)
            self._filled.clear()
            self.flush()

    def flush(self) -> None:
        """Write the notes in the queue, in one transaction."""
        with self._writing:
            notes = [self.queue.popleft() for _ in range(len(self.queue))]
            rows = [{"content": content} for note in notes if (content := self._content(note))]
            if not rows:
                return
            try:
                self._write(rows)
                self.is_failing = False
            except Exception as error:  # the thread must continue: the next notes may be written
                self._log_failure(error)

    def _content(self, note: Note) -> str | None:
        try:
            return content_of(row_of(note, self.service))
        except Exception as error:  # the other notes must still be written
            self._log_failure(error)
            return None

    def _write(self, rows: list[dict[str, str]]) -> None:
        with self._engine.begin() as connection:
            relax(connection)
            if self._engine.dialect.name == "postgresql":  # else a reader could miss a lower id that commits later
                connection.execute(text("SELECT pg_advisory_xact_lock(20241)"))
            connection.execute(INSERT, rows)
            self._unpruned += len(rows)
            if self._unpruned >= PRUNE_EVERY:
                self._unpruned = 0
                connection.execute(PRUNE, {"keep": KEEP})

    def _log_failure(self, error: Exception) -> None:
        # Once, until a message is recorded again.
        if not self.is_failing:
            self.is_failing = True
            LOG.error("messages are not recorded", reason=repr(error)[:500])

    def list_messages(self) -> Response:
        """``GET /messages?after=ID&limit=N`` → ``{"service", "messages": […], "last": ID}``, oldest first.

        An app adds ``"tabs": {sid: n}``.
        """
        after = max(0, min(request.args.get("after", 0, type=int), 2**31 - 1))
        limit = max(1, min(request.args.get("limit", MAX_ANSWER, type=int), MAX_ANSWER))
        query = select(Message.id, Message.content).where(Message.id > after).order_by(Message.id).limit(limit)
        rows = first_rows(db.session.execute(query.execution_options(yield_per=50)))
        # `last` is lower than `after` if the database was replaced: the reader then starts again.
        last = rows[-1][0] if rows else min(after, db.session.scalar(select(func.max(Message.id))) or 0)
        content = ",".join(f'{{"id":{row_id},{content[1:]}' for row_id, content in rows)
        tabs = f',"tabs":{json.dumps(self._tabs())}' if self._tabs else ""
        answer = Response(
            f'{{"service":{json.dumps(self.service)},"messages":[{content}],"last":{last}{tabs}}}\n',
            mimetype="application/json",
        )
        answer.headers["Cache-Control"] = "no-store"
        return answer


def first_rows(result: Result[Any]) -> list[tuple[int, str]]:
    """As many rows as one answer has. At least one, so that each reader gets on."""
    rows: list[tuple[int, str]] = []
    length = 0
    for row in result:
        rows.append((row.id, row.content))
        length += len(row.content)
        if length >= MAX_LENGTH:
            break
    result.close()
    return rows


def init_app(
    app: Flask, service: str, base_url: str, kinds: Mapping[str, str], known: Known, tabs: Tabs | None = None
) -> Recorder:
    """Record the service's messages, and show them to anyone at ``/messages``."""
    recorder = app.extensions["messages"] = Recorder(app, service, base_url, kinds, known, tabs)
    request_started.connect(recorder.request_started, app)
    request_finished.connect(recorder.request_finished, app)
    events.recorded.connect(note_events)
    app.extensions["after_fork"].append(recorder.start)
    blueprint = Blueprint("messages", __name__)
    blueprint.add_url_rule("/messages", "list_messages", recorder.list_messages)
    app.register_blueprint(blueprint)
    return recorder


def note_events(_sender: object, *, rows: list[dict[str, Any]]) -> None:
    """Receiver for :data:`events.recorded`: add what the view's events say about its request."""
    note: Note | None = g.get("message") if has_request_context() else None
    if note is None:
        return
    for event in rows:
        name = event["name"]
        if name == "op.frontchannel_logout.requested":  # the frames of this page
            frames = note.response_parameters.setdefault("frontchannel_logout_uri", [{}])
            frames[0][event["client_id"]] = event["outcome"]
            continue
        if name.startswith("op.logout."):  # about the app that will be notified, not about this request's client
            continue
        note.known.update({key: event[key] for key in ("sid", "jti", "client_id") if event[key]})
        if name.rpartition(".")[2] in FAILURES:
            note.error = event["outcome"] or "refused"
