"""One JSON line an event, on standard output; services are joined by ``sid`` and ``jti``."""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog
from structlog.tracebacks import ExceptionDictTransformer


def init(service: str) -> None:
    """Set up the log of this process. Tokens and secrets are never put into it."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            # Not the local variables, as is the default: passwords and keys are among them.
            structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False)),
            lambda _logger, _method, line: in_reading_order(service, line),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        # Line and line end in one write: threads must not mix theirs.
        logger_factory=structlog.WriteLoggerFactory(),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")


def in_reading_order(service: str, line: MutableMapping[str, Any]) -> dict[str, Any]:
    """When, who, what; then what is known of it."""
    first = {"time": line.pop("timestamp"), "service": service, "event": line.pop("event")}
    return first | {name: value for name, value in line.items() if value is not None}
