"""What an operator watches of an app, if a setting asks for it: Prometheus metrics and OpenTelemetry traces."""

from typing import Any
from urllib.parse import urlsplit

import requests
from flask import Flask, g

from pickup_web import trace
from pickup_web.settings import Settings
from relying_party import request_sending, request_sent


def init_app(app: Flask, settings: Settings) -> None:
    """Start what the settings ask for."""
    if settings.metrics_listen:
        from pickup_web import relying_party_metrics  # imports prometheus_client

        relying_party_metrics.init_app(app)
    if trace.is_wanted():
        request_sending.connect(start_span, app)
        request_sent.connect(end_span, app)


def start_span(_app: Flask, *, request: requests.PreparedRequest) -> None:
    """Receiver for the extension's signal: add ``traceparent``, unless the record of messages has added it."""
    host, sent = urlsplit(request.url or "").netloc, request.headers.get("traceparent", "")
    g.client_span = span = trace.client_span(request.method or "", host, sent)
    request.headers["traceparent"] = span.traceparent


def end_span(_app: Flask, *, response: requests.Response | None, error: Exception | None, **_: Any) -> None:
    """Receiver for the extension's signal."""
    span: trace.Span | None = g.pop("client_span", None)
    if span:
        span.end(None if response is None else response.status_code, type(error).__name__ if error else "")
