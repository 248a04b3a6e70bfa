"""``python -m idp``, the identity provider for tests, as a process."""

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Process = subprocess.Popen[str]
PROGRAM = """
from idp.disposable import main
from idp.outbox.sender import Outbox

Outbox.drain = lambda outbox: print("drained", flush=True)
main()
"""
STOPS: dict[str, Callable[[Process], None]] = {
    "SIGTERM": Process.terminate,
    "Ctrl+C": lambda process: process.send_signal(signal.SIGINT),
    "the end of standard input": lambda process: process.stdin.close(),  # type: ignore[union-attr] # it is a pipe
}


@pytest.mark.thorough
@pytest.mark.parametrize("stop", STOPS)
def test_provider_that_is_stopped_records_the_attempts_in_hand(stop: str, tmp_path: Path) -> None:
    """Else the next one with the same data notifies these apps again. Outbox.drain() has tests of its own."""
    command = [sys.executable, "-c", PROGRAM, "--port", "0", "--stop-with-stdin", "--data", str(tmp_path)]
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline().startswith("ready: "), "the control"
        STOPS[stop](process)
        assert process.stdout.read().splitlines()[-1] == "drained"
    assert process.returncode == 0
