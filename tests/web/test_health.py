"""``GET /healthz``: a service whose database takes no writes is not healthy, and looking costs little."""

import sqlite3
from typing import Any

import pytest
from sqlalchemy import event, func, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from pickup_web import health
from pickup_web.database import engine_of
from pickup_web.health import EVERY_SECONDS, WriteCheck
from tests.conftest import Clock, SiteClient, client_of

SERVICES = ["idp", "dispatch", "manager"]
FULL = "database or disk is full"  # SQLite's words


@pytest.fixture(params=SERVICES)
def client(request: pytest.FixtureRequest) -> SiteClient:
    """Who polls each of the three."""
    return client_of(request.getfixturevalue(request.param))


class Disk:
    """Writing to the disk, which can be full. Counts what was tried."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_full, self.writes, self._write = False, 0, health.write
        monkeypatch.setattr(health, "write", self)

    def __call__(self, session: Session) -> None:
        self.writes += 1
        if self.is_full:
            raise OperationalError("UPDATE …", None, sqlite3.OperationalError(FULL))
        self._write(session)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def test_a_database_that_can_be_read_and_written_is_healthy(client: SiteClient) -> None:
    """At the server's root, whatever the path of the app."""
    response = client.get("/healthz")
    assert (response.status_code, response.text) == (200, "ok\n")


def test_a_full_disk_is_not_healthy(client: SiteClient, disk: Disk, capfd: pytest.CaptureFixture[str]) -> None:
    """503 with a sentence that gives nothing away; the reason is in the log."""
    disk.is_full = True
    response = client.get("/healthz")
    assert (response.status_code, response.text) == (503, "The database cannot be written.\n")
    assert FULL in capfd.readouterr().out


def test_it_is_healthy_again_when_there_is_room(client: SiteClient, disk: Disk, clock: Clock) -> None:
    """Without a restart."""
    disk.is_full = True
    assert client.get("/healthz").status_code == 503
    disk.is_full = False
    clock.turn(EVERY_SECONDS)
    assert client.get("/healthz").status_code == 200


def test_a_disk_that_becomes_full_is_noticed(client: SiteClient, disk: Disk, clock: Clock) -> None:
    """At the latest after the interval."""
    assert client.get("/healthz").status_code == 200
    disk.is_full = True
    clock.turn(EVERY_SECONDS)
    assert client.get("/healthz").status_code == 503


@pytest.mark.parametrize("is_full", [False, True])
def test_polling_often_writes_seldom(client: SiteClient, disk: Disk, clock: Clock, is_full: bool) -> None:
    """One write an interval and process, however many ask; the answer stays that of the last one."""
    disk.is_full = is_full
    answers = {client.get("/healthz").status_code for _ in range(20)}
    assert answers == {503 if is_full else 200}
    assert disk.writes == 1
    clock.turn(EVERY_SECONDS)
    client.get("/healthz")
    assert disk.writes == 2


def test_a_clock_that_is_set_back_does_not_stop_the_checks(client: SiteClient, disk: Disk, clock: Clock) -> None:
    """The last check is then in the future."""
    client.get("/healthz")
    clock.turn(-3600)
    client.get("/healthz")
    assert disk.writes == 2


def test_the_check_keeps_one_row_and_changes_it_whole(client: SiteClient, clock: Clock) -> None:
    """It does not fill the disk itself. SQLite would not write what has not changed."""
    contents = set()
    for _ in range(3):
        client.get("/healthz")
        clock.turn(EVERY_SECONDS)
        with Session(engine_of(client.application)) as db:
            assert db.scalar(select(func.count()).select_from(WriteCheck)) == 1
            contents.add(db.scalars(select(WriteCheck.content)).one())
    assert len(contents) == 3


def test_who_polls_meanwhile_does_not_wait_for_a_slow_write(
    client: SiteClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One request writes; the others get the answer of the check before."""
    asked: list[int] = []

    def slow(_session: Session) -> None:
        asked.append(client.application.test_client().get("/healthz").status_code)

    monkeypatch.setattr(health, "write", slow)
    assert client.get("/healthz").status_code == 200
    assert asked == [200]


def test_a_database_that_does_not_answer_is_not_healthy(client: SiteClient) -> None:
    """Nothing of the driver's words, which may name hosts and users, gets out."""
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
