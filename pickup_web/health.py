"""``GET /healthz``: this worker answers, and its database can be read and written."""

import secrets
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING

import structlog
from flask import Flask
from sqlalchemy import Text, select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from werkzeug.wrappers import Response

from pickup_web import clock
from pickup_web.database import engine_of
from pickup_web.seed import prepare

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

EVERY_SECONDS = 5  # how often a process writes, however often it is asked
CONTENT_BYTES = 8192  # written as twice as many letters: more than a sign-in writes, so that it does not fail later
LOG = structlog.get_logger()


class Base(DeclarativeBase):
    """A table of each service's database."""


class WriteCheck(Base):
    """One row, which is written to see whether that works."""

    __tablename__ = "write_check"

    id: Mapped[int] = mapped_column(primary_key=True)
    content: Mapped[str] = mapped_column(Text)


class Health:
    """What the last check of this process found. Shared by its threads."""

    def __init__(self, app: Flask) -> None:
        self._engine = engine_of(app)
        self._lock = threading.Lock()
        self._checked_at, self._can_write = 0, True
        prepare(self._engine, Base.metadata)

    def problem(self) -> str | None:
        """A sentence, or None."""
        try:
            with Session(self._engine) as session:
                session.scalar(select(1))
        except SQLAlchemyError as error:
            LOG.error("the database does not answer", reason=str(error))  # noqa: TRY400 # no traceback each time
            return "The database does not answer."
        if self._lock.acquire(blocking=False):  # else another request is at it: its predecessor's result will do
            try:
                # A clock that was set back must not stop the checks.
                if not 0 <= clock.now() - self._checked_at < EVERY_SECONDS:
                    self._can_write, self._checked_at = self._try_writing(), clock.now()
            finally:
                self._lock.release()
        return None if self._can_write else "The database cannot be written."

    def _try_writing(self) -> bool:
        try:
            with Session(self._engine) as session, session.begin():
                write(session)
        except IntegrityError:  # another process was faster with the first row
            return True
        except SQLAlchemyError as error:
            LOG.error("the database cannot be written", reason=str(error))  # noqa: TRY400 # no traceback each time
            return False
        return True


def write(session: Session) -> None:
    """Change the row; make it if a reset has emptied the table."""
    content = secrets.token_hex(CONTENT_BYTES)  # something else each time: SQLite does not write what has not changed
    changed = session.scalar(update(WriteCheck).values(content=content).returning(WriteCheck.id))
    if changed is None:
        session.add(WriteCheck(id=1, content=content))


def health_check(app: Flask) -> "WSGIApplication":
    """Answers 200, or 503 and why."""
    health = app.extensions["health"] = Health(app)

    def healthz(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        problem = health.problem()
        response = Response(f"{problem or 'ok'}\n", 503 if problem else 200, mimetype="text/plain")
        return response(environ, start_response)

    return healthz
