"""Tables are created in a new database and upgraded in an older one, on SQLite and PostgreSQL."""

import runpy
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, Engine, create_engine, event, insert, inspect, select, text

import idp as idp_service
import pickup_dispatch
import pickup_learn
import pickup_manager
import pickup_web
from pickup_web import sqlite
from pickup_web.database import engine_of
from pickup_web.schema import Schema, in_turn, prepare, upgrade
from tests.conftest import close, make_settings
from tests.postgres import Postgres

SCHEMAS = [package.SCHEMA for package in (idp_service, pickup_dispatch, pickup_manager, pickup_learn, pickup_web)]
BOOKING = {
    "passenger": "Ada", "contact": "1", "created_at": 1, "created_by": "c", "created_by_name": "Cameron", "id": 9,
}  # fmt: skip
RENAME_CONTACT = """
revision, down_revision = "0002", "0001"
import sqlalchemy as sa
from alembic import op

def upgrade() -> None:
    with op.batch_alter_table("booking") as table:
        table.add_column(sa.Column("seats", sa.Integer(), nullable=False, server_default="1"))
        table.alter_column("contact", new_column_name="phone", type_=sa.Text(), existing_type=sa.String(30))
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """An empty database."""
    made = new_engine(request, tmp_path)
    yield made
    made.dispose()


def new_engine(request: pytest.FixtureRequest, folder: Path) -> Engine:
    """An empty database of the kind that the test's parameter names; SQLite has the pragmas of a service."""
    if request.node.callspec.params["engine"] == "sqlite":
        made = create_engine(f"sqlite:///{folder}/new.db")
        sqlite.set_up(made)
        return made
    postgres: Postgres = request.getfixturevalue("postgres")
    return create_engine(postgres.new_database())


def first_release(schema: Schema, folder: Path) -> Schema:
    """The schema at revision 0001, whatever was added since."""
    (folder / "first").mkdir()
    file = shutil.copy(schema.migrations / "0001_first.py", folder / "first")
    return Schema(schema.name, runpy.run_path(str(file))["TABLES"], folder / "first")


def later_release(first: Schema, source: str) -> Schema:
    """The same with a second migration."""
    folder = shutil.copytree(first.migrations, first.migrations.with_name("later"))
    (folder / "0002_later.py").write_text(source)
    return Schema(first.name, first.metadata, folder)


def structure(connection: Connection) -> dict[str, Any]:
    """Everything that the database says about its tables."""
    looked = inspect(connection)
    return {
        name: (
            {column["name"]: str(column) for column in looked.get_columns(name)},
            looked.get_pk_constraint(name),
            sorted(looked.get_indexes(name), key=str),
            sorted(looked.get_foreign_keys(name), key=str),
            sorted(looked.get_unique_constraints(name), key=str),
        )
        for name in looked.get_table_names()
    }


@pytest.fixture
def first(tmp_path: Path) -> Schema:
    """Dispatch's first release."""
    return first_release(pickup_dispatch.SCHEMA, tmp_path)


def revision_of(connection: Connection, schema: Schema) -> str | None:
    found: str | None = connection.scalar(select(schema.version_table))
    return found


# --- models and migrations ---


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: schema.name)
def test_new_database_has_the_same_tables_as_a_migrated_one(
    schema: Schema, engine: Engine, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """A new database is not made by the migrations, because that would take longer."""
    assert prepare(engine, schema)
    with engine.connect() as connection:
        created = structure(connection)
        assert revision_of(connection, schema) == schema.newest
    other = tmp_path / "migrated"
    other.mkdir()
    migrated = new_engine(request, other)
    with in_turn(migrated) as connection:
        upgrade(connection, schema)
        assert structure(connection) == created
        context = MigrationContext.configure(connection, opts={"version_table": schema.version_table.name})
        assert compare_metadata(context, schema.metadata) == [], "run: make migration"
        assert revision_of(connection, schema) == schema.newest
    migrated.dispose()


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: schema.name)
def test_revisions_are_numbered_without_gaps(schema: Schema) -> None:
    """Two branches that add the same number have a merge conflict that Git does not see."""
    assert schema.revisions == [f"{number:04}" for number in range(1, len(schema.revisions) + 1)]


# --- upgrades ---


def test_filled_database_without_version_is_upgraded(engine: Engine, first: Schema) -> None:
    """The database of the release before the migrations."""
    first.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(insert(first.metadata.tables["booking"]), BOOKING)
    later = later_release(first, RENAME_CONTACT)
    assert not prepare(engine, later), "no seed is loaded"
    with engine.connect() as connection:
        assert revision_of(connection, later) == "0002"
        (row,) = connection.execute(text("SELECT * FROM booking")).mappings()
        assert structure(connection)["booking"][2] == inspect_indexes(engine)
    kept = {name: value for name, value in BOOKING.items() if name != "contact"}
    assert dict(row) == {**kept, "phone": "1", "seats": 1, "driver_id": None, "driver_name": None, "cancelled_at": None}


def inspect_indexes(engine: Engine) -> list[dict[str, Any]]:
    """Those of the table of bookings: a replaced table must keep its index."""
    (index,) = inspect(engine).get_indexes("booking")
    assert index["column_names"] == ["created_at"]
    return [dict(index)]


def test_failed_migration_changes_nothing(engine: Engine, first: Schema) -> None:
    prepare(engine, first)
    with engine.connect() as connection:
        before = structure(connection)
    broken = RENAME_CONTACT + "    raise RuntimeError('the disk is full')\n"
    with pytest.raises(RuntimeError, match="the disk is full"):
        prepare(engine, later_release(first, broken))
    with engine.connect() as connection:
        assert structure(connection) == before
        assert revision_of(connection, first) == "0001"


def test_migration_that_loses_a_referenced_row_is_undone(engine: Engine, tmp_path: Path) -> None:
    """SQLite checks no foreign key while a migration runs, so they are checked before the commit."""
    schema = first_release(idp_service.SCHEMA, tmp_path)
    prepare(engine, schema, fill_with_a_consent)
    delete = 'revision, down_revision = "0002", "0001"\nfrom alembic import op\n\ndef upgrade():\n    '
    delete += 'op.execute("DELETE FROM user_account")\n'
    with pytest.raises(Exception, match=r"refer to rows that do not exist|foreign key constraint"):
        prepare(engine, later_release(schema, delete))
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM user_account")) == 1
        if engine.dialect.name == "sqlite":
            assert connection.scalar(text("PRAGMA foreign_keys")) == 1, "and they are checked again"


def fill_with_a_consent(connection: Connection) -> None:
    tables = idp_service.SCHEMA.metadata.tables
    person = {"sub": "c", "username": "cameron", "password_hash": "", "claims": {}}
    connection.execute(insert(tables["user_account"]), person)
    connection.execute(insert(tables["consent"]), {"sub": "c", "client_id": "x", "scopes": [], "given_at": 1})


def test_database_of_a_newer_version_is_refused(engine: Engine, first: Schema) -> None:
    prepare(engine, later_release(first, RENAME_CONTACT))
    with pytest.raises(SystemExit, match=r"newer version .* is at 0002; this version knows 0001"):
        prepare(engine, first)


def test_reset_keeps_the_revision(tmp_path: Path) -> None:
    app = pickup_dispatch.create_app(make_settings(tmp_path))
    assert app.test_cli_runner().invoke(args=["reset"]).exit_code == 0
    with engine_of(app).connect() as connection:
        for schema in (pickup_dispatch.SCHEMA, pickup_web.SCHEMA):
            assert revision_of(connection, schema) == schema.newest
    close(app)


# --- starts ---


def test_start_with_nothing_to_do_costs_one_statement(engine: Engine, first: Schema) -> None:
    prepare(engine, first)
    sent: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *args: sent.append(args[2]))
    assert not prepare(engine, first)
    assert [statement.split()[0] for statement in sent] == ["SELECT"]


def test_threads_that_start_together_upgrade_once(engine: Engine, first: Schema) -> None:
    """Later starts wait for the first and find its work done."""
    prepare(engine, first)
    later = later_release(first, RENAME_CONTACT)
    together(4, engine, lambda other: prepare(other, later))
    with engine.connect() as connection:
        assert revision_of(connection, later) == "0002"


def together(number: int, engine: Engine, act: Callable[[Engine], Any]) -> None:
    """Run the act in so many threads at the same moment, each with its own connections, as processes have."""
    problems: list[BaseException] = []
    barrier = threading.Barrier(number)

    def run() -> None:
        own = create_engine(engine.url)
        barrier.wait()
        try:
            act(own)
        except BaseException as error:  # the test reports it
            problems.append(error)
        own.dispose()

    threads = [threading.Thread(target=run) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []


START = """
import sys
import pickup_dispatch
from pickup_web.settings import Settings
settings = Settings(data_dir=sys.argv[1], dispatch_database_url=sys.argv[2], secret_key="k", demo_plain_http=True,
                    demo_events=True, dispatch_client_secret="s")
print("ready", flush=True)
sys.stdin.readline()
pickup_dispatch.create_app(settings)
print("alembic" in sys.modules)
"""


@pytest.mark.thorough
@pytest.mark.parametrize("before", ["empty", "old"])
def test_processes_that_start_together_all_come_up(engine: Engine, before: str, first: Schema, tmp_path: Path) -> None:
    """Replicas of an app, at an empty database and at one from before the migrations."""
    if before == "old":
        first.metadata.create_all(engine)
        with engine.begin() as connection:
            connection.execute(insert(first.metadata.tables["booking"]), BOOKING)
            connection.execute(text("ALTER TABLE booking DROP COLUMN cancelled_at"))
    assert {outcome for outcome, _ in start_together(3, engine, tmp_path)} == {0}
    with engine.connect() as connection:
        assert revision_of(connection, pickup_dispatch.SCHEMA) == pickup_dispatch.SCHEMA.newest
        count = connection.scalar(text("SELECT count(*) FROM booking WHERE cancelled_at IS NULL"))
    assert count == (1 if before == "old" else 2), "the seed has two, and is loaded once"
    assert start_together(1, engine, tmp_path) == [(0, "False\n")], "a start with nothing to do imports no Alembic"


def start_together(number: int, engine: Engine, folder: Path) -> list[tuple[int, str]]:
    """Exit status and output of processes that create their app at the same moment."""
    url = engine.url.render_as_string(hide_password=False)
    command = [sys.executable, "-c", START, str(folder), url]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, cwd=Path(__file__).parents[2], **pipes) for _ in range(number)]
    for process in processes:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()
    return [(process.wait(60), process.communicate()[0]) for process in processes]
