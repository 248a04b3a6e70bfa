"""What the services say that happened: ``GET /events`` of each. The vocabulary is in docs/events.md."""

import time
from dataclasses import dataclass
from typing import Any

import requests

from e2e.capabilities import not_applicable
from e2e.plain import http
from e2e.stack import Stack

PARTIES = ("idp", "dispatch", "manager")
LOOK_SECONDS = 0.03  # between two looks at a record


@dataclass(frozen=True)
class Event:
    """One event, as recorded."""

    id: int
    at: int
    name: str
    sid: str | None
    jti: str | None
    client_id: str | None
    outcome: str | None
    detail: dict[str, Any]


class Record:
    """The records of the three services."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack

    def is_open(self) -> bool:
        """Whether all that can show events do so."""
        return all(http.get(self._address(service)).ok for service in PARTIES if self._can_show(service))

    def _can_show(self, service: str) -> bool:
        party = self._stack.provider if service == "idp" else self._stack.app(service)
        return "shows_events" in party.can

    def events(self, service: str, name: str, *, sid: str, client_id: str | None = None) -> list[Event]:
        """The events of that name about one session, oldest first."""
        if not self._can_show(service):
            not_applicable("shows_events")
        answer = http.get(self._address(service), params={"name": name, "sid": sid})
        answer.raise_for_status()
        found = [Event(**event) for event in answer.json()["events"]]
        return [event for event in found if client_id in (None, event.client_id)]

    def wait_for(self, service: str, name: str, *, sid: str, client_id: str | None = None, within: float = 10) -> Event:
        """The first such event, as soon as there is one. The service itself may be on its way back."""
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            try:
                if found := self.events(service, name, sid=sid, client_id=client_id):
                    return found[0]
            except requests.ConnectionError:
                pass
            time.sleep(LOOK_SECONDS)
        raise AssertionError(f"{service} recorded no {name} for session {sid} within {within} s")

    def _address(self, service: str) -> str:
        return f"{self._stack.url(service)}/events"


def refusals(stack: Stack, since: float) -> list[str]:
    """Why the apps have refused logout tokens of the provider since then: often the reason why a story failed."""
    found: dict[str, None] = {}
    for app in (stack.dispatch, stack.manager):
        if "shows_events" in app.can:
            for event in latest(f"{app.url}/events", "rp.logout_token.rejected"):
                if event.at >= int(since) and not str(event.detail.get("user_agent")).startswith("python-requests"):
                    found[f"{app.title} refused a logout token: {event.outcome}"] = None
    return list(found)


def latest(url: str, name: str) -> list[Event]:
    """The recorded events of that name; none if the app is down or shows no events."""
    events: list[Event] = []
    try:
        while (answer := http.get(f"{url}?name={name}&after={events[-1].id if events else 0}")).ok:
            if not (more := [Event(**event) for event in answer.json()["events"]]):
                break
            events += more
    except requests.RequestException:
        return []
    return events
