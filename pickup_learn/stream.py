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
BATCH = 50  # messages, and as many events, that a stream reads at once

_places = threading.BoundedSemaphore(PLACES)
_reading = threading.Lock()  # each change wakes all streams; one at a time needs a connection, and memory for the rows


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
            for seq, text in news(record, after):
                after = seq
                yield text
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


def news(record: Record, after: int) -> Iterator[tuple[int, str]]:
    """All that is newer, with its numbers: messages one by one, events together."""
    is_all = False
    while not is_all:
        with _reading:
            found, is_all = next_batch(record, after)
        yield from found
        after = found[-1][0] if found else after


def next_batch(record: Record, after: int) -> tuple[list[tuple[int, str]], bool]:
    """In the order of their numbers; True if there is no more."""
    last = record.last()  # what is newer may come between the two queries, and waits for the next batch
    messages, events = record.messages_after(after, BATCH), record.events_after(after, BATCH)
    full = [rows[-1]["seq"] for rows in (messages, events) if len(rows) == BATCH]
    until = min([*full, last])  # what is behind a full one waits for the rest of it
    found = [(one["seq"], event("message", shown(one), one["seq"])) for one in messages]
    found += [(one["seq"], event("events", [one], one["seq"])) for one in events]
    return sorted(one for one in found if one[0] <= until), not full


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
