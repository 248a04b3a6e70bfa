"""Pure: when a *find and mend* lab is done: the record shows the fault, and a later logout that ended the session.

FAULTS says what Start sets at Practice, and only there: the code that others copy has no fault.
"""

from collections.abc import Callable, Sequence

from pickup_learn.join import Message
from pickup_learn.practice.settings import Fault
from pickup_learn.steps import NOT_YET, Check, Verdict, logout_tokens, picked, shown


def typo(messages: Sequence[Message]) -> Verdict:
    for missed in reversed(logout_tokens(messages, to="manager", status=404)):
        taken = logout_tokens(messages, to="manager", outcome="ok", sid=missed["sid"])
        if taken and taken[-1]["at"] > missed["at"]:
            return shown([missed, taken[-1]], 2)
    return NOT_YET


def mended(is_fault: Callable[[Message], bool]) -> Check:
    """Done when Practice met the fault, and a later logout token ended a session there."""

    def check(messages: Sequence[Message]) -> Verdict:
        tokens = logout_tokens(messages, to="practice")
        missed = next((one for one in tokens if is_fault(one)), None)
        taken = [one for one in tokens if missed and one["at"] > missed["at"] and sessions_ended(one)]
        return shown([missed, taken[-1]]) if missed and taken else NOT_YET

    return check


def sessions_ended(message: Message) -> int | None:
    """How many sessions Practice says it has ended; None if it does not say."""
    number = message["response"].get("parameters", {}).get("sessions_ended")
    return number if message["outcome"] == "ok" and isinstance(number, int) else None


def refused_with(words: str) -> Callable[[Message], bool]:
    """The receiver refused the token with these words."""
    return lambda one: one["status"] == 400 and str(one["error_description"]).startswith(words)


def says_nothing(message: Message) -> bool:
    """Practice recorded that it answered 200 without having ended anything."""
    return message["outcome"] == "ok" and "in" in message["edges"] and sessions_ended(message) is None


def app_back(messages: Sequence[Message]) -> Verdict:
    """The IdP must deliver the same logout by itself, so both tokens are of one session."""
    for missed in logout_tokens(messages, to="practice", status=503):
        taken = [one for one in logout_tokens(messages, to="practice", sid=missed["sid"]) if sessions_ended(one)]
        if taken and taken[-1]["at"] > missed["at"]:
            return shown([missed, taken[-1]])
    return NOT_YET


def tab_told(messages: Sequence[Message]) -> Verdict:
    """A logout that no tab noticed, and a later one that a tab did notice."""
    told = {one["sid"] for one in picked(messages, "push", from_="practice")}
    tokens = [one for one in logout_tokens(messages, to="practice") if sessions_ended(one)]
    missed = next((one for one in tokens if one["sid"] not in told), None)
    seen = [one for one in tokens if missed and one["at"] > missed["at"] and one["sid"] in told]
    return shown([missed, seen[-1]]) if missed and seen else NOT_YET


# fmt: off
FAULTS: dict[str, Fault] = {
    "app-stopped":    Fault({"service": "stopped"}),
    "slow-app":       Fault({"answer_time": "6"}),
    "csrf-filter":    Fault({"csrf": "everything"}),
    "https-redirect": Fault({"https": "redirect"}),
    "worker-memory":  Fault({"storage": "memory"}),
    "replay-guard":   Fault({"jti_guard": "seen"}, ("retried",)),
    "clock":          Fault({"clock": "300"}),
    "old-keys":       Fault({"keys": "never"}, ("rotated",)),
    "audience":       Fault({"audience": "pickup-dispatch"}),
    "typ":            Fault({"typ": "JWT"}),
    "sub-alone":      Fault({"ends_by": "sid"}, ("sub_only",)),
    "always-200":     Fault({"invalid": "200", "clock": "-300"}),
    "silent-tab":     Fault({"tab": "ignores"}),
}
CHECKS: dict[str, Check] = {
    "app-stopped":    app_back,
    "slow-app":       mended(lambda one: one["outcome"] == "no_answer"),
    "typo":           typo,
    "csrf-filter":    mended(lambda one: one["status"] == 400 and not one["error"]),
    "https-redirect": mended(lambda one: one["status"] == 308),
    "worker-memory":  mended(lambda one: sessions_ended(one) == 0),
    "replay-guard":   mended(refused_with("This logout token was used before.")),
    "clock":          mended(refused_with("exp has passed.")),
    "old-keys":       mended(refused_with("The key that signed the token is not among the cached keys.")),
    "audience":       mended(refused_with("aud does not name this client.")),
    "typ":            mended(refused_with("typ is not JWT.")),
    "sub-alone":      mended(refused_with("The logout token has no sid.")),
    "always-200":     mended(says_nothing),
    "silent-tab":     tab_told,
}
# fmt: on
