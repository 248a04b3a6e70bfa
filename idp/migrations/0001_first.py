"""The first revision."""

from alembic import op
from sqlalchemy import JSON, BigInteger, Boolean, Column, Double, ForeignKey, Index, MetaData, String, Table, Text

from pickup_web.schema import create_missing

revision = "0001"
down_revision = None
TABLES = MetaData()
Table(
    "applied_setting",
    TABLES,
    Column("name", String(255), primary_key=True),
    Column("value", Text, nullable=False),
)
Table(
    "authorization_code",
    TABLES,
    Column("code_hash", String(64), primary_key=True),
    Column("client_id", String(255), nullable=False),
    Column("sid", String(255), nullable=False),
    Column("sub", String(255), nullable=False),
    Column("redirect_uri", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("nonce", Text),
    Column("auth_time", BigInteger, nullable=False),
    Column("amr", JSON, nullable=False),
    Column("acr", String(255)),
    Column("claims", JSON, nullable=False),
    Column("code_challenge", String(128)),
    Column("code_challenge_method", String(10)),
    Column("expires_at", BigInteger, nullable=False, index=True),
    Column("used_at", BigInteger),
)
Table(
    "client",
    TABLES,
    Column("client_id", String(255), primary_key=True),
    Column("secret_hash", String(64)),
    Column("name", String(255), nullable=False),
    Column("home_url", Text),
    Column("redirect_uris", JSON, nullable=False),
    Column("post_logout_redirect_uris", JSON, nullable=False),
    Column("scopes", JSON, nullable=False),
    Column("grant_types", JSON, nullable=False),
    Column("response_types", JSON, nullable=False),
    Column("token_endpoint_auth_method", String(40), nullable=False, default="client_secret_basic"),
    Column("id_token_signed_response_alg", String(20), nullable=False, default="RS256"),
    Column("backchannel_logout_uri", Text),
    Column("backchannel_logout_session_required", Boolean, nullable=False, default=False),
    Column("frontchannel_logout_uri", Text),
    Column("frontchannel_logout_session_required", Boolean, nullable=False, default=False),
    Column("registered", JSON, nullable=False),
    Column("registration_token_hash", String(64)),
    Column("created_at", BigInteger, nullable=False),
    Column("used_at", BigInteger),
    Column("require_pkce", Boolean, nullable=False, default=True),
    Column("may_introspect", Boolean, nullable=False, default=False),
    Column("claims_in_id_token", Boolean, nullable=False, default=False),
    Column("notify_initiator", Boolean, nullable=False, default=True),
    Column("tell_logout_reason", Boolean, nullable=False, default=False),
    Column("delete_tokens_on_logout", String(10)),
    Column("connect_timeout", Double, nullable=False, default=2.0),
    Column("read_timeout", Double, nullable=False, default=5.0),
    Column("ca_certificates", Text),
    Column("retry_seconds", BigInteger),
    Column("removed_at", BigInteger),
)
Table(
    "delivery",
    TABLES,
    Column("id", String(32), primary_key=True),
    Column("client_id", String(255), nullable=False, index=True),
    Column("sid", String(255), nullable=False, index=True),
    Column("sub", String(255), nullable=False),
    Column("host", Text, nullable=False, default=""),
    Column("reason", Text, nullable=False),
    Column("state", String(20), nullable=False),
    Column("note", Text, nullable=False, default=""),
    Column("created_at", BigInteger, nullable=False),
    Column("next_try_at", BigInteger, nullable=False),
    Column("taken_until", BigInteger, nullable=False, default=0),
    Column("give_up_at", BigInteger, nullable=False),
    Column("tries", BigInteger, nullable=False, default=0),
    Column("refusals", BigInteger, nullable=False, default=0),
    Column("outcome", String(40), nullable=False, default=""),
    Index("delivery_due", "state", "next_try_at"),
    Index("delivery_newest", "created_at"),
)
Table(
    "failed_logins",
    TABLES,
    Column("key", String(64), primary_key=True),
    Column("failures", BigInteger, nullable=False),
    Column("failed_at", BigInteger, nullable=False, index=True),
    Column("wait_until", BigInteger, nullable=False),
)
Table(
    "long_request",
    TABLES,
    Column("key_hash", String(64), primary_key=True),
    Column("content", Text, nullable=False),
    Column("kept_at", BigInteger, nullable=False, index=True),
)
Table(
    "signing_key",
    TABLES,
    Column("kid", String(64), primary_key=True),
    Column("alg", String(20), nullable=False),
    Column("private_jwk", JSON, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("signs_from", BigInteger, nullable=False),
    Column("published_until", BigInteger),
)
Table(
    "token",
    TABLES,
    Column("access_hash", String(64), primary_key=True),
    Column("refresh_hash", String(64), unique=True),
    Column("family", String(64), nullable=False, index=True),
    Column("client_id", String(255), nullable=False),
    Column("sid", String(255), index=True),
    Column("sub", String(255), nullable=False),
    Column("scope", Text, nullable=False),
    Column("auth_time", BigInteger, nullable=False),
    Column("amr", JSON, nullable=False),
    Column("acr", String(255)),
    Column("claims", JSON, nullable=False),
    Column("issued_at", BigInteger, nullable=False),
    Column("access_expires_at", BigInteger, nullable=False, index=True),
    Column("refresh_expires_at", BigInteger),
    Column("rotated_at", BigInteger),
    Column("replaced_by", String(64)),
    Column("revoked_at", BigInteger),
)
Table(
    "used_assertion",
    TABLES,
    Column("client_id", String(255), primary_key=True),
    Column("jti_hash", String(64), primary_key=True),
    Column("expires_at", BigInteger, nullable=False, index=True),
)
Table(
    "user_account",
    TABLES,
    Column("sub", String(255), primary_key=True),
    Column("username", String(255), nullable=False, unique=True),
    Column("password_hash", String(255), nullable=False),
    Column("role", String(20), nullable=False, default="user"),
    Column("claims", JSON, nullable=False),
    Column("disabled_at", BigInteger),
    Column("removed_at", BigInteger),
)
Table(
    "consent",
    TABLES,
    Column("sub", String(255), ForeignKey("user_account.sub"), primary_key=True),
    Column("client_id", String(255), primary_key=True),
    Column("scopes", JSON, nullable=False),
    Column("given_at", BigInteger, nullable=False),
)
Table(
    "delivery_attempt",
    TABLES,
    Column("jti", String(64), primary_key=True),
    Column("delivery_id", String(32), ForeignKey("delivery.id"), nullable=False, index=True),
    Column("at", BigInteger, nullable=False),
    Column("milliseconds", BigInteger, nullable=False),
    Column("outcome", String(40), nullable=False),
    Column("status", BigInteger),
    Column("answer", Text, nullable=False),
)
Table(
    "sso_session",
    TABLES,
    Column("sid", String(255), primary_key=True),
    Column("cookie_hash", String(64), nullable=False, unique=True),
    Column("sub", String(255), ForeignKey("user_account.sub"), nullable=False, index=True),
    Column("auth_time", BigInteger, nullable=False),
    Column("amr", JSON, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("last_seen_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("user_agent", String(255), nullable=False),
    Column("ended_at", BigInteger),
    Column("end_reason", String(40)),
    Index("sso_session_alive", "ended_at", "last_seen_at"),
)
Table(
    "participation",
    TABLES,
    Column("sid", String(255), ForeignKey("sso_session.sid"), primary_key=True),
    Column("client_id", String(255), primary_key=True),
    Column("sub", String(255), nullable=False),
    Column("since", BigInteger, nullable=False),
)


def upgrade() -> None:
    """A database from before the migrations gets only what it lacks."""
    create_missing(op.get_bind(), TABLES)
