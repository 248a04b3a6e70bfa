"""Pure: when an *attack and repair* lab is done: Practice accepted a forged token, and later refused one of its kind.

FAULTS says which check Start switches off at the Practice of the person, and only there.
"""

from collections.abc import Callable, Sequence
from typing import Any

from pickup_learn.acts import OUTSIDE
from pickup_learn.forgery import ISSUER_PATH
from pickup_learn.join import Message
from pickup_learn.labs.mend import sessions_ended
from pickup_learn.practice.settings import Fault
from pickup_learn.steps import NOT_YET, Check, Verdict, picked, shown

IsForged = Callable[[dict[str, Any], dict[str, Any]], bool]  # header, claims


def repaired(is_forged: IsForged) -> Check:
    """Done when such a token ended a session at Practice, and a later one was refused."""

    def check(messages: Sequence[Message]) -> Verdict:
        tokens = [
            one
            for one in picked(messages, "backchannel_logout", from_=OUTSIDE, to="practice")
            if any(is_forged(token["header"], token["claims"]) for token in one["tokens"])
        ]
        accepted = next((one for one in tokens if sessions_ended(one)), None)
        refused = [one for one in tokens if accepted and one["at"] > accepted["at"] and one["status"] == 400]
        return shown([accepted, refused[-1]]) if accepted and refused else NOT_YET

    return check


def is_id_token(_header: dict[str, Any], claims: dict[str, Any]) -> bool:
    return "nonce" in claims and "events" not in claims


# fmt: off
FAULTS: dict[str, Fault] = {
    "no-checks":      Fault({"checks": "none"}),
    "alg-none":       Fault({"algorithms": "none"}),
    "key-confusion":  Fault({"algorithms": "HS256"}),
    "foreign-issuer": Fault({"issuer": "any"}),
    "id-token-passed-off": Fault({"kind": "nothing"}),
}
CHECKS: dict[str, Check] = {
    "no-checks":      repaired(lambda header, claims: True),  # noqa: ARG005 # each token that the IdP did not send
    "alg-none":       repaired(lambda header, _: header.get("alg") == "none"),
    "key-confusion":  repaired(lambda header, _: header.get("alg") == "HS256"),
    "foreign-issuer": repaired(lambda _, claims: str(claims.get("iss")).endswith(ISSUER_PATH)),
    "id-token-passed-off": repaired(is_id_token),
}
# fmt: on
