"""The replicas of a stack that ``make up SCALE=2`` started, each of which a story can reach and break alone."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

import requests

from e2e.plain import http
from e2e.stack import ComposeHands, Stack, healthy

START_SECONDS = 60
LOOK_SECONDS = 0.1


@dataclass(frozen=True)
class Replica:
    """One container of a service."""

    id: str
    hands: ComposeHands
    port: int

    def kill(self) -> None:
        """End all its processes at once (SIGKILL)."""
        self.hands.docker("kill", self.id)

    def start(self) -> None:
        """Start it, and wait until it is healthy. It may have another address then."""
        self.hands.docker("start", self.id)
        deadline = time.monotonic() + START_SECONDS
        while not healthy(f"{self._address()}:{self.port}"):
            assert time.monotonic() < deadline, f"replica {self.id} did not start"
            time.sleep(LOOK_SECONDS)

    @contextmanager
    def killed(self) -> Iterator[None]:
        """It is down; afterwards it is back, also after an error."""
        self.kill()
        try:
            yield
        finally:
            self.start()

    def url(self, public: str) -> str:
        """The same page at this replica, past nginx."""
        return urlunsplit(urlsplit(public)._replace(netloc=f"{self._address()}:{self.port}"))

    def wrote(self, *words: str) -> bool:
        """Whether one line of its log has all these words."""
        lines = self.hands.docker("logs", self.id).splitlines()
        return any(all(word in line for word in words) for line in lines)

    def _address(self) -> str:
        template = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        return self.hands.docker("inspect", "-f", template, self.id).strip()


def replicas_of(stack: Stack, service: str) -> list[Replica]:
    """Its replicas; one or none if the stack has no more."""
    if not isinstance(stack.hands, ComposeHands):
        return []
    port = urlsplit(stack.url(service)).port or 0
    return [Replica(container, stack.hands, port) for container in stack.hands.containers(service)]


class Stream:
    """The event stream of an open tab, at one replica. Reads until the server ends it."""

    def __init__(self, url: str, cookie: str) -> None:
        self.said = ""
        self._answer = http.get(url, headers={"Cookie": cookie}, stream=True)
        assert self._answer.status_code == 200, f"no stream: status {self._answer.status_code}"
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with suppress(requests.RequestException, AttributeError):  # the server ended, or the story did
            for line in self._answer.iter_lines(decode_unicode=True):
                self.said += f"{line}\n"

    def wait_for(self, words: str, within: float) -> None:
        """Until the stream has said that."""
        deadline = time.monotonic() + within
        while words not in self.said:
            assert time.monotonic() < deadline, f"the stream did not say {words!r} within {within} s: {self.said}"
            time.sleep(LOOK_SECONDS)
