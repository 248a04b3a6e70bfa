"""Signed tokens, built by hand: a test can alter exactly one thing, including what no library would sign."""

import functools
import hashlib
import hmac
import json
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"
HASHES: dict[str, Callable[[], hashes.HashAlgorithm]] = {
    "256": hashes.SHA256,
    "384": hashes.SHA384,
    "512": hashes.SHA512,
}


@dataclass(frozen=True)
class SigningKey:
    """A private key and its kid."""

    private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
    kid: str

    def public_jwk(self, **members: str) -> dict[str, str]:
        """RFC 7517, with further ``members``."""
        public = self.private.public_key()
        if isinstance(public, rsa.RSAPublicKey):
            numbers = public.public_numbers()
            jwk = {"kty": "RSA", "n": number(numbers.n), "e": number(numbers.e)}
        elif isinstance(public, ed25519.Ed25519PublicKey):
            jwk = {"kty": "OKP", "crv": "Ed25519", "x": b64(public.public_bytes_raw())}
        else:
            point = public.public_numbers()
            jwk = {"kty": "EC", "crv": "P-256", "x": number(point.x, 32), "y": number(point.y, 32)}
        return {**jwk, "kid": self.kid, **members}

    def public_pem(self) -> bytes:
        """The public key as a PEM file."""
        encoding, kind = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        return self.private.public_key().public_bytes(encoding, kind)

    def sign(self, alg: str, data: bytes) -> bytes:
        """RFC 7518 §3.3 to §3.5, RFC 8037 §3.1."""
        if isinstance(self.private, ed25519.Ed25519PrivateKey):
            return self.private.sign(data)
        chosen = HASHES[alg[2:]]()
        if isinstance(self.private, ec.EllipticCurvePrivateKey):
            r, s = decode_dss_signature(self.private.sign(data, ec.ECDSA(chosen)))
            return r.to_bytes(32, "big") + s.to_bytes(32, "big")
        if alg.startswith("PS"):
            return self.private.sign(data, padding.PSS(padding.MGF1(chosen), chosen.digest_size), chosen)
        return self.private.sign(data, padding.PKCS1v15(), chosen)


@functools.cache
def rsa_key(kid: str) -> SigningKey:
    """The RSA key of that name, created once."""
    return SigningKey(rsa.generate_private_key(65537, 2048), kid)


@functools.cache
def ec_key(kid: str) -> SigningKey:
    """The P-256 key of that name, created once."""
    return SigningKey(ec.generate_private_key(ec.SECP256R1()), kid)


@functools.cache
def ed_key(kid: str) -> SigningKey:
    """The Ed25519 key of that name, created once."""
    return SigningKey(ed25519.Ed25519PrivateKey.generate(), kid)


def jws(header: dict[str, Any], payload: dict[str, Any] | bytes, key: SigningKey | bytes | None) -> str:
    """A compact JWS (RFC 7515 §7.1). ``key`` is a secret for HS256, and None for no signature."""
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    signed = f"{b64(json.dumps(header).encode())}.{b64(body)}"
    if key is None:
        return f"{signed}."
    if isinstance(key, bytes):
        return f"{signed}.{b64(hmac.digest(key, signed.encode(), hashlib.sha256))}"
    return f"{signed}.{b64(key.sign(header['alg'], signed.encode()))}"


def read(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims, not verified."""
    header, claims, _ = token.split(".")
    return json.loads(unb64(header)), json.loads(unb64(claims))


def b64(value: bytes) -> str:
    """base64url without padding."""
    return urlsafe_b64encode(value).rstrip(b"=").decode()


def unb64(value: str) -> bytes:
    """Decodes base64url without padding."""
    return urlsafe_b64decode(value + "=" * (-len(value) % 4))


def number(value: int, length: int | None = None) -> str:
    """Base64urlUInt (RFC 7518 §2)."""
    return b64(value.to_bytes(length or (value.bit_length() + 7) // 8, "big"))


@dataclass(frozen=True)
class TokenMaker:
    """Creates tokens of one issuer for one client; each argument changes one thing of a valid token."""

    issuer: str
    client_id: str
    key: SigningKey
    now: int

    def logout_claims(self, without: Collection[str] = (), **claims: Any) -> dict[str, Any]:
        """The claims of a valid logout token, with the given changes."""
        good = {
            "iss": self.issuer,
            "aud": self.client_id,
            "iat": self.now,
            "exp": self.now + 120,
            "jti": secrets.token_hex(8),
            "events": {LOGOUT_EVENT: {}},
            "sub": "a user",
            "sid": "a session",
        }
        return {name: value for name, value in {**good, **claims}.items() if name not in without}

    def logout_token(
        self,
        *,
        header: dict[str, Any] | None = None,
        key: SigningKey | bytes | None = None,
        without: Collection[str] = (),
        **claims: Any,
    ) -> str:
        """A valid logout token (BCL §2.4), with the given changes."""
        whole = {"alg": "RS256", "kid": self.key.kid, **(header or {})}
        return jws(
            {name: value for name, value in whole.items() if value is not ...},
            self.logout_claims(without, **claims),
            key or self.key,
        )

    def id_token(
        self,
        *,
        header: dict[str, Any] | None = None,
        key: SigningKey | bytes | None = None,
        without: Collection[str] = (),
        **claims: Any,
    ) -> str:
        """A valid ID token (Core §2), with the given changes."""
        good = {
            "iss": self.issuer,
            "aud": self.client_id,
            "iat": self.now,
            "exp": self.now + 3600,
            "auth_time": self.now,
            "sub": "a user",
            "sid": "a session",
            "nonce": "a nonce",
        }
        whole = {"alg": "RS256", "kid": self.key.kid, **(header or {})}
        return jws(
            {name: value for name, value in whole.items() if value is not ...},
            {name: value for name, value in {**good, **claims}.items() if name not in without},
            key or self.key,
        )
