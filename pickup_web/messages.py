"""The record of protocol messages: each service writes down what it receives and what it sends (docs/events.md).

Only with the demo switch ``PICKUP_DEMO_EVENTS``: without it no hook is installed and there is no ``GET /messages``.
A request only notes references. A thread turns them into rows, because a sign-in must not wait for its record:

    request ─ note ─▶ queue ─ a thread, every 100 ms ─ message_shape.py ─▶ table ─▶ GET /messages
"""

import atexit
import json
import re
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeAlias

import structlog
from flask import Blueprint, Flask, Response, g, has_request_context, request, request_finished, request_started
from sqlalchemy import Text, delete, func, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.sql.expression import bindparam

from pickup_web import events
from pickup_web import message_shape as shape
from pickup_web.database import add_rows, db, engine_of, relax
from pickup_web.seed import prepare

KEEP = 10_000  # rows; older ones are deleted
WAIT_SECONDS = 0.1  # how long rows are gathered before they are written together
MAX_ANSWER = 500  # rows of one answer
MAX_ROW = 64 * 1024  # characters of a row; a larger one loses its parameters and tokens
PUSH = "push"  # the kind and the channel of what an app sends to its open tab
BACK_CHANNEL = frozenset({
    "discovery", "jwks", "token_request", "userinfo", "introspection", "revocation", "registration", "api_request",
    "backchannel_logout",
})  # fmt: skip
# W3C Trace Context §3.2.2. A later version may have more after the flags.
TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}(-.*)?")
Known: TypeAlias = Callable[[Response], Mapping[str, str | None]]
FAILURES = ("failed", "rejected", "refused", "throttled")  # the last word of an event that says no

LOG = structlog.get_logger()


class Base(DeclarativeBase):
    """A table of each service's database."""


class Message(Base):
    """One message at one edge of this service, as JSON."""

    __tablename__ = "message"
    __table_args__ = {"sqlite_autoincrement": True}  # noqa: RUF012 # a reset does not use ids again

    id: Mapped[int] = mapped_column(primary_key=True)
    content: Mapped[str] = mapped_column(Text)


@dataclass
class Note:
    """What a request notes of a message. It holds secrets, so it stays in memory: :func:`row_of` makes it a row."""

    kind: str
    direction: str
    sender: str | None
    receiver: str | None
    method: str
    url: str  # as it was sent; the record leaves out the query
    trace: str
    at: int = field(default_factory=lambda: int(time.time() * 1000))
    started: float = field(default_factory=time.perf_counter)
    duration: float = 0.0
    status: int | None = None
    request_headers: Mapping[str, str] = field(default_factory=dict)
    request_parameters: shape.Parameters | None = None  # None: those of the body below
    request_body: bytes | str | None = None
    response_headers: Mapping[str, str] = field(default_factory=dict)
    response_body: bytes | None = None
    error: str | None = None  # why there was no answer, or why the view refused
    known: dict[str, str | None] = field(default_factory=dict)  # sid, sub, jti, client_id, state

    def end(self) -> None:
        """The answer is complete."""
        self.duration = (time.perf_counter() - self.started) * 1000


# --- the trace ---

_trace_id: ContextVar[str | None] = ContextVar("trace_id", default=None)  # of the request that is being answered


def continue_trace(traceparent: str) -> str:
    """Take part in the caller's trace, or begin one; returns trace id and span id of the request."""
    if (match := TRACEPARENT.fullmatch(traceparent)) is not None:
        trace_id, span_id = match[1], match[2]
    else:  # W3C Trace Context §4.3: one that cannot be parsed is ignored
        trace_id, span_id = secrets.token_hex(16), secrets.token_hex(8)
    _trace_id.set(trace_id)
    return f"{trace_id}-{span_id}"


def new_span() -> str:
    """Trace id and span id of an outgoing request."""
    return f"{_trace_id.get() or secrets.token_hex(16)}-{secrets.token_hex(8)}"


def traceparent(span: str) -> str:
    """W3C Trace Context §3.2.2: version, trace id, span id, and the flag that it is recorded."""
    return f"00-{span}-01"


# --- recording ---


class Recorder:
    """Of one service. ``kinds`` names the endpoints that are recorded; ``known`` says what a view knows of its request.

    ``senders`` names who sends a kind over the back channel, where the request itself does not say.
    """

    def __init__(
        self,
        app: Flask,
        service: str,
        base_url: str,
        kinds: Mapping[str, str],
        known: Known,
        senders: Mapping[str, str],
    ) -> None:
        self.service, self._base_url, self._kinds, self._known = service, base_url, kinds, known
        self._senders = senders
        self._engine = engine_of(app)
        self._queue: deque[Note] = deque(maxlen=KEEP)
        self._filled, self._writing = threading.Event(), threading.Lock()
        self._is_failing = False
        prepare(self._engine, Base.metadata)

    def add(self, note: Note) -> None:
        """To be written soon."""
        self._queue.append(note)
        if not self._filled.is_set():
            self._filled.set()

    def clear(self) -> None:
        """Forget what is not written yet."""
        self._queue.clear()

    # --- incoming requests ---

    def request_started(self, _app: Flask, **_: Any) -> None:
        """Receiver for Flask's signal: note the request if its endpoint is of the protocol."""
        environ = request.environ
        trace = continue_trace(environ.get("HTTP_TRACEPARENT", ""))
        if (kind := self._kinds.get(request.endpoint or "")) is None:
            return
        g.message = Note(
            kind,
            "in",
            self._senders.get(kind) if kind in BACK_CHANNEL else "browser",
            self.service,
            environ["REQUEST_METHOD"],
            self._base_url + environ.get("PATH_INFO", ""),
            trace,
        )

    def request_finished(self, _app: Flask, *, response: Response, **_: Any) -> None:
        """Receiver for Flask's signal: note the answer."""
        note: Note | None = g.pop("message", None)
        if note is None:
            return
        try:
            environ, sent = request.environ, response.headers
            note.end()
            note.status = response.status_code
            note.request_headers = {name: environ[key] for name, key in ENVIRON.items() if environ.get(key)}
            # Only what the view has read: a body that it refused is not read here either.
            form = vars(request).get("form")
            note.request_parameters = {**dict(request.args.lists()), **dict(form.lists() if form else ())}
            note.request_body = getattr(request, "_cached_data", None) if request.is_json else None
            note.response_headers = {
                name: "\n".join(sent.getlist(name)) for name in shape.RESPONSE_HEADERS if name in sent
            }
            if response.is_json and not response.is_streamed:
                note.response_body = response.get_data()
            note.known.update({name: value for name, value in self._known(response).items() if value})
            self.add(note)
        except Exception as error:
            self.trouble(error)

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
        """Write what is noted, together."""
        with self._writing:
            notes = [self._queue.popleft() for _ in range(len(self._queue))]
            if notes:
                try:
                    self._write(notes)
                    self._is_failing = False
                except Exception as error:
                    self.trouble(error)

    def _write(self, notes: list[Note]) -> None:
        rows = [{"content": content_of(row_of(note, self.service))} for note in notes]
        with Session(self._engine) as session, session.begin():
            relax(session)
            if self._engine.dialect.name == "postgresql":  # else a reader could miss a lower id that commits later
                session.execute(text("SELECT pg_advisory_xact_lock(20241)"))
            add_rows(session, Message, rows)
            session.execute(PRUNE, {"keep": KEEP})

    def trouble(self, error: Exception) -> None:
        """A message is not recorded. That is logged once, until one is recorded again."""
        if not self._is_failing:
            self._is_failing = True
            LOG.error("messages are not recorded", reason=repr(error)[:500])

    def list_messages(self) -> Response:
        """``GET /messages?after=ID&limit=N`` → ``{"service", "messages": […], "last": ID}``, oldest first."""
        after = max(0, min(request.args.get("after", 0, type=int), 2**31 - 1))
        limit = max(1, min(request.args.get("limit", MAX_ANSWER, type=int), MAX_ANSWER))
        query = select(Message.id, Message.content).where(Message.id > after).order_by(Message.id).limit(limit)
        rows = db.session.execute(query).all()
        # After a reset by hand the ids may begin again: `last` is then lower than `after`.
        last = rows[-1][0] if rows else min(after, db.session.scalar(select(func.max(Message.id))) or 0)
        content = ",".join(f'{{"id":{row_id},{content[1:]}' for row_id, content in rows)
        answer = Response(
            f'{{"service":{json.dumps(self.service)},"messages":[{content}],"last":{last}}}\n',
            mimetype="application/json",
        )
        answer.headers["Cache-Control"] = "no-store"
        return answer


ENVIRON = {
    name: "CONTENT_TYPE" if name == "content-type" else f"HTTP_{name.upper().replace('-', '_')}"
    for name in shape.REQUEST_HEADERS
}
PRUNE = delete(Message).where(Message.id <= select(func.max(Message.id)).scalar_subquery() - bindparam("keep"))
PRUNE = PRUNE.execution_options(synchronize_session=False)


def init_app(
    app: Flask,
    service: str,
    base_url: str,
    kinds: Mapping[str, str],
    known: Known,
    senders: Mapping[str, str] = MappingProxyType({}),
) -> Recorder:
    """Record the service's messages from now on, and show them to anyone at ``/messages``."""
    recorder = app.extensions["messages"] = Recorder(app, service, base_url, kinds, known, senders)
    request_started.connect(recorder.request_started, app)
    request_finished.connect(recorder.request_finished, app)
    events.recorded.connect(note_events)
    app.extensions["after_fork"].append(recorder.start)
    blueprint = Blueprint("messages", __name__)
    blueprint.add_url_rule("/messages", "list_messages", recorder.list_messages)
    app.register_blueprint(blueprint)
    return recorder


def note_events(_sender: object, *, rows: list[dict[str, Any]]) -> None:
    """Receiver for :data:`events.recorded`: what a view's own events say about the request that it answers."""
    note: Note | None = g.get("message") if has_request_context() else None
    if note is None:
        return
    for event in rows:
        name = event["name"]
        if name.startswith("op.logout."):  # about another party: the app that will be notified
            continue
        note.known.update({key: event[key] for key in ("sid", "jti", "client_id") if event[key]})
        if name.rpartition(".")[2] in FAILURES:
            note.error = event["outcome"] or "refused"


# --- a note as a row ---


def row_of(note: Note, service: str) -> dict[str, Any]:
    """What the record keeps of a message. Called by the thread that writes."""
    requested = note.request_parameters
    if requested is None or note.request_body is not None:
        requested = {**(requested or {}), **body_parameters(note)}
    location = note.response_headers.get("location", "")
    answered: shape.Parameters = shape.redirect_in(location) if location else shape.json_in(note.response_body)
    authorization = note.request_headers.get("authorization", "")
    tokens = [*shape.tokens_in(requested, "request"), *shape.tokens_in(answered, "response")]
    if authorization.lower().startswith("bearer ") and (bearer := shape.decoded(authorization[7:].strip())):
        tokens.append({"name": "access_token", "where": "request", **bearer})
    ids = identifiers(note, requested, answered, tokens)
    refusal = shape.shown({name: answered[name] for name in ("error", "error_description") if name in answered})
    return {
        "service": service,
        "at": note.at,
        "duration_ms": round(note.duration, 1),
        "direction": note.direction,
        "channel": "push" if note.kind == PUSH else "back" if note.kind in BACK_CHANNEL else "front",
        "kind": note.kind,
        "from": note.sender or shape.party(ids["client_id"]),
        "to": note.receiver or shape.party(ids["client_id"]) or shape.origin(note.url),
        "method": note.method,
        "url": shape.split(note.url)[0][: shape.MAX_VALUE],
        "status": note.status,
        "request": {"headers": shape.shown_headers(note.request_headers), "parameters": shape.shown(requested)},
        "response": {"headers": shape.shown_headers(note.response_headers), "parameters": shape.shown(answered)},
        "tokens": tokens,
        "outcome": outcome_of(note, answered),
        "error": refusal.get("error"),
        "error_description": refusal.get("error_description") or (note.error and shape.shown_value("", note.error)),
        "trace": note.trace,
        **ids,
    }


def content_of(row: dict[str, Any]) -> str:
    """The row as JSON in ASCII, which every database takes."""
    content = json.dumps(row)
    if len(content) <= MAX_ROW:
        return content
    too_large = {"parameters": {"(too large)": shape.NOT_RECORDED}}
    return json.dumps(
        {**row, "request": row["request"] | too_large, "response": row["response"] | too_large, "tokens": []}
    )


def body_parameters(note: Note) -> shape.Parameters:
    """The parameters of a body, a form or JSON."""
    is_json = "json" in note.request_headers.get("content-type", "")
    return shape.json_in(note.request_body) if is_json else shape.form_in(note.request_body)


def outcome_of(note: Note, answered: shape.Parameters) -> str:
    """One word for how it went."""
    if note.status is None:
        return "no_answer"
    if note.status >= 500:
        return "failed"
    if note.status >= 400 or note.error or "error" in answered:
        return "refused"
    return "redirect" if 300 <= note.status < 400 else "ok"


def identifiers(
    note: Note, requested: shape.Parameters, answered: shape.Parameters, tokens: list[shape.Token]
) -> dict[str, str | None]:
    """By what messages are joined: what the view knows counts more than what the parameters and tokens say."""
    claims = {name: value for token in reversed(tokens) for name, value in token["claims"].items()}
    audience = claims.get("aud") if isinstance(claims.get("aud"), str) else None
    basic = shape.basic_client(note.request_headers.get("authorization", ""))

    def first(name: str, *values: Any) -> str | None:
        found = next((value for value in (note.known.get(name), *values) if value and isinstance(value, str)), None)
        return found[:255] if found else None

    def one(parameters: shape.Parameters, name: str) -> Any:
        return parameters.get(name, [None])[0]

    return {
        "state": first("state", one(requested, "state"), one(answered, "state")),
        "sid": first("sid", claims.get("sid")),
        "jti": first("jti", *(token["claims"].get("jti") for token in tokens if token["name"] == "logout_token")),
        "client_id": first("client_id", basic, one(requested, "client_id"), audience),
        "sub": first("sub", claims.get("sub"), one(answered, "sub")),
    }
