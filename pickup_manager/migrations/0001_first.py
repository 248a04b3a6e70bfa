"""The first revision."""

from alembic import op
from sqlalchemy import Column, Date, Integer, MetaData, String, Table

from pickup_web.schema import create_missing

revision = "0001"
down_revision = None
TABLES = MetaData()
Table(
    "driver",
    TABLES,
    Column("name", String(80), nullable=False),
    Column("contact", String(30), nullable=False),
    Column("license", String(20), nullable=False),
    Column("joined", Date, nullable=False),
    Column("id", String(20), primary_key=True),
)
Table(
    "passenger",
    TABLES,
    Column("name", String(80), nullable=False),
    Column("contact", String(30), nullable=False),
    Column("email", String(254), nullable=False),
    Column("id", String(20), primary_key=True),
)
Table(
    "vehicle",
    TABLES,
    Column("model", String(80), nullable=False),
    Column("type", String(20), nullable=False),
    Column("seats", Integer, nullable=False),
    Column("id", String(20), primary_key=True),
)


def upgrade() -> None:
    """A database from before the migrations gets only what it lacks."""
    create_missing(op.get_bind(), TABLES)
