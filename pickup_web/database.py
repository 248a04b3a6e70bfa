"""One database a service: a SQLite file by default, PostgreSQL by its URL."""

from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any

from flask import Flask
from flask_sqlalchemy_lite import SQLAlchemy
from sqlalchemy import Engine, event, make_url

db = SQLAlchemy()


def init_app(app: Flask, url: str) -> None:
    """Connect ``app``. After gunicorn's fork each worker opens connections of its own."""
    parsed = make_url(url)
    options: dict[str, Any] = {"url": url, "pool_pre_ping": parsed.get_backend_name() != "sqlite"}
    if parsed.get_backend_name() == "sqlite" and parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    app.config["SQLALCHEMY_ENGINES"] = {"default": options}
    db.init_app(app)
    # There are no asynchronous sessions to close here, and looking for them costs a thread a request (1 ms).
    app.teardown_appcontext_funcs[:] = [f for f in app.teardown_appcontext_funcs if not iscoroutinefunction(f)]
    with app.app_context():
        engine = db.engine
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
    # The inherited connections belong to the master: forget them here, but do not close them.
    app.extensions["after_fork"].append(lambda: engine.dispose(close=False))


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # Readers do not wait for the writer (WAL), a second writer waits for the first, and what is
    # committed is on the disk (FULL): the outbox promises that nothing recorded is lost.
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "busy_timeout = 10000", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")


def engine_of(app: Flask) -> Engine:
    """The service's engine, for code that runs outside of a request."""
    with app.app_context():
        return db.engine
