"""How a request's note becomes a row of the record (docs/events.md). Pure: no input or output."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pickup_web import message_shape as shape

MAX_IDENTIFIER = 254  # characters, because "…" may follow
MAX_ROW = (
    16 * 1024
)  # characters of a row (discovery, the largest of ours, has 4,000); a larger row loses its parameters and tokens

# Each kind of message, and its channel: front (through the browser), back (server to server) or push.
# fmt: off
CHANNELS = {
    "start_sign_in":          "front",
    "authorization_request":  "front",
    "sign_in_page":           "front",
    "sign_in":                "front",
    "consent":                "front",
    "authorization_response": "front",
    "log_out":                "front",
    "logout_request":         "front",
    "logout_confirmation":    "front",
    "logged_out":             "front",
    "frontchannel_logout":    "front",
    "discovery":              "back",
    "jwks":                   "back",
    "registration":           "back",
    "token_request":          "back",
    "userinfo":               "back",
    "introspection":          "back",
    "revocation":             "back",
    "api_request":            "back",
    "backchannel_logout":     "back",
    "push":                   "push",
}
# fmt: on


@dataclass
class Note:
    """A message at one edge. It holds secrets, so it stays in memory until :func:`row_of` makes a row of it."""

    kind: str
    direction: str
    sender: str | None
    receiver: str | None
    method: str
    url: str  # as sent; the row has no query
    trace: str
    at: int = field(default_factory=lambda: int(time.time() * 1000))
    started: float = field(default_factory=time.perf_counter)
    duration: float = 0.0
    status: int | None = None
    request_headers: Mapping[str, str] = field(default_factory=dict)
    request_parameters: shape.Parameters = field(default_factory=dict)
    request_body: bytes | str | None = None
    response_headers: Mapping[str, str] = field(default_factory=dict)
    response_body: bytes | None = None
    response_parameters: dict[str, list[Any]] = field(default_factory=dict)  # what a page asks the browser to do
    error: str | None = None  # why there was no answer, or why the view refused
    known: dict[str, str | None] = field(default_factory=dict)  # state, sid, jti, client_id, sub

    def end(self) -> None:
        """Measure the time until the answer."""
        self.duration = (time.perf_counter() - self.started) * 1000


def row_of(note: Note, service: str) -> dict[str, Any]:
    """The row as ``GET /messages`` shows it, without its id."""
    requested = {**note.request_parameters, **body_parameters(note)}
    location = note.response_headers.get("location", "")
    in_body = {**shape.json_in(note.response_body), **note.response_parameters}
    answered: shape.Parameters = shape.redirect_in(location) if location else in_body
    tokens = [*shape.tokens_in(requested, "request"), *shape.tokens_in(answered, "response"), *bearer_token(note)]
    # A browser may send any id_token_hint. One that the service refused must not name a person.
    is_unverified = CHANNELS[note.kind] == "front" and outcome_of(note, answered) == "refused"
    ids = identifiers(
        note, requested, answered, [one for one in tokens if one["where"] != "request" or not is_unverified]
    )
    refusal = shape.shown({name: answered[name] for name in ("error", "error_description") if name in answered})
    return {
        "service": service,
        "at": note.at,
        "duration_ms": round(note.duration, 1),
        "direction": note.direction,
        "channel": CHANNELS[note.kind],
        "kind": note.kind,
        "from": note.sender or shape.party(ids["client_id"]),
        "to": note.receiver or shape.party(ids["client_id"]) or shape.host(note.url),
        "method": note.method,
        "url": shape.split(note.url)[0][: shape.MAX_VALUE],
        "status": note.status,
        "request": {"headers": shape.shown_headers(note.request_headers), "parameters": shape.shown(requested)},
        "response": {"headers": shape.shown_headers(note.response_headers), "parameters": shape.shown(answered)},
        "tokens": tokens,
        "outcome": outcome_of(note, answered),
        "error": refusal.get("error"),
        "error_description": refusal.get("error_description") or (note.error and shape.shown_value("", note.error)),
        "trace": note.trace,
        **ids,
    }


def content_of(row: dict[str, Any]) -> str:
    """The row as JSON in ASCII, which each database accepts."""
    content = json.dumps(row)
    if len(content) <= MAX_ROW:
        return content
    too_large = {"parameters": {"(too large)": shape.NOT_RECORDED}}
    return json.dumps(
        {**row, "request": row["request"] | too_large, "response": row["response"] | too_large, "tokens": []}
    )


def body_parameters(note: Note) -> shape.Parameters:
    """The parameters of a request's body, a form or JSON."""
    is_json = "json" in note.request_headers.get("content-type", "")
    return shape.json_in(note.request_body) if is_json else shape.form_in(note.request_body)


def bearer_token(note: Note) -> list[shape.Token]:
    """The access token in the Authorization header, if it is a signed token (RFC 9068)."""
    scheme, _, credentials = note.request_headers.get("authorization", "").partition(" ")
    token = shape.decoded(credentials.strip()) if scheme.lower() == "bearer" else None
    return [{"name": "access_token", "where": "request", **token}] if token else []


def outcome_of(note: Note, answered: shape.Parameters) -> str:
    """One word for the result."""
    if note.status is None:
        return "no_answer"
    if note.status >= 500:
        return "failed"
    if note.status >= 400 or note.error or "error" in answered:
        return "refused"
    return "redirect" if 300 <= note.status < 400 else "ok"


def identifiers(
    note: Note, requested: shape.Parameters, answered: shape.Parameters, tokens: list[shape.Token]
) -> dict[str, str | None]:
    """The values that join messages. The view's own knowledge has priority over parameters and tokens."""
    claims = {name: value for token in reversed(tokens) for name, value in token["claims"].items()}
    basic = shape.basic_client(note.request_headers.get("authorization", ""))

    def first(name: str, *values: Any) -> str | None:
        found = next((value for value in (note.known.get(name), *values) if value and isinstance(value, str)), None)
        return shape.text_of(found, MAX_IDENTIFIER) if found else None

    def one(parameters: shape.Parameters, name: str) -> Any:
        return next(iter(parameters.get(name, ())), None)

    return {
        "state": first("state", one(requested, "state"), one(answered, "state")),
        "sid": first("sid", claims.get("sid")),
        "jti": first("jti", *(token["claims"].get("jti") for token in tokens if token["name"] == "logout_token")),
        "client_id": first("client_id", basic, one(requested, "client_id"), claims.get("aud")),
        "sub": first("sub", claims.get("sub"), one(answered, "sub")),
    }
