"""Verifies an ``id_token_hint``: an ID token that we issued earlier (Core §3.1.2.1, RPIL §2)."""

from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError

from idp.provider import current_provider


class HintError(Exception):
    """The hint is not an ID token of this provider."""


def verify_hint(hint: str) -> dict[str, Any]:
    """The hint's claims. RPIL §2: an expired ID token is accepted, but only one that we signed."""
    keys = current_provider().keys
    try:
        token = jwt.decode(hint, keys.public_keys(), algorithms=keys.algorithms())
    except (JoseError, ValueError) as error:
        raise HintError("id_token_hint is not an ID token of this provider.") from error
    claims = token.claims
    # RFC 8725 §3.12: reject logout tokens and userinfo responses, which we sign with the same keys.
    is_id_token = token.header.get("typ", "JWT") == "JWT" and "events" not in claims and "auth_time" in claims
    if claims.get("iss") != current_provider().issuer or not is_id_token:
        raise HintError("id_token_hint is not an ID token of this provider.")
    return dict(claims)
