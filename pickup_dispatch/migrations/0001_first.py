"""The first revision."""

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, MetaData, String, Table

from pickup_web.schema import create_missing

revision = "0001"
down_revision = None
TABLES = MetaData()
Table(
    "booking",
    TABLES,
    Column("id", Integer, primary_key=True),
    Column("driver_id", String(20)),
    Column("driver_name", String(80)),
    Column("passenger", String(80), nullable=False),
    Column("contact", String(30), nullable=False),
    Column("created_at", BigInteger, nullable=False, index=True),
    Column("created_by", String(255), nullable=False),
    Column("created_by_name", String(255), nullable=False),
    Column("cancelled_at", BigInteger),
)


def upgrade() -> None:
    """A database from before the migrations gets only what it lacks."""
    create_missing(op.get_bind(), TABLES)
