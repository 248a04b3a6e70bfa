"""One HTTP request to the application, and its answer.

http.client, because what is sent must be exactly what is written here: any method, any body, any header, no
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
TIMEOUT = 10  # seconds until we stop waiting; a provider would have given up by then
PIECE = 64 * 1024  # bytes of a large body that are sent before looking whether an answer is there already
MAX_ANSWER = 256 * 1024  # bytes of an answer that are read


@dataclass(frozen=True)
class Request:
    """What is sent to the back-channel logout URI. ``query`` is added to its address."""

    body: bytes = b""
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": FORM})
    query: str = ""
    chunked: bool = False  # the body's length is not told before


@dataclass(frozen=True)
class Answer:
    """What came back. ``status`` is 0 when nothing did; ``error`` then says why."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    seconds: float = 0.0
    error: str = ""

    def header(self, name: str) -> str:
        """A header's value; empty when it is not there."""
        return next((value for key, value in self.headers.items() if key.lower() == name.lower()), "")

    def __str__(self) -> str:
        return str(self.status) if self.status else f"nothing ({self.error})"


def form(token: str, **others: str) -> Request:
    """The logout request of BCL §2.5."""
    return Request(urlencode({"logout_token": token, **others}).encode())


class Wire:
    """Connections to the server of one address, each used once."""

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
        """The address's path and query, with ``query`` added."""
        whole = "&".join(part for part in (self.url.query, query) if part)
        return (self.url.path or "/") + (f"?{whole}" if whole else "")

    def send(self, request: Request, timeout: float = TIMEOUT) -> Answer:
        """Send it, and read the answer."""
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
    """Whether something has come back already: a server need not read a large body before it refuses it."""
    return bool(select.select([connection.sock], [], [], 0)[0])


def _send_piece(connection: http.client.HTTPConnection, piece: bytes) -> bool:
    """Whether it could be sent. If not, the server has hung up; what it said before may still be read."""
    try:
        connection.send(piece)
    except ConnectionError:
        return False
    return True
