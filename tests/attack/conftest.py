"""The bench is made of sockets and lives in real time: both are given back to it here, on the loopback only."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from attack.bench import Bench
from attack.browser import Target
from attack.cases import CASES
from attack.pickup import free_port
from attack.provider import Provider, served
from attack.report import Report
from tests.attack.careful_receiver import CarefulReceiver

CLIENT_ID, CLIENT_SECRET = "the shop: 100% + more", "s3cret:/+ %&="
PATIENCE = 0.2  # seconds; nobody here limits key fetches by time


@pytest.fixture(autouse=True)
def clock() -> None:
    """In place of the clock that stands still."""


@pytest.fixture(autouse=True)
def network() -> None:
    """In place of the network without sockets."""


@pytest.fixture(scope="session")
def provider() -> Iterator[Provider]:
    """The bench's own provider."""
    port = free_port()
    made = Provider(f"http://localhost:{port}", CLIENT_ID, CLIENT_SECRET, "RS256")
    with served(made.app(), "127.0.0.1", port):
        yield made


Running = Callable[[type[CarefulReceiver]], AbstractContextManager[Target]]


@pytest.fixture
def running(provider: Provider) -> Running:
    """Starts a receiver, and says where it is."""

    @contextmanager
    def start(kind: type[CarefulReceiver]) -> Iterator[Target]:
        port = free_port()
        base_url = f"http://localhost:{port}"
        receiver = kind(provider.issuer, CLIENT_ID, CLIENT_SECRET, base_url)
        with served(receiver.app(), "127.0.0.1", port):
            yield Target(
                logout_url=f"{base_url}/bclogout",
                login_url=f"{base_url}/login",
                page_url=f"{base_url}/page",
                client_id=CLIENT_ID,
                client_secret=CLIENT_SECRET,
            )

    return start


@pytest.fixture
def attacked(provider: Provider, running: Running) -> Callable[[type[CarefulReceiver]], Report]:
    """Attacks a receiver with every case."""

    def attack(kind: type[CarefulReceiver]) -> Report:
        with running(kind) as target:
            bench = Bench(target, provider, PATIENCE)
            bench.prepare()
            return Report.of(bench, list(bench.run(CASES)), 0.0)

    return attack
