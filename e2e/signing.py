"""A key for a provider that the tests start, so that a story can sign with it."""

import json
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from jwt.algorithms import RSAAlgorithm


def new_key() -> rsa.RSAPrivateKey:
    """For RS256."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def as_jwk(key: rsa.RSAPrivateKey, kid: str) -> dict[str, Any]:
    """The private key, for a test."""
    found: dict[str, Any] = json.loads(RSAAlgorithm.to_jwk(key))
    found.pop("key_ops", None)
    return {**found, "kid": kid, "alg": "RS256", "use": "sig"}


def as_pem(key: rsa.RSAPrivateKey) -> str:
    """The private key, for a provider that takes no JWK."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
