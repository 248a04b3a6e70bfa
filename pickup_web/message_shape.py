"""Pure: what may be shown of a protocol message. Tokens are decoded, secrets are cut, passwords are left out.

Everything here may come from an attacker: it is bounded, and nothing is believed.
"""

import json
import re
from base64 import b64decode, urlsafe_b64decode
from binascii import Error as Base64Error
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs, unquote_plus, urlsplit

MAX_VALUE = 2048  # characters of one value
MAX_NAMES = 100  # parameters, claims or members of one object
MAX_DEPTH = 6  # objects within objects
MAX_BODY = 64 * 1024  # bytes of a body that are read
MAX_TOKEN = 16 * 1024  # characters of a token that is decoded
SHOWN = 6  # characters of a secret
MIN_SECRET = 16  # of a shorter one nothing is shown: six characters would be too much of it

NOT_RECORDED = "(not recorded)"
# By parts of a parameter's name. Passwords and form tokens are never shown, and secrets are cut.
NEVER = ("password", "csrf")
SECRET = re.compile(
    r".*(token|secret|assertion|verifier|cookie)|((device|user)_)?code|id_token_hint|request|resume"
    r"|d|p|q|dp|dq|qi|k"  # private members of a JSON Web Key (RFC 7518 §6)
)
TOKEN = re.compile(r"[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{2,}\.[A-Za-z0-9_-]*")  # RFC 7515 §3.1: three parts
# Among the protocol's own parameters, those that may be a signed token (RFC 7519).
TOKENS = (
    "id_token",
    "logout_token",
    "id_token_hint",
    "access_token",
    "refresh_token",
    "token",
    "request",
    "client_assertion",
    "assertion",
    "subject_token",
)
REQUEST_HEADERS = ("content-type", "authorization", "accept", "traceparent", "origin", "user-agent", "cookie")
RESPONSE_HEADERS = ("location", "content-type", "cache-control", "set-cookie", "retry-after", "www-authenticate")

Parameters = Mapping[str, Sequence[Any]]  # every value of each name
Token = dict[str, Any]


def first_six(secret: str) -> str:
    """Enough of a secret to recognize it, too little to use it."""
    return f"{secret[:SHOWN]}…" if len(secret) >= MIN_SECRET else "…"


def shown_value(name: str, value: Any, depth: int = 0) -> Any:
    """One parameter, claim or member, by its name."""
    if any(word in name for word in NEVER):
        return NOT_RECORDED
    if isinstance(value, str):
        if SECRET.fullmatch(name) or TOKEN.fullmatch(value):
            return first_six(value)
        # A token may be inside a longer text, such as an address or an error's description.
        text = TOKEN.sub(lambda token: first_six(token[0]), value) if value.count(".") > 1 and "eyJ" in value else value
        return text if len(text) <= MAX_VALUE else text[:MAX_VALUE] + "…"
    if isinstance(value, dict | list):
        return shown_members(name, value, depth + 1)
    return value if not isinstance(value, int) or abs(value) < 2**63 else "…"


def shown_members(name: str, value: dict[str, Any] | list[Any], depth: int) -> Any:
    """The same for an object or a list, down to ``MAX_DEPTH``."""
    if depth > MAX_DEPTH:
        return "…"
    if isinstance(value, list):
        return [shown_value(name, one, depth) for one in value[:MAX_NAMES]]
    return {str(key)[:MAX_VALUE]: shown_value(str(key).lower(), one, depth) for key, one in first_of(value.items())}


def first_of(pairs: Iterable[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """As many as are shown."""
    return list(pairs)[:MAX_NAMES]


def shown(parameters: Parameters) -> dict[str, Any]:
    """Each parameter with its value, or with all its values if it came more than once."""
    found = {}
    for name, values in first_of(parameters.items()):
        cut = [shown_value(name.lower(), value) for value in values[:MAX_NAMES]]
        found[name[:MAX_VALUE]] = cut[0] if len(cut) == 1 else cut
    return found


def tokens_in(parameters: Parameters, where: str) -> list[Token]:
    """The signed tokens among the parameters, decoded and without their signatures. They are not verified here."""
    return [
        {"name": name, "where": where, **token}
        for name in TOKENS
        for value in parameters.get(name, ())[:MAX_NAMES]
        if (token := decoded(value))
    ]


def decoded(value: Any) -> Token | None:
    """Header and claims of a signed token; None if it is not one."""
    if not isinstance(value, str) or len(value) > MAX_TOKEN or not TOKEN.fullmatch(value):
        return None
    try:
        header, claims = (json.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4))) for part in value.split(".")[:2])
    except (ValueError, RecursionError):
        return None
    if not isinstance(header, dict) or not isinstance(claims, dict):
        return None
    return {"header": shown_members("header", header, 1), "claims": shown_members("claims", claims, 1)}


# --- the parts of a message ---


def form_in(body: bytes | str | None) -> dict[str, list[str]]:
    """The parameters of a form's body."""
    return pairs_in(body.decode("utf-8", "replace") if isinstance(body, bytes) else body or "")


def pairs_in(query: str) -> dict[str, list[str]]:
    """The parameters of a query."""
    try:
        return parse_qs(query[:MAX_BODY], keep_blank_values=True, max_num_fields=MAX_NAMES)
    except ValueError:
        return {}


def json_in(body: bytes | str | None) -> dict[str, list[Any]]:
    """The members of a JSON object, as parameters."""
    if not body or len(body) > MAX_BODY:
        return {}
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return {name: [value] for name, value in content.items()} if isinstance(content, dict) else {}


def redirect_in(location: str) -> dict[str, list[str]]:
    """The parameters of a redirect, in its query or its fragment."""
    parts = split(location)
    return {**pairs_in(parts[1]), **pairs_in(parts[2])}


def split(url: str) -> tuple[str, str, str]:
    """An address without query and fragment, the query, and the fragment."""
    rest, _, fragment = url.partition("#")
    address, _, query = rest.partition("?")
    return address, query, fragment


def party(client_id: str | None) -> str | None:
    """A client as a party of a message: ``pickup-dispatch`` is ``dispatch``."""
    return client_id.removeprefix("pickup-")[:255] if client_id else None


def origin(url: str) -> str:
    """Host and port, for a party that has no other name."""
    try:
        return urlsplit(url).netloc.rpartition("@")[2][:255]
    except ValueError:
        return ""


def basic_client(authorization: str) -> str | None:
    """The client id in HTTP Basic (RFC 6749 §2.3.1)."""
    scheme, _, credentials = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        pair = b64decode(credentials[:MAX_VALUE], validate=True).decode()
    except (Base64Error, UnicodeError):
        return None
    return unquote_plus(pair.partition(":")[0])[:255] if ":" in pair else None


def chosen(headers: Mapping[str, Any], names: Sequence[str]) -> dict[str, str]:
    """The headers that the record keeps."""
    return {name: str(headers[name]) for name in names if name in headers}


def shown_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers by their names in lower case. The caller has chosen those that matter."""
    return {name: shown_header(name, value) for name, value in headers.items()}


def shown_header(name: str, value: str) -> str:
    """One header; credentials are cut."""
    if name == "authorization":
        scheme, _, rest = value[:MAX_VALUE].partition(" ")
        return f"{scheme[:32]} {basic_client(value) or (first_six(rest) if scheme.lower() == 'bearer' else '…')}"
    if name == "cookie":
        return "; ".join(shown_cookie(pair) for pair in value[:MAX_BODY].split(";")[:MAX_NAMES])[:MAX_VALUE]
    if name == "set-cookie":
        return shown_set_cookies(value)[:MAX_VALUE]
    if name == "location":
        value = split(value)[0]
    return str(shown_value(name, value))


def shown_cookie(pair: str) -> str:
    """``name=value`` with the first six characters of the value."""
    name, _, value = pair.strip().partition("=")
    return f"{name[:255]}={first_six(value) if value else ''}"


def shown_set_cookies(lines: str) -> str:
    """The cookies that a response sets, one a line, with their attributes."""
    shown_lines = []
    for line in lines.split("\n")[:MAX_NAMES]:
        pair, separator, attributes = line.partition(";")
        shown_lines.append(shown_cookie(pair) + separator + attributes)
    return "\n".join(shown_lines)
