"""Logout tokens as an attacker makes them, and the one genuine kind to compare them with."""

import hashlib
import hmac
import json
import secrets
import time
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"


@dataclass(frozen=True)
class Forgery:
    """One thing that is wrong with a token that is right otherwise; ``because`` is in the refusal."""

    name: str
    because: str
    claims: dict[str, Any] = field(default_factory=dict)  # None takes the claim away
    header: dict[str, Any] = field(default_factory=dict)
    needs: str = ""  # a capability of the app, where the specification lets it choose


# The provider itself would have to sign these: each shows that one check, and no other, refuses.
SIGNED_BY_THE_PROVIDER = [
    Forgery("another app's audience", "aud", claims={"aud": "pickup-dispatch"}),
    Forgery("another issuer", "iss", claims={"iss": "http://idp.example"}),
    Forgery("`event` for `events`", "events", claims={"events": None, "event": {LOGOUT_EVENT: {}}}),
    Forgery("a nonce", "nonce", claims={"nonce": "n-0S6_WzA2Mj"}),
    Forgery("no jti", "jti", claims={"jti": None}, needs="checks_jti_and_typ"),
    Forgery("expired an hour ago", "exp", claims={"iat": int(time.time()) - 3720, "exp": int(time.time()) - 3600}),
    Forgery("neither sub nor sid", "sid", claims={"sub": None, "sid": None}),
    Forgery("an access token's type", "typ", header={"typ": "at+jwt"}, needs="checks_jti_and_typ"),
]


def logout_claims(issuer: str, client_id: str, sub: str, sid: str | None) -> dict[str, Any]:
    """Claims with which nothing is wrong (BCL §2.4)."""
    claims = {
        "iss": issuer,
        "aud": client_id,
        "iat": int(time.time()),
        "exp": int(time.time()) + 120,
        "jti": secrets.token_urlsafe(),
        "events": {LOGOUT_EVENT: {}},
        "sub": sub,
        "sid": sid,
    }
    return without_none(claims)


def without_none(members: dict[str, Any]) -> dict[str, Any]:
    """The members that have a value."""
    return {name: value for name, value in members.items() if value is not None}


def sign(claims: dict[str, Any], key: dict[str, Any], **header: Any) -> str:
    """As the provider signs; ``key`` is a private JWK."""
    private = jwt.PyJWK(key, "RS256").key
    return jwt.encode(claims, private, "RS256", headers={"kid": key["kid"], "typ": "logout+jwt", **header})


def tampered(forgery: Forgery, claims: dict[str, Any], key: dict[str, Any]) -> str:
    """The forgery, signed by the provider's own key."""
    return sign(without_none({**claims, **forgery.claims}), key, **forgery.header)


def signed_by_somebody_else(claims: dict[str, Any], kid: str) -> str:
    """A key of the attacker's, under the name of the provider's."""
    mine = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return jwt.encode(claims, mine, "RS256", headers={"kid": kid, "typ": "logout+jwt"})


def unsigned(claims: dict[str, Any]) -> str:
    """``alg: none``."""
    return jwt.encode(claims, "", "none", headers={"typ": "logout+jwt"})


def signed_with_the_public_key(claims: dict[str, Any], public_jwk: dict[str, Any]) -> str:
    """HS256, where the public key is taken for the shared secret. By hand: PyJWT refuses to help with this."""
    header = {"alg": "HS256", "kid": public_jwk["kid"], "typ": "logout+jwt"}
    signed = ".".join(encoded(json.dumps(part).encode()) for part in (header, claims))
    secret = json.dumps(public_jwk).encode()
    return f"{signed}.{encoded(hmac.digest(secret, signed.encode(), hashlib.sha256))}"


def encoded(value: bytes) -> str:
    """Base64url without padding (RFC 7515 §2)."""
    return urlsafe_b64encode(value).rstrip(b"=").decode()
