"""One person of `make load`: signs in, opens both apps, works, logs out, and sees the other app signed out.

bench/locustfile.py runs many of them at once. The person is a plain HTTP client that keeps both apps' tabs open as
relying_party/static/live.js does. What is recorded as one page includes its redirects, as a user waits for them.
"""

import json
import random
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import requests

from e2e.plain import PlainClient
from e2e.plain_browser import PlainBrowser

PATIENCE = 60.0  # seconds that a browser waits for a page, and a tab for its news
AGAIN = 2.0  # seconds until a browser asks again that the IdP has asked to wait (503, Retry-After)
POLL, POLLS = 2.0, 15  # seconds between the polls of a tab that got no stream, and their number (live.js)
ROUNDS = 2  # bookings in a session
OTHER_TAB = "from the click on Log out to the other tab"
TOKEN = re.compile(r'name="csrf_token"[^>]* value="([^"]+)"')
TITLES = {"dispatch": "Dispatch", "manager": "Manager"}

Record = Callable[[str, float, str | None], None]  # the name of a page, seconds, and what is wrong with it


class WrongPageError(Exception):
    """The stack answered with another page than a person expects."""


def stay_on_this_machine(*addresses: str) -> None:
    """Refuse other machines. Afterwards every connection of this process leads to the loopback address."""
    for address in addresses:
        name = urlsplit(address).hostname or ""
        if name not in ("127.0.0.1", "localhost") and not name.endswith(".localhost"):
            sys.exit(f"{address} may be another machine. make load loads this one only: localhost or *.localhost.")
    resolve = socket.getaddrinfo
    socket.getaddrinfo = lambda _host, *rest, **more: resolve("127.0.0.1", *rest, **more)


class PatientClient(PlainClient):
    """Waits for a slow answer as a browser does."""

    def request(self, *arguments: Any, **options: Any) -> requests.Response:
        return super().request(*arguments, **{"timeout": PATIENCE, **options})


class PersonsBrowser(PlainBrowser):
    """Keeps one cookie jar for pages and tabs."""

    def __init__(self) -> None:
        super().__init__()
        self.client = self._http = PatientClient()
        self.client.headers["Accept"] = "text/html"

    def press(self, url: str, page: requests.Response) -> requests.Response:
        """Submit the form in the page's head that leads to ``url``."""
        found = TOKEN.search(page.text)  # each form of a page has the same one
        if not found:
            raise WrongPageError(f"no form at {page.url}")
        return self._follow(self.client.post(url, data={"csrf_token": found[1]}))


class Tab:
    """An open page of an app. ``ended_at`` is when it was told that its session has ended."""

    def __init__(self, app: str, client: requests.Session) -> None:
        self._app, self._client = app, client
        self.is_over, self._is_closed = threading.Event(), threading.Event()
        self.ended_at = 0.0
        threading.Thread(target=self._live, daemon=True).start()

    def close(self) -> None:
        """Stop watching at the next news."""
        self._is_closed.set()

    def _live(self) -> None:
        while not self._is_closed.is_set() and not self.is_over.is_set():
            with suppress(requests.RequestException):  # a browser connects again, too
                if not self._follow_stream():
                    self._poll()

    def _follow_stream(self) -> bool:
        """False if all streams are in use."""
        headers = {"Accept": "text/event-stream"}
        with self._client.get(f"{self._app}/session/live", headers=headers, stream=True) as answer:
            if not answer.ok:
                return False
            for line in answer.iter_lines(chunk_size=1):
                if line == b"event: signed-out":
                    self._end()
                if self._is_closed.is_set() or self.is_over.is_set():
                    return True
        return True

    def _poll(self) -> None:
        for _ in range(POLLS):
            if self._is_closed.wait(POLL):
                return
            if not is_signed_in(self._app, self._client):
                self._end()
                return

    def _end(self) -> None:
        self.ended_at = time.monotonic()
        self.is_over.set()


def is_signed_in(app: str, client: requests.Session) -> bool:
    """What the app tells an open tab."""
    answer = client.get(f"{app}/session/status", headers={"Accept": "application/json"})
    answer.raise_for_status()
    return bool(json.loads(answer.text)["signed_in"])


class Person:
    """``urls`` are the base URLs of Dispatch and Manager; ``pause`` waits as a person does between two clicks."""

    def __init__(
        self, urls: dict[str, str], name: str, password: str, record: Record, pause: Callable[[], None]
    ) -> None:
        self._urls, self._name, self._password = urls, name, password
        self._record, self._pause = record, pause
        self._tabs: dict[str, Tab] = {}

    def story(self) -> None:
        """One session, from the sign-in to the other app's end. The first wrong page ends it."""
        self._browser = PersonsBrowser()
        leaves, other = random.sample(list(self._urls), 2)
        try:
            pages = self._sign_in()
            for number in range(ROUNDS):
                pages |= self._work(number)
            self._log_out(leaves, other, pages[leaves])
        except WrongPageError:
            pass  # recorded
        finally:
            for tab in self._tabs.values():
                tab.close()
            self._tabs.clear()
            self._browser.client.close()

    def _sign_in(self) -> dict[str, requests.Response]:
        dispatch, manager = self._urls["dispatch"], self._urls["manager"]
        with self._timed("Dispatch: form to sign in"):
            form = expect(self._browser.open(f"{dispatch}/bookings"))
        self._pause()
        with self._timed("Dispatch: signed in, with password"):
            first = self._send_password(form)
        self._tabs["dispatch"] = Tab(dispatch, self._browser.client)
        self._pause()
        with self._timed("Manager: signed in, without password"):
            second = expect(self._browser.open(f"{manager}/overview"), manager)
        self._tabs["manager"] = Tab(manager, self._browser.client)
        return {"dispatch": first, "manager": second}

    def _send_password(self, form: requests.Response) -> requests.Response:
        deadline = time.monotonic() + PATIENCE
        while True:
            began = time.monotonic()
            page = self._browser.send(form, username=self._name, password=self._password)
            if page.status_code != 503 or "Retry-After" not in page.headers or began > deadline:
                return expect(page, self._urls["dispatch"])
            self._record("IdP: asks to wait (503), not an error", time.monotonic() - began, None)
            time.sleep(AGAIN)

    def _work(self, number: int) -> dict[str, requests.Response]:
        dispatch, manager = self._urls["dispatch"], self._urls["manager"]
        self._pause()
        with self._timed("Dispatch: form to book a cab"):
            form = expect(self._browser.open(f"{dispatch}/"), dispatch)
        self._pause()
        with self._timed("Dispatch: book a cab"):
            passenger = f"{self._name} {number}"
            booked = self._browser.send(form, passenger=passenger, contact="+1 202 555 0143", driver="later")
            expect(booked, f"{dispatch}/bookings")
        self._pause()
        with self._timed("Manager: drivers"):
            drivers = expect(self._browser.open(f"{manager}/drivers"), manager)
        return {"dispatch": booked, "manager": drivers}

    def _log_out(self, leaves: str, other: str, page: requests.Response) -> None:
        self._pause()
        clicked = time.monotonic()
        with self._timed(f"{TITLES[leaves]}: log out"):
            expect(self._browser.press(f"{self._urls[leaves]}/logout", page), self._urls[leaves])
        with self._timed(OTHER_TAB, lambda: self._tabs[other].ended_at - clicked):
            if not self._tabs[other].is_over.wait(PATIENCE):
                raise WrongPageError(f"{TITLES[other]}'s tab was not told within {PATIENCE:.0f} s")
        with self._timed(f"{TITLES[other]}: asks to sign in again"):
            again = expect(self._browser.open(f"{self._urls[other]}/profile"))
            if again.url.startswith(self._urls[other]):
                raise WrongPageError(f"{TITLES[other]} still shows a page to a user who logged out")

    @contextmanager
    def _timed(self, name: str, seconds: Callable[[], float] | None = None) -> Iterator[None]:
        """Record one page. ``seconds`` replaces the time that passed."""
        began = time.monotonic()
        try:
            yield
        except (requests.RequestException, AssertionError, WrongPageError) as error:
            text = type(error).__name__ if isinstance(error, requests.RequestException) else str(error)
            self._record(name, time.monotonic() - began, text[:160])
            raise WrongPageError(text) from error
        self._record(name, seconds() if seconds else time.monotonic() - began, None)


def expect(page: requests.Response, address: str = "") -> requests.Response:
    """The page, if it is fine and below ``address``."""
    where = page.url.partition("?")[0]
    if not page.ok or not page.url.startswith(address):
        raise WrongPageError(f"{page.status_code} at {where}")
    return page
