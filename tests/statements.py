"""Faults and races at a statement, as the database sees them. The test need not know which function sends it.

    with at_statement(engine, "INSERT INTO delivery", crash):     # crash runs before each such statement
        …
    with at_statement(engine, "COMMIT", crash): …                 # and here before each commit

A prepared statement (pickup_web/statements.py) does not pass here on SQLite.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, event

Act = Callable[[Connection], object]


class Hook(NamedTuple):
    """What happens at the statements that match."""

    pattern: str
    act: Act
    after: bool


hooks_of: WeakKeyDictionary[Engine, list[Hook]] = WeakKeyDictionary()


@contextmanager
def at_statement(engine: Engine, pattern: str, act: Act, *, after: bool = False) -> Iterator[None]:
    """Meanwhile, ``act`` is called before (or after) each statement that matches; its error is the statement's."""
    if engine not in hooks_of:
        listen(engine)
    hook = Hook(pattern, act, after)
    hooks_of[engine].append(hook)
    try:
        yield
    finally:
        hooks_of[engine].remove(hook)


def listen(engine: Engine) -> None:
    """One listener for all hooks: SQLAlchemy's list of listeners must not change while a thread waits in one."""
    hooks = hooks_of[engine] = []

    def run(connection: Connection, sql: str, *, after: bool) -> None:
        for hook in hooks:
            if hook.after is after and re.search(hook.pattern, sql):
                hook.act(connection)

    def before(connection: Connection, statement: Any, *_: Any) -> None:
        if hooks:  # most tests that share this engine stop at no statement, and its text takes time to make
            run(connection, str(statement.compile(dialect=connection.dialect)), after=False)

    def after(connection: Connection, _cursor: Any, sql: str, *_: Any) -> None:
        run(connection, sql, after=True)

    event.listen(engine, "before_execute", before)  # not yet waiting for its turn to write (pickup_web/sqlite.py)
    event.listen(engine, "after_cursor_execute", after)
    event.listen(engine, "commit", lambda connection: run(connection, "COMMIT", after=False))
