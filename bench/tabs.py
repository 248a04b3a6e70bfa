"""The server's cost of an open tab: its memory before and after many event streams are opened."""

import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from flask import Flask

from bench.relying_party import Figure, fresh, make_app
from relying_party.sessions import AppSession
from relying_party.state import State

ROOT = Path(__file__).parents[1]
TABS = 60
FEW = 4  # opened first, so that one-time allocations do not count
SECONDS = 10  # for the server to start


def app() -> Flask:
    """The application that the server runs."""
    return make_app(Path(os.environ["BENCH_FOLDER"]), RELYING_PARTY_LIVE_STREAMS=TABS + FEW)


def open_tabs() -> Iterator[Figure]:
    """Start a server with one process, open tabs, measure its memory."""
    with tempfile.TemporaryDirectory(prefix="bench") as folder, ExitStack() as tabs:
        cookie, path = signed_in(Path(folder)), f"{folder}/socket"
        server = subprocess.Popen(
            [sys.executable, "-m", "gunicorn", "-b", f"unix:{path}", "-k", "gthread", "--threads", str(TABS + FEW + 4),
             "--no-control-socket", "--log-level", "error", "bench.tabs:app()"],
            env={**os.environ, "BENCH_FOLDER": folder, "PYTHONPATH": str(ROOT)},
            cwd=folder,  # so that it does not read the services' gunicorn.conf.py
        )  # fmt: skip
        try:
            wait_for(path)
            for _ in range(FEW):
                tabs.enter_context(open_tab(path, cookie))
            before = memory_of_children(server.pid)
            for _ in range(TABS):
                tabs.enter_context(open_tab(path, cookie))
            time.sleep(1)  # each stream polls its session a few times
            after = memory_of_children(server.pid)
            yield Figure(
                f"an open tab, of {TABS}", f"{(after - before) / TABS:>9,.0f} kB   the process before {before:,} kB"
            )
        finally:
            server.terminate()
            server.wait()


def signed_in(folder: Path) -> str:
    """The cookie of a signed-in user."""
    state: State = make_app(folder).extensions["relying_party"]
    session = AppSession()
    state.sessions.sign_in(session, fresh(1))
    assert session.new_cookie  # noqa: S101 # signing in creates one
    return session.new_cookie


def open_tab(path: str, cookie: str) -> socket.socket:
    """An open stream."""
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    connection.sendall(f"GET /session/live HTTP/1.1\r\nHost: bench\r\nCookie: __Host-session={cookie}\r\n\r\n".encode())
    answer = b""
    while b"retry: 1000" not in answer:
        part = connection.recv(4096)
        if not part:
            raise RuntimeError(f"The server gave no stream: {answer[:200]!r}")
        answer += part
    return connection


def wait_for(path: str) -> None:
    """Wait until a server listens there."""
    deadline = time.monotonic() + SECONDS
    while not os.path.exists(path):  # noqa: PTH110 # a socket
        if time.monotonic() > deadline:
            raise RuntimeError("The server did not start.")
        time.sleep(0.05)


def memory_of_children(pid: int) -> int:
    """Proportional memory of the server's workers, in kB."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()
    rollups = [Path(f"/proc/{child}/smaps_rollup").read_text("ascii") for child in children]
    return sum(int(size) for rollup in rollups for size in re.findall(r"^Pss: +(\d+) kB", rollup, re.M))
