"""Pure: when a *watch* lab is done. Each function looks at the messages since the learner began, oldest first."""

from collections.abc import Sequence

from pickup_learn.acts import REASONS
from pickup_learn.join import Message
from pickup_learn.steps import (
    AT_ONCE,
    NOT_YET,
    Check,
    Verdict,
    act_of,
    id_tokens,
    is_complete,
    logout_tokens,
    picked,
    shown,
)

OVERTAKEN = "The session was ended before the login was complete"  # relying_party/sessions.py
REMOTE = {REASONS[name] for name in ("operator", "elsewhere", "everywhere")}  # endings without the session's browser


def who_is_told(messages: Sequence[Message]) -> Verdict:
    at_manager = {one["sid"] for one in id_tokens(messages, "manager")}
    found: dict[bool, Message] = {}  # by whether Manager took part
    for request in picked(messages, "logout_request", client_id="pickup-dispatch"):
        tokens = logout_tokens(act_of(messages, request))
        is_shared = request["sid"] in at_manager
        if {one["to"] for one in tokens} == ({"dispatch", "manager"} if is_shared else {"dispatch"}):
            found[is_shared] = tokens[0]
    return shown(list(found.values()), 2) if len(found) == 2 else NOT_YET


def browser_closed(messages: Sequence[Message]) -> Verdict:
    for token in reversed(logout_tokens(messages, outcome="ok")):
        act = act_of(messages, token)
        later = [one for one in picked(messages, "sign_in") if one["at"] > token["at"]]  # so the act is complete
        is_remote = token["act"]["name"] in REMOTE and {one["outcome"] for one in logout_tokens(act)} == {"ok"}
        if is_remote and later and not picked(messages, "push", sid=token["sid"]):
            return shown(logout_tokens(act), 2)
    return NOT_YET


def two_browsers(messages: Sequence[Message]) -> Verdict:
    for tokens in reversed(logout_tokens(messages, to="dispatch", outcome="ok")):
        others = [
            one
            for one in id_tokens(messages, "dispatch")
            if one["sub"] == tokens["sub"] and one["sid"] not in (None, tokens["sid"]) and one["at"] < tokens["at"]
        ]
        ended = {one["sid"] for one in logout_tokens(messages)}
        if still_active := [one for one in others if one["sid"] not in ended]:
            return shown([tokens, still_active[-1]], 2)
    return NOT_YET


def everywhere(messages: Sequence[Message]) -> Verdict:
    ends = logout_tokens(messages, outcome="ok")
    for one in reversed(ends):
        for other in ends:
            is_other = other["sid"] != one["sid"] and (other["sub"], other["to"]) == (one["sub"], one["to"])
            if is_other and abs(other["at"] - one["at"]) <= AT_ONCE:
                return shown([other, one], 2)
    return NOT_YET


def policy_none(messages: Sequence[Message]) -> Verdict:
    shared = {one["sid"] for one in id_tokens(messages, "manager")}
    for click in reversed(picked(messages, "logged_out", to="dispatch")):
        act = act_of(messages, click)
        tokens = logout_tokens(act) if is_complete(act) else []
        if tokens and tokens[0]["sid"] in shared and {one["to"] for one in tokens} == {"dispatch"}:
            return shown([tokens[0], click], 2)
    return NOT_YET


def offline_access(messages: Sequence[Message]) -> Verdict:
    requests = picked(messages, "token_request", outcome="ok")
    for renewed in reversed([one for one in requests if grant_of(one) == "refresh_token"]):
        for first in [one for one in requests if is_offline(one) and one["client_id"] == renewed["client_id"]]:
            ends = [one for one in logout_tokens(messages) if first["sid"] and one["sid"] == first["sid"]]
            if any(first["at"] < one["at"] < renewed["at"] for one in ends):
                return shown([first, ends[0], renewed], 2)
    return NOT_YET


def grant_of(message: Message) -> str:
    return str(message["request"].get("parameters", {}).get("grant_type"))


def is_offline(message: Message) -> bool:
    scope = str(message["response"].get("parameters", {}).get("scope"))
    return grant_of(message) == "authorization_code" and "offline_access" in scope.split()


def overtaken(messages: Sequence[Message]) -> Verdict:
    for answer in reversed(picked(messages, "authorization_response", to="manager")):
        sids = {one["sid"] for one in id_tokens(act_of(messages, answer), "manager")}
        earlier = [
            one
            for one in logout_tokens(messages, to="manager", outcome="ok")
            if one["sid"] in sids and one["at"] < answer["at"]
        ]
        if earlier and (answer["error_description"] or "").startswith(OVERTAKEN):
            return shown([earlier[-1], answer], 2)
    return NOT_YET


CHECKS: dict[str, Check] = {
    "who-is-told": who_is_told,
    "browser-closed": browser_closed,
    "two-browsers": two_browsers,
    "everywhere": everywhere,
    "policy-none": policy_none,
    "offline-access": offline_access,
    "overtaken": overtaken,
}
