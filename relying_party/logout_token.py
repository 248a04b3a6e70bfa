"""[15] Validates a logout token: Back-Channel Logout 1.0 (BCL) §2.6, in the order of its steps. Pure.

The IdP makes this token in ``idp/flow/logout_token.py``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jwt import PyJWK

from relying_party import jws
from relying_party.claims import check_audience, check_issuer, check_times, text
from relying_party.errors import InvalidToken

LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"
MAX_AGE = 24 * 3600  # seconds; some providers retry with the same token for a day


@dataclass(frozen=True)
class LogoutToken:
    """A valid logout token. It ends the sessions that match ``sid``, ``sub``, or both if it has both (BCL §2.7)."""

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
    """Return the token; raise :class:`InvalidToken` if a check of BCL §2.6 fails.

    ``algorithm`` is the client's ``id_token_signed_response_alg``. ``now`` is in seconds since the epoch. ``oldest``
    is the greatest accepted age in seconds.
    """
    # BCL §2.6 step 1: an encrypted token needs keys and algorithms from the registration; we registered none.
    # Step 2: validate the signature as for an ID token. Step 3: alg MUST NOT be none.
    header, claims = jws.verify(raw, keys, algorithm)
    check_type(header)
    # Step 4: validate iss, aud, iat and exp as for an ID token.
    check_issuer(claims, issuer)
    check_audience(claims, client_id)
    issued, expires = check_times(claims, now, oldest=oldest)
    # Steps 5 to 7. Step 8, the replay of a jti, needs the database: SessionStore.apply_logout.
    sub, sid = check_subject_or_session(claims)
    check_events(claims)
    check_no_nonce(claims)
    # Steps 9 to 11 are OPTIONAL: compare with a session. We do not, because the session may have ended already (§2.7).
    return LogoutToken(issuer, sub, sid, check_jti(claims), issued, expires, reason_for_user(claims))


def check_type(header: dict[str, Any]) -> None:
    """BCL §2.4: it is RECOMMENDED that a logout token has the type ``logout+jwt``. A missing type is accepted.

    RFC 8725 §3.11: an explicit type keeps other kinds of JWT out, such as an access token (``at+jwt``).
    """
    # RFC 7515 §4.1.9: the prefix "application/" may be omitted, and media types are case-insensitive.
    declared = header.get("typ", "JWT")
    kind = declared.lower().removeprefix("application/") if isinstance(declared, str) else declared
    if kind not in ("logout+jwt", "jwt"):
        raise InvalidToken("typ is not logout+jwt.", declared)


def check_subject_or_session(claims: dict[str, Any]) -> tuple[str | None, str | None]:
    """BCL §2.6 step 5: the token contains ``sub``, ``sid`` or both.

    BCL §2.4: without ``sid``, it means all sessions of the user.
    """
    sub, sid = text(claims, "sub"), text(claims, "sid")
    if sub is None and sid is None:
        raise InvalidToken("Both sub and sid are missing.")
    return sub, sid


def check_events(claims: dict[str, Any]) -> None:
    """BCL §2.6 step 6: ``events`` is a JSON object with the member name of the back-channel logout event.

    BCL §2.4: the member's value is a JSON object. Other members are allowed.
    """
    events = claims.get("events")
    if not isinstance(events, dict):
        raise InvalidToken("events is not a JSON object.", events)
    if not isinstance(events.get(LOGOUT_EVENT), dict):
        raise InvalidToken("events does not contain the back-channel logout event.", list(events))


def check_no_nonce(claims: dict[str, Any]) -> None:
    """BCL §2.6 step 7: the token does not contain ``nonce``.

    BCL §2.4: this keeps a logout token from being used as an ID token.
    """
    if "nonce" in claims:
        raise InvalidToken("A logout token must not have a nonce.", claims["nonce"])


def check_jti(claims: dict[str, Any]) -> str:
    """BCL §2.4: ``jti``, the unique identifier of the token, is REQUIRED."""
    jti = text(claims, "jti")
    if jti is None:
        raise InvalidToken("jti is missing.")
    return jti


def reason_for_user(claims: dict[str, Any]) -> str | None:
    """The provider's sentence for the user, or None.

    Not part of BCL: ``reason_user`` is from the Continuous Access Evaluation Profile 1.0 §2. A value that we cannot
    use is ignored, because BCL §2.4 says: claims that are not understood MUST be ignored.
    """
    texts = claims.get("reason_user")
    sentence = texts.get("en") if isinstance(texts, dict) else None
    if not isinstance(sentence, str) or not sentence.isprintable():
        return None
    return sentence[:200] or None
