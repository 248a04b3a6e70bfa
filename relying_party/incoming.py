"""The connection on which a request came in, where the server shows it: gunicorn and Werkzeug do."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from flask import request


def connection() -> socket.socket | None:
    """The connection, or None. One with TLS in this very process can be neither peeked at nor half closed."""
    shown = request.environ.get("gunicorn.socket") or request.environ.get("werkzeug.socket")
    return None if isinstance(shown, ssl.SSLSocket) else shown


def is_closed(connection: socket.socket | None) -> bool:
    """Whether the other side has hung up."""
    if connection is None:
        return False
    try:
        return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False  # nothing to read, and nothing wrong
    except OSError:
        return True


@contextmanager
def reading_ends_after(seconds: float) -> Iterator[None]:
    """Whoever sends the body byte by byte holds a thread: after ``seconds`` it ends where it is.

    No timeout of the socket, as each byte would begin it anew.
    """
    shown = connection()
    if shown is None:
        yield
        return
    timer = threading.Timer(seconds, stop_reading, [shown])
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def stop_reading(connection: socket.socket) -> None:
    """Nothing more comes in; an answer can still go out."""
    with suppress(OSError):  # it is closed already
        connection.shutdown(socket.SHUT_RD)
