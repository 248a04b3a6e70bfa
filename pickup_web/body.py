"""Bodies that are cut off or malformed: the client's fault, so the answer is 400 and not 500."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

MALFORMED: tuple[type[Exception], ...] = ()
try:
    from gunicorn.http.errors import ParseException
except ImportError:  # python -m idp runs with Werkzeug's server, and is installed without gunicorn
    pass
else:
    MALFORMED = (ParseException,)


class Body:
    """The body of a request. gunicorn reads its chunks, and raises an error of its own for a malformed one."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def read(self, size: int = -1) -> bytes:
        """Werkzeug answers 400 if this raises an OSError (RFC 9112 §7.1: a chunked body that cannot be parsed)."""
        try:
            data: bytes = self._stream.read(size)
        except MALFORMED as error:
            raise OSError("The chunks of the body are malformed.") from error
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def with_checked_body(inner: "WSGIApplication") -> "WSGIApplication":
    """``inner`` with a :class:`Body`."""

    def outer(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        environ["wsgi.input"] = Body(environ["wsgi.input"])
        return inner(environ, start_response)

    return outer
