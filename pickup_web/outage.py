"""A database that does not answer: 503 with a sentence, and one line in the log instead of a traceback.

It may be restarting. Each request tries again, so the service recovers by itself.
"""

import logging

from flask import Flask, current_app
from flask.ctx import RequestContext
from flask.globals import request_ctx
from flask.typing import ResponseReturnValue
from sqlalchemy.exc import InterfaceError, OperationalError, TimeoutError
from werkzeug.exceptions import HTTPException, InternalServerError, ServiceUnavailable

ERRORS = (OperationalError, InterfaceError, TimeoutError)  # TimeoutError: all connections are in use
RETRY_AFTER = 2  # seconds
SENTENCE = "The database does not answer at the moment. Try again in a few seconds."


def init_app(app: Flask) -> None:
    """Handle these errors, wherever in a request they happen."""
    for kind in ERRORS:
        app.register_error_handler(kind, lambda _error: answer(app))
    app.logger.addFilter(shorten)


def answer(app: Flask) -> ResponseReturnValue:
    """The answer to an error in a view. The admin API has a handler of its own for HTTP errors."""
    app.logger.error(SENTENCE)
    return app.handle_http_exception(unavailable())


def seen(error: HTTPException) -> HTTPException:
    """The error to show. Flask reports errors outside of the view, as when it loads the session, as internal ones."""
    original = error.original_exception if isinstance(error, InternalServerError) else None
    if not isinstance(original, ERRORS):
        return error
    context: RequestContext = request_ctx._get_current_object()  # type: ignore[attr-defined]
    if context._session is None:  # it could not be loaded; as Flask does if there is none
        context._session = current_app.session_interface.make_null_session(current_app)
    return unavailable()


def unavailable() -> ServiceUnavailable:
    """503, with the time after which a client may try again."""
    return ServiceUnavailable(SENTENCE, retry_after=RETRY_AFTER)


def shorten(record: logging.LogRecord) -> bool:
    """A filter of the log: one line instead of a traceback for each request."""
    if record.exc_info and isinstance(record.exc_info[1], ERRORS):
        record.msg, record.args, record.exc_info = SENTENCE, (), None
    return True
