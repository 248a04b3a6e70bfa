"""The database of the sessions, for an application that does not bring its own engine."""

import os
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event, make_url


def open_engine(url: str, folder: str) -> Engine:
    """An engine for ``url``; without one, for a SQLite file in ``folder``, which is made if it is missing."""
    parsed = make_url(url or f"sqlite:///{folder}/relying_party.db")
    if parsed.get_backend_name() == "sqlite":
        if parsed.database and parsed.database != ":memory:":
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(parsed)
        event.listen(engine, "connect", _prepare_sqlite)
    else:
        engine = create_engine(parsed, pool_pre_ping=True)
    # A connection belongs to the process that opened it. A server that loads the application and then forks
    # (gunicorn's preload_app) would share it; the child forgets it instead.
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: engine.dispose(close=False))
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # Readers do not wait for the writer, and a second writer waits for the first.
    for pragma in ("journal_mode = WAL", "busy_timeout = 10000"):
        connection.execute(f"PRAGMA {pragma}")
