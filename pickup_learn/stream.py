"""``GET /api/stream``: the messages and events as they come, as Server-Sent Events."""

import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

from flask import Response, request

from pickup_learn.collector import Collector
from pickup_learn.current import current_collector, current_record
from pickup_learn.join import shown
from pickup_learn.record import Record

PLACES = 64  # open streams; each holds a thread (gunicorn.conf.py has more)
COMMENT_SECONDS = 15  # a proxy does not take the stream for dead
LOOK_SECONDS = 1.0  # how soon a closed tab is noticed

_places = threading.BoundedSemaphore(PLACES)


def follow() -> Response:
    """All that is newer than ``after``, or than the last one that the browser got."""
    last_seen = request.headers.get("Last-Event-ID") or request.args.get("after") or ""
    record, collector = current_record(), current_collector()
    last = record.last()
    after = min(int(last_seen), last) if re.fullmatch("[0-9]{1,18}", last_seen) else last
    if not _places.acquire(blocking=False):
        return Response("No stream is free; ask /api/messages now and then.\n", 503, {"Retry-After": "2"})
    response = Response(watch(record, collector, after, request.environ.get("gunicorn.socket")))
    response.call_on_close(_places.release)
    # X-Accel-Buffering: a proxy such as nginx must pass each event on at once.
    response.headers.update(
        {"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    )
    return response


def watch(record: Record, collector: Collector, after: int, connection: socket.socket | None) -> Iterator[str]:
    """The stream of one tab."""
    with collector.tab():
        version, services, resets, tabs = record.version, collector.services(), record.resets, collector.tabs()
        yield "retry: 1000\n\n" + event("services", services)
        commented_at = time.monotonic()
        while True:
            if record.resets != resets:
                resets = record.resets
                yield event("reset", {})
            for name, seq, data in news(record, after):
                after = seq
                yield event(name, data, seq)
            if (latest := collector.services()) != services:
                services = latest
                yield event("services", services)
            if (now_open := collector.tabs()) != tabs:
                tabs = now_open
                yield event("tabs", tabs)
            if not record.wait(version, LOOK_SECONDS) and is_closed(connection):
                return
            version = record.version
            if time.monotonic() - commented_at >= COMMENT_SECONDS:
                commented_at = time.monotonic()
                yield ": still here\n\n"


def news(record: Record, after: int) -> Iterator[tuple[str, int, Any]]:
    """Messages one by one, events together, in the order of their numbers."""
    messages = [("message", message["seq"], shown(message)) for message in record.messages_after(after)]
    events = [("events", one["seq"], [one]) for one in record.events_after(after)]
    yield from sorted([*messages, *events], key=lambda item: item[1])


def event(name: str, data: Any, seq: int | None = None) -> str:
    """One event in the format of an event stream."""
    number = f"id: {seq}\n" if seq else ""
    return f"event: {name}\n{number}data: {json.dumps(data)}\n\n"


def is_closed(connection: socket.socket | None) -> bool:
    """Whether the tab is gone, where the server shows its connection."""
    try:
        return connection is not None and connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
