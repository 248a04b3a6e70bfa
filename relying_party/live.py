"""[16] Tells an open tab that its session has ended, and why. No specification requires this.

A page with a session opens an event stream (static/live.js). The stream reads the session's row a few times a second,
so it does not matter which worker or replica received the logout token. Each stream occupies a thread, so a process
has a limited number of streams; further tabs poll. Neither extends the session: an open tab does not keep an absent
user signed in.
"""

import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from flask import Response, current_app, jsonify, request
from flask.ctx import AppContext

from relying_party.sessions import Ending, SessionStore
from relying_party.state import current_session, current_state, emit, page_marks

LOOK_SECONDS = 0.25  # how often a stream polls its session: the longest delay
HEARTBEAT_SECONDS = 1  # a closed tab is noticed when the server cannot send the second of two heartbeats
STREAM_SECONDS = 300  # then the browser reconnects by itself


def live() -> Response:
    """``GET /session/live``: an event stream that sends ``signed-out`` once, with the reason."""
    session, places = current_session(), current_state().streams
    session.watched_only = True
    tell = partial(tell_pushed, current_app.app_context())
    if session.key is None or session.login is None:
        if session.ended:  # before the page had opened its stream
            tell(session.ended)
        return stream(iter([event("signed-out", reason_of(session.ended))]))
    # A server without threads could answer no other request while the tab is open.
    if not request.environ.get("wsgi.multithread") or not places.acquire(blocking=False):
        return uncached(Response("No stream is free; ask for the status now and then.", 503, {"Retry-After": "2"}))
    response = stream(watch(current_state().sessions, session.key, tell))
    response.call_on_close(places.release)
    return response


def watch(sessions: SessionStore, key: str, tell: Callable[[Ending], None] = lambda _ending: None) -> Iterator[str]:
    """The stream of an active session: heartbeats, then at most one event.

    When the tab is closed, sending a heartbeat fails and the server closes the stream. ``tell`` is called with the
    ending after the tab was told.
    """
    yield "retry: 1000\n\n"
    end = time.monotonic() + STREAM_SECONDS
    next_beat = time.monotonic() + HEARTBEAT_SECONDS
    while time.monotonic() < end:
        if ending := sessions.ending(key):
            yield event("signed-out", reason_of(ending))
            tell(ending)
            return
        if time.monotonic() >= next_beat:
            next_beat += HEARTBEAT_SECONDS
            yield event("beat", {})  # not a comment line, because the script must notice when beats stop
        time.sleep(LOOK_SECONDS)


def tell_pushed(context: AppContext, ending: Ending) -> None:
    """Emit that the tab was told. Needs ``context``, because the request's own context ends before the stream."""
    with context:
        emit("rp.tab.notified", sid=ending.sid, outcome=ending.reason)


def status() -> Response:
    """``GET /session/status``: the same for a tab that polls. An active session has the page's hashes (page_marks)."""
    session = current_session()
    session.watched_only = True
    signed_in = session.login is not None
    return uncached(jsonify(signed_in=signed_in, **(page_marks() if signed_in else reason_of(session.ended))))


def reason_of(ending: Ending | None) -> dict[str, Any]:
    """The event's data, as the page shows it."""
    if ending is None:
        return {"reason": "You are logged out.", "at": None, "by_logout_token": False}
    return {"reason": ending.reason, "at": ending.at, "by_logout_token": ending.by_logout_token}


def event(name: str, data: dict[str, Any]) -> str:
    """One event in the format of an event stream."""
    return f"event: {name}\ndata: {json.dumps(data)}\n\n"


def stream(events: Iterator[str]) -> Response:
    """The response with ``events``."""
    # X-Accel-Buffering: tells nginx to pass each event on immediately.
    return uncached(Response(events, mimetype="text/event-stream", headers={"X-Accel-Buffering": "no"}))


def uncached(response: Response) -> Response:
    """Not cached, because the next response may differ."""
    response.headers["Cache-Control"] = "no-store"
    return response
