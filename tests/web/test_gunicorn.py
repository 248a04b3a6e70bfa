"""gunicorn's hooks, with a real connection."""

import errno
import socket
import threading
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest


@pytest.mark.thorough
def test_client_that_reads_nothing_does_not_hold_the_thread(conf: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conf, "SEND_SECONDS", 1)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        conf.pre_request(None, SimpleNamespace(headers=[], unreader=SimpleNamespace(sock=ours)))
        assert ours.gettimeout() is None
        with pytest.raises(BlockingIOError):
            ours.sendall(b"x" * 10_000_000)


def test_body_that_takes_too_long_is_cut_off(conf: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conf, "BODY_SECONDS", 0.1)
    monkeypatch.setattr(conf, "BODY_CHECK_SECONDS", 0.01)
    slow, slow_client = socket.socketpair()
    done, done_client = socket.socketpair()
    with slow, slow_client, done, done_client:
        headers = [("CONTENT-LENGTH", "10")]
        slow_request, done_request = (
            SimpleNamespace(headers=headers, unreader=SimpleNamespace(sock=ours)) for ours in (slow, done)
        )
        conf.pre_request(None, slow_request)
        conf.pre_request(None, done_request)
        done_client.sendall(b"x" * 10)
        conf.post_request(None, done_request, {"wsgi.input": done.makefile("rb", buffering=0)}, None)
        threading.Thread(target=conf.limit_bodies, daemon=True).start()
        assert slow.recv(1) == b""  # a recv after the limit finds the end
        assert not conf.bodies
        done_client.sendall(b"y")
        assert done.recv(1) == b"y"


def test_stopping_worker_accepts_the_connections_that_wait_and_refuses_new_ones(conf: ModuleType) -> None:
    """A proxy may have sent a request on a connection that is not accepted yet. A new one must fail before that."""
    accepted: list[socket.socket] = []
    listener = socket.create_server(("127.0.0.1", 0))
    address = listener.getsockname()
    with socket.socket() as waiting, socket.socket() as late:
        assert waiting.connect_ex(address) == 0
        waiting.sendall(b"a request")
        conf.close_listeners(
            SimpleNamespace(sockets=[listener], accept=lambda listener: accepted.append(listener.accept()[0]))
        )
        assert late.connect_ex(address) == errno.ECONNREFUSED
        with accepted[0] as ours:
            assert ours.recv(20) == b"a request"


def test_worker_that_is_told_to_stop_twice_closes_once_and_takes_no_late_connection(conf: ModuleType) -> None:
    """systemd and gunicorn's main process both send SIGTERM. The loop may still hold an event of a closed listener."""
    deferred: list[Any] = []
    accepted: list[Any] = []
    worker = SimpleNamespace(alive=True, accept=accepted.append, method_queue=SimpleNamespace())
    worker.method_queue.defer = lambda *call: deferred.append(call)
    worker.handle_exit = lambda *_signal: setattr(worker, "alive", False)
    application = SimpleNamespace(extensions={"after_fork": []})
    conf.post_fork(SimpleNamespace(app=SimpleNamespace(wsgi=lambda: application)), worker)
    worker.handle_exit(15, None)
    worker.handle_exit(15, None)
    assert deferred == [(conf.close_listeners, worker)]
    is_open, is_closed = SimpleNamespace(sock=object()), SimpleNamespace(sock=None)
    worker.accept(is_open)
    worker.accept(is_closed)
    assert accepted == [is_open]


def test_stream_that_begins_while_the_worker_stops_is_ended(conf: ModuleType) -> None:
    """The browser opens it again on the same connection."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        request = SimpleNamespace(headers=[("ACCEPT", "text/event-stream")], unreader=SimpleNamespace(sock=ours))
        conf.pre_request(SimpleNamespace(alive=False), request)
        assert theirs.recv(1) == b""


def test_stopping_worker_ends_its_event_streams(conf: ModuleType) -> None:
    """They would keep it until it is killed, and requests in hand with them."""
    ours, theirs = socket.socketpair()
    another, browser = socket.socketpair()
    with ours, theirs, another, browser:
        for sock, accept in ((ours, "text/event-stream"), (another, "text/html")):
            request = SimpleNamespace(headers=[("ACCEPT", accept)], unreader=SimpleNamespace(sock=sock))
            conf.pre_request(SimpleNamespace(alive=True), request)
        conf.end_streams()
        assert theirs.recv(1) == b"", "the stream has ended"
        with pytest.raises(BrokenPipeError):
            ours.sendall(b"beat")
        another.sendall(b"an answer")
        assert browser.recv(20) == b"an answer"
        conf.post_request(None, SimpleNamespace(unreader=SimpleNamespace(sock=ours)), {}, None)
        assert conf.streams == set()
