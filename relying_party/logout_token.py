"""[15] Pure: is this a logout token for us? Back-Channel Logout 1.0 §2.6, a function a clause, in its order.

``idp/flow/logout_token.py`` makes what this file checks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jwt import PyJWK

from relying_party import jws
from relying_party.claims import check_audience, check_issuer, check_times, text
from relying_party.errors import InvalidToken

LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"
MAX_AGE = 24 * 3600  # seconds; there are providers that keep offering one token for a day


@dataclass(frozen=True)
class LogoutToken:
    """Whose sessions end: those of ``sid``, or all of ``sub``'s, or those that have both."""

    iss: str
    sub: str | None
    sid: str | None
    jti: str
    iat: int
    exp: int
    reason: str | None


def validate_logout_token(
    raw: str,
    keys: Sequence[PyJWK],
    *,
    issuer: str,
    client_id: str,
    algorithm: str,
    now: int,
    oldest: int = MAX_AGE,
) -> LogoutToken:
    """The token, if it passes every check of BCL §2.6; else :class:`InvalidToken`.

    ``algorithm`` is the client's ``id_token_signed_response_alg``, ``now`` in seconds since the epoch,
    ``oldest`` how many seconds ago the token may have been issued.
    """
    # BCL §2.6 (1): encrypted tokens were not negotiated; (2): the issuer's signature;
    # (3): with the registered algorithm, never "none". All three happen in here:
    header, claims = jws.verify(raw, keys, algorithm)
    check_type(header)
    # BCL §2.6 (4): iss, aud, iat and exp, as in an ID token.
    check_issuer(claims, issuer)
    check_audience(claims, client_id)
    issued, expires = check_times(claims, now, oldest=oldest)
    sub, sid = check_subject_or_session(claims)
    check_events(claims)
    check_no_nonce(claims)
    return LogoutToken(issuer, sub, sid, check_jti(claims), issued, expires, reason_for_user(claims))


def check_type(header: dict[str, Any]) -> None:
    """``logout+jwt``, or nothing specific. Another explicit type is another kind of token."""
    # BCL §2.4 only recommends the type, so providers without it are in their right; RFC 8725 §3.11
    # is why an access token (at+jwt) must not pass. RFC 7515 §4.1.9: "application/" may be there.
    declared = header.get("typ", "JWT")
    kind = declared.lower().removeprefix("application/") if isinstance(declared, str) else declared
    if kind not in ("logout+jwt", "jwt"):
        raise InvalidToken("typ is not logout+jwt.", declared)


def check_subject_or_session(claims: dict[str, Any]) -> tuple[str | None, str | None]:
    """``sub``, ``sid`` or both."""
    # BCL §2.6 (5): one of the two is there. A token with sub alone is legal: all sessions of that user.
    sub, sid = text(claims, "sub"), text(claims, "sid")
    if sub is None and sid is None:
        raise InvalidToken("Neither sub nor sid says whose session ends.")
    return sub, sid


def check_events(claims: dict[str, Any]) -> None:
    """``events`` declares this to be a logout token."""
    # BCL §2.6 (6): events holds the logout member, and that is an object. Its name is "events": a
    # widely read tutorial prints "event". Further members do not matter.
    events = claims.get("events")
    if not isinstance(events, dict):
        raise InvalidToken("events is not a JSON object.", events)
    if not isinstance(events.get(LOGOUT_EVENT), dict):
        raise InvalidToken("events does not hold the back-channel logout event.", list(events))


def check_no_nonce(claims: dict[str, Any]) -> None:
    """A ``nonce``, even an empty one, would make it an ID token."""
    # BCL §2.6 (7): prohibited, so that a logout token can never pass for an ID token, nor the reverse.
    if "nonce" in claims:
        raise InvalidToken("A logout token has no nonce.", claims["nonce"])


def check_jti(claims: dict[str, Any]) -> str:
    """The token's own name; whether it was seen before is asked where it is carried out."""
    # BCL §2.4 requires it; BCL §2.6 (8), the replay, needs the database: see sessions.py.
    jti = text(claims, "jti")
    if jti is None:
        raise InvalidToken("jti is missing.")
    return jti


def reason_for_user(claims: dict[str, Any]) -> str | None:
    """A sentence for the user, if the provider sends one; never a reason to refuse."""
    # Not of this specification: the claim is borrowed from the Continuous Access Evaluation
    # Profile 1.0 §2, and like any claim it may be missing or odd (BCL §2.4: ignore what is not understood).
    texts = claims.get("reason_user")
    sentence = texts.get("en") if isinstance(texts, dict) else None
    if not isinstance(sentence, str) or not sentence.isprintable():
        return None
    return sentence[:200] or None
