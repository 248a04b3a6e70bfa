"""How gunicorn runs each of the three services, in a container or as a local process."""

import ctypes
import gc
import os
import socket
import threading
from contextlib import suppress
from typing import Any

os.umask(0o077)  # the databases are nobody else's to read

bind = os.environ.get("PICKUP_LISTEN", "127.0.0.1:8000")

# Threads, because the open tab's event stream holds one for as long as the tab is open. Two processes,
# because nothing may depend on there being only one.
worker_class = "gthread"
workers = 2
threads = 16

# The application is made once, before the workers are forked: they share its memory, and tables, seed
# and the first signing key are made by one process.
preload_app = True

# Longer than clients keep an idle connection (Node 4 s, nginx 60 s, Go 90 s). A server that closes it first loses the
# request that is sent in that moment.
keepalive = 120  # seconds

UNREAD_SECONDS = 1.0
MAX_UNREAD = 256 * 1024  # bytes; larger bodies are refused (pickup_web: MAX_CONTENT_LENGTH)

graceful_timeout = 3  # open event streams never end by themselves; don't wait long for them

# A worker's sign of life is a file it touches; on a disk that is busy it would be taken for dead.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 # mkstemp names the file

limit_request_line = 8190  # bytes, the most gunicorn takes; longer requests are for POST (idp/authorization/pending.py)

# glibc keeps freed memory for the thread that used it, and small objects split the 19 MiB of a password's hash, so that
# the next one takes others. From 1 MiB on, freed memory now returns to the system. mallopt(3): -3 is M_MMAP_THRESHOLD.
with suppress(OSError, AttributeError):  # another C library
    ctypes.CDLL(None).mallopt(-3, 1024 * 1024)

# Who may speak for a client is PICKUP_TRUSTED_PROXIES. gunicorn has an opinion of its own, which believes everyone
# on the loopback, even about the path.
forwarded_allow_ips = ""

control_socket_disable = True  # nobody uses it, and it would want a home folder to live in


def post_fork(server: Any, worker: Any) -> None:  # noqa: ARG001 # gunicorn passes both
    """A connection or a thread does not survive a fork: each worker drops and starts its own."""
    for hook in server.app.wsgi().extensions["after_fork"]:
        hook()


def post_request(worker: Any, req: Any, environ: Any, resp: Any) -> None:  # noqa: ARG001 # gunicorn passes them
    """Read a body that the application did not read, such as a refused form, for a second at most.

    The connection is then ready for the next request. gunicorn reads it itself, but its limit begins again with each
    byte, so a client that sends single bytes would hold the thread.
    """
    if "CONTENT_LENGTH" not in environ and "HTTP_TRANSFER_ENCODING" not in environ:
        return
    enough = threading.Timer(UNREAD_SECONDS, stop_reading, [environ["gunicorn.socket"]])
    enough.start()
    with suppress(Exception):  # it breaks off, or is malformed: then gunicorn closes the connection
        environ["wsgi.input"].read(MAX_UNREAD)
    enough.cancel()


def stop_reading(connection: socket.socket) -> None:
    """Reading ends where it is; gunicorn then closes the connection without waiting for more."""
    with suppress(OSError):  # it is closed already
        connection.shutdown(socket.SHUT_RD)


def pre_fork(server: Any, worker: Any) -> None:  # noqa: ARG001 # gunicorn passes both
    """What is there before the fork stays shared: the collector must not write into it."""
    gc.collect()
    gc.freeze()
