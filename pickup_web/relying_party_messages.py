"""What an app records of the protocol with the demo switch on: the extension's endpoints, and the app's requests."""

import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import requests
from flask import Flask, current_app, g, has_request_context, request, session

from pickup_web import message_shape, messages
from pickup_web.message_row import Note
from pickup_web.messages import Recorder
from pickup_web.settings import Settings
from relying_party import protocol_event, request_sending, request_sent

# fmt: off
KINDS = {
    "relying_party.login":              "start_sign_in",
    "relying_party.callback":           "authorization_response",
    "relying_party.logout":             "log_out",
    "relying_party.logged_out":         "logged_out",
    "relying_party.backchannel_logout": "backchannel_logout",
    "relying_party.wrong_method":       "backchannel_logout",
    "api_drivers":                      "api_request",  # Manager's
}
# fmt: on


def init_app(app: Flask, settings: Settings, service: str) -> None:
    """Record the messages of ``app`` if the demo switch is on."""
    if not settings.demo_events:
        return
    recorder = messages.init_app(app, service, app.config["RELYING_PARTY_BASE_URL"], KINDS, known)
    watcher = Watcher(recorder, app.config)
    for signal, receiver in (
        (request_sending, watcher.sending),
        (request_sent, watcher.sent),
        (protocol_event, watcher.protocol_event),
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


class Watcher:
    """Records what an app sends. Its methods are receivers of the extension's signals."""

    def __init__(self, recorder: Recorder, config: Mapping[str, Any]) -> None:
        self._recorder, self._base_url = recorder, config["RELYING_PARTY_BASE_URL"]
        self._client_id: str = config["RELYING_PARTY_CLIENT_ID"]
        self._api: str = config.get("MANAGER_DRIVERS_URL", "")  # Dispatch's

    def sending(self, _app: Flask, *, request: requests.PreparedRequest) -> None:
        """Take a note before the request, and add ``traceparent``."""
        span = messages.new_span()
        request.headers["traceparent"] = messages.traceparent(span)
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
            note = Note("push", "out", service, "browser", "GET", url, messages.new_span(), status=200)
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
        if (
            len(self._kept) <= message_shape.MAX_BODY
        ):  # one byte more than is shown, so that json_in() sees that it is cut
            self._kept += piece[: message_shape.MAX_BODY + 1]

    def _over(self, error: Exception | None = None) -> None:
        if not self._is_over:
            self._is_over = True
            self._end(bytes(self._kept), error)
