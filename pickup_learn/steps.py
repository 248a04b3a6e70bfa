"""Pure: when a step of the tutorial is done, and what this run showed to be the answer to its question.

Each check looks at the messages since the learner began, oldest first. The e2e suite asks the same functions, so a
step that no longer holds fails a test.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from math import inf
from typing import Any, NamedTuple

from pickup_learn.acts import REASONS
from pickup_learn.join import Message

EVENT = "http://schemas.openid.net/event/backchannel-logout"  # Back-Channel Logout §2.4
MAX_TIME = 2**53  # NaN is not below it, and a larger number fits in no float
AT_ONCE = 3_000  # ms: a logout that takes longer has waited for an app


class Verdict(NamedTuple):
    """What the record says about a step."""

    seen: bool
    answer: int | None = None  # the option that this run showed to be right, from 1; None: the chapter's own answer
    keys: Sequence[str] = ()  # the messages that show it


NOT_YET = Verdict(seen=False)
Check = Callable[[Sequence[Message]], Verdict]


def picked(messages: Iterable[Message], kind: str, **wanted: Any) -> list[Message]:
    """The messages of a kind whose fields have these values. ``from_`` is the field ``from``."""
    fields = {name.rstrip("_"): value for name, value in wanted.items()}
    return [one for one in messages if one["kind"] == kind and all(one[name] == fields[name] for name in fields)]


def act_of(messages: Iterable[Message], message: Message) -> list[Message]:
    """The messages of the same act."""
    return [one for one in messages if one["act"]["id"] == message["act"]["id"]]


def claims_of(message: Message, name: str) -> dict[str, Any]:
    """The claims of the first token of that name in the message."""
    return next((token["claims"] for token in message["tokens"] if token["name"] == name), {})


def id_tokens(messages: Iterable[Message], app: str) -> list[Message]:
    """The token requests of an app that were answered with an ID token."""
    return [one for one in picked(messages, "token_request", from_=app, outcome="ok") if claims_of(one, "id_token")]


def logout_tokens(messages: Iterable[Message], **wanted: Any) -> list[Message]:
    """The logout tokens that the IdP sent."""
    return picked(messages, "backchannel_logout", from_="idp", **wanted)


def missed_by_manager(messages: Iterable[Message], **wanted: Any) -> list[Message]:
    """Those that Manager did not answer, or a proxy in its place (RFC 9110 §15.6.3, §15.6.5)."""
    sent = logout_tokens(messages, to="manager", **wanted)
    return [one for one in sent if one["outcome"] == "no_answer" or one["status"] in (502, 504)]


def shown(found: Sequence[Message], answer: int | None = None) -> Verdict:
    """Done, if there is such a message."""
    return Verdict(seen=True, answer=answer, keys=[one["key"] for one in found]) if found else NOT_YET


# --- 1. Sign in ---


def start(messages: Sequence[Message]) -> Verdict:
    found = picked(messages, "authorization_request", client_id="pickup-dispatch")
    return shown(found[-1:], 2 if found and found[-1]["from"] == "browser" else None)


def password(messages: Sequence[Message]) -> Verdict:
    found = [one for one in picked(messages, "sign_in") if one["status"] in (302, 303)]  # else the form is shown again
    return shown(found[-1:], 2 if found and found[-1]["to"] == "idp" else None)


def code(messages: Sequence[Message]) -> Verdict:
    found = id_tokens(messages, "dispatch")[-1:]
    answers = [one for one in picked(messages, "authorization_response", to="dispatch") if sent(one, "code")]
    return shown([*answers[-1:], *found] if found else [], 2 if answers else None)


def sent(message: Message, name: str) -> Any:
    return message["request"].get("parameters", {}).get(name)


def id_token(messages: Sequence[Message]) -> Verdict:
    return shown([one for one in id_tokens(messages, "dispatch") if "sid" in claims_of(one, "id_token")][-1:], 3)


# --- 2. One session, two apps ---


def single_sign_on(messages: Sequence[Message]) -> Verdict:
    for response in reversed(picked(messages, "authorization_response", to="manager")):
        if sent(response, "code") and not picked(act_of(messages, response), "sign_in"):
            return shown([response], 2)
    return NOT_YET


def same_sid(messages: Sequence[Message]) -> Verdict:
    pair = [tokens[-1] for tokens in (id_tokens(messages, "dispatch"), id_tokens(messages, "manager")) if tokens]
    sids = {claims_of(one, "id_token").get("sid") for one in pair}
    return shown(pair, 1) if len(pair) == 2 and len(sids) == 1 and None not in sids else NOT_YET


def three_sessions(messages: Sequence[Message]) -> Verdict:
    found = same_sid(messages)
    return found._replace(answer=3) if found.seen else NOT_YET


# --- 3. Log out ---


def is_complete(act: Sequence[Message]) -> bool:
    """Whether the IdP's messages of a logout are here: it records the request last, after the tokens that it sent."""
    return bool(picked(act, "logout_request"))


def log_out(messages: Sequence[Message]) -> Verdict:
    for click in reversed(picked(messages, "log_out", to="dispatch")):
        act = act_of(messages, click)
        tokens = logout_tokens(act)
        if is_complete(act) and any(one["to"] == "manager" and one["outcome"] == "ok" for one in tokens):
            return shown(tokens, min(len({one["to"] for one in tokens}), 2) + 1)
    return NOT_YET


def order(messages: Sequence[Message]) -> Verdict:
    for back in reversed(picked(messages, "logged_out", to="dispatch")):
        act = act_of(messages, back)
        told = logout_tokens(act, to="manager", outcome="ok")
        if told and picked(act, "logout_request"):
            return shown([told[0], back], 1 if told[0]["at"] + told[0]["duration_ms"] <= back["at"] else 2)
    return NOT_YET


def push(messages: Sequence[Message]) -> Verdict:
    return shown(picked(messages, "push", from_="manager")[-1:], 3)


# --- 4. The logout token ---


def events(messages: Sequence[Message]) -> Verdict:
    return shown([one for one in logout_tokens(messages) if EVENT in named_events(one)][-1:], 2)


def named_events(message: Message) -> dict[str, Any]:
    """The events of the token. The token may be forged, so they may be anything."""
    found = last_claims(message).get("events")
    return found if isinstance(found, dict) else {}


def last_claims(message: Message) -> dict[str, Any]:
    return claims_of(message, "logout_token")


def no_nonce(messages: Sequence[Message]) -> Verdict:
    return shown(
        [one for one in logout_tokens(messages) if last_claims(one) and "nonce" not in last_claims(one)][-1:], 2
    )


def two_minutes(messages: Sequence[Message]) -> Verdict:
    return shown([one for one in logout_tokens(messages) if lifetime(one) <= 120][-1:], 1)


def lifetime(message: Message) -> float:
    """Seconds from iat to exp of the token; without end if one of them is not a number."""
    claims = last_claims(message)
    is_known = all(
        isinstance(claims.get(name), int | float) and abs(claims[name]) < MAX_TIME for name in ("iat", "exp")
    )
    return float(claims["exp"] - claims["iat"]) if is_known else inf


def own_token(messages: Sequence[Message]) -> Verdict:
    for one in reversed(logout_tokens(messages, to="manager")):
        for other in logout_tokens(act_of(messages, one), to="dispatch"):
            if one["jti"] and other["jti"] and one["jti"] != other["jti"]:
                return shown([one, other], 2)
    return NOT_YET


# --- 5. What the receiver checks ---


def garbage(messages: Sequence[Message]) -> Verdict:
    return shown(picked(messages, "backchannel_logout", to="manager", status=400)[-1:], 2)


def unsigned(messages: Sequence[Message]) -> Verdict:
    refused = picked(messages, "backchannel_logout", to="manager", status=400)
    return shown(
        [one for one in refused if any(token["header"].get("alg") == "none" for token in one["tokens"])][-1:], 1
    )


def get(messages: Sequence[Message]) -> Verdict:
    return shown(picked(messages, "backchannel_logout", to="manager", status=405)[-1:], 2)


# --- 6. When things go wrong ---


def app_down(messages: Sequence[Message]) -> Verdict:
    for one in reversed(missed_by_manager(messages)):
        act = act_of(messages, one)
        clicks, backs = picked(act, "log_out", to="dispatch"), picked(act, "logged_out", to="dispatch")
        if clicks and backs:
            return shown([one, backs[-1]], 3 if backs[-1]["at"] - clicks[0]["at"] <= AT_ONCE else 2)
    return NOT_YET


def app_back(messages: Sequence[Message]) -> Verdict:
    for missed in reversed(missed_by_manager(messages)):
        taken = [
            one
            for one in logout_tokens(messages, to="manager", outcome="ok")
            if one["sid"] == missed["sid"] and one["at"] > missed["at"]
        ]
        if taken:
            return shown([missed, taken[-1]], 2 if taken[-1]["jti"] != missed["jti"] else 1)
    return NOT_YET


def operator(messages: Sequence[Message]) -> Verdict:
    found = [one for one in logout_tokens(messages, outcome="ok") if one["act"]["name"] == REASONS["operator"]]
    return shown(found[-1:], 3)


# --- 7. Why not the browser? ---


def framed_logouts(messages: Sequence[Message]) -> Iterator[tuple[Message, list[Message]]]:
    """The frames that reached Manager, each with its act; the last one first."""
    for frame in reversed(picked(messages, "frontchannel_logout", to="manager")):
        act = act_of(messages, frame)
        if is_complete(act):
            yield frame, act


def lacks_cookie(frame: Message) -> bool:
    """Whether the browser sent none, so that Manager ended no session."""
    return frame["outcome"] == "refused" and "cookie" not in frame["request"].get("headers", {})


def pages_with_frame(messages: Iterable[Message]) -> list[Message]:
    """The pages of the IdP that have a frame of Manager."""
    return [
        one
        for one in messages
        if one["to"] == "idp"
        and "pickup-manager" in one["response"].get("parameters", {}).get("frontchannel_logout_uri", {})
    ]


def front_works(messages: Sequence[Message]) -> Verdict:
    for frame, act in framed_logouts(messages):
        if frame["outcome"] == "ok" and not logout_tokens(act, to="manager"):
            return shown([frame], 2)
    return NOT_YET


def front_blocked(messages: Sequence[Message]) -> Verdict:
    for frame, act in framed_logouts(messages):
        if lacks_cookie(frame) and not logout_tokens(act, to="manager"):
            return shown([frame], 3)
    return NOT_YET


def front_and_back(messages: Sequence[Message]) -> Verdict:
    for frame, act in framed_logouts(messages):
        if lacks_cookie(frame) and (tokens := logout_tokens(act, to="manager", outcome="ok")):
            return shown([tokens[0], frame], 2)
    return NOT_YET


def front_down(messages: Sequence[Message]) -> Verdict:
    frames = {one["sid"] for one in picked(messages, "frontchannel_logout", to="manager")}
    for asked in reversed(pages_with_frame(messages)):
        missed = missed_by_manager(messages, sid=asked["sid"])
        taken = logout_tokens(messages, to="manager", outcome="ok", sid=asked["sid"])
        if missed and taken and asked["sid"] not in frames:
            return shown([asked, taken[-1]], 2)
    return NOT_YET


def front_closed(messages: Sequence[Message]) -> Verdict:
    pages = pages_with_frame(messages)
    frames = {one["sid"] for one in [*pages, *picked(messages, "frontchannel_logout")]}
    for token in reversed(logout_tokens(messages, to="manager", outcome="ok")):
        is_operators = token["act"]["name"] == REASONS["operator"]
        if is_operators and token["sid"] not in frames and any(one["at"] < token["at"] for one in pages):
            return shown([token], 1)
    return NOT_YET


STEPS: dict[str, Check] = {
    "start": start,
    "password": password,
    "code": code,
    "id-token": id_token,
    "single-sign-on": single_sign_on,
    "same-sid": same_sid,
    "three-sessions": three_sessions,
    "log-out": log_out,
    "order": order,
    "push": push,
    "events": events,
    "no-nonce": no_nonce,
    "two-minutes": two_minutes,
    "own-token": own_token,
    "garbage": garbage,
    "unsigned": unsigned,
    "get": get,
    "app-down": app_down,
    "app-back": app_back,
    "operator": operator,
    "front-works": front_works,
    "front-blocked": front_blocked,
    "front-and-back": front_and_back,
    "front-down": front_down,
    "front-closed": front_closed,
}
