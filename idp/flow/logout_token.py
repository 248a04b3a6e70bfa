"""[12] Pure: the claims of one logout token for one client. Back-Channel Logout 1.0 §2.4.

``relying_party/logout_token.py`` checks what this file makes.
"""

import secrets
from typing import Any

LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"
TYPE = "logout+jwt"  # BCL §2.4: recommended, so that nobody takes it for another kind of token
SECONDS = 120  # BCL §2.4 advises two minutes at most: a stolen one is soon worthless


def logout_token_claims(
    *, issuer: str, client_id: str, sub: str, sid: str, now: int, reason: str | None = None
) -> dict[str, Any]:
    """The claims. There is no ``nonce``, on purpose: with one it could pass for an ID token (BCL §2.4).

    ``jti`` is new for every attempt, so that a retry does not look like a replay. ``reason`` is a
    sentence for the user; give it for first-party clients only, as it may name another app.
    """
    claims: dict[str, Any] = {
        "iss": issuer,
        "aud": client_id,  # one token for one client: nobody can hand it on
        "iat": now,
        "exp": now + SECONDS,
        "jti": secrets.token_urlsafe(16),
        "events": {LOGOUT_EVENT: {}},
        "sub": sub,
        "sid": sid,
    }
    if reason:
        # Not of this specification, which allows further claims: borrowed from the Continuous Access
        # Evaluation Profile 1.0 §2.
        claims["reason_user"] = {"en": reason}
    return claims
