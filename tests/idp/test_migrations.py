"""A filled database of the first release is upgraded, and loses nothing.

first_release.json holds what revision 0001 stored of people, clients, sessions, participations, codes, tokens and
deliveries, with the cookie and a refresh token of Cameron's browser.
"""

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, MetaData, create_engine, event, insert, inspect, text

import idp as idp_service
from idp import SCHEMA
from idp.sign_in.sso_session import COOKIE
from pickup_web.schema import Schema, prepare
from tests.conftest import eventually, make_settings, prepared
from tests.idp.conftest import DISPATCH, MANAGER, Provider, with_apps
from tests.network import Network, query_of
from tests.postgres import Postgres
from tests.web.test_schema import engine, first_release, later_release

__all__ = ["engine"]  # a fixture

KEPT: dict[str, Any] = json.loads(Path(__file__).with_name("first_release.json").read_text("utf-8"))
REPLACE_TABLES = '''
"""Each kind of change, in tables to which others refer."""
revision, down_revision = "0002", "0001"
import sqlalchemy as sa
from alembic import op

def upgrade() -> None:
    with op.batch_alter_table("user_account") as table:
        table.add_column(sa.Column("nickname", sa.String(80)))
        table.alter_column("role", existing_type=sa.String(20), type_=sa.String(40), existing_nullable=False)
    op.execute("UPDATE user_account SET nickname = username")
    with op.batch_alter_table("sso_session") as table:
        table.add_column(sa.Column("device", sa.String(40), nullable=False, server_default="browser"))
        table.create_index("sso_session_by_device", ["device"])
    with op.batch_alter_table("delivery") as table:
        table.alter_column("note", new_column_name="remark", existing_type=sa.Text(), existing_nullable=False)
    op.create_table("device", sa.Column("name", sa.String(40), primary_key=True))
'''


@pytest.fixture
def first(tmp_path: Path) -> Schema:
    """The IdP's first release."""
    return first_release(SCHEMA, tmp_path)


@pytest.fixture
def filled(engine: Engine, first: Schema) -> Engine:
    """The database as that release left it: without a revision."""
    with engine.begin() as connection:
        first.metadata.create_all(connection)
        for table in first.metadata.sorted_tables:
            connection.execute(insert(table), KEPT["tables"][table.name])
    return engine


def contents(connection: Connection, metadata: MetaData) -> dict[str, list[dict[str, Any]]]:
    """All rows, in a fixed order."""
    return {
        table.name: sorted((dict(row) for row in connection.execute(table.select()).mappings()), key=str)
        for table in metadata.sorted_tables
    }


def test_filled_database_loses_nothing(filled: Engine, first: Schema) -> None:
    """SQLite replaces the tables, PostgreSQL alters them."""
    with filled.connect() as connection:
        before = contents(connection, first.metadata)
        keys = {name: inspect(connection).get_foreign_keys(name) for name in before}
    assert all(before.values()), "the control: each table has rows"
    assert not prepare(filled, later_release(first, REPLACE_TABLES))
    after = MetaData()
    after.reflect(filled)
    with filled.connect() as connection:
        rows = contents(connection, after)
        assert {name: inspect(connection).get_foreign_keys(name) for name in before} == keys
        assert connection.scalar(text("SELECT version_num FROM alembic_version_idp")) == "0002"
    assert rows.pop("device") == []
    assert {row.pop("nickname") for row in rows["user_account"]} == {"admin", "alex", "cameron"}
    assert {row.pop("device") for row in rows["sso_session"]} == {"browser"}
    for row in rows["delivery"]:
        row["note"] = row.pop("remark")
    assert {name: as_set(rows[name]) for name in before} == {name: as_set(before[name]) for name in before}


def as_set(rows: list[dict[str, Any]]) -> set[str]:
    """The rows, whatever the order of their columns and whatever type JSON was read as."""
    return {json.dumps({name: plain(value) for name, value in row.items()}, sort_keys=True) for row in rows}


def plain(value: Any) -> Any:
    """A reflected column of SQLite has JSON and booleans in their stored form."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        return json.loads(value)
    return int(value) if isinstance(value, bool) else value


def test_todays_migrations_lose_nothing(filled: Engine, first: Schema) -> None:
    """From the first release to the models."""
    with filled.connect() as connection:
        before = contents(connection, first.metadata)
    assert not prepare(filled, SCHEMA)
    with filled.connect() as connection:
        assert contents(connection, first.metadata) == before
        assert connection.scalar(text("SELECT version_num FROM alembic_version_idp")) == SCHEMA.newest


def test_upgrade_takes_the_indexes_that_were_built_before(filled: Engine) -> None:
    """A large database can build them while the replicas run, with the statements of docs/running.md."""
    page = (Path(__file__).parents[2] / "docs/running.md").read_text("utf-8")
    statements = re.findall(r"^    CREATE INDEX CONCURRENTLY (\w+) (.*);$", page, re.MULTILINE)
    with filled.begin() as connection:
        for name, rest in statements:
            connection.execute(text(f"CREATE INDEX {name} {rest}"))
        before = indexes(connection)
    assert not prepare(filled, SCHEMA)
    with filled.connect() as connection:
        after = indexes(connection)
    built = [name for name, _ in statements]
    assert {name: after[name] for name in built} == {name: before[name] for name in built}
    assert after.keys() <= before.keys(), "the page names all of them"


def indexes(connection: Connection) -> dict[str, list[str | None]]:
    """The columns of each index."""
    looked = inspect(connection)
    return {
        str(index["name"]): index["column_names"]
        for table in looked.get_table_names()
        for index in looked.get_indexes(table)
    }


def test_upgrade_and_sign_in_wait_for_each_other_without_a_deadlock(postgres: Postgres, tmp_path: Path) -> None:
    """A replica of the version before has stored a token when the upgrade begins, and then adds a participation."""
    engine, old = create_engine(postgres.new_database()), first_release(SCHEMA, tmp_path)
    assert prepare(engine, old)
    rows = {name: KEPT["tables"][name] for name in ("user_account", "sso_session", "participation", "token")}
    with ThreadPoolExecutor(1) as starting, engine.connect() as replica:
        for name in ("user_account", "sso_session", "token"):
            replica.execute(insert(old.metadata.tables[name]), rows[name])
        upgrade = starting.submit(prepare, engine, SCHEMA)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as observer:
            waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
            eventually(lambda: observer.scalar(waiting) == 1)
        assert not upgrade.done()
        replica.execute(insert(old.metadata.tables["participation"]), rows["participation"])
        replica.commit()
        assert upgrade.result() is False
    engine.dispose()


def test_upgrade_that_ends_a_deadlock_begins_again(postgres: Postgres, tmp_path: Path) -> None:
    """A replica has read a token when the upgrade begins, and then changes a session."""
    engine, old = create_engine(postgres.new_database()), first_release(SCHEMA, tmp_path)
    assert prepare(engine, old)
    undone: list[Connection] = []
    event.listen(engine, "rollback", undone.append)
    with ThreadPoolExecutor(1) as starting, engine.connect() as replica:
        replica.execute(text("SET deadlock_timeout = '1h'"))  # PostgreSQL undoes the one that looks first
        replica.execute(text("SELECT * FROM token"))
        upgrade = starting.submit(prepare, engine, SCHEMA)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as observer:
            waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
            eventually(lambda: observer.scalar(waiting) == 1)
        undone.clear()
        replica.execute(text("UPDATE sso_session SET last_seen_at = 0"))
        replica.commit()
        assert upgrade.result() is False
        assert undone, "control: there was a deadlock"
    engine.dispose()


@pytest.fixture
def upgraded(filled: Engine, network: Network, tmp_path: Path) -> Iterator[Provider]:
    """The IdP of today, started with the database of the first release."""
    url = filled.url.render_as_string(hide_password=False)
    settings = make_settings(tmp_path, idp_database_url=url)
    app = prepared(idp_service.create_app(settings), settings.idp_url)
    yield from with_apps(app, settings, network)


def test_sessions_and_tokens_of_the_first_release_stay_valid(upgraded: Provider) -> None:
    """Cameron stays signed in, an app refreshes its tokens, and a logout reaches both apps."""
    browser = upgraded.browser()
    browser.set_cookie(COOKIE, KEPT["cookies"][COOKIE], domain="idp.localhost")
    assert "code" in query_of(upgraded.authorize(browser).location)
    refreshed = upgraded.refresh(KEPT["refresh_token"])
    assert refreshed.status_code == 200, refreshed.text
    upgraded.end_session(browser, id_token_hint=refreshed.get_json()["id_token"])
    assert [len(upgraded.logout_tokens(client)) for client in (DISPATCH, MANAGER)] == [1, 1]
