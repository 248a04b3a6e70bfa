"""The output: one line per case during the run, explanations of the failures at the end, and a JSON report."""

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from attack import judge
from attack.bench import Bench, Case, Result
from attack.browser import Target
from attack.judge import Kind

MARKS = {"ok": "ok    ", "choice": "choice", "fail": "FAIL  "}
SHOWN = 4  # findings of a case in the readable report; JSON has all


def say(text: str = "") -> None:
    """Print one line immediately."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


@dataclass(frozen=True)
class Report:
    """The result for one application."""

    target: Target
    results: list[Result]
    seconds: float
    pace: dict[str, float]

    @classmethod
    def of(cls, bench: Bench, results: list[Result], seconds: float) -> "Report":
        """The report of a finished run."""
        return cls(bench.target, results, seconds, judge.pace(bench.exchanges))

    def with_verdict(self, verdict: str) -> list[Result]:
        """The results with this verdict."""
        return [result for result in self.results if result.verdict == verdict]

    @property
    def score(self) -> str:
        """``62 of 63``."""
        return f"{len(self.results) - len(self.with_verdict('fail'))} of {len(self.results)}"

    def as_json(self) -> dict[str, Any]:
        """Everything, for programs."""
        return {
            "logout_url": self.target.logout_url,
            "client_id": self.target.client_id,
            "alg": self.target.alg,
            "score": {
                "passed": len(self.results) - len(self.with_verdict("fail")),
                "of": len(self.results),
                "choices": len(self.with_verdict("choice")),
            },
            "seconds": round(self.seconds, 1),
            "answers": self.pace,
            "cases": [case_json(result) for result in self.results],
        }


def case_json(result: Result) -> dict[str, Any]:
    """One case, for programs."""
    case = result.case
    return {
        "id": case.id,
        "clause": case.clause,
        "sends": case.sends,
        "asks": case.asks,
        "why": case.why,
        "verdict": result.verdict,
        "requests": result.requests,
        "slowest_ms": round(result.seconds * 1000, 1),
        "findings": [{"kind": one.kind.value, "request": one.request, "text": one.text} for one in result.findings],
    }


def progress(result: Result) -> str:
    """A case's line during the run."""
    milliseconds = f"{result.seconds * 1000:.0f} ms" if result.requests else ""
    return f"  {MARKS[result.verdict]}  {result.case.id}  {result.case.sends[:88]:<88}  {milliseconds:>8}"


def summary(report: Report) -> list[str]:
    """The end of the readable report."""
    failed, chosen = report.with_verdict("fail"), report.with_verdict("choice")
    lines = [""]
    for result in failed:
        lines += explanation(result)
    if chosen:
        lines += ["Where the specification leaves a choice, this application", *choices(chosen), ""]
    lines.append(f"{report.score}: {report.target.logout_url}")
    times = f"; answers in {report.pace['median_ms']} ms (median), {report.pace['slowest_ms']} ms (slowest)"
    lines.append(f"{report.seconds:.1f} seconds{times if report.pace else ''}")
    return lines


def explanation(result: Result) -> list[str]:
    """A failure: the request, the requirement, what happened, why it matters."""
    case = result.case
    found = [finding for finding in result.findings if finding.kind is Kind.FAIL]
    lines = [f"FAIL {case.id}  {case.sends}", f"     {case.clause} asks: {case.asks}"]
    lines += [f"     - {finding.request}: {finding.text}" for finding in found[:SHOWN]]
    if len(found) > SHOWN:
        lines.append(f"     - and {len(found) - SHOWN} more")
    return [*lines, f"     {case.why}", ""]


def choices(results: Iterable[Result]) -> list[str]:
    """The application's behaviour where the specification leaves a choice."""
    lines = []
    for result in results:
        for text in dict.fromkeys(finding.text for finding in result.findings):
            named = [finding.request for finding in result.findings if finding.text == text]
            lines.append(f"  {result.case.id}  {text}: {', '.join(dict.fromkeys(named))}")
    return lines


def table(groups: list[tuple[str, list[Case]]]) -> str:
    """All cases as a table in Markdown; docs/attack.md has it."""
    lines = []
    for title, cases in groups:
        lines += [f"### {title}", "", "| | sent | asked for | by |", "| --- | --- | --- | --- |"]
        lines += [f"| {case.id} | {case.sends} | {case.asks} | {case.clause} |" for case in cases]
        lines.append("")
    return "\n".join(lines)
