"""The tables of the relying party. Times are seconds since the epoch."""

from typing import Any, ClassVar

from sqlalchemy import JSON, BigInteger, Column, Engine, Index, String, Table, Text, inspect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.schema import CreateColumn, CreateIndex, CreateTable


class Base(DeclarativeBase):
    """Tables of their own, beside the application's."""

    type_annotation_map: ClassVar = {int: BigInteger, dict[str, Any]: JSON, list[dict[str, Any]]: JSON}


class StoredSession(Base):
    """One browser's session. Signed in when ``sub`` is set and ``ended_at`` is not.

    The cookie's value is not here, only its hash, and the login is encrypted: a reader of the table cannot become
    its users. An ended session keeps nothing but its end, so that the browser can be told why.
    """

    __tablename__ = "rp_session"
    __table_args__ = (
        # BCL §2.7 asks in these two ways.
        Index("rp_session_by_sid", "iss", "sid"),
        Index("rp_session_by_sub", "iss", "sub"),
        Index("rp_session_by_expiry", "expires_at"),
    )

    id_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    created_at: Mapped[int]
    last_seen_at: Mapped[int]
    expires_at: Mapped[int]
    data: Mapped[str] = mapped_column(Text, default="")  # what the application put into flask.session
    # Logins this browser has begun. They are the browser's and survive the session's end: whoever signs in as
    # somebody else makes the provider end the older session before the browser is back.
    logins: Mapped[list[dict[str, Any]] | None]

    iss: Mapped[str | None] = mapped_column(String(255))
    sub: Mapped[str | None] = mapped_column(String(255))
    sid: Mapped[str | None] = mapped_column(String(255))
    # Claims and tokens, see login.py: encrypted, a JSON string. An earlier version wrote them as a JSON object.
    login: Mapped[Any | None] = mapped_column(JSON)
    renewing_until: Mapped[int | None]  # a request is renewing the access token, until then at most

    ended_at: Mapped[int | None]
    end_reason: Mapped[str | None] = mapped_column(String(255))


class RegisteredClient(Base):
    """The credentials a provider gave this application when it registered itself."""

    __tablename__ = "rp_client"

    issuer: Mapped[str] = mapped_column(String(255), primary_key=True)
    base_url: Mapped[str] = mapped_column(String(255), primary_key=True)
    client_id: Mapped[str] = mapped_column(String(255), default="")
    client_secret: Mapped[str] = mapped_column(Text, default="")  # encrypted
    secret_expires_at: Mapped[int] = mapped_column(default=0, server_default="0")  # 0: never


class CarriedOutLogout(Base):
    """A logout token that was carried out.

    It is three things at once: the guard against replays (BCL §2.6 (8)), the memory that lets a
    logout win over a login it overtook, and the record of what arrived.
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
    """Make what is missing. IF NOT EXISTS: two processes may start at the same time."""
    with engine.begin() as connection:
        for table in Base.metadata.sorted_tables:
            connection.execute(CreateTable(table, if_not_exists=True))
            for index in table.indexes:
                connection.execute(CreateIndex(index, if_not_exists=True))
    for table in Base.metadata.sorted_tables:
        for column in missing_columns(engine, table):
            _add(engine, column)


def missing_columns(engine: Engine, table: Table) -> list[Column[Any]]:
    """What a table made by an earlier version lacks. Every new column has a default, or may be NULL."""
    present = {column["name"] for column in inspect(engine).get_columns(table.name)}
    return [column for column in table.columns if column.name not in present]


def _add(engine: Engine, column: Column[Any]) -> None:
    definition = CreateColumn(column).compile(dialect=engine.dialect)
    try:
        with engine.begin() as connection:
            connection.exec_driver_sql(f"ALTER TABLE {column.table.name} ADD COLUMN {definition}")
    except DBAPIError as error:  # another process was faster
        if "duplicate column" not in str(error.orig) and "already exists" not in str(error.orig):
            raise
