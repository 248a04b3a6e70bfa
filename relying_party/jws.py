"""Pure: a signed token in, its header and claims out. Both ID tokens and logout tokens pass here.

PyJWT does the cryptography. The caller names the one algorithm; the token has no say in it.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jwt import PyJWK, PyJWS, PyJWTError

from relying_party.errors import InvalidToken, UnknownKey

# RFC 8725 §3.1: asymmetric signatures only. "none" proves nothing, and with HS256 a public key would be the secret.
KEY_TYPES: Mapping[str, Mapping[str, str]] = {
    **{name: {"kty": "RSA"} for name in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")},
    "ES256": {"kty": "EC", "crv": "P-256"},
    "ES384": {"kty": "EC", "crv": "P-384"},
    "ES512": {"kty": "EC", "crv": "P-521"},
    "EdDSA": {"kty": "OKP", "crv": "Ed25519"},
}
MAX_TOKEN_LENGTH = 16 * 1024  # a large ID token has 4 KiB; more is not worth decoding
MAX_KEYS_TRIED = 8  # how many keys a token without a key id may cost us

_jws = PyJWS()


def usable_keys(jwks: Iterable[object], algorithm: str) -> list[PyJWK]:
    """The keys of a JWK Set that can verify ``algorithm``; the others are passed over one by one.

    A set may hold curves nobody here knows, or keys for encryption (RFC 7517 §5: ignore those).
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
    """Header and claims of ``raw``, whose signature is verified with one of ``keys``.

    Raises :class:`UnknownKey` when a newer set of keys could help, else :class:`InvalidToken`.
    """
    if raw.count(".") == 4:  # RFC 7516 §9: five parts are an encrypted token, and we negotiated none
        raise InvalidToken("The token is encrypted, but no encryption was agreed upon.")
    if len(raw) > MAX_TOKEN_LENGTH:
        raise InvalidToken("The token is too long.", len(raw))
    header = read_header(raw)
    if header.get("alg") != algorithm:
        raise InvalidToken("The token is not signed with the algorithm agreed upon.", header.get("alg"))
    kid = header.get("kid")
    for key in candidates(keys, kid):
        try:
            verified = _jws.decode_complete(raw, key, algorithms=[algorithm])
        except PyJWTError:
            continue
        return verified["header"], json_object(verified["payload"])
    # Without a kid nobody can tell a forgery from a key that has just been rotated in.
    error = UnknownKey if kid is None else InvalidToken
    raise error("The signature of the token is wrong.", kid)


def candidates(keys: Sequence[PyJWK], kid: str | None) -> Sequence[PyJWK]:
    """Core §10.1: the key with this ``kid``; without a ``kid``, every key that could have signed."""
    fitting = keys[:MAX_KEYS_TRIED] if kid is None else [key for key in keys if key.key_id == kid]
    if not fitting:
        raise UnknownKey("The token is signed with a key that the issuer does not publish.", kid)
    return fitting


def read_header(raw: str) -> dict[str, Any]:
    """The header, not yet verified."""
    try:
        header = _jws.get_unverified_header(raw)
    except (PyJWTError, UnicodeError) as error:
        raise InvalidToken("This is not a signed JSON Web Token.", repr(error)) from error
    # RFC 7515 §4.1.11: an extension we must understand, and we understand none. Older versions of PyJWT let it pass.
    if "crit" in header:
        raise InvalidToken("This is not a signed JSON Web Token that is understood here.", header["crit"])
    return header


def json_object(payload: bytes) -> dict[str, Any]:
    """The claims: one JSON object in UTF-8 (RFC 7519 §7.2) whose members have different names (§4)."""
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
