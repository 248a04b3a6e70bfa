"""[6] Pure: is this an ID token for us, for this login? OpenID Connect Core §3.1.3.7."""

import hashlib
import hmac
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from typing import Any

from jwt import PyJWK

from relying_party import jws
from relying_party.claims import check_audience, check_issuer, check_times, text
from relying_party.errors import InvalidToken

MAX_AGE = 600  # seconds; the token was made for the login that is under way


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
    """The claims, if the token passes; else :class:`InvalidToken`.

    ``nonce`` is None after a refresh; ``access_token`` is the one that came with the ID token.
    """
    # Core §3.1.3.7 (6) to (8): signature by the issuer's key, with the registered algorithm.
    header, claims = jws.verify(raw, keys, algorithm)
    check_not_a_logout_token(header, claims)
    # Core §3.1.3.7 (2) to (5), (9), (10): issuer, audience, authorized party, times.
    check_issuer(claims, issuer)
    check_audience(claims, client_id)
    if claims.get("azp", client_id) != client_id:
        raise InvalidToken("azp is not this client.", claims["azp"])
    check_times(claims, now, oldest=MAX_AGE)
    if text(claims, "sub") is None:  # Core §2: who it is about
        raise InvalidToken("sub is missing.")
    text(claims, "sid")
    # Core §3.1.3.7 (11): the answer belongs to the question this browser asked.
    if nonce is not None and claims.get("nonce") != nonce:
        raise InvalidToken("nonce is not the one this login was started with.")
    check_access_token(claims, algorithm, access_token)
    return claims


def check_not_a_logout_token(header: dict[str, Any], claims: dict[str, Any]) -> None:
    """BCL §4.1: the two kinds of token must not be taken for each other."""
    if "events" in claims or header.get("typ", "JWT") not in ("JWT", "jwt"):
        raise InvalidToken("This is another kind of token, not an ID token.", header.get("typ"))


def check_access_token(claims: dict[str, Any], algorithm: str, access_token: str | None) -> None:
    """Core §3.1.3.8: ``at_hash`` is optional in the code flow, but if it is there it must fit."""
    if access_token is None or "at_hash" not in claims:
        return
    size = algorithm[-3:] if algorithm[-3:].isdigit() else "512"  # EdDSA with Ed25519 hashes with SHA-512
    digest = hashlib.new(f"sha{size}", access_token.encode()).digest()
    wanted = urlsafe_b64encode(digest[: len(digest) // 2]).rstrip(b"=")
    if not hmac.compare_digest(str(claims["at_hash"]).encode(errors="replace"), wanted):
        raise InvalidToken("at_hash does not fit the access token.", claims["at_hash"])
