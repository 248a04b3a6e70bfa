"""One database per service: a SQLite file by default, PostgreSQL if its URL is set."""

import functools
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any, cast

from flask import Flask
from flask_sqlalchemy_lite import SQLAlchemy
from sqlalchemy import Connection, Engine, Insert, Table, insert, make_url
from sqlalchemy.orm import DeclarativeBase, Session

from pickup_web import sqlite
from pickup_web.statements import Statement

CONNECTIONS = 20  # of a process: one for each of its 16 threads, so that none is reopened for each request, and 4 more

db = SQLAlchemy()


class Base(DeclarativeBase):
    """The tables that the database of every service has; see also SCHEMA in __init__.py."""


def init_app(app: Flask, url: str) -> None:
    """Connect ``app``. After gunicorn's fork each worker opens its own connections."""
    parsed = make_url(url)
    options: dict[str, Any] = {
        "url": url,
        "hide_parameters": True,  # the log of a failing statement must not show personal data
        "pool_pre_ping": parsed.get_backend_name() != "sqlite",
        "pool_size": CONNECTIONS,
        "max_overflow": 0,  # a thread waits instead: the sum of all processes must fit into PostgreSQL
    }
    if parsed.get_backend_name() == "sqlite" and parsed.database:
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    app.config["SQLALCHEMY_ENGINES"] = {"default": options}
    db.init_app(app)
    # Only for speed: Flask-SQLAlchemy-Lite also closes asynchronous sessions after each request. We have none, and
    # Flask starts a thread for that. Without this line a single sign-on takes a quarter longer (40 pairs: 7.2, 8.9 ms).
    app.teardown_appcontext_funcs[:] = [f for f in app.teardown_appcontext_funcs if not iscoroutinefunction(f)]
    with app.app_context():
        engine = db.engine
    if engine.dialect.name == "sqlite":
        sqlite.set_up(engine)
    # The inherited connections belong to the master: forget them here, but do not close them.
    app.extensions["after_fork"].append(lambda: engine.dispose(close=False))


def table_of(model: type[DeclarativeBase]) -> Table:
    """The model's table, for statements without ORM objects, which cost a quarter."""
    return cast(Table, model.__table__)


def add_row(session: Session, model: type[DeclarativeBase], **values: Any) -> None:
    """``INSERT`` one row, now, without an ORM object. ``values`` must include columns that have a default."""
    _insert_of(model, tuple(values)).execute(session, values)


def add_rows(session: Session, model: type[DeclarativeBase], rows: list[dict[str, Any]]) -> None:
    """The same for many rows with the same columns, in one statement."""
    if rows:
        session.execute(_insert(model), rows)


@functools.cache
def _insert_of(model: type[DeclarativeBase], columns: tuple[str, ...]) -> Statement:
    return Statement(_insert(model), list(columns))


@functools.cache
def _insert(model: type[DeclarativeBase]) -> Insert:
    return insert(table_of(model))


def relax(transaction: Session | Connection) -> None:
    """The next transaction may be lost in a power cut, but not in a crash. Call it before the first write."""
    connection = transaction.connection() if isinstance(transaction, Session) else transaction
    if connection.dialect.name == "sqlite":
        sqlite.relax(connection)


def engine_of(app: Flask) -> Engine:
    """The service's engine, for code outside of a request."""
    with app.app_context():
        return db.engine
