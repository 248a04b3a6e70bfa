"""Locust runs this for `make load`: as many people as USERS, each with an account, for SECONDS. Prints one table.

Environment: LOAD_PEOPLE is a file with lines of a username and a password; LOAD_DISPATCH and LOAD_MANAGER are base
URLs; LOAD_REPORT is a file for the table.
"""

import os
import random
import time
from pathlib import Path
from typing import Any

from locust import User, constant, events, task

from bench.load import Person, stay_on_this_machine

URLS = {"dispatch": os.environ["LOAD_DISPATCH"], "manager": os.environ["LOAD_MANAGER"]}
PEOPLE = [line.split(" ", 1) for line in Path(os.environ["LOAD_PEOPLE"]).read_text("utf-8").splitlines()]
THINK = (1.0, 3.0)  # seconds between two clicks
PERCENTILES = (0.5, 0.95, 0.99)

stay_on_this_machine(*URLS.values())


class Someone(User):  # type: ignore[misc] # locust is not in the virtual environment of the tests
    """A person who repeats the story."""

    wait_time = constant(1)  # between two sessions, also after an error

    def on_start(self) -> None:
        """Take an account that no one else has."""
        name, password = PEOPLE.pop()
        self.person = Person(URLS, name, password, self.record, lambda: time.sleep(random.uniform(*THINK)))

    @task  # type: ignore[untyped-decorator] # the same
    def session(self) -> None:
        """One session."""
        self.person.story()

    def record(self, name: str, seconds: float, problem: str | None) -> None:
        """Into locust's statistics."""
        self.environment.events.request.fire(
            request_type="", name=name, response_time=seconds * 1000, response_length=0, context={},
            exception=Exception(problem) if problem else None,
        )  # fmt: skip


@events.quitting.add_listener  # type: ignore[untyped-decorator] # the same
def report(environment: Any, **_: Any) -> None:
    """The table, for the terminal and for the file."""
    stats = environment.stats
    lines = [f"{'milliseconds':<48}{'p50':>8}{'p95':>8}{'p99':>8}{'count':>8}{'errors':>8}"]
    for entry in stats.entries.values():  # in the order of the story
        times = "".join(f"{entry.get_response_time_percentile(one):>8.0f}" for one in PERCENTILES)
        lines.append(f"{entry.name:<48}{times}{entry.num_requests:>8}{entry.num_failures:>8}")
    errors = sorted(stats.errors.values(), key=lambda error: -error.occurrences)
    lines += [f"FAILED {error.occurrences} times: {error.name}: {error.error}" for error in errors]
    lines.append(
        f"{stats.total.num_requests} pages, {stats.total.num_failures} errors. The load generator used "
        f"{time.process_time():.0f} s of processor time. Load of the machine: {os.getloadavg()[0]:.1f}"
    )
    text = "\n".join(lines)
    print(text)
    Path(os.environ["LOAD_REPORT"]).write_text(f"{text}\n", "utf-8")
