"""[6] Validates an ID token: OpenID Connect Core §3.1.3.7. Pure."""

import hashlib
import hmac
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from typing import Any

from jwt import PyJWK

from relying_party import jws
from relying_party.claims import check_audience, check_issuer, check_times, text
from relying_party.errors import InvalidToken

MAX_AGE = 600  # seconds; the IdP has just issued the token


def validate_id_token(
    raw: str,
    keys: Sequence[PyJWK],
    *,
    issuer: str,
    client_id: str,
    algorithm: str,
    now: int,
    nonce: str | None,
    access_token: str | None = None,
) -> dict[str, Any]:
    """Return the claims; raise :class:`InvalidToken` if a check fails.

    ``nonce`` is None after a refresh. ``access_token`` is the one from the same token response.
    """
    # Core §3.1.3.7 steps 6 to 8: validate the signature with the issuer's key; alg is the registered algorithm.
    header, claims = jws.verify(raw, keys, algorithm)
    check_not_a_logout_token(header, claims)
    # Core §3.1.3.7 steps 2 and 3.
    check_issuer(claims, issuer)
    check_audience(claims, client_id)
    # Core §3.1.3.7 step 5: if azp is present, verify that it is our client id.
    if claims.get("azp", client_id) != client_id:
        raise InvalidToken("azp is not this client.", claims["azp"])
    # Core §3.1.3.7 steps 9 and 10.
    check_times(claims, now, oldest=MAX_AGE)
    # Core §2: sub is REQUIRED.
    if text(claims, "sub") is None:
        raise InvalidToken("sub is missing.")
    text(claims, "sid")  # BCL §2.1: optional; a string
    # Core §3.1.3.7 step 11: nonce MUST be present and equal to the one in the authentication request.
    if nonce is not None and claims.get("nonce") != nonce:
        raise InvalidToken("nonce is not the one from the authentication request.")
    check_access_token(claims, algorithm, access_token)
    return claims


def check_not_a_logout_token(header: dict[str, Any], claims: dict[str, Any]) -> None:
    """RFC 8725 §3.12: validation rules of different kinds of JWT must be mutually exclusive (see BCL §4.1)."""
    if "events" in claims or header.get("typ", "JWT") not in ("JWT", "jwt"):
        raise InvalidToken("This is not an ID token but another kind of token.", header.get("typ"))


def check_access_token(claims: dict[str, Any], algorithm: str, access_token: str | None) -> None:
    """Core §3.1.3.8: if ``at_hash`` is present, it must match the left half of the access token's hash."""
    if access_token is None or "at_hash" not in claims:
        return
    size = algorithm[-3:] if algorithm[-3:].isdigit() else "512"  # Ed25519 uses SHA-512 (RFC 8032 §5.1)
    digest = hashlib.new(f"sha{size}", access_token.encode()).digest()
    wanted = urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=")
    if not hmac.compare_digest(str(claims["at_hash"]).encode(errors="replace"), wanted):
        raise InvalidToken("at_hash does not match the access token.", claims["at_hash"])
