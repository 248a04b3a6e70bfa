"""The token inspector: the checks that a receiver made of an ID token or a logout token, in its order.

Each check is found in relying_party by the sentence with which it refuses, so file and line are always right.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pickup_learn.acts import client_of
from pickup_learn.join import Message

LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"
SOURCE = Path(__file__).parents[1] / "relying_party"  # read as text, because importing it takes memory
Token = dict[str, Any]  # name, where, header, claims


@dataclass(frozen=True)
class Context:
    """What a receiver compares with."""

    issuer: str
    client_id: str
    nonce: str | None  # of the authorization request, when it is known


@dataclass(frozen=True)
class Check:
    """One check. ``holds`` repeats it, for a receiver that refuses with words we do not know."""

    name: str
    text: str
    clause: str
    refusals: tuple[str, ...]  # the sentences with which relying_party refuses
    found: Callable[[Token], Any]
    wanted: Callable[[Context], Any]
    holds: Callable[[Token, Context], bool] = lambda token, context: True  # noqa: ARG005 # cannot be repeated here
    file: str = "jws.py"

    def place(self) -> tuple[str, int | None]:
        """File and line of the check in this repository. No line if an exercise has removed the check."""
        found = (number for number, line in enumerate(lines_of(SOURCE / self.file), 1) if self.refusals[0] in line)
        return f"relying_party/{self.file}", next(found, None)


@cache
def lines_of(file: Path) -> list[str]:
    """The lines of a file of relying_party, read when the first token is inspected."""
    return file.read_text("utf-8").splitlines()


def claim(name: str) -> Callable[[Token], Any]:
    return lambda token: token["claims"].get(name)


def header(name: str) -> Callable[[Token], Any]:
    return lambda token: token["header"].get(name)


def always(value: Any) -> Callable[[Context], Any]:
    return lambda _context: value


def names_only(token: Token, client_id: str) -> bool:
    audience = token["claims"].get("aud")
    return audience in (client_id, [client_id])


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def any_token(value: Any) -> Callable[[Token], Any]:
    return lambda _token: value


def signature(*, clauses: tuple[str, str, str]) -> list[Check]:
    """The first checks of both tokens: relying_party/jws.py."""
    return [
        Check(
            "encryption",
            "The token is not encrypted, because the app registered no encryption.",
            clauses[0],
            (
                "The token is encrypted, but no encryption was registered.",
                "This is not a signed JSON Web Token",
                "The token is too long.",
            ),
            lambda token: "a signed token" if token["header"] else None,
            always("a signed token"),
        ),
        Check(
            "alg",
            "It is signed with the algorithm that the app registered; never with none.",
            clauses[1],
            ("The token is not signed with the registered algorithm.",),
            header("alg"),
            always("the registered algorithm"),
            lambda token, _: token["header"].get("alg") not in (None, "none", "HS256"),
        ),
        Check(
            "kid",
            "The issuer publishes the key that signed it.",
            "OpenID Connect Core §10.1",
            ("The issuer does not publish the key that signed the token.",),
            header("kid"),
            always("a key at jwks_uri"),
        ),
        Check(
            "signature",
            "That key made the signature.",
            clauses[2],
            ("The signature of the token is wrong.", "The token's payload is not a JSON object."),
            any_token("not recorded"),
            always("verified with that key"),
        ),
    ]


def issued(*, clauses: tuple[str, str, str, str], oldest: str) -> list[Check]:
    """Issuer, audience and times: relying_party/claims.py."""
    return [
        Check(
            "iss",
            "It comes from the IdP that the app trusts, the same string character by character.",
            clauses[0],
            ("iss is not the issuer this client trusts.",),
            claim("iss"),
            lambda context: context.issuer,
            lambda token, context: token["claims"].get("iss") == context.issuer,
            "claims.py",
        ),
        Check(
            "aud",
            "It is for this app and for no other.",
            clauses[1],
            ("aud does not name this client.", "aud also names another audience."),
            claim("aud"),
            lambda context: context.client_id,
            lambda token, context: names_only(token, context.client_id),
            "claims.py",
        ),
        Check(
            "iat",
            "It was issued in the past, and not too long ago.",
            clauses[2],
            (
                "iat lies in the future.",
                "iat lies too far in the past.",
                "iat is missing or not a number.",
                "iat is out of range.",
            ),
            claim("iat"),
            always(f"not in the future, at most {oldest} ago"),
            lambda token, _: is_number(token["claims"].get("iat")),
            "claims.py",
        ),
        Check(
            "exp",
            "It has not expired.",
            clauses[3],
            ("exp has passed.", "exp is missing or not a number.", "exp is out of range."),
            claim("exp"),
            always("a time in the future"),
            lambda token, _: is_number(token["claims"].get("exp")),
            "claims.py",
        ),
    ]


BCL, CORE = "Back-Channel Logout §2.6", "OpenID Connect Core §3.1.3.7"
LOGOUT_TOKEN = [
    *signature(clauses=(f"{BCL} (1)", f"{BCL} (3)", f"{BCL} (2)")),
    Check(
        "typ",
        "Its type is logout+jwt, so no other kind of token passes for it. A missing type is accepted.",
        "Back-Channel Logout §2.4",
        ("typ is not logout+jwt.",),
        header("typ"),
        always("logout+jwt, or nothing"),
        lambda token, _: (
            str(token["header"].get("typ", "JWT")).lower().removeprefix("application/") in ("logout+jwt", "jwt")
        ),
        "logout_token.py",
    ),
    *issued(clauses=(f"{BCL} (4)",) * 4, oldest="24 hours"),
    Check(
        "sub, sid",
        "It says whose session ends: sub, sid or both.",
        f"{BCL} (5)",
        ("Both sub and sid are missing.",),
        lambda token: {name: token["claims"][name] for name in ("sub", "sid") if name in token["claims"]},
        always("sub, sid or both"),
        lambda token, _: bool({"sub", "sid"} & token["claims"].keys()),
        "logout_token.py",
    ),
    Check(
        "events",
        "Its events claim says that this is a logout token.",
        f"{BCL} (6)",
        ("events does not contain the back-channel logout event.", "events is not a JSON object."),
        claim("events"),
        always({LOGOUT_EVENT: {}}),
        lambda token, _: (
            isinstance(token["claims"].get("events"), dict)
            and isinstance(token["claims"]["events"].get(LOGOUT_EVENT), dict)
        ),
        "logout_token.py",
    ),
    Check(
        "nonce",
        "It has no nonce, so that it cannot be taken for an ID token.",
        f"{BCL} (7)",
        ("A logout token must not have a nonce.",),
        claim("nonce"),
        always(None),
        lambda token, _: "nonce" not in token["claims"],
        "logout_token.py",
    ),
    Check(
        "jti",
        "It has an identifier of its own.",
        "Back-Channel Logout §2.4",
        ("jti is missing.",),
        claim("jti"),
        always("an identifier"),
        lambda token, _: bool(token["claims"].get("jti")),
        "logout_token.py",
    ),
    Check(
        "replay",
        "The app has not applied a token with this identifier before.",
        f"{BCL} (8)",
        ("This logout token was used before.",),
        claim("jti"),
        always("a new identifier"),
        file="sessions.py",
    ),
]
ISSUED = issued(clauses=(f"{CORE} (2)", f"{CORE} (3)", f"{CORE} (10)", f"{CORE} (9)"), oldest="10 minutes")
ID_TOKEN = [
    *signature(clauses=(f"{CORE} (1)", f"{CORE} (7)", f"{CORE} (6)")),
    Check(
        "typ",
        "It is no other kind of token, such as a logout token.",
        "Back-Channel Logout §4.1",
        ("This is not an ID token but another kind of token.",),
        header("typ"),
        always("JWT, or nothing"),
        lambda token, _: "events" not in token["claims"] and token["header"].get("typ", "JWT") in ("JWT", "jwt"),
        "id_token.py",
    ),
    *ISSUED[:2],
    Check(
        "azp",
        "If it names an authorized party, that is this app.",
        f"{CORE} (5)",
        ("azp is not this client.",),
        claim("azp"),
        lambda context: f"{context.client_id}, or nothing",
        lambda token, context: token["claims"].get("azp", context.client_id) == context.client_id,
        "id_token.py",
    ),
    *ISSUED[2:],
    Check(
        "sub",
        "It says who signed in.",
        "OpenID Connect Core §2",
        ("sub is missing.",),
        claim("sub"),
        always("an identifier of the user"),
        lambda token, _: bool(token["claims"].get("sub")),
        "id_token.py",
    ),
    Check(
        "nonce",
        "It repeats the nonce of the authentication request, so it answers this request.",
        f"{CORE} (11)",
        ("nonce is not the one from the authentication request.",),
        claim("nonce"),
        lambda context: context.nonce or "the nonce of the request",
        lambda token, context: context.nonce in (None, token["claims"].get("nonce")),
        "id_token.py",
    ),
    Check(
        "at_hash",
        "If it has a hash of an access token, it is the hash of the access token that came with it.",
        "OpenID Connect Core §3.1.3.8",
        ("at_hash does not match the access token.",),
        claim("at_hash"),
        always("the hash of the access token, or nothing"),
        file="id_token.py",
    ),
]
CHECKS = {"logout_token": LOGOUT_TOKEN, "id_token": ID_TOKEN}


def token_of(message: Message) -> Token | None:
    """The ID token or logout token in a message."""
    return next((token for token in message["tokens"] if token["name"] in CHECKS), None)


def inspected(message: Message, *, issuer: str, nonce: str | None, refusal: str | None) -> dict[str, Any]:
    """The token of a message that has one, and its checks. ``refusal``: why the app refused an ID token."""
    token = token_of(message)
    if token is None:
        raise LookupError("The message has neither an ID token nor a logout token.")
    is_logout = token["name"] == "logout_token"
    receiver = client_of(message) or "app"
    context = Context(issuer, message.get("client_id") or f"pickup-{receiver}", nonce)
    checks = CHECKS[token["name"]]
    if is_logout:
        refusal = message["error_description"] or message["error"] or (message["outcome"] == "refused" and "?") or None
    is_known = not is_logout or message["status"] is not None  # without an answer, we do not know what was checked
    made = results(checks, token, context, refusal, is_known=is_known)
    return {
        "token": token,
        "receiver": receiver,
        "refusal": refusal if is_known else None,
        "answered": is_known,
        "checks": [shown(check, token, context, result) for check, result in zip(checks, made, strict=True)],
    }


def results(checks: list[Check], token: Token, context: Context, refusal: str | None, *, is_known: bool) -> list[str]:
    """The result of each: the receiver stops at the first check that fails."""
    stop = stopped_at(checks, token, context, refusal) if refusal and is_known else None
    if not is_known or (refusal and stop is None):  # for example, the request was refused before it was read
        return ["not reached"] * len(checks)
    if stop is None:  # accepted: a check that the token does not pass was left out, as in a lab
        return ["ok" if check.place()[1] and check.holds(token, context) else "not reached" for check in checks]
    return [
        "not reached" if number > stop or check.place()[1] is None else "failed" if number == stop else "ok"
        for number, check in enumerate(checks)
    ]


def stopped_at(checks: list[Check], token: Token, context: Context, refusal: str) -> int | None:
    """The number of the check that failed: by the receiver's words, else by the token's values."""
    by_words = (
        number for number, check in enumerate(checks) if any(refusal.startswith(words) for words in check.refusals)
    )
    by_claim = (number for number, check in enumerate(checks) if refusal.partition(" ")[0] in check.name.split(", "))
    by_value = (number for number, check in enumerate(checks) if not check.holds(token, context))
    return next((number for way in (by_words, by_claim, by_value) for number in way), None)


def shown(check: Check, token: Token, context: Context, result: str) -> dict[str, Any]:
    """The check as the API has it."""
    file, line = check.place()
    return {
        "name": check.name,
        "text": check.text,
        "clause": check.clause,
        "found": check.found(token),
        "wanted": check.wanted(context),
        "result": result,
        "file": file,
        "line": line,
    }
