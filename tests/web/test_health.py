"""``GET /healthz`` reports a database that cannot be written, at low cost."""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import Connection, event, func, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from pickup_web.database import engine_of
from pickup_web.health import EVERY_SECONDS, WriteCheck
from tests.conftest import Clock, SiteClient, client_of
from tests.statements import at_statement

SERVICES = ["idp", "dispatch", "manager"]
FULL = "database or disk is full"  # SQLite's error text
WRITE = "UPDATE write_check"


@pytest.fixture(params=SERVICES)
def client(request: pytest.FixtureRequest) -> SiteClient:
    """A client that polls each of the three services."""
    return client_of(request.getfixturevalue(request.param))


@dataclass
class Disk:
    """Writing to the disk, which can be full. Counts the attempts."""

    is_full: bool = False
    writes: int = 0

    def __call__(self, _: Connection) -> None:
        self.writes += 1
        if self.is_full:
            raise OperationalError("UPDATE …", None, sqlite3.OperationalError(FULL))


@pytest.fixture
def disk(client: SiteClient) -> Iterator[Disk]:
    disk = Disk()
    with at_statement(engine_of(client.application), WRITE, disk):
        yield disk


def test_readable_and_writable_database_is_healthy(client: SiteClient) -> None:
    """At the server's root, regardless of the app's path."""
    response = client.get("/healthz")
    assert (response.status_code, response.text) == (200, "ok\n")


def test_full_disk_is_not_healthy(client: SiteClient, disk: Disk, capfd: pytest.CaptureFixture[str]) -> None:
    """503 with a text that discloses nothing; the reason is in the log."""
    disk.is_full = True
    response = client.get("/healthz")
    assert (response.status_code, response.text) == (503, "The database cannot be written.\n")
    assert FULL in capfd.readouterr().out


def test_service_is_healthy_again_when_disk_has_room(client: SiteClient, disk: Disk, clock: Clock) -> None:
    """No restart is needed."""
    disk.is_full = True
    assert client.get("/healthz").status_code == 503
    disk.is_full = False
    clock.turn(EVERY_SECONDS)
    assert client.get("/healthz").status_code == 200


def test_disk_that_becomes_full_is_reported(client: SiteClient, disk: Disk, clock: Clock) -> None:
    """No later than one check interval."""
    assert client.get("/healthz").status_code == 200
    disk.is_full = True
    clock.turn(EVERY_SECONDS)
    assert client.get("/healthz").status_code == 503


@pytest.mark.parametrize("is_full", [False, True])
def test_frequent_polling_writes_once_per_interval(client: SiteClient, disk: Disk, clock: Clock, is_full: bool) -> None:
    """One write per interval and process, however many clients poll; between writes the last result is returned."""
    disk.is_full = is_full
    answers = {client.get("/healthz").status_code for _ in range(20)}
    assert answers == {503 if is_full else 200}
    assert disk.writes == 1
    clock.turn(EVERY_SECONDS)
    client.get("/healthz")
    assert disk.writes == 2


def test_clock_set_back_does_not_stop_the_checks(client: SiteClient, disk: Disk, clock: Clock) -> None:
    """The time of the last check is then in the future."""
    client.get("/healthz")
    clock.turn(-3600)
    client.get("/healthz")
    assert disk.writes == 2


def test_check_keeps_one_row_and_replaces_its_value(client: SiteClient, clock: Clock) -> None:
    """The check does not fill the disk. SQLite would not write an unchanged row."""
    contents = set()
    for _ in range(3):
        client.get("/healthz")
        clock.turn(EVERY_SECONDS)
        with Session(engine_of(client.application)) as db:
            assert db.scalar(select(func.count()).select_from(WriteCheck)) == 1
            contents.add(db.scalars(select(WriteCheck.content)).one())
    assert len(contents) == 3


def test_slow_write_does_not_block_other_requests(client: SiteClient) -> None:
    """One request writes; the others get the previous result."""
    asked: list[int] = []

    def slow(_: Connection) -> None:
        asked.append(client.application.test_client().get("/healthz").status_code)

    with at_statement(engine_of(client.application), WRITE, slow):
        assert client.get("/healthz").status_code == 200
    assert asked == [200]


def test_unreachable_database_is_not_healthy(client: SiteClient) -> None:
    """The driver's error text may name hosts and users, so it is not returned."""
    engine = engine_of(client.application)

    def gone(*_: Any) -> None:
        raise sqlite3.OperationalError("connection to pickup@db.example failed")

    event.listen(engine, "before_cursor_execute", gone)
    try:
        response = client.get("/healthz")
    finally:
        event.remove(engine, "before_cursor_execute", gone)
    assert response.status_code == 503
    assert "db.example" not in response.text
