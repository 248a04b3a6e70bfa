"""What the record says about each step of the tutorial and each lab, for the learner's pages and for the board."""

from collections.abc import Collection, Mapping, Sequence

from pickup_learn.join import Message
from pickup_learn.labs import CHECKS, FAULTS
from pickup_learn.steps import STEPS, Verdict

ALL = {**STEPS, **CHECKS}  # the steps of the tutorial, then the labs
NEVER = 2**63  # later than any message


Runs = Mapping[str, Mapping[str, int]]  # practice.runs()


def verdicts_on(messages: Sequence[Message], runs: Runs, without: Collection[str] = ()) -> dict[str, Verdict]:
    """The verdict of each check. A lab with a fault looks only at the messages since its fault was switched on."""
    return {
        name: check(of_run(messages, runs.get(name, {})) if name in FAULTS else messages)
        for name, check in ALL.items()
        if name not in without
    }


def of_run(messages: Sequence[Message], started: Mapping[str, int]) -> list[Message]:
    """The messages of the people who started a lab, since each did. ``started``: times in ms by ``sub``."""
    return [one for one in messages if started.get(one.get("sub") or "", NEVER) <= one["at"]]
