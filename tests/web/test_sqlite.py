"""SQLite as the services use it: writers queue, and committed data survives a crash."""

import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, event

from pickup_web import sqlite
from pickup_web.sqlite import Connection

DURABLE, RELAXED = 2, 1  # PRAGMA synchronous: FULL, NORMAL


@pytest.fixture
def connect(tmp_path: Path) -> Iterator[Callable[[], Connection]]:
    """Opens connections of one process to one database with one table."""
    made: list[Connection] = []
    factory = sqlite.connection_class()

    def connect_one() -> Connection:
        made.append(sqlite3.connect(tmp_path / "a.db", factory=factory, check_same_thread=False))
        sqlite.prepare(made[-1], None)
        return made[-1]

    connect_one().execute("CREATE TABLE row (x)")
    yield connect_one
    for connection in made:
        connection.close()


def write(connection: sqlite3.Connection, value: int = 1) -> None:
    """Writes as SQLAlchemy does."""
    connection.cursor().execute("INSERT INTO row VALUES (?)", (value,))


ENDS: dict[str, Callable[[Connection], None]] = {
    "commit": Connection.commit,
    "rollback": Connection.rollback,
    "close": Connection.close,
}


@pytest.mark.parametrize("end", ENDS)
def test_writer_waits_for_the_end_of_another_transaction(end: str, connect: Callable[[], Connection]) -> None:
    """The end of the transaction wakes it; it does not poll."""
    first, second = connect(), connect()
    write(first)
    writing, written = threading.Event(), threading.Event()

    def write_second() -> None:
        writing.set()
        write(second)
        written.set()

    thread = threading.Thread(target=write_second)
    thread.start()
    assert writing.wait(5)
    assert not written.is_set()
    assert not second.in_transaction  # it waits in our queue, not in SQLite
    ENDS[end](first)
    assert written.wait(5)
    thread.join()
    second.commit()


def test_readers_do_not_wait(connect: Callable[[], Connection]) -> None:
    """They read the state before the open transaction (WAL)."""
    writer, reader = connect(), connect()
    write(writer)
    assert reader.cursor().execute("SELECT count(*) FROM row").fetchone() == (0,)
    assert not reader.has_turn
    writer.commit()
    assert reader.cursor().execute("SELECT count(*) FROM row").fetchone() == (1,)


def test_writer_gives_up_after_the_timeout(connect: Callable[[], Connection], monkeypatch: pytest.MonkeyPatch) -> None:
    """And leaves the other connection's transaction alone."""
    monkeypatch.setattr(sqlite, "PATIENCE", 0)
    first, second = connect(), connect()
    write(first)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        write(second)
    second.rollback()
    assert first.has_turn
    first.commit()
    write(second)
    second.commit()


def test_databases_do_not_wait_for_each_other(connect: Callable[[], Connection], tmp_path: Path) -> None:
    """The three services may share a process."""
    write(connect())
    other = sqlite3.connect(tmp_path / "b.db", factory=sqlite.connection_class())
    other.cursor().execute("CREATE TABLE row (x)")
    write(other)
    other.close()


def test_relax_applies_to_one_transaction(connect: Callable[[], Connection]) -> None:
    """The transaction after it is written to disk at commit again, even after a relaxed one was rolled back."""

    def level() -> int:
        return int(connection.execute("PRAGMA synchronous").fetchone()[0])

    connection = connect()
    assert level() == DURABLE
    for end in (connection.commit, connection.rollback):
        connection.relax()
        write(connection)
        assert level() == RELAXED
        end()
        assert level() == DURABLE
    write(connection)
    connection.relax()  # too late
    assert level() == DURABLE


def test_pooled_connection_starts_outside_the_write_queue(tmp_path: Path) -> None:
    """Regardless of the state the previous user left it in."""
    url = f"sqlite:///{tmp_path / 'a.db'}"
    engine = create_engine(url, connect_args={"factory": sqlite.connection_class()})
    event.listen(engine, "connect", sqlite.prepare)
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE TABLE row (x)")
        connection.exec_driver_sql("INSERT INTO row VALUES (1)")
    with engine.connect() as connection:
        driver: object = connection.connection.dbapi_connection
        assert isinstance(driver, Connection)
        assert not driver.has_turn
    engine.dispose()


CRASH = """
import os, signal, sqlite3, sys
from pickup_web import sqlite
connection = sqlite3.connect(sys.argv[1], factory=sqlite.connection_class())
sqlite.prepare(connection, None)
connection.execute("CREATE TABLE row (x)")
for value, relaxed, committed in ((1, False, True), (2, True, True), (3, False, False)):
    if relaxed:
        connection.relax()
    connection.cursor().execute("INSERT INTO row VALUES (?)", (value,))
    if committed:
        connection.commit()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_kill_9_loses_no_committed_transaction(tmp_path: Path) -> None:
    """All committed transactions remain, relaxed ones too; the open one is rolled back."""
    ended = subprocess.run([sys.executable, "-c", CRASH, str(tmp_path / "a.db")], check=False, timeout=60)
    assert ended.returncode == -signal.SIGKILL
    connection = sqlite3.connect(tmp_path / "a.db")
    assert connection.execute("SELECT x FROM row ORDER BY x").fetchall() == [(1,), (2,)]
    connection.close()
