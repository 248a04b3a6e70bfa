"""Pure: when a *find and mend* lab is done: the record shows the fault, and a later logout without it."""

from collections.abc import Sequence

from pickup_learn.join import Message
from pickup_learn.steps import NOT_YET, Check, Verdict, logout_tokens, shown


def typo(messages: Sequence[Message]) -> Verdict:
    for missed in reversed(logout_tokens(messages, to="manager", status=404)):
        taken = logout_tokens(messages, to="manager", outcome="ok", sid=missed["sid"])
        if taken and taken[-1]["at"] > missed["at"]:
            return shown([missed, taken[-1]], 2)
    return NOT_YET


CHECKS: dict[str, Check] = {
    "typo": typo,
}
