"""A service's initial data: loaded once into a new database, and again by ``flask … reset``."""

import tomllib
from collections.abc import Callable, Collection
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

import click
from flask import Flask
from sqlalchemy import Connection, Engine, MetaData, insert

from pickup_web.schema import VERSION_TABLE, in_turn

Load: TypeAlias = Callable[[Connection], None]


def from_toml(metadata: MetaData, path: Path) -> Load:
    """Loads a file whose ``[[table]]`` entries are rows. Its times become seconds since the epoch."""
    content: dict[str, list[dict[str, Any]]] = tomllib.loads(path.read_text("utf-8"))

    def load(connection: Connection) -> None:
        for table, rows in content.items():
            connection.execute(insert(metadata.tables[table]), [_in_seconds(row) for row in rows])

    return load


def reset(engine: Engine, load: Load, keep: Collection[str] = ()) -> None:
    """Empty every table except those in ``keep``, and load the seed, in one transaction."""
    everything = MetaData()
    everything.reflect(engine)
    with in_turn(engine) as connection:
        for table in reversed(everything.sorted_tables):
            if table.name not in keep and not table.name.startswith(VERSION_TABLE):
                connection.execute(table.delete())
        load(connection)


def add_reset_command(app: Flask, engine: Engine, load: Load, keep: Collection[str] = ()) -> None:
    """``flask --app … reset``; works while the service runs."""

    @app.cli.command("reset", help="Reset this service's data to the seed.")
    def command() -> None:
        reset(engine, load, keep)
        click.echo(f"{app.name}: the data is back at the seed.")


def _in_seconds(row: dict[str, Any]) -> dict[str, Any]:
    return {name: int(value.timestamp()) if isinstance(value, datetime) else value for name, value in row.items()}
