"""Checks an app: the cases of the current step, then those of the earlier ones, until one fails.

The bench judges. This module makes two exceptions. Before step 9, 501 is a right answer to a token that could be
accepted, because the app is not finished. And where the specification leaves a choice, the course asks for the better
behaviour in some cases (FIRM).
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain

from attack.bench import Bench, Case
from attack.judge import FREE, NOT_IMPLEMENTED, Expect, Finding, Kind
from attack.wire import Answer
from pickup_learn.receiver.steps import ENDS, GOOD_TOKEN, Step, is_about_all_answers, step_of, steps

# What the bench reports as the application's choice, and the course does not accept.
FIRM = {
    "A01": ("has no Cache-Control: no-store",),
    "V23": ("accepted it",),
    "V25": ("accepted it", "answered 200"),
    "V26": ("accepted it",),
    "R03": ("the login it should have ended went on",),
}
GOOD = {Expect.ACCEPTED, Expect.DONE}
MAY_BE_ACCEPTED = GOOD | FREE | {Expect.UNTOUCHED}


@dataclass(frozen=True)
class Failure:
    """The first request that was answered wrongly."""

    step: Step  # of the case; an earlier one, if a change broke it
    case: Case
    findings: list[Finding]
    said: str = ""  # the error_description of its answer
    error: str = ""  # the exception in the app, if the answer was 500
    is_guard: bool = False  # a good token was refused

    @property
    def hint(self) -> str:
        """How to go on."""
        caught = "Your app raised the exception above. " if self.error else ""
        if self.is_guard:
            return f"{caught}This token is good, but your app does not let it through."
        return caught + self.step.hints[self.case.id]


@dataclass(frozen=True)
class Outcome:
    """The step that is reached, and why no further one is. Without a failure, all ten are done."""

    reached: int
    passed: list[Case]  # of the current step
    failure: Failure | None


@dataclass(frozen=True)
class Hooks:
    """What a round needs of the program around it."""

    tell: Callable[[Step], None]  # called with each step that is done
    error: Callable[[], str] = lambda: ""  # the app's newest exception
    restart: Callable[[], None] = lambda: None  # starts the app again, so that the next cases meet a new one


class Round:
    """One check, after one save."""

    def __init__(self, bench: Bench, reached: int, hooks: Hooks, suspect: str = "") -> None:
        """``suspect``: the case that failed in the last round. It runs first, because the learner waits for it."""
        self._suspect = suspect
        self._bench, self._hooks = bench, hooks
        self._reached = reached
        self._kept: set[str] = set()  # cases that passed in this round
        self._unfinished: set[str] = set()  # of those, the ones with an answer 501: they run again from step 9 on

    def run(self) -> Outcome:
        """Raises SignInFailed if nobody can sign in at the app."""
        self._bench.prepare()
        if failure := self._refuses_a_good_token():
            return Outcome(self._reached, [], failure)
        while True:
            step = steps()[self._reached - 1]
            passed, failure = self._first_failure(step)
            if failure:
                return Outcome(self._reached, passed, failure)
            self._hooks.tell(step)
            if step is steps()[-1]:
                return Outcome(self._reached, passed, None)
            self._reached += 1

    def _refuses_a_good_token(self) -> Failure | None:
        if self._reached >= ENDS:
            return None
        case = next(case for case in steps()[ENDS - 1].cases if case.id == GOOD_TOKEN)
        findings = self._shortfalls(case)
        self._kept.discard(case.id)
        return self._failure(steps()[self._reached - 1], case, findings, is_guard=True) if findings else None

    def _first_failure(self, step: Step) -> tuple[list[Case], Failure | None]:
        """The current step, then the earlier ones; last, the cases about all answers."""
        passed: list[Case] = []
        for case in sorted(self._due(step.cases), key=lambda case: case.id != self._suspect):
            if findings := self._shortfalls(case):
                return passed, self._failure(step, case, findings)
            passed.append(case)
            if case.id == self._suspect:
                self._hooks.restart()  # it may have used up what the app allows itself, such as fetches of keys
        earlier = list(chain.from_iterable(other.cases for other in steps()[: step.number]))
        if due := self._due(earlier):
            self._hooks.restart()
        for case in [*due, *filter(is_about_all_answers, earlier)]:
            if findings := self._shortfalls(case):
                return passed, self._failure(step_of(case), case, findings)
        return passed, None

    def _due(self, cases: list[Case]) -> list[Case]:
        """Those that have not passed yet."""
        passed = self._kept - (self._unfinished if self._reached >= ENDS else set())
        return [case for case in cases if case.id not in passed and not is_about_all_answers(case)]

    def _failure(self, step: Step, case: Case, findings: list[Finding], *, is_guard: bool = False) -> Failure:
        answers = [
            one.answer for one in self._bench.exchanges if (one.case, one.name) == (case.id, findings[0].request)
        ]
        has_crashed = any(answer.status >= 500 and answer.status != NOT_IMPLEMENTED for answer in answers)
        said = description(answers[-1]) if answers else ""
        return Failure(step, case, findings, said, self._hooks.error() if has_crashed else "", is_guard)

    def _shortfalls(self, case: Case) -> list[Finding]:
        """What is wrong."""
        (result,) = self._bench.run([case])
        wrong = [finding for finding in result.findings if self._is_wrong(case, finding)]
        if not wrong:
            self._kept.add(case.id)
        if any(finding.status == NOT_IMPLEMENTED for finding in result.findings):
            self._unfinished.add(case.id)
        else:
            self._unfinished.discard(case.id)
        return wrong

    def _is_wrong(self, case: Case, finding: Finding) -> bool:
        if finding.status == NOT_IMPLEMENTED:
            right = GOOD if case.id in FIRM else MAY_BE_ACCEPTED
            return self._reached >= ENDS or finding.expect not in right
        return finding.kind is Kind.FAIL or any(text in finding.text for text in FIRM.get(case.id, ()))


def description(answer: Answer) -> str:
    """The ``error_description`` of an answer."""
    try:
        body = json.loads(answer.body)
    except ValueError:
        return ""
    return str(body.get("error_description", ""))[:200] if isinstance(body, dict) else ""
