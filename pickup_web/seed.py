"""The data a service starts with: put in once when its database is new, and again by ``flask … reset``."""

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

Load: TypeAlias = Callable[[Connection], None]


def from_toml(metadata: MetaData, path: Path) -> Load:
    """Loads a file whose ``[[table]]`` entries are rows. Moments in it become seconds since the epoch."""
    content: dict[str, list[dict[str, Any]]] = tomllib.loads(path.read_text("utf-8"))

    def load(connection: Connection) -> None:
        for table, rows in content.items():
            connection.execute(insert(metadata.tables[table]), [_in_seconds(row) for row in rows])

    return load


def prepare(engine: Engine, metadata: MetaData, load: Load | None = None) -> bool:
    """Make the tables; if they are new, load the seed and return True. Processes that start together take turns.

    Tables and seed are one transaction: there is no moment at which a crash leaves tables that look
    as if someone had emptied them.
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
    """One transaction; other processes that start with this database wait for its end."""
    with engine.begin() as connection:
        _wait_for_our_turn(connection)
        yield connection


def add_new_columns(connection: Connection, metadata: MetaData) -> None:
    """Data of an earlier version gets the columns it lacks, with the default of each; the data stays."""
    for table in metadata.sorted_tables:
        present = {column["name"] for column in inspect(connection).get_columns(table.name)}
        for column in table.columns:
            if column.name not in present:
                definition = str(CreateColumn(column).compile(dialect=connection.dialect))
                statement = f"ALTER TABLE {table.name} ADD COLUMN {definition} DEFAULT {_first_value(column)}"
                connection.exec_driver_sql(statement)


def _first_value(column: Column[Any]) -> str:
    """The default of a new column for rows that are there already, as SQL."""
    if column.nullable:
        return "NULL"
    given = column.default.arg if isinstance(column.default, ScalarElementColumnDefault) else None
    if given is None and isinstance(column.type, JSON):
        return "'{}'"
    kind = column.type.python_type
    value = kind() if given is None else given
    return f"'{value}'" if kind is str else str(int(value) if kind is bool else value)


def reset(engine: Engine, load: Load, keep: Collection[str] = ()) -> None:
    """Empty every table of the database but those to ``keep``, and load the seed: one transaction."""
    everything = MetaData()
    everything.reflect(engine)
    with in_turn(engine) as connection:
        for table in reversed(everything.sorted_tables):
            if table.name not in keep:
                connection.execute(table.delete())
        load(connection)


def add_reset_command(app: Flask, engine: Engine, load: Load, keep: Collection[str] = ()) -> None:
    """``flask --app … reset``, also while the service runs."""

    @app.cli.command("reset", help="Bring this service's data back to the seed.")
    def command() -> None:
        reset(engine, load, keep)
        click.echo(f"{app.name}: the data is back at the seed.")


def _wait_for_our_turn(connection: Connection) -> None:
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")  # the driver would begin only at the first INSERT
    elif connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(20240)"))  # any number, the same for all


def _in_seconds(row: dict[str, Any]) -> dict[str, Any]:
    return {name: int(value.timestamp()) if isinstance(value, datetime) else value for name, value in row.items()}
