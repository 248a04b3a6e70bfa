"""Behind nginx, clients that send byte by byte keep nobody waiting: neither with their headers nor with a body."""

import os
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from urllib.parse import urlsplit

import pytest

from e2e.plain import http
from e2e.stack import Stack

pytestmark = pytest.mark.needs("pickup_idp", "pickup_app")

CONNECTIONS = 100  # three times the threads of a service
PAUSE = 1.0  # seconds between two bytes
IN_TIME = 2.0  # seconds for a page
HEADERS = "GET {path} HTTP/1.1\r\nHost: {host}\r\nX-Slow: "
FORM = "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 9999\r\n\r\n"
BODY = "POST {path} HTTP/1.1\r\nHost: {host}\r\n" + FORM


@contextmanager
def sending_slowly(url: str, beginning: str) -> Iterator[None]:
    """So many requests have begun, and none of them ever ends."""
    parts, done = urlsplit(url), threading.Event()
    tls = ssl.create_default_context(cafile=os.environ.get("PICKUP_CA_BUNDLE"))

    def drip() -> None:
        while not done.wait(PAUSE):
            for connection in open_connections:
                with suppress(OSError):  # nginx has had enough of it
                    connection.sendall(b"x")

    open_connections: list[ssl.SSLSocket] = []
    with ExitStack() as connections:
        for _ in range(CONNECTIONS):
            plain = socket.create_connection(("127.0.0.1", parts.port or 443))
            connection = connections.enter_context(tls.wrap_socket(plain, server_hostname=parts.hostname))
            connection.sendall(beginning.format(path=parts.path, host=parts.netloc).encode())
            open_connections.append(connection)
        thread = threading.Thread(target=drip)
        thread.start()
        connections.callback(thread.join)
        connections.callback(done.set)
        yield


@pytest.mark.golden
@pytest.mark.parametrize("beginning", [HEADERS, BODY], ids=["headers", "body"])
@pytest.mark.parametrize(("service", "path"), [("idp", "/oauth2/token"), ("manager", "/bclogout"), ("idp", "/login")])
def test_hundred_slow_senders_keep_nobody_waiting(service: str, path: str, beginning: str, stack: Stack) -> None:
    if not stack.idp_url.startswith("https://"):
        pytest.skip("only nginx waits for slow senders, so without it Pickup is on the loopback only")
    with sending_slowly(stack.url(service) + path, beginning):
        for _ in range(3):
            assert http.get(stack.url(service) + "/", timeout=IN_TIME).status_code in (200, 302, 303)
