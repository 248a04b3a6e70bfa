"""The tables. Times are in seconds since the epoch."""

from typing import Any, ClassVar

from sqlalchemy import JSON, BigInteger, Column, Engine, Index, String, Table, Text, inspect, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.schema import CreateColumn, CreateIndex, CreateTable


class Base(DeclarativeBase):
    """Separate from the app's own tables."""

    type_annotation_map: ClassVar = {int: BigInteger, dict[str, Any]: JSON, list[dict[str, Any]]: JSON}


class StoredSession(Base):
    """One browser's session. The user is signed in if ``sub`` is set and ``ended_at`` is not.

    The table has the hash of the cookie and an encrypted login, so that a copy of it does not let an attacker act as
    a user. An ended session keeps the time and reason of its end, to show them to the user.
    """

    __tablename__ = "rp_session"
    __table_args__ = (
        # BCL §2.7: a logout token identifies sessions by sid or by sub.
        Index("rp_session_by_sid", "iss", "sid"),
        Index("rp_session_by_sub", "iss", "sub"),
        Index("rp_session_by_expiry", "expires_at"),
    )

    id_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    created_at: Mapped[int]
    last_seen_at: Mapped[int]
    expires_at: Mapped[int]
    data: Mapped[str] = mapped_column(Text, default="")  # the app's values in flask.session
    # Sign-ins that this browser has started. They outlast the session, because the provider ends the older session
    # while the browser is signing in as another user.
    logins: Mapped[list[dict[str, Any]] | None]

    iss: Mapped[str | None] = mapped_column(String(255))
    sub: Mapped[str | None] = mapped_column(String(255))
    sid: Mapped[str | None] = mapped_column(String(255))
    # Claims and tokens (login.stored_login), encrypted, as a JSON string. An earlier version stored a JSON object.
    login: Mapped[Any | None] = mapped_column(JSON)
    renewing_until: Mapped[int | None]  # until then, one request has the right to renew the access token

    ended_at: Mapped[int | None]
    end_reason: Mapped[str | None] = mapped_column(String(255))


class RegisteredClient(Base):
    """The credentials from dynamic registration."""

    __tablename__ = "rp_client"

    issuer: Mapped[str] = mapped_column(String(255), primary_key=True)
    base_url: Mapped[str] = mapped_column(String(255), primary_key=True)
    client_id: Mapped[str] = mapped_column(String(255), default="")
    client_secret: Mapped[str] = mapped_column(Text, default="")  # encrypted
    secret_expires_at: Mapped[int] = mapped_column(default=0, server_default="0")  # 0: never


class CarriedOutLogout(Base):
    """A logout token that was applied.

    The row has two uses. Its key (iss, jti) rejects a replayed token (BCL §2.6 step 8). It also rejects a sign-in that
    completes after the logout of its session arrived.
    """

    __tablename__ = "rp_logout"
    __table_args__ = (
        Index("rp_logout_by_sid", "iss", "sid"),
        Index("rp_logout_by_sub", "iss", "sub"),
        Index("rp_logout_by_keep_until", "keep_until"),
    )

    iss: Mapped[str] = mapped_column(String(255), primary_key=True)
    jti: Mapped[str] = mapped_column(String(255), primary_key=True)
    sub: Mapped[str | None] = mapped_column(String(255))
    sid: Mapped[str | None] = mapped_column(String(255))
    iat: Mapped[int]
    received_at: Mapped[int]
    keep_until: Mapped[int]
    reason: Mapped[str | None] = mapped_column(String(255))


def make_tables(engine: Engine) -> None:
    """Create missing tables, indexes and columns. IF NOT EXISTS, because two processes may start at the same time.

    Looks first: on PostgreSQL, even a CREATE INDEX of an index that exists waits for the sign-ins of other processes.
    """
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":  # there, IF NOT EXISTS fails if another process is creating the table
            connection.execute(text("SELECT pg_advisory_xact_lock(20242)"))  # any number, the same in all processes
        for table in Base.metadata.sorted_tables:
            if not inspect(connection).has_table(table.name):
                connection.execute(CreateTable(table, if_not_exists=True))
            present = {index["name"] for index in inspect(connection).get_indexes(table.name)}
            for index in table.indexes:
                if index.name not in present:
                    connection.execute(CreateIndex(index, if_not_exists=True))
    for table in Base.metadata.sorted_tables:
        for column in missing_columns(engine, table):
            _add(engine, column)


def missing_columns(engine: Engine, table: Table) -> list[Column[Any]]:
    """Columns that a table of an earlier version lacks. Every new column has a default or may be NULL."""
    present = {column["name"] for column in inspect(engine).get_columns(table.name)}
    return [column for column in table.columns if column.name not in present]


def _add(engine: Engine, column: Column[Any]) -> None:
    definition = CreateColumn(column).compile(dialect=engine.dialect)
    try:
        with engine.begin() as connection:
            connection.exec_driver_sql(f"ALTER TABLE {column.table.name} ADD COLUMN {definition}")
    except DBAPIError as error:  # another process has just added it
        if "duplicate column" not in str(error.orig) and "already exists" not in str(error.orig):
            raise
