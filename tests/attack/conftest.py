"""The bench is made of sockets and lives in real time: both are given back to it here, on the loopback only."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from attack import scenes
from attack.bench import Bench, Result
from attack.browser import Target
from attack.cases import CASES
from attack.pickup import free_port
from attack.provider import Provider, served
from tests.attack.careful_receiver import CarefulReceiver

CLIENT_ID, CLIENT_SECRET = "the shop: 100% + more", "s3cret:/+ %&="
PATIENCE = 0.2  # seconds; no receiver here limits its key fetches by time


@pytest.fixture(autouse=True)
def clock() -> None:
    """In place of the clock that stands still."""


@pytest.fixture(autouse=True)
def network() -> None:
    """In place of the network without sockets."""


@pytest.fixture(autouse=True)
def short_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the loopback, who has not asked for the keys by now does not ask; and a small flood is one, too."""
    monkeypatch.setattr(scenes, "SHORT", 0.1)
    monkeypatch.setattr(scenes, "FLOOD", 60)


@contextmanager
def provider_for(alg: str) -> Iterator[Provider]:
    """A provider of the bench, on a free port."""
    port = free_port()
    made = Provider(f"http://localhost:{port}", CLIENT_ID, CLIENT_SECRET, alg)
    with served(made.app(), "127.0.0.1", port):
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
    base_url = f"http://localhost:{port}"
    made = kind(provider.issuer, CLIENT_ID, CLIENT_SECRET, base_url)
    with served(made.app(), "127.0.0.1", port):
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


def attack(kind: type[CarefulReceiver], provider: Provider, cases: str = "") -> Outcome:
    """Attack a receiver with some cases, or with all."""
    chosen = [case for case in CASES if not cases or case.id in cases.split()]
    with receiver(kind, provider) as target:
        bench = Bench(target, provider, PATIENCE)
        bench.prepare()
        return Outcome(list(bench.run(chosen)))
