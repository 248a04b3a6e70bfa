"""What an app records of the protocol with the demo switch on: the extension's endpoints, and the app's requests.

It also counts the browsers that have a tab of the app open.
"""

import json
import secrets
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import requests
import structlog
from flask import Flask, Response, current_app, g, has_request_context, request, request_finished, session
from sqlalchemy import BigInteger, String, delete, func, insert, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.sql.dml import UpdateBase

from pickup_web import clock, message_shape, messages, trace
from pickup_web.database import db, engine_of, relax
from pickup_web.message_row import Note
from pickup_web.messages import Recorder
from pickup_web.schema import create_if_missing
from pickup_web.settings import Settings
from relying_party import protocol_event, request_sending, request_sent, session_key
from relying_party.live import STREAM_SECONDS

# fmt: off
KINDS = {
    "relying_party.login":              "start_sign_in",
    "relying_party.callback":           "authorization_response",
    "relying_party.logout":             "log_out",
    "relying_party.logged_out":         "logged_out",
    "relying_party.frontchannel_logout": "frontchannel_logout",
    "relying_party.backchannel_logout": "backchannel_logout",
    "relying_party.wrong_method":       "backchannel_logout",
    "api_drivers":                      "api_request",  # Manager's
}
# fmt: on
TAB_SECONDS = STREAM_SECONDS + 30  # no stream is open for longer
LOG = structlog.get_logger()


class Base(DeclarativeBase):
    """The table of open tabs in each app's database."""


class OpenTab(Base):
    """An event stream of the extension that is open. The tabs of a browser share one."""

    __tablename__ = "open_tab"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)  # random
    session: Mapped[str] = mapped_column(String(255))  # its key; each browser has its own
    sid: Mapped[str] = mapped_column(String(255))
    opened_at: Mapped[int] = mapped_column(BigInteger, index=True)


def init_app(app: Flask, settings: Settings, service: str) -> None:
    """Record the messages of ``app`` if the demo switch is on."""
    if not settings.demo_events:
        return
    tabs = OpenTabs(app)
    recorder = messages.init_app(app, service, app.config["RELYING_PARTY_BASE_URL"], KINDS, known, tabs.count)
    watcher = Watcher(recorder, app.config)
    for signal, receiver in (
        (request_sending, watcher.sending),
        (request_sent, watcher.sent),
        (protocol_event, watcher.protocol_event),
        (request_finished, tabs.request_finished),
    ):
        signal.connect(receiver, app, weak=False)


def known(_response: object = None) -> Mapping[str, str | None]:
    """The user's session, and at the extension's endpoints the app's own client id."""
    if not has_request_context():
        return {}
    login: dict[str, Any] | None = getattr(session, "login", None)
    found = {name: login["claims"].get(name) for name in ("sid", "sub")} if login else {}
    if request.blueprint == "relying_party":
        found["client_id"] = current_app.config["RELYING_PARTY_CLIENT_ID"]
    return found


class OpenTabs:
    """Keeps a row for each open event stream. A process that is killed leaves its rows; they are ignored later."""

    def __init__(self, app: Flask) -> None:
        self._engine = engine_of(app)
        create_if_missing(self._engine, Base.metadata)

    def request_finished(self, _app: Flask, *, response: Response, **_: Any) -> None:
        """Receiver for Flask's signal: insert a row when a stream of a signed-in user begins."""
        if request.endpoint != "relying_party.live" or response.status_code != 200:
            return
        key, sid = session_key(), known().get("sid")
        if not key or not sid:
            return
        tab = {"id": secrets.token_hex(16), "session": key, "sid": sid, "opened_at": clock.now()}
        if self._write(delete(OpenTab).where(OpenTab.opened_at < oldest()), insert(OpenTab).values(tab)):
            response.call_on_close(partial(self._write, delete(OpenTab).where(OpenTab.id == tab["id"])))

    def _write(self, *statements: UpdateBase) -> bool:
        try:
            with self._engine.begin() as connection:
                relax(connection)
                for statement in statements:
                    connection.execute(statement)
        except Exception:  # the count must not fail the request
            LOG.exception("open tabs are not counted")
            return False
        return True

    def count(self) -> dict[str, int]:
        """How many browsers have a tab open, by ``sid``.

        A browser that loads the next page has two streams for a moment, so sessions are counted, not streams.
        """
        browsers = func.count(OpenTab.session.distinct()).label("browsers")
        query = select(OpenTab.sid, browsers).where(OpenTab.opened_at >= oldest()).group_by(OpenTab.sid)
        return {row.sid: row.browsers for row in db.session.execute(query)}


def oldest() -> int:
    """Streams that began earlier have ended."""
    return clock.now() - TAB_SECONDS


class Watcher:
    """Records what an app sends. Its methods are receivers of the extension's signals."""

    def __init__(self, recorder: Recorder, config: Mapping[str, Any]) -> None:
        self._recorder, self._base_url = recorder, config["RELYING_PARTY_BASE_URL"]
        self._client_id: str = config["RELYING_PARTY_CLIENT_ID"]
        self._api: str = config.get("MANAGER_DRIVERS_URL", "")  # Dispatch's

    def sending(self, _app: Flask, *, request: requests.PreparedRequest) -> None:
        """Take a note before the request, and add ``traceparent``."""
        span = trace.span_in(request.headers.get("traceparent", "")) or trace.new_span()
        request.headers["traceparent"] = trace.traceparent(span)
        kind = self._kind_of(request)
        g.sent_message = Note(
            kind,
            "out",
            self._recorder.service,
            "manager" if kind == "api_request" else "idp",
            request.method or "",
            request.url or "",
            span,
            request_headers=message_shape.chosen(request.headers, message_shape.REQUEST_HEADERS),
            request_body=request.body if isinstance(request.body, bytes | str) else None,
            known={**known(), "client_id": self._client_id},
        )

    def _kind_of(self, request: requests.PreparedRequest) -> str:
        url = request.url or ""
        if request.method == "POST":
            if "json" in request.headers.get("Content-Type", ""):
                return "registration"
            return "token_request" if "grant_type=" in str(request.body) else "introspection"
        if self._api and url.startswith(self._api):
            return "api_request"
        if "Authorization" in request.headers:
            return "userinfo"
        return "discovery" if url.endswith("/.well-known/openid-configuration") else "jwks"

    def sent(self, _app: Flask, *, response: requests.Response | None, error: Exception | None, **_: Any) -> None:
        """Complete the note, except for the body: the caller has not read it yet."""
        note: Note | None = g.pop("sent_message", None)
        if note is None:
            return
        if response is None:
            self._end(note, error=error)
            return
        note.status = response.status_code
        note.response_headers = message_shape.chosen(response.headers, message_shape.RESPONSE_HEADERS)
        response.raw = Body(response.raw, partial(self._end, note))

    def _end(self, note: Note, body: bytes = b"", error: Any = None) -> None:
        note.end()
        note.response_body = body
        if error is not None:
            note.status, note.error = None, type(error).__name__
        self._recorder.add(note)

    def protocol_event(self, _app: Flask, *, name: str, sid: str | None, outcome: str | None, **_: Any) -> None:
        """Record the push to an open tab whose session has ended."""
        if name == "rp.tab.notified":
            body = json.dumps({"event": "signed-out", "reason": outcome}).encode()
            service, url = self._recorder.service, f"{self._base_url}/session/live"
            note = Note("push", "out", service, "browser", "GET", url, trace.new_span(), status=200)
            note.response_body, note.known = body, {"sid": sid, "client_id": self._client_id}
            self._recorder.add(note)


class Body:
    """Stands in for urllib3's response. Keeps the beginning of the body for the record while the caller reads it."""

    def __init__(self, raw: Any, end: Callable[..., None]) -> None:
        """``end`` is called once, with the body or with the error that interrupted it."""
        self._raw, self._end = raw, end
        self._kept, self._is_over = bytearray(), False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)

    def read(self, *args: Any, **options: Any) -> bytes:
        """Read the whole body: our callers read in pieces only with :meth:`stream`."""
        try:
            piece: bytes = self._raw.read(*args, **options)
        except Exception as error:
            self._over(error)
            raise
        self._keep(piece)
        self._over()
        return piece

    def stream(self, *args: Any, **options: Any) -> Iterator[bytes]:
        """Read the body in pieces."""
        try:
            for piece in self._raw.stream(*args, **options):
                self._keep(piece)
                yield piece
        except Exception as error:
            self._over(error)
            raise
        self._over()

    def close(self) -> None:
        """Called even if the body was not read."""
        self._over()
        self._raw.close()

    def _keep(self, piece: bytes) -> None:
        # One byte more than is shown, so that json_in() sees that the body is cut.
        if len(self._kept) <= message_shape.MAX_BODY:
            self._kept += piece[: message_shape.MAX_BODY + 1]

    def _over(self, error: Exception | None = None) -> None:
        if not self._is_over:
            self._is_over = True
            self._end(bytes(self._kept), error)
