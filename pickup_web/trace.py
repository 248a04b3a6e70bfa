"""The trace of the request in progress (W3C Trace Context), and its spans.

The record of messages and OpenTelemetry use the same ids, so a message of the record can be found in the traces. Both
read and write the header ``traceparent``. Spans are created only if a receiver of :data:`ended` wants them
(open_telemetry.py).
"""

import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Literal

from blinker import Signal
from flask import g, request

# W3C Trace Context §3.2.2. A later version may append fields after the flags.
TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-[0-9a-f]{2}(-.*)?")

ended = Signal()  # ``span``: a request that ended
_trace_id: ContextVar[str | None] = ContextVar("trace_id", default=None)  # of the request in progress
_span_id: ContextVar[str | None] = ContextVar("span_id", default=None)  # of the request in progress, if it is a span


@dataclass
class Span:
    """One request, incoming (server) or outgoing (client). Contains no query, body, header or address of a user."""

    name: str
    kind: Literal["server", "client"]
    trace_id: str
    span_id: str
    parent_id: str | None
    attributes: dict[str, str | int]
    started: int = field(default_factory=time.time_ns)
    ended: int = 0
    is_error: bool = False

    @property
    def traceparent(self) -> str:
        """The header of the outgoing request that this is."""
        return traceparent(f"{self.trace_id}-{self.span_id}")

    def end(self, status: int | None, error: str = "") -> None:
        """The request has this response status, or none because of ``error``."""
        self.ended = time.time_ns()
        if status is not None:
            self.attributes["http.response.status_code"] = status
        if error:
            self.attributes["error.type"] = error
        # OpenTelemetry's HTTP conventions: 4xx is an error of the client, so the server's span is not one.
        self.is_error = status is None or status >= (500 if self.kind == "server" else 400)
        ended.send(span=self)


def is_wanted() -> bool:
    """Whether spans have a receiver."""
    return bool(ended.receivers)


def span_in(traceparent: str) -> str | None:
    """The trace id and span id in the header; None if it is missing or invalid."""
    match = TRACEPARENT.fullmatch(traceparent)
    return f"{match[1]}-{match[2]}" if match else None


def continue_trace(traceparent: str) -> str:
    """Continue the caller's trace, or start a new one. Returns the trace id and span id of the request."""
    # W3C Trace Context §4.3: start a new trace if traceparent cannot be parsed
    span = span_in(traceparent) or f"{secrets.token_hex(16)}-{secrets.token_hex(8)}"
    _trace_id.set(span[:32])
    return span


def of_request() -> str:
    """The trace id and span id of Flask's request in progress. The first call continues the caller's trace."""
    if "trace" not in g:
        g.trace = continue_trace(request.environ.get("HTTP_TRACEPARENT", ""))
        _span_id.set(None)
    return str(g.trace)


def new_span() -> str:
    """The trace id and span id of an outgoing request."""
    return f"{_trace_id.get() or secrets.token_hex(16)}-{secrets.token_hex(8)}"


def traceparent(span: str) -> str:
    """The header for an outgoing request: version, trace id, span id, and the flag "sampled" (Trace Context §3.2.2)."""
    return f"00-{span}-01"


def server_span() -> Span:
    """The span of Flask's request in progress. Outgoing requests are its children."""
    trace_id = of_request()[:32]
    caller = span_in(request.environ.get("HTTP_TRACEPARENT", ""))
    method, rule = request.environ["REQUEST_METHOD"], request.url_rule
    attributes: dict[str, str | int] = {"http.request.method": method}
    if rule:  # the route, because a path may contain an id
        attributes["http.route"] = rule.rule
    name = f"{method} {rule.rule}" if rule else method
    span = Span(name, "server", trace_id, secrets.token_hex(8), caller and caller[33:], attributes)
    _span_id.set(span.span_id)
    return span


def client_span(method: str, host: str, sent: str = "") -> Span:
    """The span of an outgoing request to ``host``. Keeps the ids of the ``traceparent`` that it has, if any.

    Only the host is named: the path and query of an app's address may contain its secrets.
    """
    ids = span_in(sent) or new_span()
    is_child = ids[:32] == _trace_id.get()
    attributes: dict[str, str | int] = {"http.request.method": method, "server.address": host}
    return Span(f"{method} {host}", "client", ids[:32], ids[33:], _span_id.get() if is_child else None, attributes)


@contextmanager
def outgoing(method: str, host: str) -> Iterator[Span]:
    """The same for a request that is made in this block. The block ends the span, unless it raises."""
    span = client_span(method, host)
    try:
        yield span
    except BaseException as error:
        span.end(None, type(error).__name__)
        raise
