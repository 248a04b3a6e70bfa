"""The guarded HTTP client with and without the demo switches, and name servers made of paper."""

import ipaddress
import socket
from dataclasses import dataclass, field
from typing import Any

import pytest

from idp.outbox.http import (
    GuardedHttpClient,
)

really_ask, really_connect = GuardedHttpClient.ask, socket.socket.connect  # before the tests' network takes their place
STRICT = GuardedHttpClient(allow_plain_http=False, allow_private_addresses=False)
DEMO = GuardedHttpClient(allow_plain_http=True, allow_private_addresses=True)


@dataclass
class Names:
    """DNS, made of paper. ``asked`` has the names that were looked up."""

    answers: dict[str, list[str]]
    asked: list[str] = field(default_factory=list)

    def getaddrinfo(self, host: str, port: int | None = None, **_: Any) -> list[Any]:
        """In place of the resolver."""
        try:
            found = [str(ipaddress.ip_address(host))]
        except ValueError:
            self.asked.append(host)
            found = self.look_up(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port or 0)) for address in found]

    def look_up(self, host: str) -> list[str]:
        """The name's addresses."""
        if any(not label or len(label) > 63 for label in host.split(".")):
            raise UnicodeError("label empty or too long")
        if host not in self.answers:
            raise socket.gaierror(-2, "Name or service not known")
        return self.answers[host]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """See :class:`Names`."""
    ours = Names({"shop.example": ["93.184.216.34"]})
    monkeypatch.setattr(socket, "getaddrinfo", ours.getaddrinfo)
    return ours


@pytest.fixture
def connected(names: Names, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that were connected to. None of them accepts a connection. The HTTP client is the real one."""
    del names
    seen: list[str] = []

    def refuse(_socket: socket.socket, place: tuple[str, int]) -> None:
        seen.append(f"{place[0]}:{place[1]}")
        raise ConnectionRefusedError

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(GuardedHttpClient, "ask", really_ask)
    return seen
