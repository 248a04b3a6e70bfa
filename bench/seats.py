"""A class: all seats walk the tutorial at once. ``python -m bench.seats [SEATS]``.

Needs a stack in local mode (`make up MODE=local`) and `make class SEATS=30`.

Reads accounts and passwords from the sheets in .run/class. Each seat signs in, opens Manager, logs out and sends
garbage, as chapters 1 to 5 say. Its tutorial page follows the stream and asks for its ticks at each news, as
tutorial.js does. Two more people watch the board. Prints how long after an act its tick came, the load of the
services, and each request that failed.
"""

import json
import os
import random
import re
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from statistics import median, quantiles
from typing import Any
from urllib.request import urlopen

import requests

from bench.room import ROOT
from e2e.plain import PlainClient
from e2e.plain_browser import PlainBrowser
from pickup_web import localhost

QUIET, PATIENCE, PAUSE = 0.5, 2.0, 0.2  # seconds; the pauses of tutorial.js and follow.js
SPREAD = 15.0  # seconds within which the learners press "Sign in"
LOADING = 60  # seconds that a browser waits for a page
LONGEST = 120.0  # seconds that a tick may take
THINK = 3.0  # seconds that a learner needs between two acts
BOARD_PAUSE, WATCHERS = 2.0, 2
CARD = re.compile(r'data-seat="(seat\d+)".+?data-password>([^<]+)<', re.DOTALL)
TOKEN = re.compile(r'name="csrf_token"[^>]* value="([^"]+)"')
SERVICES = ("idp", "dispatch", "manager", "learn")
TICKS = os.sysconf("SC_CLK_TCK")


class WrongError(Exception):
    """The stack did not do what the tutorial says."""


class PatientClient(PlainClient):
    """Waits for a slow answer as a browser does."""

    def request(self, *arguments: Any, **options: Any) -> requests.Response:
        return super().request(*arguments, **{"timeout": LOADING, **options})


class LearnerBrowser(PlainBrowser):
    """Follows redirects and submits forms; also the form in the page's head."""

    def __init__(self) -> None:
        super().__init__()
        self._http = PatientClient()
        self._http.headers["Accept"] = "text/html"

    def log_out(self, app: str, page: requests.Response) -> requests.Response:
        """Click *Log out*."""
        found = TOKEN.search(page.text)
        if not found:
            raise WrongError(f"{page.url} has no form to log out")
        return self._follow(self._http.post(f"{app}/logout", data={"csrf_token": found[1]}))


class Seat:
    """One learner."""

    def __init__(self, name: str, password: str, addresses: dict[str, str], failures: Counter[str]) -> None:
        self.name, self._password, self._addresses, self._failures = name, password, addresses, failures
        self.delays: dict[str, float] = {}  # by step: seconds from the act to the tick
        self._news_at = 0.0
        self._page = PatientClient()
        self._since = int(time.time() * 1000)

    def walk(self) -> None:
        """The tutorial's chapters 1 to 5."""
        threading.Thread(target=self._follow_stream, daemon=True).start()
        time.sleep(random.uniform(0, SPREAD))  # noqa: S311 # no secret
        try:
            self._chapters()
        except (WrongError, AssertionError, OSError) as error:
            self._failures[f"{type(error).__name__}: {error}"[:160]] += 1

    def _chapters(self) -> None:
        browser, dispatch, manager = LearnerBrowser(), self._addresses["dispatch"], self._addresses["manager"]
        began = time.monotonic()
        page = self._sign_in(browser, f"{dispatch}/bookings")
        self._expect(began, "start", "password", "code", "id-token")
        began = time.monotonic()
        check(browser.open(f"{manager}/overview"), 200)
        self._expect(began, "single-sign-on", "same-sid", "three-sessions")
        began = time.monotonic()
        check(browser.log_out(dispatch, page), 200)
        self._expect(began, "log-out", "order", "events", "no-nonce", "two-minutes", "own-token")
        began = time.monotonic()
        check(self._page.post(f"{manager}/bclogout", data={"logout_token": "hello"}), 400)
        self._expect(began, "garbage")

    def _sign_in(self, browser: LearnerBrowser, url: str) -> requests.Response:
        """Again after a while if the IdP has too many passwords to check."""
        form = browser.open(url)
        while True:
            page = browser.send(form, username=self.name, password=self._password)
            if page.status_code != 503:
                check(page, 200)
                return page
            self._failures["sign-in: 503, tried again"] += 1
            time.sleep(2)

    def _expect(self, began: float, *steps: str) -> None:
        """Ask as the tutorial's page does, until the steps have their ticks."""
        waiting, asked_at = set(steps), 0.0
        query = {"since": str(self._since), "person": self.name}
        while waiting:
            if time.monotonic() - began > LONGEST:
                raise WrongError(f"no tick for {', '.join(sorted(waiting))}")
            if self._news_at <= asked_at:
                time.sleep(0.05)
                continue
            latest = time.monotonic() + PATIENCE
            while time.monotonic() < min(self._news_at + QUIET, latest):
                time.sleep(0.05)
            asked_at = time.monotonic()
            answer = self._page.get(f"{self._addresses['learn']}/api/steps", params=query)
            answer.raise_for_status()
            for step in [step for step in waiting if answer.json()["steps"][step]["seen"]]:
                self.delays[step] = time.monotonic() - began
                waiting.remove(step)
            time.sleep(PAUSE)
        time.sleep(THINK)

    def _follow_stream(self) -> None:
        while True:
            try:
                with urlopen(f"{self._addresses['learn']}/api/stream") as stream:  # noqa: S310 # our own address
                    for line in stream:
                        if line == b"event: message\n":
                            self._news_at = time.monotonic()
            except OSError as error:
                self._failures[f"stream: {error}"] += 1
            time.sleep(2)


def check(answer: requests.Response, status: int) -> None:
    """:class:`WrongError` unless the answer has this status."""
    if answer.status_code != status:
        raise WrongError(f"{answer.status_code} at {answer.url.partition('?')[0]}")


def watch_board(address: str, is_over: threading.Event, times: list[float], failures: Counter[str]) -> None:
    """Another person looks at the board, as its page does."""
    browser = PlainClient()
    while not is_over.wait(BOARD_PAUSE):
        began = time.monotonic()
        try:
            browser.get(f"{address}/api/board").raise_for_status()
            times.append(time.monotonic() - began)
        except requests.RequestException as error:
            failures[f"board: {type(error).__name__}"] += 1


def family(pid: int) -> list[int]:
    """The process and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(one for child in children for one in family(int(child)))]


def cpu_seconds(service: str) -> float:
    """The processor time that the processes of a local service have used."""
    total = 0
    for pid in family(int((ROOT / f".run/{service}.pid").read_text())):
        with suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
    return total / TICKS


def memory(service: str) -> str:
    """Its memory, shared pages counted once."""
    pid = (ROOT / f".run/{service}.pid").read_text().strip()
    return subprocess.check_output([sys.executable, ROOT / "scripts/memory.py", pid], text=True).strip()


def measure(seats: list[Seat], learn: str, failures: Counter[str]) -> None:
    """All at once, and the figures."""
    board: list[float] = []
    is_over = threading.Event()
    for _ in range(WATCHERS):
        threading.Thread(target=watch_board, args=[learn, is_over, board, failures], daemon=True).start()
    before, began = {service: cpu_seconds(service) for service in SERVICES}, time.monotonic()
    with ThreadPoolExecutor(len(seats)) as room:
        list(room.map(Seat.walk, seats))
    took = time.monotonic() - began
    is_over.set()
    delays = defaultdict(list)
    for seat in seats:
        for step, delay in seat.delays.items():
            delays[step].append(delay)
    print(f"{len(seats)} seats at once, {took:.0f} s in all; load of the machine: {os.getloadavg()[0]:.1f}")
    for step, values in delays.items():
        print(f"  {step:<16} {len(values):>3} ticks   p50 {median(values):5.1f} s   p95 {p95(values):5.1f} s")
    for service in SERVICES:
        used = cpu_seconds(service) - before[service]
        print(f"  {service:<16} {used:5.1f} s of CPU, {used / took:4.0%} of a core   {memory(service)}")
    print(
        f"  board            p50 {median(board) * 1000:.0f} ms   p95 {p95(board) * 1000:.0f} ms   {len(board)} answers"
    )
    (last,) = (row for row in json.loads(PlainClient().get(f"{learn}/api/board").text) if row["name"] == seats[-1].name)
    print(f"  steps that the board shows of {seats[-1].name}: {len(last['done'])}")
    for failure, count in sorted(failures.items()):
        print(f"  FAILED {count} times: {failure}")
    print("  no request failed" if not failures else "")


def p95(values: list[float]) -> float:
    """The value that 95 of 100 do not exceed."""
    return quantiles(values, n=20, method="inclusive")[-1] if len(values) > 1 else values[0]


def main(count: int) -> None:
    """The first ``count`` seats of the sheets."""
    sheets = sorted((ROOT / ".run/class").glob("*.html"))
    cards = dict(card for sheet in sheets for card in CARD.findall(sheet.read_text("utf-8")))
    if len(cards) < count:
        sys.exit(f"The sheets in .run/class have {len(cards)} seats: run make class SEATS={count} first.")
    urls = subprocess.check_output([ROOT / "scripts/stack", "urls"], text=True).split()
    addresses = dict(zip(SERVICES, urls, strict=True))
    failures: Counter[str] = Counter()
    seats = [Seat(name, password, addresses, failures) for name, password in sorted(cards.items())[:count]]
    measure(seats, addresses["learn"], failures)


if __name__ == "__main__":
    localhost.install()
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 30)
