"""Reads each service's record, server to server: ``GET /messages`` and ``GET /events``, a thread a service.

A service that is down is noted and asked again; the others are read meanwhile.
"""

import http.client
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import structlog
from sqlalchemy.exc import OperationalError

from pickup_learn.join import Row
from pickup_learn.record import Place, Record
from pickup_web import Settings

FAST_SECONDS = 0.25  # between two polls, while a tab is open or something has just happened
SLOW_SECONDS = 1.0  # between two polls otherwise, and between two looks at the events
BUSY_SECONDS = 5.0  # for how long something has just happened
TIMEOUT_SECONDS = 3.0
PAGE = {"messages": 100, "events": 200}  # rows asked for at once; all are in memory, with the rows of their acts
LABELS = {"idp": "IdP", "dispatch": "Dispatch", "manager": "Manager", "practice": "Practice"}
LOG = structlog.get_logger()


class Source:
    """One service: its address, and a connection that is kept open."""

    def __init__(self, name: str, url: str, ca_bundle: str | None = None) -> None:
        self.name, self.url = name, url
        self.is_up, self.since = True, now_ms()
        self.tabs: dict[str, int] | None = None  # browsers with an open tab, by sid; None: not known
        self.collected = dict.fromkeys(PAGE, 0)  # rows by kind, since the start
        self.read_at = time.monotonic()  # when all that there was had been read
        self._parts = urlsplit(url)
        self._ca_bundle = ca_bundle
        self._connection: http.client.HTTPConnection | None = None

    def shown(self) -> dict[str, Any]:
        """As the API has it."""
        return {
            "name": self.name,
            "label": LABELS[self.name],
            "url": self.url,
            "up": self.is_up,
            "since": self.since,
        }

    def get(self, path: str) -> dict[str, Any] | None:
        """A JSON document of the service; None where there is none. :class:`OSError` when the service is down."""
        try:
            answer = self._ask(path)
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self._close()
            raise OSError(f"{self.name}: {error!r}") from error
        if answer.status >= 500:  # of a proxy in front of a service that is down, mostly
            raise OSError(f"{self.name} answers {answer.status}")
        document = json.loads(body) if answer.status == 200 else None
        return document if isinstance(document, dict) else None

    def _ask(self, path: str) -> http.client.HTTPResponse:
        is_new = self._connection is None
        connection = self._connection = self._connection or self._connect()
        try:
            connection.request("GET", self._parts.path + path)
            return connection.getresponse()
        except (OSError, http.client.HTTPException):
            if is_new:
                raise
        self._close()  # the service may have closed an idle connection, or may have been started again
        return self._ask(path)

    def _connect(self) -> http.client.HTTPConnection:
        host, port = self._parts.hostname or "", self._parts.port
        if self._parts.scheme == "https":
            context = ssl.create_default_context(cafile=self._ca_bundle)
            return http.client.HTTPSConnection(host, port, timeout=TIMEOUT_SECONDS, context=context)
        return http.client.HTTPConnection(host, port, timeout=TIMEOUT_SECONDS)

    def _close(self) -> None:
        if self._connection:
            self._connection.close()
            self._connection = None


class Collector:
    """The threads, and how fast they go."""

    def __init__(self, record: Record, sources: list[Source]) -> None:
        self.sources = sources
        self.streams, self._counting = 0, threading.Lock()  # open streams
        self._record = record
        self._busy_until = 0.0

    def start(self) -> None:
        """A thread for each service. They end with the process."""
        for source in self.sources:
            threading.Thread(target=self._run, args=[source], name=f"collect {source.name}", daemon=True).start()

    def services(self) -> list[dict[str, Any]]:
        """Which of them are up."""
        return [source.shown() for source in self.sources]

    def tabs(self) -> dict[str, dict[str, int]]:
        """How many browsers have a tab open, by app and ``sid``; without the apps that do not say."""
        return {source.name: source.tabs for source in self.sources if source.tabs is not None}

    @contextmanager
    def tab(self) -> Iterator[None]:
        """A tab is open: poll fast."""
        with self._counting:
            self.streams += 1
        try:
            yield
        finally:
            with self._counting:
                self.streams -= 1

    def _run(self, source: Source) -> None:
        polled_at = looked_at = 0.0
        while True:
            now = time.monotonic()
            is_fast = self.streams or now < self._busy_until
            if is_fast or now - polled_at >= SLOW_SECONDS:
                polled_at = now
                try:
                    looked_at = self.poll(source, looked_at)
                except Exception:  # whatever a service answers, the thread continues
                    LOG.exception("collector.failed", source=source.name)
            time.sleep(FAST_SECONDS)

    def poll(self, source: Source, looked_at: float = 0.0) -> float:
        """Read what is new of one service; returns when its events were read last."""
        try:
            count = self._read(source, "messages", self._record.add_messages)
            if count or time.monotonic() - looked_at >= SLOW_SECONDS:
                count += self._read(source, "events", self._record.add_events)
                looked_at = time.monotonic()
        except OSError as error:
            self._note_tabs(source, None)
            self._note(source, is_up=False, why=str(error))
            return looked_at
        self._note(source, is_up=True)
        source.read_at = time.monotonic()
        if count:
            self._busy_until = time.monotonic() + BUSY_SECONDS
        return looked_at

    def _read(self, source: Source, kind: str, add: Callable[[str, list[Row]], None]) -> int:
        """All new rows, page by page; returns how many there were."""
        name, count = f"{source.name}/{kind}", 0
        while True:
            place = self._record.place(name)
            document = source.get(f"/{kind}?after={place[0] - 1 if place else 0}&limit={PAGE[kind]}")
            if kind == "messages":
                self._note_tabs(source, (document or {}).get("tabs"))
            rows = document[kind] if document else []
            new, has_begun_again = after(rows, place)
            if has_begun_again:
                self._record.forget_place(name)
                continue
            self._add(name, new, add)
            source.collected[kind] += len(new)
            count += len(new)
            if not new:  # an answer may have fewer rows than were asked for, because its length is limited
                return count

    def _add(self, name: str, rows: list[Row], add: Callable[[str, list[Row]], None]) -> None:
        """Add the rows. One that cannot be stored is left out, or no later row would be read."""
        try:
            add(name, rows)
        except OperationalError:  # the database is busy or down: the same rows are read again
            raise
        except Exception:
            if len(rows) > 1:
                for row in rows:
                    self._add(name, [row], add)
                return
            LOG.exception("collector.row_left_out", source=name, id=rows[0]["id"])
            self._record.skip(name, rows[0])

    def _note_tabs(self, source: Source, tabs: dict[str, int] | None) -> None:
        if source.tabs != tabs:
            source.tabs = tabs
            self._record.tell()

    def _note(self, source: Source, *, is_up: bool, why: str = "") -> None:
        if source.is_up != is_up:
            source.is_up, source.since = is_up, now_ms()
            LOG.info("collector.service_up" if is_up else "collector.service_down", source=source.name, why=why)
            self._record.tell()


def after(rows: list[Row], place: Place | None) -> tuple[list[Row], bool]:
    """The rows behind ``place``, which was asked for too; True when it is gone, because of a reset.

    Ids begin again at a reset, so the id alone does not tell whether the row is the same.
    """
    if place is None:
        return rows, False
    if rows and (rows[0]["id"], rows[0]["at"]) == place:
        return rows[1:], False
    return [], True


def sources_of(settings: Settings) -> list[Source]:
    """The three services, and Practice, whose record this service has itself."""
    urls = {
        "idp": settings.idp_url,
        "dispatch": settings.dispatch_url,
        "manager": settings.manager_url,
        "practice": settings.learn_url,
    }
    return [Source(name, url, settings.ca_bundle) for name, url in urls.items()]


def now_ms() -> int:
    return int(time.time() * 1000)
