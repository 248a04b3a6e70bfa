"""The first revision."""

from alembic import op
from sqlalchemy import JSON, BigInteger, Column, Integer, MetaData, String, Table, Text

from pickup_web.schema import create_missing

revision = "0001"
down_revision = None
TABLES = MetaData()
Table(
    "event",
    TABLES,
    Column("id", Integer, primary_key=True),
    Column("at", BigInteger, nullable=False),
    Column("name", String(80), nullable=False, index=True),
    Column("sid", String(255), index=True),
    Column("jti", String(255)),
    Column("client_id", String(255)),
    Column("outcome", String(255)),
    Column("detail", JSON, nullable=False),
)
Table(
    "write_check",
    TABLES,
    Column("id", Integer, primary_key=True),
    Column("content", Text, nullable=False),
)


def upgrade() -> None:
    """A database from before the migrations gets only what it lacks."""
    create_missing(op.get_bind(), TABLES)
