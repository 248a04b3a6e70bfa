"""Sends spans to an OpenTelemetry collector, over OTLP/HTTP (docs/watching.md).

Imported only if OTEL_EXPORTER_OTLP_ENDPOINT is set. A request only puts its spans into a queue. A thread of the SDK
sends them. If the collector does not answer, the queue fills up and further spans are lost, but no request waits.
"""

import atexit
import threading
from typing import Any

from flask import Flask, Response, g, request, request_finished, request_started
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_NAMESPACE, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, StatusCode, TraceFlags, set_span_in_context

from pickup_web import trace

STOP_SECONDS = 1.0
KINDS = {"server": SpanKind.SERVER, "client": SpanKind.CLIENT}
# Polls, event streams and files: no steps of the protocol.
NOT_TRACED = ("live", "status", "static", "list_events", "list_messages")


class GivenIds(IdGenerator):
    """Gives the SDK the ids that the span already has, because they are in its ``traceparent``."""

    def __init__(self) -> None:
        self.current = threading.local()

    def generate_span_id(self) -> int:
        """The span's own id."""
        return int(self.current.span.span_id, 16)

    def generate_trace_id(self) -> int:
        """Called for a span without parent."""
        return int(self.current.span.trace_id, 16)


class SpanSender:
    """Sends the spans of one service. Its methods are receivers of signals."""

    def __init__(self, service: str) -> None:
        self._ids = GivenIds()
        self._provider = TracerProvider(
            resource=Resource.create({SERVICE_NAME: service, SERVICE_NAMESPACE: "pickup"}),
            id_generator=self._ids,
            shutdown_on_exit=False,  # see stop()
        )
        self._tracer = self._provider.get_tracer("pickup")

    def start(self) -> None:
        """Called in each worker after gunicorn's fork: starts the thread that sends."""
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        atexit.register(self.stop)

    def stop(self) -> None:
        """Send the rest of the queue. The SDK alone would wait half a minute for a collector that is away."""
        thread = threading.Thread(target=self._provider.shutdown, daemon=True)
        thread.start()
        thread.join(STOP_SECONDS)

    def request_started(self, _app: Flask, **_: Any) -> None:
        """Receiver for Flask's signal."""
        trace.of_request()
        if (request.endpoint or "").rpartition(".")[2] not in NOT_TRACED:
            g.server_span = trace.server_span()

    def request_finished(self, _app: Flask, *, response: Response, **_: Any) -> None:
        """Receiver for Flask's signal."""
        span: trace.Span | None = g.pop("server_span", None)
        if span:
            span.end(response.status_code)

    def ended(self, _sender: object, *, span: trace.Span) -> None:
        """Receiver for :data:`trace.ended`: put the span into the queue."""
        self._ids.current.span = span
        sdk_span = self._tracer.start_span(
            span.name, parent_of(span), KINDS[span.kind], span.attributes, start_time=span.started
        )
        if span.is_error:
            sdk_span.set_status(StatusCode.ERROR)
        sdk_span.end(span.ended)


def parent_of(span: trace.Span) -> Any:
    """The SDK's context of the span."""
    if not span.parent_id:
        return set_span_in_context(NonRecordingSpan(SpanContext(0, 0, is_remote=False)))
    flags = TraceFlags(TraceFlags.SAMPLED)
    ids = int(span.trace_id, 16), int(span.parent_id, 16)
    return set_span_in_context(NonRecordingSpan(SpanContext(*ids, is_remote=span.kind == "server", trace_flags=flags)))


def init_app(app: Flask, service: str) -> None:
    """Send this service's spans."""
    sender = SpanSender(service)
    app.extensions["after_fork"].append(sender.start)
    for signal, receiver in (
        (request_started, sender.request_started),
        (request_finished, sender.request_finished),
    ):
        signal.connect(receiver, app, weak=False)
    trace.ended.connect(sender.ended, weak=False)
