"""``make migration`` writes what lies between the newest revision and the models."""

import runpy
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Column, Integer, MetaData, String, Table, create_engine

import pickup_dispatch
from pickup_web.schema import Schema, in_turn, upgrade

SCRIPT: dict[str, Any] = runpy.run_path(str(Path(__file__).parents[2] / "scripts/migration.py"))


@pytest.fixture
def changed(tmp_path: Path) -> Schema:
    """Dispatch with a new table, and a new column with an index."""
    metadata = MetaData()
    for table in pickup_dispatch.SCHEMA.metadata.sorted_tables:
        table.to_metadata(metadata)
    metadata.tables["booking"].append_column(Column("seats", Integer, index=True, server_default="1"))
    Table("street", metadata, Column("name", String(80), primary_key=True))
    migrations = copytree(pickup_dispatch.SCHEMA.migrations, tmp_path / "100% new" / "migrations")
    return Schema("dispatch", metadata, migrations)


def test_written_migration_leads_to_the_models(changed: Schema, tmp_path: Path) -> None:
    made: Path = SCRIPT["write"](changed, "Count the seats")
    assert made.name == "0002_count_the_seats.py"
    assert made.read_text("utf-8").startswith('"""Count the seats"""\n')
    engine = create_engine(f"sqlite:///{tmp_path}/new.db")
    after = Schema(changed.name, changed.metadata, changed.migrations)
    with in_turn(engine) as connection:
        upgrade(connection, after)
        context = MigrationContext.configure(connection, opts={"version_table": after.version_table.name})
        assert compare_metadata(context, after.metadata) == []
    engine.dispose()
    assert after.revisions == ["0001", "0002"]
