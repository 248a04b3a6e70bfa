"""SQLite as the services use it: writers queue, and committed data stays."""

import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, Connection, Engine, Integer, MetaData, Table, create_engine, func, insert, select
from sqlalchemy.exc import OperationalError

from pickup_web import sqlite

DURABLE, RELAXED = 2, 1  # PRAGMA synchronous: FULL, NORMAL
ROW = Table("row", MetaData(), Column("x", Integer))
COUNT = select(func.count()).select_from(ROW)


def open_engine(path: Path) -> Engine:
    engine = create_engine(f"sqlite:///{path}")
    sqlite.set_up(engine)
    ROW.create(engine)
    return engine


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """The engine of one process, with one table."""
    engine = open_engine(tmp_path / "a.db")
    yield engine
    engine.dispose()


def write(connection: Connection, value: int = 1) -> None:
    connection.execute(insert(ROW).values(x=value))


def has_turn(connection: Connection) -> bool:
    return bool(connection.info.get("has_turn"))


def commit(connection: Connection) -> None:
    connection.commit()
    connection.close()


def roll_back(connection: Connection) -> None:
    connection.rollback()
    connection.close()


@pytest.mark.parametrize("end", [commit, roll_back, Connection.close, Connection.invalidate])
def test_writer_waits_for_the_end_of_the_others_transaction(end: Callable[[Connection], Any], engine: Engine) -> None:
    """It is woken by the end, not by the next of SQLite's tries."""
    first, second = engine.connect(), engine.connect()
    write(first)
    writing, written = threading.Event(), threading.Event()

    def write_second() -> None:
        writing.set()
        write(second)
        written.set()

    thread = threading.Thread(target=write_second)
    thread.start()
    assert writing.wait(5)
    assert not written.wait(0.05)
    driver = second.connection.driver_connection
    assert driver
    assert not driver.in_transaction, "it does not wait in SQLite"
    end(first)
    first.close()
    assert written.wait(5)
    thread.join()
    commit(second)


@pytest.mark.parametrize("statement", [insert(ROW).values(x=1), ROW.update().values(x=2), ROW.delete()], ids=str)
def test_each_kind_of_write_takes_a_turn(statement: Any, engine: Engine) -> None:
    with engine.connect() as connection:
        assert not has_turn(connection)
        connection.execute(statement)
        assert has_turn(connection)
    with engine.connect() as connection:
        connection.execute(statement.returning(ROW.c.x))
        assert has_turn(connection)


def test_begin_immediate_takes_a_turn(engine: Engine) -> None:
    """Otherwise its transaction could wait for a turn whose owner waits for SQLite's lock."""
    with engine.connect() as connection:
        connection.exec_driver_sql(sqlite.BEGIN)
        assert has_turn(connection)


def test_readers_do_not_wait(engine: Engine) -> None:
    """They read the last committed state (WAL)."""
    with engine.connect() as writer, engine.connect() as reader:
        write(writer)
        assert reader.scalar(COUNT) == 0
        assert not has_turn(reader)
        writer.commit()
        assert reader.scalar(COUNT) == 1


def test_reader_can_become_a_writer(engine: Engine) -> None:
    """Another transaction was committed since it read; SQLite would refuse to upgrade a read transaction."""
    with engine.connect() as reader, engine.connect() as writer:
        assert reader.scalar(COUNT) == 0
        write(writer)
        commit(writer)
        write(reader)
        reader.commit()
        assert reader.scalar(COUNT) == 2


def test_writer_that_waits_too_long_gets_an_error(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not take the other writer's turn."""
    monkeypatch.setattr(sqlite, "PATIENCE", 0)
    with engine.connect() as first, engine.connect() as second:
        write(first)
        second.exec_driver_sql("PRAGMA busy_timeout = 0")
        with pytest.raises(OperationalError, match="locked"):
            write(second)
        roll_back(second)
        assert has_turn(first)
        commit(first)
    with engine.connect() as third:
        write(third)
        assert has_turn(third)


def test_databases_do_not_wait_for_each_other(engine: Engine, tmp_path: Path) -> None:
    """The three services may share a process."""
    other = open_engine(tmp_path / "b.db")
    with engine.connect() as here, other.connect() as there:
        write(here)
        write(there)
        assert has_turn(here)
        assert has_turn(there)
    other.dispose()


def test_only_the_next_transaction_is_relaxed(engine: Engine) -> None:
    """The one after it is on the disk again when it is committed, even if the relaxed one was rolled back."""

    def level(connection: Connection) -> int:
        return int(connection.exec_driver_sql("PRAGMA synchronous").scalar_one())

    for end in (commit, roll_back):
        connection = engine.connect()
        assert level(connection) == DURABLE
        sqlite.relax(connection)
        write(connection)
        assert level(connection) == RELAXED
        end(connection)
    with engine.connect() as connection:
        assert level(connection) == DURABLE
        write(connection)
        sqlite.relax(connection)  # too late
        assert level(connection) == DURABLE


def test_pool_hands_out_connections_without_a_turn(engine: Engine) -> None:
    """Also when the previous user of the connection did not end its transaction."""
    with engine.connect() as connection:
        write(connection)
    with engine.connect() as connection:
        assert not has_turn(connection)
        assert connection.scalar(COUNT) == 0


CRASH = """
import os, signal, sys
from sqlalchemy import create_engine
from pickup_web import sqlite
engine = create_engine("sqlite:///" + sys.argv[1])
sqlite.set_up(engine)
for value, relaxed, committed in ((1, False, True), (2, True, True), (3, False, False)):
    connection = engine.connect()
    if relaxed:
        sqlite.relax(connection)
    connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS row (x)")
    connection.exec_driver_sql("INSERT INTO row VALUES (?)", (value,))
    if committed:
        connection.commit()
        connection.close()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_kill_9_loses_no_committed_transaction(tmp_path: Path) -> None:
    """Relaxed or not; a transaction that was open is lost."""
    ended = subprocess.run([sys.executable, "-c", CRASH, str(tmp_path / "a.db")], check=False, timeout=60)
    assert ended.returncode == -signal.SIGKILL
    connection = sqlite3.connect(tmp_path / "a.db")
    assert connection.execute("SELECT x FROM row ORDER BY x").fetchall() == [(1,), (2,)]
    connection.close()
