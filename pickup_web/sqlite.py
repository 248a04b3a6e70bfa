"""SQLite as a service needs it: durable, readers that never wait, and writers that queue."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, event

PATIENCE = 10  # seconds that a writer waits for the others
BEGIN = "BEGIN IMMEDIATE"  # for a transaction that must write nothing before it has the lock


def set_up(engine: Engine) -> None:
    """Set the pragmas of each connection, and let the writers of this process take turns.

    SQLite has no queue: a waiting writer sleeps for up to 100 ms between two tries, and others pass it meanwhile. That
    still holds between processes, of which there are few.
    """
    turn = threading.Lock()

    def before_statement(
        connection: Connection, _cursor: Any, sql: str, _values: Any, context: Any, _many: bool
    ) -> None:
        if context.isinsert or context.isupdate or context.isdelete or sql == BEGIN:
            take_turn(connection.info)

    def end_turn(connection: sqlite3.Connection | None, record: Any) -> None:
        """When the connection is back in the pool, its transaction is over."""
        if record.info.pop("has_turn", False):
            turn.release()
        if record.info.pop("is_relaxed", False) and connection:
            connection.execute("PRAGMA synchronous = FULL")

    event.listen(engine, "connect", set_pragmas)
    event.listen(engine, "connect", lambda _, record: record.info.update(turn=turn))
    event.listen(engine, "before_cursor_execute", before_statement)
    event.listen(engine, "checkin", end_turn)


def take_turn(info: dict[str, Any]) -> None:
    """Wait until this connection is the writer. It stays so until it is back in the pool."""
    if not info.get("has_turn") and (turn := info.get("turn")):
        info["has_turn"] = turn.acquire(timeout=PATIENCE)  # without it, SQLite names the error


def set_pragmas(connection: sqlite3.Connection, _record: object) -> None:
    """For SQLAlchemy's event ``connect``."""
    # Readers do not wait for the writer (WAL), a second writer waits for the first, and committed
    # data is on the disk (FULL): the outbox must not lose a recorded delivery.
    waiting = f"busy_timeout = {PATIENCE * 1000}"
    for pragma in ("journal_mode = WAL", "synchronous = FULL", waiting, "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")


def keep_little(engine: Engine) -> None:
    """Let each connection keep 256 KiB of the database in memory instead of 2 MiB. The system keeps the file, too."""
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA cache_size = -256"))


def relax(connection: Connection) -> None:
    """Let the next transaction survive the end of this process, but not a power cut; the one after it saves both."""
    driver = connection.connection.driver_connection
    if driver and not driver.in_transaction:  # SQLite cannot change it within a transaction
        driver.execute("PRAGMA synchronous = NORMAL")
        connection.info["is_relaxed"] = True


@contextmanager
def replacing_tables(connection: Connection) -> Iterator[None]:
    """Around a transaction whose migrations replace tables. SQLite takes DROP TABLE for the deletion of all its rows,
    which the foreign keys of other tables forbid. It cannot be told otherwise within a transaction.
    """
    if connection.dialect.name != "sqlite":
        yield
        return
    cursor = connection.connection.cursor()
    cursor.execute("PRAGMA foreign_keys = OFF")
    try:
        yield
    finally:
        cursor.execute("PRAGMA foreign_keys = ON")


def check_references(connection: Connection) -> None:
    """The check that was off meanwhile, before the commit."""
    if connection.dialect.name == "sqlite" and (broken := connection.exec_driver_sql("PRAGMA foreign_key_check").all()):
        raise RuntimeError(f"{len(broken)} rows refer to rows that do not exist, the first in table {broken[0][0]}.")
