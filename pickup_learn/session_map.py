"""Pure: the IdP's sessions and what hangs on each: the apps' sessions and tabs, the tokens, the logout's delivery."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any

from pickup_learn.acts import REASONS, label
from pickup_learn.join import Message
from pickup_learn.record import Event

DELIVERY = {  # what the last of these events says of a delivery
    "op.logout.queued": "waiting",
    "op.logout.retrying": "waiting",
    "op.logout.sent_again": "waiting",
    "op.logout.delivered": "delivered",
    "op.logout.refused": "failed",
    "op.logout.given_up": "failed",
    "op.logout.not_sent": "failed",
}
NEEDED = ("token_request", "push")  # the kinds of messages that are looked at


Tabs = Mapping[str, Mapping[str, int]]  # how many browsers have a tab open, by app and sid


def sessions(
    events: Collection[Event], messages: Collection[Message], people: Mapping[str, str], tabs: Tabs
) -> list[dict[str, Any]]:
    """Each IdP session, the newest first. ``people``: user names by ``sub``."""
    by_sid: dict[str, list[Event]] = defaultdict(list)
    told: dict[str, list[Message]] = defaultdict(list)
    for event in sorted(events, key=lambda event: (event["at"], event["seq"])):
        if event["sid"]:
            by_sid[event["sid"]].append(event)
    for message in messages:
        if message.get("sid"):
            told[message["sid"]].append(message)
    found = [session(sid, its_events, told[sid], people, tabs) for sid, its_events in by_sid.items()]
    return sorted(found, key=lambda one: -int(one["started_at"]))


def session(
    sid: str, events: list[Event], messages: list[Message], people: Mapping[str, str], tabs: Tabs
) -> dict[str, Any]:
    """One of them. ``events`` are in the order of time."""
    created = next((event for event in events if event["name"] == "op.session.created"), events[0])
    ended = next((event for event in events if event["name"] == "op.session.ended"), None)
    sub = next((message["sub"] for message in messages if message.get("sub")), None)
    return {
        "sid": sid,
        "sub": sub,
        "person": people.get(sub or ""),
        "started_at": ms(created),
        "ended_at": ms(ended) if ended else None,
        "reason": REASONS.get(ended["outcome"], "Logout") if ended else None,
        "apps": [app(name, events, messages, open_tabs(tabs, name, sid)) for name in apps_in(events)],
        "tokens": tokens(messages, is_over=ended is not None),
    }


def apps_in(events: list[Event]) -> list[str]:
    """The apps that took part, in the order in which they came."""
    names = [
        app_of(event) for event in events if event["name"] in ("rp.session.created", "op.id_token.issued", *DELIVERY)
    ]
    return list(dict.fromkeys(name for name in names if name))


def app_of(event: Event) -> str | None:
    """An app of the demo records itself; of the others the IdP knows the client id."""
    if event["service"] != "idp":
        return str(event["service"])
    return str(event["client_id"]).removeprefix("pickup-") if event["client_id"] else None


def open_tabs(tabs: Tabs, name: str, sid: str) -> int | None:
    """How many browsers have a tab of this app open in this session; None if the app does not say."""
    return tabs[name].get(sid, 0) if name in tabs else None


def app(name: str, events: list[Event], messages: list[Message], now_open: int | None) -> dict[str, Any]:
    """One app: its sessions, and whether it was told of the logout."""
    mine = [event for event in events if app_of(event) == name]
    told = sum(message["kind"] == "push" and message["from"] == name for message in messages)
    found = app_sessions(mine)
    if found:  # the tabs are those of the last session: they follow the browser into the next one
        found[-1]["tabs"] = now_open if found[-1]["ended_at"] is None else told
    return {"name": name, "label": label(name), "sessions": found, "delivery": delivery(mine)}


def app_sessions(events: list[Event]) -> list[dict[str, Any]]:
    """The app's sessions, one after the other. ``tabs``: browsers with an open tab, or those told of the end."""
    records_itself = any(event["service"] != "idp" for event in events)
    starts = {"rp.session.created"} if records_itself else {"op.id_token.issued"}
    ends = (
        {"rp.session.ended", "rp.logout_token.accepted", "rp.frontchannel_logout.accepted"}
        if records_itself
        else {"op.logout.delivered"}
    )
    found: list[dict[str, Any]] = []
    for event in events:
        is_open = bool(found) and found[-1]["ended_at"] is None
        if event["name"] in starts | ends and is_open and (records_itself or event["name"] in ends):
            found[-1]["ended_at"] = ms(event)  # a new session of the app replaces the one before
            is_open = False
        if event["name"] in starts and not is_open:
            found.append({"started_at": ms(event), "ended_at": None, "tabs": None})
    return found


def delivery(events: list[Event]) -> dict[str, Any] | None:
    """How the IdP's logout token for this app fares; None before the logout."""
    last = next((event for event in reversed(events) if event["name"] in DELIVERY), None)
    if last is None:
        return None
    detail = last["detail"]
    next_try_at = detail.get("next_try_at")
    why = [last["outcome"], detail.get("answer")] if last["name"] != "op.logout.delivered" else []
    return {
        "state": DELIVERY[last["name"]],
        "attempt": detail.get("attempt") or 0,
        "next_at": next_try_at * 1000 if next_try_at else None,
        "why": ": ".join(str(word) for word in why if word) or None,
    }


def tokens(messages: list[Message], *, is_over: bool) -> dict[str, Any] | None:
    """How many the IdP issued in the session. Those with ``offline_access`` outlive it (BCL §2.7)."""
    answers = [one["response"].get("parameters", {}) for one in messages if one["kind"] == "token_request"]
    access = [answer for answer in answers if answer.get("access_token")]
    refresh = [answer for answer in answers if answer.get("refresh_token")]
    if not access:
        return None
    offline = sum("offline_access" in str(answer.get("scope", "")).split() for answer in refresh)
    return {"access": len(access), "refresh": len(refresh), "offline": offline, "alive": not is_over or offline > 0}


def ms(event: Event) -> int:
    return int(event["at"]) * 1000
