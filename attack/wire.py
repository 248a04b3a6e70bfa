"""One HTTP request to the application, and its response.

Uses http.client, because requests must be sent exactly as written: any method, body and header, no
redirects, no proxies, no retries.
"""

import http.client
import select
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode, urlsplit

FORM = "application/x-www-form-urlencoded"
TIMEOUT = 10  # seconds; a real provider would have given up by then
PIECE = 64 * 1024  # bytes of a large body sent between two checks for an early response
MAX_ANSWER = 256 * 1024  # bytes of a response that are read


@dataclass(frozen=True)
class Request:
    """A request to the back-channel logout URI. ``query`` is added to the URL."""

    body: bytes = b""
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": FORM})
    query: str = ""
    chunked: bool = False  # without a Content-Length


@dataclass(frozen=True)
class Answer:
    """The response. ``status`` is 0 if there was none; ``error`` then has the reason."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    seconds: float = 0.0
    error: str = ""

    def header(self, name: str) -> str:
        """A header's value; empty if it is missing."""
        return next((value for key, value in self.headers.items() if key.lower() == name.lower()), "")

    @property
    def location(self) -> str:
        """Where a redirect leads, without its query; empty for other answers."""
        return self.header("Location").partition("?")[0] if 300 <= self.status < 400 else ""

    def __str__(self) -> str:
        if self.location:
            return f"{self.status} to {self.location}"
        return str(self.status) if self.status else f"nothing ({self.error})"


def form(token: str, **others: str) -> Request:
    """The logout request of BCL §2.5."""
    return Request(urlencode({"logout_token": token, **others}).encode())


class Wire:
    """Connections to one server, each used once."""

    def __init__(self, url: str, ca_file: str | None = None) -> None:
        self.url = urlsplit(url)
        self._tls = ssl.create_default_context(cafile=ca_file) if self.url.scheme == "https" else None

    def connect(self, timeout: float = TIMEOUT) -> http.client.HTTPConnection:
        """A new connection."""
        host, port = self.url.hostname or "", self.url.port
        if self._tls:
            return http.client.HTTPSConnection(host, port, timeout=timeout, context=self._tls)
        return http.client.HTTPConnection(host, port, timeout=timeout)

    def path(self, query: str = "") -> str:
        """The URL's path and query, with ``query`` added."""
        whole = "&".join(part for part in (self.url.query, query) if part)
        return (self.url.path or "/") + (f"?{whole}" if whole else "")

    def send(self, request: Request, timeout: float = TIMEOUT) -> Answer:
        """Send the request, and read the response."""
        started = time.perf_counter()
        connection = self.connect(timeout)
        try:
            self._send(connection, request)
            response = connection.getresponse()
            body = response.read(MAX_ANSWER)
            return Answer(response.status, dict(response.getheaders()), body, time.perf_counter() - started)
        except TimeoutError:
            return Answer(0, seconds=time.perf_counter() - started, error=f"no answer within {timeout} seconds")
        except (OSError, http.client.HTTPException) as error:
            return Answer(0, seconds=time.perf_counter() - started, error=str(error) or type(error).__name__)
        finally:
            connection.close()

    def _send(self, connection: http.client.HTTPConnection, request: Request) -> None:
        connection.putrequest(request.method, self.path(request.query), skip_accept_encoding=True)
        for name, value in {"Connection": "close", **request.headers}.items():
            connection.putheader(name, value)
        if request.chunked:
            connection.putheader("Transfer-Encoding", "chunked")
        else:
            connection.putheader("Content-Length", str(len(request.body)))
        connection.endheaders()
        for start in range(0, len(request.body), PIECE):
            if start and _answered(connection):
                return
            piece = request.body[start : start + PIECE]
            if not _send_piece(connection, b"%x\r\n%s\r\n" % (len(piece), piece) if request.chunked else piece):
                return
        if request.chunked:
            _send_piece(connection, b"0\r\n\r\n")


def _answered(connection: http.client.HTTPConnection) -> bool:
    """Whether a response has begun: a server may reject a large body before reading it."""
    return bool(select.select([connection.sock], [], [], 0)[0])


def _send_piece(connection: http.client.HTTPConnection, piece: bytes) -> bool:
    """Whether it could be sent. If not, the server closed the connection; its response may still be readable."""
    try:
        connection.send(piece)
    except ConnectionError:
        return False
    return True
