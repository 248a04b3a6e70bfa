"""SQLite as a service needs it: durable, readers that never wait, and writers that queue."""

import sqlite3
import threading
from typing import Any

PATIENCE = 10  # seconds that a writer waits for the others
WRITES = ("INSERT", "UPDATE", "DELETE", "BEGIN IMMEDIATE")


class Connection(sqlite3.Connection):
    """Takes its process's turn before it writes, and gives it back when the transaction is over.

    SQLite itself has no queue: a writer that finds another one sleeps and looks again, at last for 100 ms a time, while
    others pass it. Between processes that is still so; there are few of them.
    """

    turn = threading.Lock()  # replaced by one a database
    has_turn = False
    is_relaxed = False

    def cursor(self, _factory: None = None) -> "Cursor":  # type: ignore[override] # nobody brings another factory
        """For SQLAlchemy, which runs everything by cursors."""
        return Cursor(self)

    def take_turn(self) -> None:
        """Wait, but not for ever: then SQLite says who is in the way."""
        if not self.has_turn:
            self.has_turn = self.turn.acquire(timeout=PATIENCE)

    def relax(self) -> None:
        """Let the next transaction outlive this process, but not a power cut; the one after it saves both."""
        self.execute("PRAGMA synchronous = NORMAL")
        self.is_relaxed = True

    def commit(self) -> None:
        """A commit that fails leaves the transaction open, and the turn with it, for the rollback."""
        super().commit()
        self._is_over()

    def rollback(self) -> None:
        """Also what a pool does with each connection that comes back to it."""
        try:
            super().rollback()
        finally:
            self._is_over()

    def close(self) -> None:
        """Without a word before, as after an error."""
        super().close()
        self._give_back()

    def _is_over(self) -> None:
        if self.is_relaxed:
            self.execute("PRAGMA synchronous = FULL")
            self.is_relaxed = False
        self._give_back()

    def _give_back(self) -> None:
        if self.has_turn:
            self.has_turn = False
            self.turn.release()


class Cursor(sqlite3.Cursor):
    """Looks at the first word of a statement."""

    connection: Connection

    def execute(self, sql: str, parameters: Any = (), /) -> "Cursor":
        """One statement."""
        if sql.startswith(WRITES):
            self.connection.take_turn()
        return super().execute(sql, parameters)

    def executemany(self, sql: str, parameters: Any, /) -> "Cursor":
        """The same for many rows."""
        if sql.startswith(WRITES):
            self.connection.take_turn()
        return super().executemany(sql, parameters)


def connection_class() -> type[Connection]:
    """A class of its own for each database: its connections share one turn."""
    return type("Connection", (Connection,), {"turn": threading.Lock()})


def prepare(connection: Any, _record: object) -> None:
    """For SQLAlchemy's event ``connect``: what each connection must be told."""
    # Readers do not wait for the writer (WAL), a second writer waits for the first, and what is
    # committed is on the disk (FULL): the outbox promises that nothing recorded is lost.
    waiting = f"busy_timeout = {PATIENCE * 1000}"
    for pragma in ("journal_mode = WAL", "synchronous = FULL", waiting, "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")
