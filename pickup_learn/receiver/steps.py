"""The ten steps of steps.toml: which cases of the attack bench belong to which step."""

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from attack.bench import Case
from attack.cases import ALL, CASES

FILE = Path(__file__).with_name("steps.toml")
GOOD_TOKEN = "V01"  # noqa: S105 # a case
ENDS = 9  # the step that ends sessions; before it, 501 is the answer to a token that passes all checks so far


class Step(NamedTuple):
    """One step."""

    number: int
    title: str
    clause: str
    prevents: str
    ours: tuple[str, ...]  # the functions of relying_party that do the same, as FILE:NAME
    hints: Mapping[str, str]  # by case, in the order in which the cases run

    @property
    def cases(self) -> list[Case]:
        """Its cases. Those about all answers are the last."""
        by_id = {case.id: case for case in CASES}
        return [by_id[name] for name in self.hints]


@cache
def steps() -> tuple[Step, ...]:
    """All steps, in order."""
    rows = tomllib.loads(FILE.read_text("utf-8"))["steps"]
    return tuple(
        Step(number, row["title"], row["clause"], row["prevents"], tuple(row["ours"]), row["cases"])
        for number, row in enumerate(rows, 1)
    )


def step_of(case: Case) -> Step:
    """The step of a case."""
    return next(step for step in steps() if case.id in step.hints)


def is_about_all_answers(case: Case) -> bool:
    """Whether a case sends nothing and looks at the answers so far."""
    return case in ALL
