"""Verifies the signature of ID tokens and logout tokens, and returns header and claims. Pure.

PyJWT does the cryptography. The caller names the algorithm; the token cannot choose it.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jwt import PyJWK, PyJWS, PyJWTError

from relying_party.errors import InvalidToken, UnknownKey

# RFC 8725 §3.1: the caller sets the supported algorithms, and no others are used. "none" proves nothing; with HS256,
# a public key could be used as the secret (§2.1).
KEY_TYPES: Mapping[str, Mapping[str, str]] = {
    **{name: {"kty": "RSA"} for name in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")},
    "ES256": {"kty": "EC", "crv": "P-256"},
    "ES384": {"kty": "EC", "crv": "P-384"},
    "ES512": {"kty": "EC", "crv": "P-521"},
    "EdDSA": {"kty": "OKP", "crv": "Ed25519"},
}
MAX_TOKEN_LENGTH = 16 * 1024  # characters; a large ID token has about 4,000
MAX_KEYS_TRIED = 8  # for a token without a key id

_jws = PyJWS()


def usable_keys(jwks: Iterable[object], algorithm: str) -> list[PyJWK]:
    """The keys of a JWK Set that can verify ``algorithm``.

    RFC 7517 §5: ignore keys whose ``kty`` is not understood, that lack members, or whose values are out of range.
    """
    keys = []
    for jwk in jwks:
        if not isinstance(jwk, dict) or jwk.get("use", "sig") != "sig" or jwk.get("alg", algorithm) != algorithm:
            continue
        if any(jwk.get(name) != value for name, value in KEY_TYPES[algorithm].items()):
            continue
        try:
            keys.append(PyJWK(jwk, algorithm))
        except PyJWTError:
            continue
    return keys


def verify(raw: str, keys: Sequence[PyJWK], algorithm: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of ``raw``, after one of ``keys`` has verified its signature.

    Raises :class:`UnknownKey` if a newer key set could help, else :class:`InvalidToken`.
    """
    if raw.count(".") == 4:  # RFC 7516 §9: a JWE has five parts. We registered no encryption (Core §3.1.3.7 step 1).
        raise InvalidToken("The token is encrypted, but no encryption was registered.")
    if len(raw) > MAX_TOKEN_LENGTH:
        raise InvalidToken("The token is too long.", len(raw))
    header = read_header(raw)
    # Core §3.1.3.7 step 7: alg SHOULD be the one in id_token_signed_response_alg. BCL §2.6 step 3: never "none".
    if header.get("alg") != algorithm:
        raise InvalidToken("The token is not signed with the registered algorithm.", header.get("alg"))
    kid = header.get("kid")
    for key in candidates(keys, kid):
        try:
            verified = _jws.decode_complete(raw, key, algorithms=[algorithm])
        except PyJWTError:
            continue
        return verified["header"], json_object(verified["payload"])
    # Without a kid, a forged signature looks like the signature of a new key.
    error = UnknownKey if kid is None else InvalidToken
    raise error("The signature of the token is wrong.", kid)


def candidates(keys: Sequence[PyJWK], kid: str | None) -> Sequence[PyJWK]:
    """Core §10.1: if the issuer has several keys, the token's header names one with ``kid``. Without it, try each."""
    fitting = keys[:MAX_KEYS_TRIED] if kid is None else [key for key in keys if key.key_id == kid]
    if not fitting:
        raise UnknownKey("The issuer does not publish the key that signed the token.", kid)
    return fitting


def read_header(raw: str) -> dict[str, Any]:
    """The header, not yet verified."""
    try:
        header = _jws.get_unverified_header(raw)
    except (PyJWTError, UnicodeError) as error:
        raise InvalidToken("This is not a signed JSON Web Token.", repr(error)) from error
    # RFC 7515 §4.1.11: if an extension listed in crit is not supported, the token is invalid. We support none. Older
    # versions of PyJWT do not check it.
    if "crit" in header:
        raise InvalidToken("This is not a signed JSON Web Token that we support: it has crit.", header["crit"])
    return header


def json_object(payload: bytes) -> dict[str, Any]:
    """RFC 7519 §7.2 step 10: the payload MUST be a JSON object in UTF-8. §4: its claim names MUST be unique."""
    try:
        claims = json.loads(payload.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidToken("The token's payload is not a JSON object.", repr(error)) from error
    if not isinstance(claims, dict):
        raise InvalidToken("The token's payload is not a JSON object.", type(claims).__name__)
    return claims


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a member occurs twice")
    return members


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")
