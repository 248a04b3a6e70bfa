"""gunicorn's hooks, with a real connection."""

import importlib.util
import os
import socket
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

FILE = Path(__file__).parents[2] / "gunicorn.conf.py"


@pytest.fixture
def conf() -> Iterator[ModuleType]:
    """The settings as a module. They change this process's umask, so it is restored."""
    mask = os.umask(0o077)
    loader = SourceFileLoader("gunicorn_conf", str(FILE))
    spec = importlib.util.spec_from_loader("gunicorn_conf", loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    yield module
    os.umask(mask)


def test_client_that_reads_nothing_does_not_hold_the_thread(conf: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conf, "SEND_SECONDS", 1)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        conf.pre_request(None, SimpleNamespace(headers=[], unreader=SimpleNamespace(sock=ours)))
        assert ours.gettimeout() is None
        with pytest.raises(BlockingIOError):
            ours.sendall(b"x" * 10_000_000)
