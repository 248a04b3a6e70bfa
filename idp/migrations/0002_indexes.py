"""Indexes for queries that read all sessions, participations or tokens."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """On PostgreSQL, requests that write to these tables or read tokens wait meanwhile (docs/running.md).

    The order is that in which a sign-in locks the tables: with another one, the two could deadlock. An index that
    was built before, while the replicas run, is taken as it is.
    """
    op.create_index("sso_session_expiring", "sso_session", ["ended_at", "expires_at"], if_not_exists=True)
    op.drop_index("ix_token_access_expires_at", "token", if_exists=True)  # token_over replaces it
    op.create_index("token_over", "token", ["refresh_expires_at", "access_expires_at"], if_not_exists=True)
    op.create_index("ix_token_client_id", "token", ["client_id"], if_not_exists=True)
    op.create_index("participation_by_client", "participation", ["client_id", "since"], if_not_exists=True)
