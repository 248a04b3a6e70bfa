"""A bench, and the learner's app in a process of its own: sockets and time are real here, on the loopback only."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from attack.browser import Target
from attack.pickup import free_port
from attack.provider import Provider, served
from pickup_learn.receiver.__main__ import CLIENT_ID, Course
from pickup_learn.receiver.process import App
from tests.attack.conftest import short_of_time

__all__ = ["short_of_time"]  # a fixture

PATIENCE = 0.2  # seconds


@pytest.fixture(autouse=True)
def clock() -> None:
    """In place of the clock that stands still."""


@pytest.fixture(autouse=True)
def network() -> None:
    """In place of the network without sockets."""


@pytest.fixture(scope="session")
def provider() -> Iterator[Provider]:
    """The bench's provider."""
    port = free_port()
    made = Provider(f"http://localhost:{port}", CLIENT_ID, "", "RS256")
    with served(made.app(), "127.0.0.1", port):
        yield made


@pytest.fixture
def app(provider: Provider, tmp_path: Path) -> Iterator[App]:
    """The learner's app. Each test writes its file."""
    made = App(
        file=tmp_path / "receiver.py",
        issuer=provider.issuer,
        client_id=CLIENT_ID,
        url=f"http://localhost:{free_port()}",
        database=tmp_path / "bench.sqlite",
        log=tmp_path / "bench.log",
    )
    yield made
    made.stop()


MakeCourse = Callable[[int], Course]


@pytest.fixture
def course(app: App, provider: Provider, tmp_path: Path) -> MakeCourse:
    """Makes the course of a learner who has reached a step."""

    def make(reached: int) -> Course:
        target = Target(f"{app.url}/bclogout", f"{app.url}/login", f"{app.url}/profile", CLIENT_ID)
        made = Course("receiver.py", target, provider, tmp_path, PATIENCE)
        made.progress.reached = reached
        return made

    return make
