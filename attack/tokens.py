"""Valid and invalid tokens. Built by hand, because no library would sign most of them."""

import hashlib
import hmac
import json
import secrets
import time
from base64 import b64encode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"
HASHES: dict[str, type[hashes.SHA256 | hashes.SHA384 | hashes.SHA512]] = {
    "256": hashes.SHA256,
    "384": hashes.SHA384,
    "512": hashes.SHA512,
}
CURVES: dict[str, type[ec.EllipticCurve]] = {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1, "ES512": ec.SECP521R1}
CURVE_NAMES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", *CURVES, "EdDSA")

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


@dataclass(frozen=True)
class Key:
    """A private key and its kid."""

    private: PrivateKey
    kid: str

    def jwk(self, **members: Any) -> dict[str, Any]:
        """The public key (RFC 7517). It has no ``alg``, because the receiver must know the algorithm."""
        return {**self._numbers(), "kid": self.kid, "use": "sig", **members}

    def _numbers(self) -> dict[str, str]:
        public = self.private.public_key()
        if isinstance(public, rsa.RSAPublicKey):
            numbers = public.public_numbers()
            return {"kty": "RSA", "n": number(numbers.n), "e": number(numbers.e)}
        if isinstance(public, ec.EllipticCurvePublicKey):
            size = (public.curve.key_size + 7) // 8
            point = public.public_numbers()
            crv = CURVE_NAMES[public.curve.name]
            return {"kty": "EC", "crv": crv, "x": number(point.x, size), "y": number(point.y, size)}
        raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return {"kty": "OKP", "crv": "Ed25519", "x": b64(raw)}

    def pem(self) -> bytes:
        """The public key as a PEM file."""
        encoding, kind = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        return self.private.public_key().public_bytes(encoding, kind)

    def certificate(self) -> x509.Certificate:
        """The public key in a self-signed certificate."""
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, self.kid)])
        now = datetime.now(UTC)
        builder = x509.CertificateBuilder(name, name, self.private.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        is_edwards = isinstance(self.private, ed25519.Ed25519PrivateKey)
        return builder.sign(self.private, None if is_edwards else hashes.SHA256())

    def sign(self, alg: str, data: bytes) -> bytes:
        """RFC 7518 §3.3 to §3.5, RFC 8037 §3.1."""
        if isinstance(self.private, ed25519.Ed25519PrivateKey):
            return self.private.sign(data)
        chosen = HASHES[alg[2:]]()
        if isinstance(self.private, ec.EllipticCurvePrivateKey):
            size = (self.private.curve.key_size + 7) // 8
            r, s = decode_dss_signature(self.private.sign(data, ec.ECDSA(chosen)))
            return r.to_bytes(size, "big") + s.to_bytes(size, "big")
        if alg.startswith("PS"):
            return self.private.sign(data, padding.PSS(padding.MGF1(chosen), chosen.digest_size), chosen)
        return self.private.sign(data, padding.PKCS1v15(), chosen)


def make_key(alg: str, name: str) -> Key:
    """A new key that signs with ``alg``."""
    kid = f"{name}-{secrets.token_hex(4)}"
    if alg in CURVES:
        return Key(ec.generate_private_key(CURVES[alg]()), kid)
    if alg == "EdDSA":
        return Key(ed25519.Ed25519PrivateKey.generate(), kid)
    return Key(rsa.generate_private_key(65537, 2048), kid)


class KeyRing:
    """The keys of one run. ``alg`` is what the application expects."""

    def __init__(self, alg: str) -> None:
        self.alg = alg
        self.main = make_key(alg, "main")
        self.new = make_key(alg, "new")  # not published before the rotation
        self.attacker = make_key(alg, "attacker")  # never published
        is_rsa = isinstance(self.main.private, rsa.RSAPrivateKey)
        self.rsa = self.main if is_rsa else make_key("RS256", "rsa")
        self.elliptic = self.main if alg == "ES256" else make_key("ES256", "elliptic")

    def published(self) -> list[Key]:
        """The provider's genuine keys: one for the algorithm, and others, as in real key sets."""
        return list({key.kid: key for key in (self.main, self.rsa, self.elliptic)}.values())

    def other_algorithms(self) -> list[tuple[str, Key]]:
        """Algorithms the provider could use, but the client did not register."""
        genuine = [("RS256", self.rsa), ("RS512", self.rsa), ("PS256", self.rsa), ("ES256", self.elliptic)]
        return [(alg, key) for alg, key in genuine if alg != self.alg]


@dataclass(frozen=True)
class Tokens:
    """Creates tokens about one session. Without arguments they are valid; each argument alters one thing."""

    issuer: str
    client_id: str
    client_secret: str
    ring: KeyRing
    sub: str
    sid: str
    id_token: str = ""  # the tokens the application got for this session
    access_token: str = ""

    def claims(self, without: Collection[str] = (), **claims: Any) -> dict[str, Any]:
        """The claims of a valid logout token (BCL §2.4), with the given changes."""
        now = int(time.time())
        good = {
            "iss": self.issuer,
            "aud": self.client_id,
            "iat": now,
            "exp": now + 120,
            "jti": secrets.token_urlsafe(12),
            "events": {LOGOUT_EVENT: {}},
            "sub": self.sub,
            "sid": self.sid,
        }
        return {name: value for name, value in {**good, **claims}.items() if name not in without}

    def header(self, **members: Any) -> dict[str, Any]:
        """The header; a member with the value ``...`` is omitted."""
        whole = {"alg": self.ring.alg, "kid": self.ring.main.kid, **members}
        return {name: value for name, value in whole.items() if value is not ...}

    def logout(
        self,
        *,
        header: dict[str, Any] | None = None,
        key: Key | bytes | None = None,
        without: Collection[str] = (),
        **claims: Any,
    ) -> str:
        """A logout token."""
        return jws(self.header(**(header or {})), self.claims(without, **claims), key or self.ring.main)

    def of_payload(self, payload: str | bytes) -> str:
        """Any payload, correctly signed."""
        return jws(self.header(), payload if isinstance(payload, bytes) else payload.encode(), self.ring.main)

    def forged(self, **header: Any) -> str:
        """A logout token that is valid except for its key, which is the attacker's."""
        return self.logout(header=header, key=self.ring.attacker)


def jws(header: dict[str, Any] | bytes, payload: dict[str, Any] | bytes, key: Key | bytes | None) -> str:
    """A compact JWS (RFC 7515 §7.1). ``key`` is a secret for HS256, and None for no signature."""
    head = header if isinstance(header, bytes) else json.dumps(header).encode()
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    signed = f"{b64(head)}.{b64(body)}"
    if key is None:
        return f"{signed}."
    if isinstance(key, bytes):
        return f"{signed}.{b64(hmac.digest(key, signed.encode(), hashlib.sha256))}"
    alg = header["alg"] if isinstance(header, dict) else "RS256"
    return f"{signed}.{b64(key.sign(alg, signed.encode()))}"


def b64(value: bytes) -> str:
    """base64url without padding (RFC 7515 §2)."""
    return urlsafe_b64encode(value).rstrip(b"=").decode()


def unb64(value: str) -> bytes:
    """Decodes base64url without padding."""
    return urlsafe_b64decode(value + "=" * (-len(value) % 4))


def number(value: int, length: int | None = None) -> str:
    """Base64urlUInt (RFC 7518 §2)."""
    return b64(value.to_bytes(length or (value.bit_length() + 7) // 8, "big"))


def der_text(certificate: x509.Certificate) -> str:
    """An element of ``x5c`` (RFC 7515 §4.1.6)."""
    return b64encode(certificate.public_bytes(serialization.Encoding.DER)).decode()


def pem_text(certificate: x509.Certificate) -> bytes:
    """The response of an ``x5u`` URL (RFC 7515 §4.1.5)."""
    return certificate.public_bytes(serialization.Encoding.PEM)
