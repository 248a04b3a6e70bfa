"""gunicorn's settings for each of the four services, in a container or as a local process."""

import ctypes
import gc
import os
import select
import shutil
import socket
import struct
import sys
import tempfile
import threading
import time
from contextlib import suppress
from typing import Any

os.umask(0o077)  # only this user may read the databases

# No garbage collection while the modules are imported (docs/figures.md). Each worker enables it (post_fork).
gc.disable()

bind = os.environ.get("PICKUP_LISTEN", "127.0.0.1:8000")

# Threads, because the event stream of an open tab occupies one as long as the tab is open. Two processes,
# because no code may depend on being the only one.
worker_class = "gthread"
workers = 2
threads = 16
is_learn = "pickup_learn:create_app()" in sys.argv
if is_learn:  # one collector, and a thread for each of 64 open tabs and 32 slow answers of the labs
    workers, threads = 1, 112

# Create the application once, before the workers are forked. They share its memory, and only one process creates
# the tables, the seed data and the first signing key.
preload_app = not is_learn  # a single worker shares nothing

# Longer than clients keep an idle connection (Node 4 s, nginx 60 s, Go 90 s). If the server closes it first, a
# request that is sent at that moment is lost.
keepalive = 120  # seconds

BODY_SECONDS = 5.0  # for a request's body
BODY_CHECK_SECONDS = 0.5  # how much longer it may take at most
BODY_HEADERS = {"CONTENT-LENGTH", "TRANSFER-ENCODING"}
SEND_SECONDS = 5  # for the client to accept more of an answer
MAX_UNREAD = 256 * 1024  # bytes; larger bodies are refused (pickup_web: MAX_CONTENT_LENGTH)

# Seconds for the requests in hand, such as a password hash on a busy machine. Learn's labs have answers that hang.
graceful_timeout = 3 if is_learn else 20
streams: set[socket.socket] = set()  # open event streams of this worker, which do not end by themselves
bodies: dict[int, tuple[float, socket.socket]] = {}  # requests whose body may be unread: until when, and from where

# Each worker's heartbeat is a file that it touches. On a busy disk, gunicorn would take the worker for dead.
worker_tmp_dir = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108 # mkstemp names the file

limit_request_line = 8190  # bytes, gunicorn's maximum; longer requests need POST (idp/authorization/pending.py)

# Returns freed blocks of 1 MiB or more to the system. Otherwise glibc keeps the 19 MiB of a password hash for the
# thread that used it, and small objects fragment it, so that the next hash needs more. mallopt(3): -3 is
# M_MMAP_THRESHOLD. To get them again page by page takes half as long as the hash, so GLIBC_TUNABLES asks for large
# pages (Dockerfile, scripts/local.py).
with suppress(OSError, AttributeError):  # another C library
    ctypes.CDLL(None).mallopt(-3, 1024 * 1024)

# PICKUP_TRUSTED_PROXIES says which proxies are trusted. By default gunicorn would trust every client on the loopback
# address, even for the path.
forwarded_allow_ips = ""

control_socket_disable = True  # not used, and it needs a home folder


# Prometheus metrics (pickup_web/metrics.py). The folder must be set before prometheus_client is imported.
metrics_listen = os.environ.get("PICKUP_METRICS_LISTEN", "")
if metrics_listen:
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix="pickup-metrics-")
metrics_sockets: list[socket.socket] = []


def on_starting(server: Any) -> None:  # noqa: ARG001 # gunicorn passes it
    """Open the port of the metrics once. Each worker inherits it."""
    if metrics_listen:
        host, _, port = metrics_listen.rpartition(":")
        host = host.strip("[]")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            metrics_sockets.append(socket.create_server((host, int(port)), family=family))
        except (OSError, OverflowError) as error:
            sys.exit(f"PICKUP_METRICS_LISTEN is {metrics_listen!r}, which cannot be opened: {error}")


def child_exit(server: Any, worker: Any) -> None:  # noqa: ARG001 # gunicorn passes both
    """Forget a worker's gauges. Its counters remain."""
    if metrics_listen:
        from prometheus_client.multiprocess import mark_process_dead

        mark_process_dead(worker.pid)


def on_exit(server: Any) -> None:  # noqa: ARG001 # gunicorn passes it
    """Remove the workers' files."""
    if metrics_listen:
        shutil.rmtree(os.environ["PROMETHEUS_MULTIPROC_DIR"], ignore_errors=True)


def post_fork(server: Any, worker: Any) -> None:
    """Connections and threads do not survive a fork, so each worker opens and starts its own."""
    extensions = server.app.wsgi().extensions
    for hook in extensions["after_fork"]:
        hook()
    for listener in metrics_sockets:
        extensions["metrics"].serve(listener)
    gc.enable()  # the application has been imported
    threading.Thread(target=limit_bodies, name="bodies", daemon=True).start()
    stop, accept = worker.handle_exit, worker.accept  # gunicorn's handler of SIGTERM

    def finish(*signal: Any) -> None:
        if worker.alive:  # a second signal finds it stopping
            worker.method_queue.defer(close_listeners, worker)  # runs in the worker's loop
        stop(*signal)
        end_streams()

    worker.handle_exit = finish
    # The loop may have seen a connection before close_listeners took it. BaseSocket.close() sets sock to None.
    worker.accept = lambda listener: accept(listener) if listener.sock else None


def worker_exit(server: Any, worker: Any) -> None:
    """The last requests are answered, but their work in other threads may go on."""
    if worker.pid == os.getpid():  # the main process calls this too, for a worker that is gone
        for hook in server.app.wsgi().extensions["before_exit"]:
            hook()


def close_listeners(worker: Any) -> None:
    """Accept the connections that wait, and then close at once, so that a new one is refused.

    gunicorn closes the listening socket after its last answer, and the system then resets the connections that wait to
    be accepted. A proxy in front of several replicas has sent a request on each, and cannot know whether it was
    processed. A refused connection is safe: the proxy has sent nothing, and takes another replica.
    """
    for listener in worker.sockets:
        while select.select([listener], [], [], 0)[0]:
            worker.accept(listener)
        listener.close()


def end_streams() -> None:
    """The browser opens its event stream again after a second, at another replica if there is one."""
    for stream in list(streams):
        with suppress(OSError):  # it has ended
            stream.shutdown(socket.SHUT_RDWR)


def pre_request(worker: Any, req: Any) -> None:
    """Limit how long the client may take to accept the answer, and to send the body, if the request has one.

    A client that reads nothing would hold its thread for ever. The body has its own limit, because a socket timeout
    restarts with each byte, so a client that sends single bytes could hold the thread.
    """
    # Python's own socket timeout would also make is_closed() in pickup_learn/stream.py wait.
    req.unreader.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("@ll", SEND_SECONDS, 0))
    if ("ACCEPT", "text/event-stream") in req.headers:
        streams.add(req.unreader.sock)
        if not worker.alive:
            end_streams()
    if not BODY_HEADERS.isdisjoint(name for name, _ in req.headers):
        bodies[id(req)] = (time.monotonic() + BODY_SECONDS, req.unreader.sock)


def post_request(worker: Any, req: Any, environ: Any, resp: Any) -> None:  # noqa: ARG001 # gunicorn passes them
    """Read a body that the application did not read, such as that of a refused form, within the same time limit.

    The connection is then ready for the next request. gunicorn would read it too, but without our time limit.
    """
    streams.discard(req.unreader.sock)
    if id(req) in bodies:
        with suppress(Exception):  # if it is cut off or malformed, gunicorn closes the connection
            environ["wsgi.input"].read(MAX_UNREAD)
        bodies.pop(id(req), None)


def limit_bodies() -> None:
    """One thread for all requests: a timer for each would start a thread for each, a quarter of gunicorn's time."""
    while True:
        time.sleep(BODY_CHECK_SECONDS)
        for key, entry in list(bodies.items()):
            until, connection = entry
            # If the request has ended meanwhile, the connection is no longer its own.
            if until < time.monotonic() and bodies.get(key) is entry and bodies.pop(key, None):
                stop_reading(connection)


def stop_reading(connection: socket.socket) -> None:
    """Stop reading. gunicorn then closes the connection without waiting for more."""
    with suppress(OSError):  # it is already closed
        connection.shutdown(socket.SHUT_RD)


def pre_fork(server: Any, worker: Any) -> None:  # noqa: ARG001 # gunicorn passes both
    """Keep the memory from before the fork shared: the garbage collector must not write to it."""
    gc.collect()
    gc.freeze()
