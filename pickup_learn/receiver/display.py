"""What the learner sees in the terminal. Functions that return lines; ``Screen`` prints them."""

import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator
from itertools import zip_longest

from attack.bench import Case
from attack.judge import BAD_REQUEST, NOT_IMPLEMENTED, Finding
from pickup_learn.receiver.check import GOOD, Failure, Outcome
from pickup_learn.receiver.steps import ENDS, Step, steps

LABEL = 10  # characters of the left column
NARROW = 50  # characters; code in a narrower column is hard to read
COLORS = {"good": "\033[32m", "bad": "\033[31m", "strong": "\033[1m", "weak": "\033[2m"}


class Screen:
    """The terminal, or a file without colors."""

    def __init__(self) -> None:
        self.is_terminal = sys.stdout.isatty()
        self._has_colors = self.is_terminal and not os.environ.get("NO_COLOR")

    @property
    def width(self) -> int:
        """Characters in a line."""
        return shutil.get_terminal_size((100, 40)).columns

    def clear(self) -> None:
        """Begin at the top."""
        if self.is_terminal:
            sys.stdout.write("\033[H\033[2J\033[3J")

    def say(self, text: str = "", style: str = "") -> None:
        """One line, or several."""
        colored = f"{COLORS[style]}{text}\033[0m" if style and self._has_colors else text
        sys.stdout.write(colored + "\n")
        sys.stdout.flush()

    def row(self, label: str, text: str, style: str = "") -> None:
        """A label, and text that is wrapped beside it."""
        room = max(30, min(self.width, 110) - LABEL - 4)
        lines = [piece for line in text.splitlines() for piece in textwrap.wrap(line, room) or [""]]
        for number, line in enumerate(lines):
            self.say(f"  {label if not number else '':<{LABEL}}{line}", style)

    # --- the whole ---

    def overview(self, outcome: Outcome, name: str) -> None:
        """All ten steps, with the current one marked."""
        failure = outcome.failure
        broken = failure.step.number if failure else 0
        self.say(f"Write the receiver: step {outcome.reached} of {len(steps())}   {name}\n", "strong")
        for step in steps():
            if step.number == broken < outcome.reached:
                self.say(f"  ✗ {step.number:>2}  {step.title}: no longer passes", "bad")
            elif step.number < outcome.reached or not failure:
                self.say(f"  ✓ {step.number:>2}  {step.title}", "good")
            elif step.number == outcome.reached:
                self.say(f"  ▸ {step.number:>2}  {step.title}   ({step.clause})", "strong")
            else:
                self.say(f"    {step.number:>2}  {step.title}", "weak")
        self.say()

    def failure(self, outcome: Outcome, failure: Failure, log: str) -> None:
        """The first case that fails, and how to go on."""
        case, finding = failure.case, failure.findings[0]
        if outcome.passed and failure.step.number == outcome.reached:
            self.row("passed", " ".join(one.id for one in outcome.passed), "good")
        self.row(f"✗ {case.id}", case.sends, "bad")
        more = f" (and {len(failure.findings) - 1} more)" if len(failure.findings) > 1 else ""
        self.row("sent", finding.request + more)
        self.row("expected", expected(case, finding, outcome.reached))
        self.row("got", got(finding))
        if failure.said:
            self.row("it said", failure.said)
        if failure.error:
            self.row("error", failure.error, "bad")
        self.row("clause", case.clause)
        self.row("why", case.why)
        self.row("hint", failure.hint, "strong")
        if log:
            self.row("log", log, "weak")

    def done(self, step: Step) -> None:
        """A step passes."""
        self.say(f"Step {step.number} passes: {step.title}. {step.prevents}", "good")

    def columns(self, left: Iterable[str], right: Iterable[str]) -> None:
        """Two pieces of code side by side; below each other in a narrow terminal."""
        half = (self.width - 3) // 2
        if half < NARROW:
            for line in [*left, "", *right]:
                self.say(f"  {line}")
            return
        for one, other in zip_longest(folded(left, half), folded(right, half), fillvalue=""):
            self.say(f"{one:<{half}} │ {other}")


def folded(lines: Iterable[str], width: int) -> Iterator[str]:
    """Lines of code, without the indentation that all have; those that are too long are continued."""
    for line in textwrap.dedent("\n".join(lines)).splitlines():
        indent = " " * (len(line) - len(line.lstrip()) + 8)
        yield from textwrap.wrap(line, width, subsequent_indent=indent, drop_whitespace=False) or [""]


def expected(case: Case, finding: Finding, reached: int) -> str:
    """The right answer to the request."""
    if finding.expect in GOOD and reached < ENDS:
        return f"501, because nothing is wrong with it (200 from step {ENDS} on)"
    return finding.expect.value if finding.expect else case.asks


def got(finding: Finding) -> str:
    """The app's answer."""
    if finding.status == NOT_IMPLEMENTED:
        return "501: no check has refused it, and it reached the end of bclogout"
    if finding.status == BAD_REQUEST and finding.text.startswith("answered 400"):
        return "400: one of your checks has refused it"
    return finding.text.partition("; asked for is")[0]
