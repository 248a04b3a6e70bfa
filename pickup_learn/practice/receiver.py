"""Checks a logout token with PyJWT (Back-Channel Logout §2.6). Pure: the keys, the time and the settings are given.

With the right settings every check is made. A lab changes one of them for one person.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jwt

from pickup_learn.forgery import hs256_signature
from pickup_learn.practice.settings import Behaviour

NAMES, MAX_NAME = ("sub", "sid", "jti"), 255  # characters
EVENT = "http://schemas.openid.net/event/backchannel-logout"
MAX_TOKEN = 16 * 1024  # characters; a logout token has about 1,000
LEEWAY = 30  # seconds that two right clocks may differ
MAX_TIME = 2**53  # NaN is not below it
OLDEST = 24 * 3600  # seconds: an older token was not meant for a session that is active now
NO_CHECKS: Any = {f"verify_{name}": False for name in ("exp", "nbf", "iat", "aud", "iss", "sub", "jti")}  # made below

Claims = dict[str, Any]
Keys = Callable[[str | None], Any]  # the IdP's public key with this kid; raises Refused if there is none


class Refused(Exception):  # not a fault of ours
    """Why a logout token is refused, in one sentence."""


def unverified(token: str) -> Claims:
    """The claims before any check. They only choose whose settings apply."""
    try:
        return dict(jwt.decode(token[:MAX_TOKEN], options={"verify_signature": False}))
    except (jwt.InvalidTokenError, RecursionError):
        return {}


def verified(token: str, keys: Keys, behaviour: Behaviour, *, issuer: str, now: float) -> Claims:
    """The claims of a good logout token; :class:`Refused` for every other."""
    if behaviour["checks"] == "none":
        return named(token)
    header, claims = (
        carelessly_signed_content(token, keys, behaviour["algorithms"])
        if behaviour["algorithms"] != "RS256"
        else signed_content(token, keys)
    )
    check_claims(claims, issuer, behaviour["audience"])
    check_times(claims, now + int(behaviour["clock"]))
    if behaviour["kind"] == "nothing":
        return named(token)
    check_type(header, behaviour["typ"])
    check_kind(claims)
    return claims


def named(token: str) -> Claims:
    """Whom the token names, as text that the database takes. Only a lab trusts it."""
    return {name: value for name, value in unverified(token).items() if name in NAMES and is_name(value)}


def is_name(value: Any) -> bool:
    """Text that the database takes: a database may refuse NUL or half of a surrogate pair."""
    return isinstance(value, str) and value.isprintable() and 0 < len(value) <= MAX_NAME


def carelessly_signed_content(token: str, keys: Keys, accepted: str) -> tuple[Mapping[str, Any], Claims]:
    """The fault of a lab: the token says how it is to be verified (RFC 8725 §2.1)."""
    signed, _, signature = token[:MAX_TOKEN].rpartition(".")
    try:
        header = jwt.get_unverified_header(token[:MAX_TOKEN])
    except (jwt.InvalidTokenError, RecursionError) as error:
        raise Refused("This is not a signed JSON Web Token.") from error
    if header.get("alg") != accepted:
        return signed_content(token, keys)
    expected = "" if accepted == "none" else hs256_signature(signed, keys(header.get("kid")))
    if signature != expected:
        raise Refused("The signature of the token is wrong.")
    return header, unverified(token)


def signed_content(token: str, keys: Keys) -> tuple[Mapping[str, Any], Claims]:
    """Header and claims, after the check of the signature."""
    if len(token) > MAX_TOKEN:
        raise Refused("The token is too long.")
    try:
        header = jwt.get_unverified_header(token)
        # BCL §2.6: with the algorithm that the client registered for its ID tokens, and never with none.
        content = jwt.decode_complete(token, keys(header.get("kid")), algorithms=["RS256"], options=NO_CHECKS)
    except jwt.InvalidAlgorithmError as error:
        raise Refused("The token is not signed with RS256.") from error
    except jwt.InvalidSignatureError as error:
        raise Refused("The signature of the token is wrong.") from error
    except (jwt.InvalidTokenError, RecursionError) as error:
        raise Refused("This is not a signed JSON Web Token.") from error
    return content["header"], content["payload"]


def check_type(header: Mapping[str, Any], accepted: str) -> None:
    """BCL §2.4: typ is logout+jwt. A token without one, or with JWT, may be a logout token of an older provider."""
    typ = str(header.get("typ") or "JWT").lower().removeprefix("application/")
    if typ not in ({"logout+jwt", "jwt"} if accepted == "logout+jwt" else {"jwt"}):
        raise Refused(f"typ is not {accepted}.")


def check_claims(claims: Claims, issuer: str, audience: str) -> None:
    """BCL §2.6: iss and aud as in an ID token; sub, sid or both."""
    if claims.get("iss") != issuer:
        raise Refused("iss is not the issuer that Practice trusts.")
    if claims.get("aud") not in (audience, [audience]):
        raise Refused("aud does not name this client.")
    if not all(is_name(claims[name]) for name in ("sub", "sid") if name in claims):
        raise Refused("sub or sid is not a text.")
    if not {"sub", "sid"} & claims.keys():
        raise Refused("Both sub and sid are missing.")


def check_kind(claims: Claims) -> None:
    """BCL §2.6: the event, and no nonce; §2.4: jti."""
    events = claims.get("events")
    if not isinstance(events, dict) or not isinstance(events.get(EVENT), dict):
        raise Refused("events does not contain the back-channel logout event.")
    if "nonce" in claims:
        raise Refused("A logout token must not have a nonce.")
    if not is_name(claims.get("jti")):
        raise Refused("jti is missing.")


def check_times(claims: Claims, now: float) -> None:
    """BCL §2.6: iat and exp as in an ID token."""
    for name in ("iat", "exp"):
        if isinstance(claims.get(name), bool) or not isinstance(claims.get(name), int | float):
            raise Refused(f"{name} is missing or not a number.")
        if not -MAX_TIME < claims[name] < MAX_TIME:
            raise Refused(f"{name} is out of range.")
    if claims["iat"] > now + LEEWAY:
        raise Refused("iat lies in the future.")
    if claims["iat"] < now - OLDEST:
        raise Refused("iat lies too far in the past.")
    if claims["exp"] <= now - LEEWAY:
        raise Refused("exp has passed.")
