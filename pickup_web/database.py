"""One database a service: a SQLite file by default, PostgreSQL by its URL."""

import functools
import threading
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any, cast

from flask import Flask
from flask_sqlalchemy_lite import SQLAlchemy
from sqlalchemy import Engine, Insert, Table, event, insert, make_url
from sqlalchemy.orm import DeclarativeBase, Session

CONNECTIONS = 20  # kept open in a process: one for each of its threads, or they would be opened again and again
PATIENCE = 10  # seconds that a writer waits for the others

db = SQLAlchemy()


def init_app(app: Flask, url: str) -> None:
    """Connect ``app``. After gunicorn's fork each worker opens connections of its own."""
    parsed = make_url(url)
    options: dict[str, Any] = {
        "url": url,
        "pool_pre_ping": parsed.get_backend_name() != "sqlite",
        "pool_size": CONNECTIONS,
    }
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
        _take_turns(engine)
    # The inherited connections belong to the master: forget them here, but do not close them.
    app.extensions["after_fork"].append(lambda: engine.dispose(close=False))


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # Readers do not wait for the writer (WAL), a second writer waits for the first, and what is
    # committed is on the disk (FULL): the outbox promises that nothing recorded is lost.
    waiting = f"busy_timeout = {PATIENCE * 1000}"
    for pragma in ("journal_mode = WAL", "synchronous = FULL", waiting, "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")


def _take_turns(engine: Engine) -> None:
    """Let a process's writers queue. SQLite has no queue: it sleeps and looks again, up to 100 ms too late."""
    turn = threading.Lock()

    def take(connection: Any, _cursor: Any, _statement: str, _parameters: Any, context: Any, _many: bool) -> None:
        writes = context.isinsert or context.isupdate or context.isdelete
        if writes and not connection.info.get("has turn"):
            connection.info["has turn"] = turn.acquire(timeout=PATIENCE)

    def give_back(_connection: Any, record: Any) -> None:
        if record.info.pop("has turn", False):
            turn.release()

    event.listen(engine, "before_cursor_execute", take)
    event.listen(engine, "checkin", give_back)


def table_of(model: type[DeclarativeBase]) -> Table:
    """The model's table, for statements that need no objects: they cost a quarter."""
    return cast(Table, model.__table__)


def add_row(session: Session, model: type[DeclarativeBase], **values: Any) -> None:
    """``INSERT`` one row, now. Where nobody needs the object, the ORM's unit of work is three times the work."""
    session.execute(_insert(model), values)


def add_rows(session: Session, model: type[DeclarativeBase], rows: list[dict[str, Any]]) -> None:
    """The same for many rows, in one statement; all of them with the same columns."""
    if rows:
        session.execute(_insert(model), rows)


@functools.cache
def _insert(model: type[DeclarativeBase]) -> Insert:
    return insert(table_of(model))


def engine_of(app: Flask) -> Engine:
    """The service's engine, for code that runs outside of a request."""
    with app.app_context():
        return db.engine
