"""Checks that ID tokens and logout tokens share (BCL §2.6 step 4). Pure; each raises :class:`InvalidToken`."""

from typing import Any

from relying_party.errors import InvalidToken

LEEWAY = 60  # seconds of clock skew; RFC 7519 §4.1.4 allows "some small leeway, usually no more than a few minutes"


def check_issuer(claims: dict[str, Any], issuer: str) -> None:
    """Core §3.1.3.7 step 2: the issuer MUST exactly match ``iss``. A trailing slash is a difference."""
    if claims.get("iss") != issuer:
        raise InvalidToken("iss is not the issuer this client trusts.", claims.get("iss"))


def check_audience(claims: dict[str, Any], client_id: str) -> None:
    """Core §3.1.3.7 step 3: ``aud`` MUST contain our client id, and no audience that we do not trust.

    We trust no other audience.
    """
    audience = claims.get("aud")
    names = [audience] if isinstance(audience, str) else audience
    if not isinstance(names, list) or client_id not in names:
        raise InvalidToken("aud does not name this client.", audience)
    if any(name != client_id for name in names):
        raise InvalidToken("aud also names another audience.", audience)


def check_times(claims: dict[str, Any], now: int, *, oldest: int) -> tuple[int, int]:
    """Core §3.1.3.7 steps 9 and 10: the current time MUST be before ``exp``; reject an ``iat`` too far away.

    ``oldest`` is the greatest accepted age in seconds.
    """
    issued, expires = numeric_date(claims, "iat"), numeric_date(claims, "exp")
    if issued > now + LEEWAY:
        raise InvalidToken("iat lies in the future.", issued)
    if issued < now - oldest - LEEWAY:
        raise InvalidToken("iat lies too far in the past.", issued)
    if expires <= now - LEEWAY:
        raise InvalidToken("exp has passed.", expires)
    return issued, expires


def numeric_date(claims: dict[str, Any], name: str) -> int:
    """A required time claim. RFC 7519 §2, NumericDate: a JSON number of seconds since the epoch."""
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:  # NaN differs from itself
        raise InvalidToken(f"{name} is missing or not a number.", value)
    if abs(value) > 2**53:  # larger numbers may not fit the database's integer column
        raise InvalidToken(f"{name} is out of range.", str(value)[:80])
    return int(value)


def text(claims: dict[str, Any], name: str) -> str | None:
    """An optional claim; if present, a printable string of 1 to 255 characters."""
    if name not in claims:
        return None
    value = claims[name]
    if not isinstance(value, str) or not value:
        raise InvalidToken(f"{name} is not a non-empty string.", value)
    if not value.isprintable():  # a database may refuse NUL or half of a surrogate pair
        raise InvalidToken(f"{name} has characters that cannot be printed.", ascii(value[:80]))
    if len(value) > 255:  # Core §2: sub MUST NOT exceed 255 ASCII characters; we apply it to all
        raise InvalidToken(f"{name} is longer than 255 characters.", len(value))
    return value
