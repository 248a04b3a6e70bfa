"""Indexes for queries by client, which read all participations and tokens."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """PostgreSQL lets requests read these tables meanwhile, but not write to them (docs/running.md).

    The order is that in which a sign-in locks the tables: with another one, the two could deadlock. An index that
    was built before, while the replicas run, is taken as it is.
    """
    op.create_index("ix_token_client_id", "token", ["client_id"], if_not_exists=True)
    op.create_index("participation_by_client", "participation", ["client_id", "since"], if_not_exists=True)
