"""Prometheus metrics at ``/metrics``, on a port that serves nothing else (docs/watching.md).

    a step's named event ─ its line in the log ─▶ counters of this worker ─ files ─▶ any worker ─▶ GET /metrics

No step of the protocol mentions a metric. Imported only if PICKUP_METRICS_LISTEN is set. gunicorn.conf.py opens the
port before it forks the workers, so each of them can answer. Each worker counts in files that all of them read
(prometheus_client's multiprocess mode), so every answer is about the whole service.
"""

import os
import socket
import threading
from collections.abc import Iterable
from http import HTTPStatus
from socketserver import TCPServer, ThreadingTCPServer
from typing import cast

import structlog
from flask import Flask
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, MetricsHandler
from prometheus_client.multiprocess import MultiProcessCollector

SECONDS = 5.0  # for one answer; a slow client must not hold the thread

LOG = structlog.get_logger()


class Metrics:
    """The metrics of one service. ``registry`` has everything that ``/metrics`` shows."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        is_shared = "PROMETHEUS_MULTIPROC_DIR" in os.environ  # set by gunicorn.conf.py
        self._own = None if is_shared else self.registry
        if is_shared:
            MultiProcessCollector(self.registry)  # type: ignore[no-untyped-call] # it has no types

    def counter(self, name: str, text: str, label: str, values: Iterable[str]) -> Counter:
        """A counter that shows 0 for each of the label's values, because rate() needs a value before the first one."""
        made = Counter(name, text, [label], registry=self._own)
        for value in values:
            made.labels(value)
        return made

    def gauge(self, name: str, text: str) -> Gauge:
        """A gauge that shows the sum of all workers that are alive."""
        return Gauge(name, text, registry=self._own, multiprocess_mode="livesum")

    def histogram(self, name: str, text: str, buckets: Iterable[float]) -> Histogram:
        """A histogram with these upper bounds."""
        return Histogram(name, text, buckets=tuple(buckets), registry=self._own)

    def serve(self, listener: socket.socket) -> TCPServer:
        """Answer on this open port, in a thread. Called in each worker after gunicorn's fork."""
        # A thread for each request, because SECONDS is for each read: a client that sends single bytes takes longer.
        server = ThreadingTCPServer(listener.getsockname()[:2], handler_of(self.registry), bind_and_activate=False)
        server.daemon_threads = True
        server.socket.close()
        server.socket = listener
        threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
        return server


def init_app(app: Flask) -> Metrics:
    """Returns the service's metrics, which gunicorn.conf.py finds in ``app.extensions``."""
    metrics = Metrics()
    app.extensions["metrics"] = metrics
    return metrics


def handler_of(shown: CollectorRegistry) -> type[MetricsHandler]:
    """The handler of requests for these metrics."""

    class Handler(MetricsHandler):
        """prometheus_client's, with a time limit, and for one path only."""

        registry = shown
        timeout = SECONDS

        def do_GET(self) -> None:
            """Without an answer of the database, the answer is 500: the target then counts as down."""
            if self.path.partition("?")[0] != "/metrics":
                self.send_error(HTTPStatus.NOT_FOUND)
                return
            try:
                super().do_GET()
            except Exception:
                LOG.exception("metrics are not available")
                self.send_error(HTTPStatus.INTERNAL_SERVER_ERROR)

        def version_string(self) -> str:
            """Not the version of Python."""
            return "Pickup"

    return cast(type[MetricsHandler], Handler)
