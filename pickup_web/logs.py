"""One JSON line an event, on standard output; services are joined by ``sid`` and ``jti``."""

import logging
import sys

import structlog


def init(service: str) -> None:
    """Set up the log of this process. Tokens and secrets are never put into it."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.dict_tracebacks,
            lambda _logger, _method, line: {"service": service, **line},
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")
