"""The first revision."""

from alembic import op
from sqlalchemy import JSON, BigInteger, Boolean, Column, MetaData, String, Table

from pickup_web.schema import create_missing

revision = "0001"
down_revision = None
TABLES = MetaData()
Table(
    "collected_event",
    TABLES,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("key", String(255), nullable=False, unique=True),
    Column("name", String(80), nullable=False),
    Column("sid", String(255), index=True),
    Column("content", JSON, nullable=False),
)
Table(
    "collected_message",
    TABLES,
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("key", String(255), nullable=False, unique=True),
    Column("content", JSON, nullable=False),
)
Table(
    "cursor",
    TABLES,
    Column("source", String(80), primary_key=True),
    Column("last_id", BigInteger, nullable=False),
    Column("last_at", BigInteger, nullable=False),
)
Table(
    "link",
    TABLES,
    Column("value", String(300), primary_key=True),
    Column("key", String(255), primary_key=True, index=True),
)
Table(
    "person",
    TABLES,
    Column("sub", String(255), primary_key=True),
    Column("name", String(255), nullable=False),
)
Table(
    "practice_lab_run",
    TABLES,
    Column("sub", String(255), primary_key=True),
    Column("lab", String(80), primary_key=True),
    Column("started_at", BigInteger, nullable=False),
)
Table(
    "practice_session",
    TABLES,
    Column("key", String(64), primary_key=True),
    Column("sub", String(255), nullable=False, index=True),
    Column("sid", String(255), nullable=False, index=True),
    Column("name", String(255), nullable=False),
    Column("id_token", String(4096), nullable=False),
    Column("in_memory", Boolean, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger),
    Column("reason", String(255)),
    Column("told_at", BigInteger),
)
Table(
    "practice_settings",
    TABLES,
    Column("sub", String(255), primary_key=True),
    Column("values", JSON, nullable=False),
    Column("conditions", JSON, nullable=False),
)
Table(
    "practice_used_token",
    TABLES,
    Column("sub", String(255), primary_key=True),
    Column("jti", String(255), primary_key=True),
    Column("sid", String(255), index=True),
    Column("at", BigInteger, nullable=False),
)
Table(
    "seat",
    TABLES,
    Column("name", String(64), primary_key=True),
    Column("since", BigInteger, nullable=False),
    Column("old_sids", JSON, nullable=False),
)
Table(
    "tick",
    TABLES,
    Column("seat", String(64), primary_key=True),
    Column("step", String(80), primary_key=True),
)


def upgrade() -> None:
    """A database from before the migrations gets only what it lacks."""
    create_missing(op.get_bind(), TABLES)
