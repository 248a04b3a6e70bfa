"""Whoever sends byte by byte holds a thread: not for ever, and not on more than their share of the addresses."""

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from urllib.parse import urlsplit

import pytest

from e2e.apps import App
from e2e.plain import http
from e2e.stack import OwnProcesses, Stack

pytestmark = pytest.mark.needs("pickup_idp", "pickup_app")

CONNECTIONS = 40  # more than both workers have threads
PAUSE = 0.2  # seconds between two bytes
IN_TIME = 15  # seconds: the few that a logout token may take, for those who wait for a thread behind it, too


@contextmanager
def dripping(app: App, path: str) -> Iterator[None]:
    """So many forms are on their way to ``path``, and none ever arrives."""
    url, done = urlsplit(app.url + path), threading.Event()
    head = f"POST {url.path} HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Type: application/x-www-form-urlencoded\r\n"

    def drip(connection: socket.socket) -> None:
        with suppress(OSError):  # the app hangs up
            while not done.wait(PAUSE):
                connection.sendall(b"x")

    with ExitStack() as connections:
        for _ in range(CONNECTIONS):
            connection = connections.enter_context(socket.create_connection((url.hostname or "", url.port or 80)))
            connection.sendall(f"{head}Content-Length: 10000\r\n\r\nlogout_token=".encode())
            thread = threading.Thread(target=drip, args=[connection])
            thread.start()
            connections.callback(thread.join)
        connections.callback(done.set)
        yield


@pytest.mark.thorough
@pytest.mark.parametrize("path", ["/bclogout", "/logout", "/profile", "/nothing-here"])
def test_slow_bodies_do_not_keep_the_others_waiting_for_ever(path: str, stack: Stack) -> None:
    if not isinstance(stack.hands, OwnProcesses):
        pytest.skip("a proxy may stand before another stack, and it is its business")
    with dripping(stack.dispatch, path):
        for _ in range(3):
            assert http.get(stack.dispatch.url + "/", timeout=IN_TIME).status_code == 200
