"""Pure: the claims of an ID token (Core §2). ``relying_party/id_token.py`` checks what this file makes."""

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Collection, Mapping
from typing import Any

ID_TOKEN_SECONDS = 3600
# Core §5.4: the claims that each scope requests.
SCOPE_CLAIMS = {
    "profile": "name family_name given_name middle_name nickname preferred_username profile picture website gender "
    "birthdate zoneinfo locale updated_at",
    "email": "email email_verified",
    "address": "address",
    "phone": "phone_number phone_number_verified",
}
STANDARD_CLAIMS = {name for names in SCOPE_CLAIMS.values() for name in names.split()}


def id_token_claims(
    *,
    issuer: str,
    client_id: str,
    sub: str,
    sid: str | None,
    auth_time: int,
    amr: list[str],
    acr: str | None,
    nonce: str | None,
    access_token: str | None,
    code: str | None,
    alg: str,
    now: int,
) -> dict[str, Any]:
    """The claims, with ``sid``: the same for every client of the session (BCL §2.1)."""
    claims: dict[str, Any] = {
        "iss": issuer,
        "sub": sub,
        "aud": client_id,
        "azp": client_id,
        "iat": now,
        "nbf": now,
        "exp": now + ID_TOKEN_SECONDS,
        "auth_time": auth_time,  # when the password was entered; a refresh does not change it
        "amr": amr,
        "sid": sid,
        "acr": acr,
        "nonce": nonce,
        "at_hash": half_hash(access_token, alg) if access_token else None,
        "c_hash": half_hash(code, alg) if code else None,
    }
    return {name: value for name, value in claims.items() if value is not None}  # Core §2: no nulls


def half_hash(value: str, alg: str) -> str:
    """Core §3.1.3.6: the left half of the value's hash, with the hash function of the signature algorithm."""
    digest = hashlib.sha512 if alg == "EdDSA" else hashlib.sha256
    whole = digest(value.encode("ascii")).digest()
    return urlsafe_b64encode(whole[: len(whole) // 2]).rstrip(b"=").decode()


def granted_claims(known: Mapping[str, Any], scopes: Collection[str], asked: Collection[str]) -> dict[str, Any]:
    """The user's claims that the scopes (Core §5.4) or the claims parameter (§5.5) request."""
    names = {*asked, *(name for scope in scopes for name in SCOPE_CLAIMS.get(scope, "").split())}
    if "profile" in scopes:  # with the claims that no scope of the specification has, such as groups
        names |= set(known) - STANDARD_CLAIMS
    return {name: value for name, value in known.items() if name in names}
