"""gunicorn's hooks, with a real connection."""

import socket
import threading
from types import ModuleType, SimpleNamespace

import pytest


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
