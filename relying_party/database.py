"""The database of the sessions, for an app that does not pass its own engine to ``init_app``."""

import os
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event, make_url


def open_engine(url: str, folder: str) -> Engine:
    """An engine for ``url``, or by default for a SQLite file in ``folder``. Creates a missing folder."""
    parsed = make_url(url or f"sqlite:///{folder}/relying_party.db")
    if parsed.get_backend_name() == "sqlite":
        if parsed.database and parsed.database != ":memory:":
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(parsed)
        event.listen(engine, "connect", _prepare_sqlite)
    else:
        engine = create_engine(parsed, pool_pre_ping=True)
    # Two processes must not share a connection. After a fork (gunicorn's preload_app) the child opens its own.
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: engine.dispose(close=False))
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # WAL: readers do not wait for the writer. busy_timeout: a second writer waits for the first, up to 10 seconds.
    for pragma in ("journal_mode = WAL", "busy_timeout = 10000"):
        connection.execute(f"PRAGMA {pragma}")
