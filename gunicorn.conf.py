"""How gunicorn runs each of the three services, in a container or as a local process."""

import gc
import os
import socket
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

graceful_timeout = 3  # open event streams never end by themselves; don't wait long for them

# A worker's sign of life is a file it touches; on a disk that is busy it would be taken for dead.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 # mkstemp names the file

# Who may speak for a client is PICKUP_TRUSTED_PROXIES. gunicorn has an opinion of its own, which believes everyone
# on the loopback, even about the path.
forwarded_allow_ips = ""

control_socket_disable = True  # nobody uses it, and it would want a home folder to live in


def post_fork(server: Any, worker: Any) -> None:  # noqa: ARG001 # gunicorn passes both
    """A connection or a thread does not survive a fork: each worker drops and starts its own."""
    for hook in server.app.wsgi().extensions["after_fork"]:
        hook()


def post_request(worker: Any, req: Any, environ: Any, resp: Any) -> None:  # noqa: ARG001 # gunicorn passes them
    """A body that nobody read, as of a form that is refused before, is not waited for.

    gunicorn would, to use the connection again; a sender of single bytes would hold the thread for as long as he likes.
    """
    if getattr(req.body.reader, "length", 1):  # what is missing; one sent in chunks does not tell
        with suppress(OSError, KeyError):  # it has hung up; or there was no request after all
            environ["gunicorn.socket"].shutdown(socket.SHUT_RD)


def pre_fork(server: Any, worker: Any) -> None:  # noqa: ARG001 # gunicorn passes both
    """What is there before the fork stays shared: the collector must not write into it."""
    gc.collect()
    gc.freeze()
