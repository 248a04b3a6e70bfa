"""One JSON line per event, on standard output; ``sid`` and ``jti`` connect the services' lines."""

import logging
import sys
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

import structlog
from structlog.tracebacks import ExceptionDictTransformer


def init(service: str) -> None:
    """Set up this process's log. Tokens and secrets are never logged."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            # Without local variables (the default includes them), because they contain passwords and keys.
            structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False)),
            lambda _logger, _method, line: in_reading_order(service, line),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        # Line and line end in one write: lines of different threads must not mix.
        logger_factory=structlog.WriteLoggerFactory(),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")


def on_each_line(receiver: Callable[[Mapping[str, Any]], None]) -> None:
    """Call ``receiver`` with the members of each later line of this process."""

    def call(_logger: Any, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        try:
            receiver(line)
        except Exception:  # must not fail the request that writes the line
            logging.getLogger(__name__).exception("A receiver of log lines failed.")
        return line

    structlog.configure(processors=[call, *structlog.get_config()["processors"]])


def in_reading_order(service: str, line: MutableMapping[str, Any]) -> dict[str, Any]:
    """Time, service and event first; then the other members."""
    first = {"time": line.pop("timestamp"), "service": service, "event": line.pop("event")}
    return first | {name: value for name, value in line.items() if value is not None}
