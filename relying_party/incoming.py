"""The connection of a request, if the server exposes it, as gunicorn and Werkzeug do."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from flask import request


def connection() -> socket.socket | None:
    """The connection, or None. A TLS connection of this process can be neither peeked at nor half closed."""
    shown = request.environ.get("gunicorn.socket") or request.environ.get("werkzeug.socket")
    return None if isinstance(shown, ssl.SSLSocket) else shown


def is_closed(connection: socket.socket | None) -> bool:
    """Whether the client has closed the connection."""
    if connection is None:
        return False
    try:
        return connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False  # nothing to read, but still open
    except OSError:
        return True


@contextmanager
def reading_ends_after(seconds: float) -> Iterator[None]:
    """A client that sends the body byte by byte occupies a thread, so reading ends after ``seconds``.

    A socket timeout does not help, because each byte restarts it.
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
    """Nothing more can be received; a response can still be sent."""
    with suppress(OSError):  # it is closed already
        connection.shutdown(socket.SHUT_RD)
