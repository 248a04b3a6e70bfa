"""The table at the end of a run: each story passed, failed, or was not applicable, and for want of what."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from e2e.apps import App
from e2e.capabilities import LEFT_OUT, NOT_APPLICABLE, REFUSED
from e2e.parties import Parties
from e2e.providers import Provider

PASSED, FAILED, SKIPPED = "passed", "failed", "not applicable"


@dataclass
class Row:
    """One story."""

    story: str
    outcome: str = PASSED
    why: str = ""  # the capability that is missing, or the failure's first line
    left_out: list[str] = field(default_factory=list)  # capabilities without which parts of it were not told

    def take(self, report: pytest.TestReport) -> None:
        """Add what one phase of the story, or one of its subtests, says."""
        left_out = [str(value) for name, value in report.user_properties if name == LEFT_OUT]
        self.left_out = sorted({*self.left_out, *left_out})
        refused = [str(value) for name, value in report.user_properties if name == REFUSED]
        if report.failed and self.outcome != FAILED:  # what fails afterwards, at the story's end, is a consequence
            self.outcome, self.why = FAILED, "; ".join([first_line(report), *refused])
        elif report.skipped and self.outcome != FAILED:
            self.outcome, self.why = SKIPPED, reason(report)


def first_line(report: pytest.TestReport) -> str:
    """What the failure says."""
    crash = getattr(report.longrepr, "reprcrash", None)
    lines = str(crash.message if crash else report.longrepr).splitlines() or [""]
    return lines[0]


def reason(report: pytest.TestReport) -> str:
    """Why it was skipped."""
    text = str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ").removeprefix(NOT_APPLICABLE)


def rows_of(reports: Iterable[pytest.TestReport]) -> list[Row]:
    """A row for each story, in the order of their names."""
    rows: dict[str, Row] = {}
    for report in reports:
        story = report.nodeid.removeprefix("e2e/").replace("-chromium]", "]").replace("[chromium]", "")
        rows.setdefault(story, Row(story)).take(report)
    return [rows[story] for story in sorted(rows)]


def lines_of(rows: Iterable[Row]) -> list[str]:
    """The table for a terminal. Stories of one file that lack the same capability share a line."""
    lines: list[str] = []
    shared: Counter[tuple[str, str]] = Counter()
    for row in rows:
        if row.outcome == SKIPPED:
            shared[row.story.split("::")[0], row.why] += 1
        else:
            without = f" (without {', '.join(row.left_out)})" if row.left_out else ""
            lines.append(f"{row.outcome:<15} {row.story}{without}{': ' + row.why if row.why else ''}"[:300])
    lines += [f"{SKIPPED:<15} {file}, {count} stories: {why}" for (file, why), count in shared.items()]
    return lines


def write(path: Path, parties: Parties, rows: list[Row]) -> None:
    """The table as JSON, for scripts/grid and for tools."""
    named: dict[str, type[Provider | App]] = {"provider": parties.provider, "app": parties.app}
    count = Counter(row.outcome for row in rows)
    table = {
        "date": datetime.now(UTC).date().isoformat(),
        **{kind: {"name": one.__module__.split(".")[-1], "version": one.version} for kind, one in named.items()},
        "count": {outcome: count[outcome] for outcome in (PASSED, FAILED, SKIPPED)},
        "stories": [asdict(row) for row in rows],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(table, indent=1, ensure_ascii=False) + "\n", "utf-8")
