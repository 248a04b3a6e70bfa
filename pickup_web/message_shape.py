"""Which parts of a protocol message the record shows. Pure functions, no input or output.

Tokens are decoded, secrets are cut to six characters, passwords are left out. All values may come from an attacker:
each is bounded and none is trusted.
"""

import json
import re
from base64 import b64decode, urlsafe_b64decode
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs, unquote_plus, urlsplit

MAX_VALUE = 2048  # characters of one value
MAX_NAMES = 100  # parameters, claims or members of one object
MAX_DEPTH = 6  # nested objects
MAX_BODY = 64 * 1024  # bytes of a body that are read
MAX_TOKEN = 16 * 1024  # characters of a token that is decoded
SHOWN = 6  # characters of a secret
MIN_SECRET = 16  # shorter secrets are not shown at all, because six characters would be too large a part

NOT_RECORDED = "(not recorded)"
NEVER = re.compile("password|csrf")  # a parameter with one of these words in its name is not recorded
SECRET = re.compile(  # a parameter with such a name is cut
    r".*(token|secret|assertion|verifier|cookie)|((device|user)_)?code|id_token_hint|request|resume"
    r"|d|p|q|dp|dq|qi|k"  # private members of a JSON Web Key (RFC 7518 §6)
)
# RFC 7515 §3.1, RFC 7516 §3.1: a token has three or five parts. A JSON object in base64url begins with ey or ew.
# Before it may be %3D, the "=" of an encoded query.
TOKEN = re.compile(r"(?:(?<![A-Za-z0-9_-])|(?<=%[0-9A-Fa-f]{2}))e[wy][A-Za-z0-9_-]{6,}+(?:\.[A-Za-z0-9_-]*+){2,4}+")
# Not every database stores these: NUL, and halves of a surrogate pair, which JSON can contain (RFC 8259 §8.2).
UNSTORABLE = re.compile("[\0\ud800-\udfff]")
# A long name that is not like this may be a secret: a client that forgot "token=" sends the token as a name.
NAME = re.compile(r"[a-z0-9]{1,20}([_.:/#-]+[a-z0-9]{1,20})*[_.:/#-]*")
# Parameters of the protocol that may be a signed token (RFC 7519).
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

Parameters = Mapping[str, Sequence[Any]]  # all values of each name
Token = dict[str, Any]


# --- values ---


def first_six(secret: str) -> str:
    """The first six characters: enough to recognize the secret, too few to use it."""
    return f"{secret[:SHOWN]}…" if len(secret) >= MIN_SECRET else "…"


def text_of(value: str, limit: int = MAX_VALUE) -> str:
    """The text that is shown of a value: without tokens, storable, and bounded."""
    text = UNSTORABLE.sub("\ufffd", TOKEN.sub(lambda token: first_six(token[0]), value))
    return text if len(text) <= limit else text[:limit] + "…"


def name_of(name: str) -> str:
    """The name of a parameter or member, cut if it may be a secret."""
    return text_of(name if len(name) < MIN_SECRET or NAME.fullmatch(name) else first_six(name))


def shown_value(name: str, value: Any, depth: int = 0) -> Any:
    """One parameter, claim or member. Its name decides how much is shown."""
    if NEVER.search(name):
        return NOT_RECORDED
    if isinstance(value, str):
        if SECRET.fullmatch(name):
            return text_of(first_six(value))
        return text_of(value)
    if isinstance(value, dict | list):
        return shown_members(name, value, depth + 1)
    # JSON for browsers has no NaN and no infinity.
    return "…" if isinstance(value, int | float) and not -(2**63) < value < 2**63 else value


def shown_members(name: str, value: dict[str, Any] | list[Any], depth: int) -> Any:
    """An object or a list, down to ``MAX_DEPTH``."""
    if depth > MAX_DEPTH:
        return "…"
    if isinstance(value, list):
        return [shown_value(name, one, depth) for one in value[:MAX_NAMES]]
    return {name_of(key): shown_value(key.lower(), one, depth) for key, one in first_of(value.items())}


def first_of(pairs: Iterable[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """The pairs that are shown."""
    return list(pairs)[:MAX_NAMES]


def shown(parameters: Parameters) -> dict[str, Any]:
    """Each parameter with its value, or with a list of its values if it was sent more than once."""
    found = {}
    for name, values in first_of(parameters.items()):
        cut = [shown_value(name.lower(), value) for value in values[:MAX_NAMES]]
        found[name_of(name)] = cut[0] if len(cut) == 1 else cut
    return found


# --- tokens ---


def tokens_in(parameters: Parameters, where: str) -> list[Token]:
    """The signed tokens among the parameters, decoded, without their signatures. Nothing verifies them here."""
    return [
        {"name": name, "where": where, **token}
        for name in TOKENS
        for value in parameters.get(name, ())[:MAX_NAMES]
        if (token := decoded(value))
    ]


def decoded(value: Any) -> Token | None:
    """Header and claims of a signed token, or None if the value is not a token."""
    if not isinstance(value, str) or len(value) > MAX_TOKEN or value.count(".") != 2:
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
    """The parameters of a form, or of a query."""
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body or ""
    try:
        return parse_qs(text[:MAX_BODY], keep_blank_values=True, max_num_fields=MAX_NAMES)
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
    _, query, fragment = split(location)
    return {**form_in(query), **form_in(fragment)}


def split(url: str) -> tuple[str, str, str]:
    """An address without query and fragment, the query, and the fragment."""
    rest, _, fragment = url.partition("#")
    address, _, query = rest.partition("?")
    return address, query, fragment


def party(client_id: str | None) -> str | None:
    """The name of a client as sender or receiver: ``pickup-dispatch`` is ``dispatch``."""
    return client_id.removeprefix("pickup-")[:255] if client_id else None


def host(url: str) -> str:
    """Host and port, for a receiver whose client id is not known."""
    try:
        return urlsplit(url).netloc.rpartition("@")[2][:255]
    except ValueError:
        return ""


# --- headers ---


def basic_client(authorization: str) -> str | None:
    """The client id in HTTP Basic (RFC 6749 §2.3.1)."""
    scheme, _, credentials = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        pair = b64decode(credentials[:MAX_VALUE], validate=True).decode()
    except ValueError:
        return None
    return unquote_plus(pair.partition(":")[0])[:255] if ":" in pair else None


def chosen(headers: Mapping[str, Any], names: Sequence[str]) -> dict[str, str]:
    """The headers that the record keeps."""
    return {name: str(headers[name]) for name in names if name in headers}


def shown_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The chosen headers with credentials and cookies cut."""
    return {name: shown_header(name, value) for name, value in headers.items()}


def shown_header(name: str, value: str) -> str:
    """One header; ``name`` is in lower case."""
    if name == "authorization":
        return shown_authorization(value)
    if name == "cookie":
        return "; ".join(shown_cookie(pair) for pair in value[:MAX_BODY].split(";")[:MAX_NAMES])[:MAX_VALUE]
    if name == "set-cookie":
        return "\n".join(shown_set_cookie(line) for line in value.split("\n")[:MAX_NAMES])[:MAX_VALUE]
    if name == "location":
        value = split(value)[0]
    return str(shown_value(name, value))


def shown_authorization(value: str) -> str:
    """The scheme, with the client id (Basic) or the beginning of the token (Bearer)."""
    scheme, _, credentials = value.partition(" ")
    if scheme.lower() == "basic":
        return f"Basic {text_of(basic_client(value) or '…')}"
    return f"Bearer {first_six(credentials.strip())}" if scheme.lower() == "bearer" else "…"


def shown_cookie(pair: str) -> str:
    """``name=value`` with the first six characters of the value."""
    name, is_named, value = pair.strip().partition("=")
    if not is_named:  # RFC 6265bis §5.6: a cookie without "=" has an empty name
        return first_six(name)
    return f"{text_of(name, 255)}={first_six(value) if value else ''}"


def shown_set_cookie(line: str) -> str:
    """The same for a cookie that a response sets, with its attributes."""
    pair, separator, attributes = line.partition(";")
    return shown_cookie(pair) + separator + attributes
