"""Pure: the checks that ID tokens and logout tokens have in common. Each returns or raises :class:`InvalidToken`."""

import math
from typing import Any

from relying_party.errors import InvalidToken

LEEWAY = 60  # seconds by which two well-kept clocks may differ


def check_issuer(claims: dict[str, Any], issuer: str) -> None:
    """The same string, character by character; a slash at the end is a difference (Core §3.1.3.7 (2))."""
    if claims.get("iss") != issuer:
        raise InvalidToken("iss is not the issuer this client trusts.", claims.get("iss"))


def check_audience(claims: dict[str, Any], client_id: str) -> None:
    """Ourselves and nobody else: we trust no other audience (Core §3.1.3.7 (3))."""
    audience = claims.get("aud")
    names = [audience] if isinstance(audience, str) else audience
    if not isinstance(names, list) or client_id not in names:
        raise InvalidToken("aud does not name this client.", audience)
    if any(name != client_id for name in names):
        raise InvalidToken("aud names an audience besides this client.", audience)


def check_times(claims: dict[str, Any], now: int, *, oldest: int) -> tuple[int, int]:
    """``iat`` and ``exp``: numbers, issued already and at most ``oldest`` seconds ago, not expired."""
    issued, expires = numeric_date(claims, "iat"), numeric_date(claims, "exp")
    if issued > now + LEEWAY:
        raise InvalidToken("iat lies in the future.", issued)
    if issued < now - oldest - LEEWAY:
        raise InvalidToken("iat lies too far in the past.", issued)
    if expires <= now - LEEWAY:
        raise InvalidToken("exp has passed.", expires)
    return issued, expires


def numeric_date(claims: dict[str, Any], name: str) -> int:
    """A required time of the token, in whole seconds since the epoch (RFC 7519 §2)."""
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InvalidToken(f"{name} is missing or not a number.", value)
    if abs(value) > 2**53:  # larger numbers are no dates, and do not fit a database's integer
        raise InvalidToken(f"{name} is out of range.", value)
    return int(value)


def text(claims: dict[str, Any], name: str) -> str | None:
    """An optional claim that, if it is there, is a printable string of 1 to 255 characters."""
    if name not in claims:
        return None
    value = claims[name]
    if not isinstance(value, str) or not value:
        raise InvalidToken(f"{name} is not a non-empty string.", value)
    if not value.isprintable():  # BCL §2.1 wants printable ASCII in sid; half a surrogate or NUL fits no database
        raise InvalidToken(f"{name} holds characters that cannot be printed.", ascii(value[:80]))
    if len(value) > 255:  # Core §2 bounds sub; nobody needs more for the others
        raise InvalidToken(f"{name} is longer than 255 characters.", len(value))
    return value
