"""Named events: a row and a log line each, if the transaction commits."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, event, select
from sqlalchemy.orm import Session
from structlog.testing import capture_logs

from pickup_web import events, sqlite
from pickup_web.database import Base
from pickup_web.events import Event, record, record_all


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """A database with the table of events, and the queue of writers that a service has."""
    ours = create_engine(f"sqlite:///{tmp_path / 'a.db'}")
    sqlite.set_up(ours)
    Base.metadata.create_all(ours)
    yield ours
    ours.dispose()


@pytest.fixture
def lines() -> Iterator[list[Any]]:
    """What the log is told."""
    with capture_logs() as captured:
        yield captured


def test_log_lines_are_written_after_the_commit(engine: Engine, lines: list[Any]) -> None:
    """In the order of the events, with their words, and once."""
    with Session(engine) as db:
        record(db, "op.session.created", sid="s")
        record_all(db, [{"name": "op.session.ended", "sid": sid, "by": "ann"} for sid in ("s", "t")])
        assert lines == []
        db.commit()
        told = [(line["event"], line["sid"], line.get("by")) for line in lines]
        assert told == [
            ("op.session.created", "s", None),
            ("op.session.ended", "s", "ann"),
            ("op.session.ended", "t", "ann"),
        ]
        db.commit()
        assert [row.name for row in db.scalars(select(Event))] == [line["event"] for line in lines]


def test_another_writer_does_not_wait_for_the_log(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the line is written, the transaction is visible and the database is free."""
    seen = []

    class Log:
        """In place of the log."""

        def info(self, name: str, **_: Any) -> None:
            """Reads and writes with a connection of its own."""
            with Session(engine) as other:
                seen.append((name, other.scalars(select(Event.name)).all()))
                other.add(Event(at=0, name="x", detail={}))
                other.commit()

    monkeypatch.setattr(events, "LOG", Log())
    monkeypatch.setattr(sqlite, "PATIENCE", 0.1)
    with Session(engine) as db, db.begin():
        record(db, "op.session.ended")
    assert seen == [("op.session.ended", ["op.session.ended"])]


@pytest.mark.parametrize("end", [Session.rollback, Session.close], ids=["rollback", "close"])
def test_rolled_back_event_is_not_logged(end: Any, engine: Engine, lines: list[Any]) -> None:
    """Neither then nor with the session's next commit."""
    with Session(engine) as db:
        record(db, "op.session.ended")
        end(db)
        record(db, "op.session.created")
        db.commit()
        assert [line["event"] for line in lines] == ["op.session.created"]
        assert db.scalars(select(Event.name)).all() == ["op.session.created"]


def test_failed_commit_logs_nothing(engine: Engine, lines: list[Any]) -> None:
    """A disk that is full, for example."""

    def fail(_: object) -> None:
        raise OSError("disk full")

    event.listen(engine, "commit", fail)
    with pytest.raises(OSError, match="disk full"), Session(engine) as db, db.begin():
        record(db, "op.session.ended")
    assert lines == []


def test_savepoint_logs_nothing_before_the_commit(engine: Engine, lines: list[Any]) -> None:
    """The transaction around it may still be rolled back."""
    with Session(engine) as db:
        record(db, "op.login.failed")
        with db.begin_nested():
            db.add(Event(at=0, name="x", detail={}))
        assert lines == []
        db.commit()
    assert [line["event"] for line in lines] == ["op.login.failed"]
