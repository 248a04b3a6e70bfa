"""Receivers and a provider for the bench. These tests need the real clock and sockets on the loopback address."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter

from attack import scenes
from attack.bench import Bench, Result, Step
from attack.browser import Target
from attack.cases import CASES
from attack.judge import Finding, Kind
from attack.pickup import free_port
from attack.provider import Provider, served
from tests.attack.careful_receiver import CarefulReceiver
from tests.network import Network

CLIENT_ID, CLIENT_SECRET = "the shop: 100% + more", "s3cret:/+ %&="
PATIENCE = 0.2  # seconds; no receiver here limits its key fetches by time


class Logins(Network):
    """Carries the requests of browsers and receivers without sockets, which halves the time of these tests.

    The hostile requests do use sockets, and so does everything in test_command.py.
    """

    def send(self, adapter: HTTPAdapter, prepared: requests.PreparedRequest, **options: Any) -> requests.Response:
        """With the cookie, which the services do not need and a browser does."""
        response = super().send(adapter, prepared, **options)
        if "Set-Cookie" in response.headers:
            original = SimpleNamespace(msg=Message(), isclosed=lambda: True)
            original.msg["Set-Cookie"] = response.headers["Set-Cookie"]
            response.raw._original_response = original  # where requests looks for cookies
        return response


LOGINS = Logins()


@pytest.fixture(autouse=True)
def clock() -> None:
    """Replaces the fixture that stops the clock."""


@pytest.fixture(autouse=True)
def network() -> None:
    """Replaces the fixture that blocks sockets."""


@pytest.fixture(autouse=True)
def short_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorter waits, which suffice on the loopback address. FLOOD must exceed FLOOD_FETCHES."""
    monkeypatch.setattr(scenes, "SHORT", 0.1)
    monkeypatch.setattr(scenes, "SETTLED", 0.1)
    monkeypatch.setattr(scenes, "FLOOD", 60)


@contextmanager
def provider_for(alg: str) -> Iterator[Provider]:
    """A provider of the bench, on a free port."""
    port = free_port()
    made = Provider(f"http://127.0.0.1:{port}", CLIENT_ID, CLIENT_SECRET, alg)
    LOGINS.add(made.issuer, made.app())
    yield made


@pytest.fixture(scope="session")
def provider() -> Iterator[Provider]:
    """The one that most tests share: keys take time to make."""
    with provider_for("RS256") as made:
        yield made


@contextmanager
def receiver(kind: type[CarefulReceiver], provider: Provider) -> Iterator[Target]:
    """A receiver that runs, and where it is."""
    port = free_port()
    base_url = f"http://127.0.0.1:{port}"
    made = kind(provider.issuer, CLIENT_ID, CLIENT_SECRET, base_url)
    app = made.app()
    LOGINS.add(base_url, app)
    with served(app, "127.0.0.1", port):
        yield Target(
            logout_url=f"{base_url}/bclogout",
            login_url=f"{base_url}/login",
            page_url=f"{base_url}/page",
            client_id=CLIENT_ID,
            client_secret=CLIENT_SECRET,
            alg=provider.ring.alg,
        )


@dataclass(frozen=True)
class Outcome:
    """What the bench found."""

    results: list[Result]

    @property
    def failed(self) -> set[str]:
        """The cases that failed, by id."""
        return {result.case.id for result in self.results if result.verdict == "fail"}

    def text(self, case: str) -> str:
        """Everything that was found in one case."""
        return "\n".join(
            f"{finding.request}: {finding.text}"
            for result in self.results
            if result.case.id == case
            for finding in result.findings
        )


class HastyBench(Bench):
    """Skips the remaining steps of a case after one failed: the verdict is known, and each step costs a login."""

    failed_in = ""

    def take(self, step: Step) -> list[Finding]:
        """One step, unless the case has failed already."""
        if self.failed_in == self._case:
            return []
        findings = super().take(step)
        if any(finding.kind is Kind.FAIL for finding in findings):
            self.failed_in = self._case
        return findings


def attack(kind: type[CarefulReceiver], provider: Provider, cases: str = "", patience: float = PATIENCE) -> Outcome:
    """Attack a receiver with some cases, or with all."""
    chosen = [case for case in CASES if not cases or case.id in cases.split()]
    with receiver(kind, provider) as target:
        bench = HastyBench(target, provider, patience)
        bench.prepare()
        return Outcome(list(bench.run(chosen)))
