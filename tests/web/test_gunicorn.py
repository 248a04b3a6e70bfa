"""gunicorn's hooks, with a real connection."""

import socket
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
