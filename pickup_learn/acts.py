"""Pure: which messages belong to one act, such as a sign-in, and what the act is called.

Messages are tied by what they have in common: ``state`` and the code through a sign-in, ``sid`` through a logout, the
trace id where one request causes the next. A retry of a delivery is an act too, because it comes minutes later.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from pickup_learn.join import Message

Act = dict[str, Any]  # id, name, person, sid, at

LABELS = {"idp": "the IdP", "browser": "the browser"}
SIGN_IN = {"start_sign_in", "authorization_request", "sign_in_page", "sign_in", "consent", "authorization_response"}
LOGOUT = {"log_out", "logout_request", "logout_confirmation", "logged_out", "frontchannel_logout"}
BACKGROUND = {"discovery", "jwks"}
OUTSIDE = "outside"  # the sender of a forged logout request; it has no part in a logout
GRANTS = {"refresh_token": "Token refresh", "authorization_code": "Code exchange"}
BACKGROUND_MS = 60_000  # one act for all metadata and keys that are fetched in the same minute

# What the IdP's event op.session.ended says; see docs/events.md.
REASONS = {
    "operator": "Logout by an operator",
    "elsewhere": "Logout from another device",
    "everywhere": "Logout on all devices",
    "replaced": "Another person signed in",
    "idle": "Session ended: unused for too long",
    "expired": "Session ended: its time was over",
    "password_changed": "Logout after a password change",
    "user_disabled": "Logout: the account was disabled",
    "user_removed": "Logout: the account was removed",
}


def label(party: str | None) -> str:
    """A party as a name in a sentence: ``dispatch`` → ``Dispatch``."""
    if not party:
        return "an app"
    return LABELS.get(party, party[:1].upper() + party[1:] if party.islower() else party)


# --- which messages belong together ---


def links_of(message: Message) -> set[str]:
    """By what other messages of the same act, or of the same session, are found."""
    links = {f"{name}:{message[name]}" for name in ("state", "sid") if message.get(name)}
    if code := code_of(message):
        links.add(f"code:{code}")
    if message.get("trace"):
        links.add(f"trace:{trace_id(message)}")
    if message["kind"] in BACKGROUND:
        links.add(f"background:{message['at'] // BACKGROUND_MS}")
    return links


def code_of(message: Message) -> str | None:
    """The first characters of the authorization code in it."""
    for side in ("request", "response"):
        if code := message[side].get("parameters", {}).get("code"):
            return str(code)
    return None


def trace_id(message: Message) -> str:
    """W3C Trace Context: the id that all requests have which one request caused."""
    return str(message["trace"]).partition("-")[0]


def attempts(messages: Iterable[Message]) -> dict[str, int]:
    """The number of each logout token's attempt, by the message's key: 1 is the first one to this app."""
    count: Counter[tuple[Any, ...]] = Counter()
    numbers = {}
    for message in in_order(messages):
        if message["kind"] == "backchannel_logout" and message["from"] != OUTSIDE:
            count[delivery_of(message)] += 1
            numbers[message["key"]] = count[delivery_of(message)]
    return numbers


def delivery_of(message: Message) -> tuple[Any, ...]:
    """Whom the attempts are to tell of what; without both, an attempt is alone."""
    whose = message.get("sid") or message.get("sub") or message["key"]
    return (whose, message["to"])


def in_order(messages: Iterable[Message]) -> list[Message]:
    """By the time at which each began."""
    return sorted(messages, key=lambda message: (message["at"], message["key"]))


def group(messages: Collection[Message]) -> list[list[Message]]:
    """The messages by act, each act in the order of time."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    numbers = attempts(messages)
    for message in messages:
        for tie in ties(message, messages, numbers):
            parent[root(tie)] = root(message["key"])
    groups = defaultdict(list)
    for message in in_order(messages):
        groups[root(message["key"])].append(message)
    return list(groups.values())


def ties(message: Message, messages: Collection[Message], numbers: Mapping[str, int]) -> Iterable[str]:
    """Names that this message shares with the others of its act."""
    kind, sid = message["kind"], message.get("sid")
    if message["from"] == OUTSIDE:
        return []
    if kind in BACKGROUND:
        return [f"background:{message['at'] // BACKGROUND_MS}"]
    if kind == "backchannel_logout" and numbers[message["key"]] > 1:
        return [retry_tie(message, numbers[message["key"]])]
    if kind == "push":
        return [push_tie(message, messages, numbers)]
    found = links_of(message) - {f"sid:{sid}"}
    if kind in LOGOUT or kind == "backchannel_logout":
        found.add(f"end:{sid or message.get('sub') or message['key']}")
    return found


def retry_tie(message: Message, number: int) -> str:
    return f"retry:{delivery_of(message)}:{number}"


def push_tie(push: Message, messages: Collection[Message], numbers: Mapping[str, int]) -> str:
    """A push belongs to the logout token that its app took last."""
    sid = push.get("sid")
    earlier = [
        message
        for message in messages
        if message["key"] in numbers
        and (message.get("sid"), message["to"]) == (sid, push["from"])
        and message["at"] <= push["at"]
    ]
    last = max(earlier, key=lambda message: int(message["at"]), default=None)
    if last is None or numbers[last["key"]] == 1:
        return f"end:{sid or push['key']}"
    return retry_tie(last, numbers[last["key"]])


# --- what an act is called ---


def name_of(messages: list[Message], number: int, reason: str | None) -> str:
    """``number``: the attempt, in an act that is a retry; ``reason``: the word of op.session.ended."""
    first, kinds = messages[0], {message["kind"] for message in messages}
    if number > 1:
        return f"Retry {number - 1} to {label(first['to'])}"
    if first["from"] == OUTSIDE:
        return f"Request from outside to {label(first['to'])}"
    if kinds & LOGOUT or kinds & {"backchannel_logout", "push"}:
        return logout_name(messages, reason)
    if kinds & SIGN_IN:
        return sign_in_name(messages)
    return other_name(first)


def logout_name(messages: list[Message], reason: str | None) -> str:
    if reason in REASONS:
        return REASONS[reason]
    app = next((message["to"] for message in messages if message["kind"] == "log_out"), None) or next(
        (client_of(message) for message in messages if message["kind"] == "logout_request" and client_of(message)), None
    )
    return f"Logout at {label(app)}" if app else "Logout"


def sign_in_name(messages: list[Message]) -> str:
    """Single sign-on, when the IdP gave a code without asking for a password."""
    app = next((client_of(message) for message in messages if client_of(message)), None)
    asked = any(message["kind"] in ("sign_in", "sign_in_page") or shows_sign_in(message) for message in messages)
    answered = any(code_of(message) for message in messages)
    return f"{'Sign-in' if asked or not answered else 'Single sign-on'} at {label(app)}"


def shows_sign_in(message: Message) -> bool:
    """Whether the IdP's answer to the authorization request is its sign-in page."""
    return message["kind"] == "authorization_request" and bool(message["status"] == 200)


def client_of(message: Message) -> str | None:
    """The app that a message of the sign-in or logout is about, as a party."""
    if message.get("client_id"):
        return str(message["client_id"]).removeprefix("pickup-")
    return next((str(message[end]) for end in ("to", "from") if message[end] not in ("browser", "idp")), None)


def other_name(first: Message) -> str:
    sender, kind = label(first["from"]), first["kind"]
    if kind in BACKGROUND:
        return "Background"
    if kind == "token_request":
        grant = first["request"].get("parameters", {}).get("grant_type")
        what = {"refresh_token": "Token refresh", "authorization_code": "Code exchange"}.get(
            str(grant), "Token request"
        )
        return f"{what} by {sender}"
    names = {
        "api_request": f"API request from {sender} to {label(first['to'])}",
        "introspection": f"Token check by {sender}",
        "revocation": f"Token revoked by {sender}",
        "userinfo": f"UserInfo for {sender}",
        "registration": f"Registration of {sender}",
    }
    return names.get(kind, str(kind).replace("_", " ").capitalize())


# --- the acts of some messages ---


def assign(
    messages: Collection[Message], reasons: Mapping[str, str], people: Mapping[str, str], next_id: str
) -> dict[str, Act]:
    """The act of each message, by its key. A known act keeps its id; new ones are ``next_id``, ``next_id``.1, …"""
    acts: dict[str, Act] = {}
    used: set[str] = set()
    numbers = attempts(messages)
    subs = {message["sid"]: message["sub"] for message in messages if message.get("sid") and message.get("sub")}
    for members in sorted(group(messages), key=lambda members: int(members[0]["at"])):
        known = [member["act"]["id"] for member in members if member.get("act")]
        act_id = next((one for one in known if one not in used), None) or fresh(next_id, used)
        used.add(act_id)
        sid = next((member["sid"] for member in reversed(members) if member.get("sid")), None)
        sub = next((member["sub"] for member in members if member.get("sub")), None) or subs.get(sid or "")
        act = {
            "id": act_id,
            "name": name_of(members, numbers.get(members[0]["key"], 1), reasons.get(sid or "")),
            "person": people.get(sub) if sub and members[0]["from"] != OUTSIDE else None,
            "sid": sid,
            "at": members[0]["at"],
        }
        acts.update(dict.fromkeys((member["key"] for member in members), act))
    return acts


def fresh(next_id: str, used: Collection[str]) -> str:
    count = sum(one.startswith(next_id) for one in used)
    return f"{next_id}.{count}" if count else next_id


def people_in(message: Message) -> dict[str, str]:
    """User names that the IdP's answer tells, by ``sub``. A request may claim any name, so it is not asked."""
    if message["to"] != "idp":
        return {}
    answered = [token["claims"] for token in message["tokens"] if token["where"] == "response"]
    known = [*answered, message["response"].get("parameters", {})]
    return {
        str(claims["sub"]): str(claims["preferred_username"])
        for claims in known
        if claims.get("sub") and claims.get("preferred_username")
    }
