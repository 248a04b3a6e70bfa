"""A stub in place of an app: records the logout tokens that the IdP posts to it."""

import base64
import json
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs


@dataclass(frozen=True)
class LogoutToken:
    """A logout token as it was received. The signature is not checked: that is the task of the app under test.

    ``raw``: the JWT, to be posted to your app as ``logout_token``. ``header`` and ``claims``: its decoded parts.
    """

    raw: str
    header: dict[str, Any]
    claims: dict[str, Any]


class Receiver:
    """Listens on a free port of localhost until its block ends. Register ``url`` as the back-channel logout URL.

    ``tokens``: the :class:`LogoutToken` received so far, oldest first. ``status``, ``body``: its answer, which you can
    change: 400 for an app that refuses, 503 for one that is away. ``delay``: seconds before it answers.
    """

    def __init__(self, status: int = 200, body: str = "", delay: float = 0.0) -> None:
        self.tokens: list[LogoutToken] = []
        self.status, self.body, self.delay = status, body, delay
        self._arrived = threading.Condition()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(self))
        self.url = f"http://localhost:{self._server.server_port}/bclogout"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def wait(self, count: int = 1, timeout: float = 5.0) -> list[LogoutToken]:
        """Wait until ``count`` tokens have arrived since the start; returns all. TimeoutError after ``timeout`` s."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(self.tokens) >= count, timeout):
                raise TimeoutError(f"{len(self.tokens)} of {count} logout tokens arrived within {timeout:g} s.")
            return list(self.tokens)

    def receive(self, content: str) -> None:
        """Records the token of a request's body (BCL §2.5: a form with ``logout_token``)."""
        time.sleep(self.delay)
        raw = parse_qs(content).get("logout_token", [""])[0]
        header, claims = (decode(part) for part in (raw + "..").split(".")[:2])
        with self._arrived:
            self.tokens.append(LogoutToken(raw, header, claims))
            self._arrived.notify_all()


def handler_of(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    """The request handler of a receiver."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            """Records the token and answers as configured."""
            receiver.receive(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode("utf-8", "replace"))
            body = receiver.body.encode()
            self.send_response(receiver.status)
            self.send_header("Cache-Control", "no-store")  # BCL §2.8
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    return Handler


def decode(part: str) -> dict[str, Any]:
    """A part of a JWT as JSON; empty if it is none."""
    try:
        found = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
