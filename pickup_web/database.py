"""One database a service: a SQLite file by default, PostgreSQL by its URL."""

import functools
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any, cast

from flask import Flask
from flask_sqlalchemy_lite import SQLAlchemy
from sqlalchemy import Engine, Insert, Table, event, insert, make_url
from sqlalchemy.orm import DeclarativeBase, Session

from pickup_web import sqlite

CONNECTIONS = 20  # kept open in a process: one for each of its threads, or they would be opened again and again

db = SQLAlchemy()


def init_app(app: Flask, url: str) -> None:
    """Connect ``app``. After gunicorn's fork each worker opens connections of its own."""
    parsed = make_url(url)
    options: dict[str, Any] = {
        "url": url,
        "hide_parameters": True,  # of a statement that fails, in the log: they may be somebody's
        "pool_pre_ping": parsed.get_backend_name() != "sqlite",
        "pool_size": CONNECTIONS,
    }
    if parsed.get_backend_name() == "sqlite" and parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        options["connect_args"] = {"factory": sqlite.connection_class()}
    app.config["SQLALCHEMY_ENGINES"] = {"default": options}
    db.init_app(app)
    # There are no asynchronous sessions to close here, and looking for them costs a thread a request (1 ms).
    app.teardown_appcontext_funcs[:] = [f for f in app.teardown_appcontext_funcs if not iscoroutinefunction(f)]
    with app.app_context():
        engine = db.engine
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", sqlite.prepare)
    # The inherited connections belong to the master: forget them here, but do not close them.
    app.extensions["after_fork"].append(lambda: engine.dispose(close=False))


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


def relax(session: Session) -> None:
    """What is written next need not survive a power cut, only the end of this process. Before the first write."""
    connection: object = session.connection().connection.dbapi_connection
    if isinstance(connection, sqlite.Connection):
        connection.relax()


def engine_of(app: Flask) -> Engine:
    """The service's engine, for code that runs outside of a request."""
    with app.app_context():
        return db.engine
