"""A service's initial data: loaded once into a new database, and again by ``flask … reset``."""

import tomllib
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

import click
from flask import Flask
from sqlalchemy import JSON, Column, Connection, Engine, MetaData, insert, inspect, text
from sqlalchemy.schema import CreateColumn
from sqlalchemy.sql.schema import ScalarElementColumnDefault

from pickup_web import sqlite

Load: TypeAlias = Callable[[Connection], None]


def from_toml(metadata: MetaData, path: Path) -> Load:
    """Loads a file whose ``[[table]]`` entries are rows. Its times become seconds since the epoch."""
    content: dict[str, list[dict[str, Any]]] = tomllib.loads(path.read_text("utf-8"))

    def load(connection: Connection) -> None:
        for table, rows in content.items():
            connection.execute(insert(metadata.tables[table]), [_in_seconds(row) for row in rows])

    return load


def prepare(engine: Engine, metadata: MetaData, load: Load | None = None) -> bool:
    """Create the tables; if they are new, load the seed and return True. Processes that start together take turns.

    Tables and seed are one transaction, so a crash cannot leave empty tables that look as if a user had
    emptied them.
    """

    with in_turn(engine) as connection:
        is_new = not any(inspect(connection).has_table(name) for name in metadata.tables)
        metadata.create_all(connection)
        if is_new and load:
            load(connection)
        else:
            add_new_columns(connection, metadata)
        return is_new


@contextmanager
def in_turn(engine: Engine) -> Iterator[Connection]:
    """One transaction; other processes that start with this database wait until it ends."""
    with engine.begin() as connection:
        _wait_for_our_turn(connection)
        yield connection


def add_new_columns(connection: Connection, metadata: MetaData) -> None:
    """Adds missing columns, with their defaults, to tables of an earlier version; the data is kept."""
    for table in metadata.sorted_tables:
        present = {column["name"] for column in inspect(connection).get_columns(table.name)}
        for column in table.columns:
            if column.name not in present:
                definition = str(CreateColumn(column).compile(dialect=connection.dialect))
                statement = f"ALTER TABLE {table.name} ADD COLUMN {definition} DEFAULT {_first_value(column)}"
                connection.exec_driver_sql(statement)


def _first_value(column: Column[Any]) -> str:
    """The default of a new column for existing rows, as SQL."""
    if column.nullable:
        return "NULL"
    given = column.default.arg if isinstance(column.default, ScalarElementColumnDefault) else None
    if given is None and isinstance(column.type, JSON):
        return "'{}'"
    kind = column.type.python_type
    value = kind() if given is None else given
    # PostgreSQL takes no integer for a boolean; SQLite stores the words as integers.
    return f"'{value}'" if kind is str else str(value).lower()


def reset(engine: Engine, load: Load, keep: Collection[str] = ()) -> None:
    """Empty every table except those in ``keep``, and load the seed, in one transaction."""
    everything = MetaData()
    everything.reflect(engine)
    with in_turn(engine) as connection:
        for table in reversed(everything.sorted_tables):
            if table.name not in keep:
                connection.execute(table.delete())
        load(connection)


def add_reset_command(app: Flask, engine: Engine, load: Load, keep: Collection[str] = ()) -> None:
    """``flask --app … reset``; works while the service runs."""

    @app.cli.command("reset", help="Reset this service's data to the seed.")
    def command() -> None:
        reset(engine, load, keep)
        click.echo(f"{app.name}: the data is back at the seed.")


def _wait_for_our_turn(connection: Connection) -> None:
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(sqlite.BEGIN)  # otherwise the driver begins only at the first INSERT
    elif connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(20240)"))  # any number, the same in all processes


def _in_seconds(row: dict[str, Any]) -> dict[str, Any]:
    return {name: int(value.timestamp()) if isinstance(value, datetime) else value for name, value in row.items()}
