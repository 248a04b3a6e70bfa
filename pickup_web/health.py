"""``GET /healthz``: this worker answers, and its database can be read and written."""

import secrets
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING

import structlog
from flask import Flask
from sqlalchemy import Text, select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.orm import Mapped, Session, mapped_column
from werkzeug.wrappers import Response

from pickup_web import clock
from pickup_web.database import Base, engine_of

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

EVERY_SECONDS = 5  # a process writes at most this often, however often it is polled
CONTENT_BYTES = 8192  # 16 KiB in hex: more than a sign-in writes, so that a sign-in does not fail first
LOG = structlog.get_logger()


class WriteCheck(Base):
    """One row, written to check that the database accepts writes."""

    __tablename__ = "write_check"

    id: Mapped[int] = mapped_column(primary_key=True)
    content: Mapped[str] = mapped_column(Text)


class Health:
    """The result of this process's last check. Shared by its threads."""

    def __init__(self, app: Flask) -> None:
        self._engine = engine_of(app)
        self._lock = threading.Lock()
        self.checked_at, self._can_write = 0, True

    def problem(self) -> str | None:
        """The error message, or None."""
        try:
            with Session(self._engine) as session:
                session.scalar(select(1))
        except SQLAlchemyError as error:
            LOG.error("the database does not answer", reason=str(error))  # noqa: TRY400 # no traceback each time
            return "The database does not answer."
        if self._lock.acquire(blocking=False):  # otherwise another request is checking: use the last result
            try:
                # A clock that was set back must not stop the checks.
                if not 0 <= clock.now() - self.checked_at < EVERY_SECONDS:
                    self._can_write, self.checked_at = self._try_writing(), clock.now()
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
    """Change the row, or insert it if a reset has emptied the table."""
    content = secrets.token_hex(CONTENT_BYTES)  # different each time, because SQLite does not write unchanged data
    changed = session.scalar(update(WriteCheck).values(content=content).returning(WriteCheck.id))
    if changed is None:
        session.add(WriteCheck(id=1, content=content))


def health_check(app: Flask) -> "WSGIApplication":
    """Answers 200, or 503 with the reason."""
    health = app.extensions["health"] = Health(app)

    def healthz(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        problem = health.problem()
        response = Response(f"{problem or 'ok'}\n", 503 if problem else 200, mimetype="text/plain")
        return response(environ, start_response)

    return healthz
