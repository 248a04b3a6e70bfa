"""Tables: created in a new database, upgraded in an older one. docs/running.md says how to change them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
from sqlalchemy import (
    JSON,
    Column,
    Connection,
    Engine,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    inspect,
    select,
    text,
)
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.schema import CreateColumn
from sqlalchemy.sql.schema import ScalarElementColumnDefault

from pickup_web import sqlite

if TYPE_CHECKING:
    from alembic.config import Config

    from pickup_web.seed import Load

VERSION_TABLE = "alembic_version_"  # and the schema's name, because several schemas share one database
DEADLOCKS = 5  # in a row; then the service does not start
DEADLOCK_DETECTED = "40P01"  # PostgreSQL's error code
LOG = structlog.get_logger()
ENVIRONMENT = Path(__file__).with_name("alembic")


@dataclass(frozen=True)
class Schema:
    """The tables of one package, and the folder with their migrations: 0001_….py, 0002_….py."""

    name: str
    metadata: MetaData
    migrations: Path

    @cached_property
    def revisions(self) -> list[str]:
        """All revisions, from the names of their files, because the import of Alembic would slow down each start."""
        return sorted(path.name.partition("_")[0] for path in self.migrations.glob("[0-9]*.py"))

    @property
    def newest(self) -> str:
        """The revision of ``metadata``."""
        return self.revisions[-1]

    @cached_property
    def version_table(self) -> Table:
        """Alembic's table: one row, with the revision of the database."""
        name = f"{VERSION_TABLE}{self.name}"
        key = PrimaryKeyConstraint("version_num", name=f"{name}_pkc")
        return Table(name, MetaData(), Column("version_num", String(32)), key)


def prepare(engine: Engine, schema: Schema, load: "Load | None" = None) -> bool:
    """Create or upgrade the tables; if they are new, load the seed and return True.

    Processes that start together take turns. Everything is one transaction, so a crash leaves neither half an upgrade
    nor empty tables that look as if a user had emptied them. If PostgreSQL undoes it to resolve a deadlock with a
    request of a running replica, it begins again.
    """
    if _is_up_to_date(engine, schema):
        return False
    for _ in range(DEADLOCKS):
        try:
            return _prepare(engine, schema, load)
        except OperationalError as error:
            if getattr(error.orig, "sqlstate", None) != DEADLOCK_DETECTED:
                raise
            LOG.info("upgrade undone by a deadlock with a request; starting again", schema=schema.name)
    return _prepare(engine, schema, load)


def _prepare(engine: Engine, schema: Schema, load: "Load | None") -> bool:
    with engine.connect() as connection, sqlite.replacing_tables(connection), connection.begin():
        _wait_for_our_turn(connection)
        present = set(inspect(connection).get_table_names())
        is_new = present.isdisjoint([schema.version_table.name, *schema.metadata.tables])
        if is_new:
            _create(connection, schema)
            if load:
                load(connection)
        else:
            upgrade(connection, schema)
            LOG.info("tables upgraded", schema=schema.name, revision=schema.newest)
        sqlite.check_references(connection)
        return is_new


def create_if_missing(engine: Engine, metadata: MetaData) -> None:
    """Create tables that have no migrations, because their rows need not outlive an upgrade."""
    if not set(metadata.tables) <= set(inspect(engine).get_table_names()):
        with in_turn(engine) as connection:
            metadata.create_all(connection)


@contextmanager
def in_turn(engine: Engine) -> Iterator[Connection]:
    """One transaction; other processes that start with this database wait until it ends."""
    with engine.begin() as connection:
        _wait_for_our_turn(connection)
        yield connection


def upgrade(connection: Connection, schema: Schema) -> None:
    """Run the migrations that this database lacks. Refuses a database of a newer version."""
    present = inspect(connection).has_table(schema.version_table.name)
    revision = connection.scalar(select(schema.version_table)) if present else None
    if revision and revision not in schema.revisions:
        raise SystemExit(
            f"Pickup cannot start: a newer version has upgraded this database ({schema.version_table.name} is at "
            f"{revision}; this version knows {schema.newest}). Start the newer version, or restore a backup."
        )
    if revision != schema.newest:  # otherwise another process has just upgraded it
        from alembic import command  # here, because few starts need it

        command.upgrade(alembic_config(connection, schema), "head")


def alembic_config(connection: Connection, schema: Schema) -> "Config":
    """For a command of Alembic, in the transaction of ``connection``."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(ENVIRONMENT).replace("%", "%%"))
    config.set_main_option("version_locations", str(schema.migrations).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    config.attributes["options"] = {
        "connection": connection,
        "target_metadata": schema.metadata,
        "version_table": schema.version_table.name,
        "render_as_batch": True,  # SQLite can change a table only by replacing it
    }
    return config


def create_missing(connection: Connection, metadata: MetaData) -> None:
    """For each first revision: also completes the tables of a database from before the migrations; data is kept."""
    metadata.create_all(connection)
    for table in metadata.sorted_tables:
        present = {column["name"] for column in inspect(connection).get_columns(table.name)}
        for column in table.columns:
            if column.name not in present:
                definition = str(CreateColumn(column).compile(dialect=connection.dialect))
                statement = f"ALTER TABLE {table.name} ADD COLUMN {definition} DEFAULT {_first_value(column)}"
                connection.exec_driver_sql(statement)
        for index in table.indexes:
            index.create(connection, checkfirst=True)


def _is_up_to_date(engine: Engine, schema: Schema) -> bool:
    """The usual case costs one statement and no lock."""
    try:
        with engine.connect() as connection:
            return connection.scalar(select(schema.version_table)) == schema.newest
    except DBAPIError:  # usually a new database, without this table
        return False


def _create(connection: Connection, schema: Schema) -> None:
    """The same as all migrations, in a fraction of the time; a test compares the results."""
    schema.metadata.create_all(connection)
    schema.version_table.create(connection)
    connection.execute(schema.version_table.insert().values(version_num=schema.newest))


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


def _wait_for_our_turn(connection: Connection) -> None:
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(sqlite.BEGIN)  # otherwise the driver begins only at the first INSERT
    elif connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(20240)"))  # any number, the same in all processes
