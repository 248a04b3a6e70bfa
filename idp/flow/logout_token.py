"""[12] The claims of one logout token for one client (Back-Channel Logout 1.0 §2.4). Pure: no request, no database.

``relying_party/logout_token.py`` checks what this file makes.
"""

import secrets
from typing import Any

LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"
TYPE = "logout+jwt"  # BCL §2.4: recommended, so that it cannot be confused with another kind of token
SECONDS = 120  # BCL §2.4 recommends two minutes at most, which limits the use of a stolen token


def logout_token_claims(
    *, issuer: str, client_id: str, sub: str, sid: str, now: int, reason: str | None = None
) -> dict[str, Any]:
    """The claims. ``nonce`` is left out on purpose: BCL §2.4 prohibits it, so that it cannot pass for an ID token.

    ``jti`` is new for every attempt, so that a retry does not look like a replay. ``reason`` is a
    sentence for the user; give it for first-party clients only, as it may name another app.
    """
    claims: dict[str, Any] = {
        "iss": issuer,
        "aud": client_id,  # one token for one client, so that it is useless at another
        "iat": now,
        "exp": now + SECONDS,
        "jti": secrets.token_urlsafe(16),
        "events": {LOGOUT_EVENT: {}},
        "sub": sub,
        "sid": sid,
    }
    if reason:
        # BCL §2.4 allows further claims. This one comes from the Continuous Access Evaluation Profile 1.0 §2.
        claims["reason_user"] = {"en": reason}
    return claims
