"""SQL statements that are compiled once, and executed by SQLite's driver.

Only for speed: SQLAlchemy takes five times as long to execute a statement as SQLite does. On other databases
SQLAlchemy executes them.
"""

import sqlite3
from collections import namedtuple
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

from sqlalchemy import Dialect, Executable, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, SessionTransaction

from pickup_web import sqlite

DRIVER = "driver"  # in Session.info: the connection of the current transaction

Process = Callable[[Any], Any] | None  # how a value of a type is written or read; None: unchanged


class Prepared(NamedTuple):
    """A statement as SQLite's driver needs it."""

    sql: str
    parameters: list[tuple[str | None, Any, Process]]  # name; or None, and the value; how it is written
    columns: list[Process]
    row: Callable[..., Any]
    writes: bool


class Statement:
    """``sql`` with named parameters. It is compiled when it is executed first."""

    def __init__(self, sql: Executable, columns: list[str] | None = None) -> None:
        self._sql, self._columns = sql, columns
        self._prepared: Prepared | None = None

    def first(self, session: Session, values: Mapping[str, Any]) -> Any:
        """The first row, or None."""
        return next(iter(self.execute(session, values)), None)

    def execute(self, session: Session, values: Mapping[str, Any]) -> list[Any]:
        """The rows, in the session's transaction. An error if a parameter is missing: KeyError, or SQLAlchemy's."""
        session.flush()  # as for each query of the session
        # In a nested transaction, session.connection() sets the savepoint.
        info = (not session.in_nested_transaction() and session.info.get(DRIVER)) or connect(session)
        if info is OTHER:
            result = cast(Any, session.execute(self._sql, values))
            return list(result) if result.returns_rows else []
        prepared = self._prepared
        if prepared is None:
            prepared = self._prepared = prepare(self._sql, session.get_bind().dialect, self._columns)
        if prepared.writes:
            sqlite.take_turn(info)
        bound = [
            value if write is None else write(value)
            for name, given, write in prepared.parameters
            for value in (values[name] if name else given,)
        ]
        try:
            rows = info["driver"].execute(prepared.sql, bound).fetchall()
        except sqlite3.Error as error:
            raise DBAPIError.instance(prepared.sql, None, error, sqlite3.Error, hide_parameters=True) from error
        if not rows:
            return []
        columns = prepared.columns
        return [
            prepared.row(*(value if read is None else read(value) for read, value in zip(columns, row, strict=True)))
            for row in rows
        ]


OTHER: dict[str, Any] = {}


def connect(session: Session) -> dict[str, Any]:
    """SQLite's connection and its turn as a writer; ``OTHER`` on another database."""
    connection = session.connection()
    info = OTHER
    if connection.dialect.name == "sqlite":
        info = connection.info
        info["driver"] = connection.connection.driver_connection
    session.info[DRIVER] = info
    return info


def prepare(sql: Any, dialect: Dialect, columns: list[str] | None) -> Prepared:
    """Compile ``sql``. ``columns``: those that an INSERT without values is given."""
    compiled: Any = sql.compile(dialect=dialect, column_keys=columns)
    if preset := [*compiled.insert_prefetch, *compiled.update_prefetch]:
        raise ValueError(f"give a value for {preset}")  # only SQLAlchemy would set the default
    given = compiled.params
    binds = [(name, compiled.binds[name]) for name in compiled.positiontup]
    columns_read = compiled.statement.exported_columns
    return Prepared(
        compiled.string,
        [
            (name if bind.required else None, given[name], bind.type.dialect_impl(dialect).bind_processor(dialect))
            for name, bind in binds
        ],
        [column.type.dialect_impl(dialect).result_processor(dialect, None) for column in columns_read],
        namedtuple("Row", columns_read.keys(), rename=True),
        compiled.isinsert or compiled.isupdate or compiled.isdelete,
    )


@event.listens_for(Session, "after_transaction_end")
def disconnect(session: Session, transaction: SessionTransaction) -> None:
    """The next transaction may have another connection."""
    if transaction.parent is None:
        session.info.pop(DRIVER, None)
