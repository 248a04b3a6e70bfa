"""A process of another product that a test run starts."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import requests

from e2e.plain import http

PEERS = Path(__file__).parent / "peers"
START_SECONDS = 180  # Keycloak on a busy machine


class Peer:
    """Runs from now on; its output is in ``folder``."""

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        name: str,
        *,
        environment: Mapping[str, str] | None = None,
        stdin: str = "",
    ) -> None:
        self._log = folder / f"{name}.log"
        with self._log.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,  # a script and the process that it starts are one group
            )
        assert self._process.stdin
        self._process.stdin.write(stdin.encode())
        self._process.stdin.close()

    def wait_for(self, url: str) -> None:
        """Until that page opens."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            with suppress(requests.RequestException):
                if http.get(url).ok:
                    return
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self._log.stem} did not start:\n{self._log.read_text()[-4000:]}")
            time.sleep(0.1)

    def end(self) -> None:
        """At once: its data is not needed any more."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def npm_version(package: str) -> str:
    """The version that the lock file pins."""
    lock = json.loads((PEERS / "package-lock.json").read_text("utf-8"))
    return str(lock["packages"][f"node_modules/{package}"]["version"])
