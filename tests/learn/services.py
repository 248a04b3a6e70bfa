"""Three services whose records are in memory, and Pickup Learn beside them."""

from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from flask import Flask
from flask.testing import FlaskClient

import pickup_learn
from pickup_learn.collector import PAGE, Collector, Source
from tests.conftest import make_settings
from tests.learn.rows import Story


class FakeSource(Source):
    """A service that shows the rows of a story. Set ``is_down``, or give it another ``story``, as a reset does."""

    def __init__(self, name: str, story: Story) -> None:
        super().__init__(name, f"http://{name}.example")
        self.story, self.is_down, self.has_record = story, False, True
        self.open_tabs: dict[str, int] | None = None  # None: as the IdP, which has none
        self.asked: list[str] = []

    def get(self, path: str) -> dict[str, Any] | None:
        self.asked.append(path)
        if self.is_down:
            raise OSError("Connection refused")
        if not self.has_record:  # PICKUP_DEMO_EVENTS is off
            return None
        kind = urlsplit(path).path.strip("/")
        after, limit = (int(parse_qs(urlsplit(path).query)[name][0]) for name in ("after", "limit"))
        assert limit <= PAGE[kind]
        rows = {"messages": self.story.rows, "events": self.story.events}[kind][self.name]
        found: dict[str, Any] = {kind: [row for row in rows if row["id"] > after][:limit]}
        if kind == "messages" and self.open_tabs is not None:
            found["tabs"] = dict(self.open_tabs)
        return found


class World:
    """Pickup Learn, and the services that it reads."""

    def __init__(self, folder: Path) -> None:
        self.app: Flask = pickup_learn.create_app(make_settings(folder))
        self.client: FlaskClient = self.app.test_client()
        self.sources = {name: FakeSource(name, Story()) for name in ("idp", "dispatch", "manager")}
        self.record = self.app.extensions["record"]
        self.collector = Collector(self.record, list(self.sources.values()))
        self.app.extensions["collector"] = self.collector

    def tell(self, story: Story) -> None:
        """From now on the services have recorded this."""
        for source in self.sources.values():
            source.story = story

    def poll(self) -> None:
        """Read each service once."""
        for source in self.sources.values():
            self.collector.poll(source)

    def get(self, path: str) -> Any:
        """An answer of the API."""
        answer = self.client.get(f"/api/{path}")
        assert answer.status_code == 200, answer.text
        return answer.json

    def titles(self) -> list[str]:
        """The kinds of the messages, in the order of time."""
        messages = self.get("messages")["messages"]
        return [message["kind"] for message in sorted(messages, key=lambda message: message["at"])]
