"""What runs each second and each minute, and what an operator does to a client, reads no table as a whole.

A table with a row per session, token or delivery grows without a limit. The databases say themselves how they find the
rows (``EXPLAIN``).
"""

import re
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine, event, text, update
from sqlalchemy.orm import Session

from bench.scaling import CLIENTS, fill_idp
from idp import SCHEMA
from idp.background.clean_up import UNUSED_SECONDS, clean_up, unfinished_removals
from idp.flow.session_ending import end_participations, expired_sessions
from idp.models import Client, Token
from idp.outbox.reasons import Reason
from idp.outbox.sender import IN_HAND
from idp.tokens.revoke import revoke_all
from pickup_web.clock import now
from pickup_web.schema import prepare
from tests.web.test_schema import engine

__all__ = ["engine"]  # a fixture
pytestmark = pytest.mark.thorough

SIZE = 5000  # sessions; for a few rows PostgreSQL rightly reads the whole table
GROWING = "sso_session|participation|token|delivery|delivery_attempt"
WHOLE_TABLE = re.compile(rf"(?:Seq Scan on|SCAN) ({GROWING})\b")


@pytest.fixture
def grown(engine: Engine) -> Engine:
    """A database with many sessions, and a client of each kind that the clean-up looks for."""
    prepare(engine, SCHEMA)
    lists = ("redirect_uris", "post_logout_redirect_uris", "scopes", "grant_types", "response_types")
    with Session(engine) as db, db.begin():
        for client_id in (*CLIENTS, "removed", "unused"):
            db.add(Client(client_id=client_id, name=client_id, **{name: [] for name in lists}))
        db.flush()
        db.execute(update(Client).where(Client.client_id == "removed").values(removed_at=1))
        unused = {"registration_token_hash": "x", "created_at": now() - UNUSED_SECONDS - 1}
        db.execute(update(Client).where(Client.client_id == "unused").values(**unused))
    fill_idp(engine, SIZE)
    if engine.dialect.name == "postgresql":  # which does so by itself, after a minute
        with engine.begin() as connection:
            connection.exec_driver_sql("ANALYZE")
    return engine


def plans(engine: Engine, act: Callable[[Session], Any]) -> list[str]:
    """How the database finds the rows of each statement of ``act``, whose changes are undone."""
    sent: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, sql: str, values: Any, _context: Any, _is_many: bool) -> None:
        if sql.startswith(("SELECT", "UPDATE", "DELETE")):
            sent.append((sql, values))

    event.listen(engine, "before_cursor_execute", note)
    with Session(engine) as db:
        act(db)
        db.rollback()
    event.remove(engine, "before_cursor_execute", note)
    explain = "EXPLAIN QUERY PLAN" if engine.dialect.name == "sqlite" else "EXPLAIN (COSTS OFF)"
    with engine.connect() as connection:
        answers = [connection.exec_driver_sql(f"{explain} {sql}", values).all() for sql, values in sent]
    assert answers
    return ["\n".join(str(row[-1]) for row in rows) for rows in answers]


def removal(db: Session) -> None:
    """Of a client without a session: it is the database that must not look at the others' rows."""
    end_participations(db, db.get_one(Client, "unused"), Reason.CLIENT_REMOVED, "session")


def look_for_expired(db: Session) -> None:
    """As the background thread does each second."""
    assert expired_sessions(db, IN_HAND) == {}


ACTS: dict[str, Callable[[Session], Any]] = {
    "look for expired sessions": look_for_expired,
    "clean up": clean_up,
    "look for unfinished removals": unfinished_removals,
    "remove a client": removal,
    "renew a secret": lambda db: revoke_all(db, (Token.client_id == "unused") & Token.sid.is_(None)),
}


@pytest.mark.parametrize("name", ACTS)
def test_no_growing_table_is_read_as_a_whole(name: str, grown: Engine) -> None:
    assert [plan for plan in plans(grown, ACTS[name]) if WHOLE_TABLE.search(plan)] == []


def test_control_without_its_index_a_table_is_read_as_a_whole(grown: Engine) -> None:
    with grown.begin() as connection:
        connection.execute(text("DROP INDEX ix_token_client_id"))
    assert "token" in WHOLE_TABLE.findall("\n".join(plans(grown, clean_up)))


@pytest.mark.parametrize("index", ["participation_by_client", "ix_token_client_id"])
def test_index_is_used(index: str, grown: Engine) -> None:
    """An index that no query uses would slow down each sign-in for nothing."""
    assert index in "\n".join(plans(grown, clean_up))


@pytest.mark.parametrize(
    ("act", "column"),
    [
        (look_for_expired, "last_seen_at"),
        (look_for_expired, "expires_at"),
        (clean_up, "access_expires_at"),
        (clean_up, "refresh_expires_at"),
    ],
)
def test_only_what_has_expired_is_read(act: Callable[[Session], Any], column: str, grown: Engine) -> None:
    """The time is part of the search in an index, not a filter on what was found.

    One query with OR uses both indexes too, but among a million sessions PostgreSQL reads the whole table for it.
    """
    lines = "\n".join(plans(grown, act)).splitlines()
    searches = [line for line in lines if "SEARCH" in line or "Index Cond" in line]
    assert [search for search in searches if re.search(rf"\b{column} ?<", search)], lines
    assert not [line for line in lines if "BitmapOr" in line or "MULTI-INDEX OR" in line], "a query for each index"
