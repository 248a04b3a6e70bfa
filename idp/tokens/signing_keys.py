"""The IdP's signing keys: made at the first start, stored encrypted in the database, loaded once per process.

Loaded keys are kept, because importing a private RSA key takes 27 ms and signing with it 0.23 ms.

A new key is published before it signs, so that clients can fetch it in time. An old key stays published until the
tokens that it signed are no longer accepted.
"""

import secrets
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey, Key, KeySet, OKPKey, RSAKey
from joserfc.jws import JWSRegistry
from sqlalchemy import Connection, Engine, select, update
from sqlalchemy.orm import Session

from idp.encryption import decrypt_jwk, encrypt_jwk, is_encrypted
from idp.models import SigningKey
from pickup_web.clock import now

# RFC 9864 replaces the name EdDSA by Ed25519, which clients do not know yet. The algorithm itself is secure.
JWSRegistry.algorithms["EdDSA"].security_warning = None

RELOAD_SECONDS = 30  # how soon a process loads a key that another process made
BEFORE_SIGNING_SECONDS = (
    120  # a key is published this long before it signs; exceeds RELOAD_SECONDS and the JWKS max-age
)
AFTER_SIGNING_SECONDS = 24 * 3600  # ID tokens of ten-hour sessions come back as hints (RPIL §2)
RSA_BITS = 2048


class NoSigningKeyError(Exception):
    """A client is registered for an algorithm that this IdP does not offer (any longer)."""


@dataclass(frozen=True)
class LoadedKey:
    """A key that can sign; or only verify, if its private part cannot be decrypted."""

    kid: str
    alg: str
    signs_from: int
    key: Key


class SigningKeys:
    """The keys that this process has loaded, shared by its threads."""

    def __init__(self, engine: Engine, algorithms: Sequence[str]) -> None:
        self._engine, self._algorithms = engine, algorithms
        self._lock = threading.Lock()
        self.loaded: dict[str, LoadedKey] = {}  # by kid
        self._loaded_at = 0

    def sign(self, claims: dict[str, Any], *, alg: str, typ: str) -> str:
        """``claims`` as a signed JWT with the header's ``kid`` and ``typ``."""
        keys = [key for key in self._keys() if key.alg == alg and key.key.is_private]
        if not keys:
            raise NoSigningKeyError(alg)
        current = [key for key in keys if key.signs_from <= now()]
        # The clock was ahead when the first key was made, so it signs already: clients know no other key.
        signer = max(current, key=lambda key: key.signs_from) if current else min(keys, key=lambda key: key.signs_from)
        return jwt.encode({"alg": alg, "kid": signer.kid, "typ": typ}, claims, signer.key, [alg])

    def jwks(self) -> dict[str, Any]:
        """The public keys: a JWK Set (RFC 7517 §5)."""
        return {"keys": [public_jwk(key) for key in self._keys()]}

    def public_keys(self) -> KeySet:
        """The same keys, to verify ID tokens that we receive as hints."""
        return KeySet([loaded.key for loaded in self._keys()])

    def algorithms(self) -> list[str]:
        """The offered algorithms for which a key exists."""
        return [alg for alg in self._algorithms if any(key.alg == alg for key in self._keys())]

    def _keys(self) -> list[LoadedKey]:
        if self._loaded_at + RELOAD_SECONDS < now() or not self.loaded:
            with self._lock:
                self._reload()
        return list(self.loaded.values())

    def _reload(self) -> None:
        with Session(self._engine) as db:
            offered = select(SigningKey).where(SigningKey.alg.in_(self._algorithms))
            rows = db.scalars(offered.order_by(SigningKey.created_at)).all()
        published = [row for row in rows if row.published_until is None or row.published_until > now()]
        known = self.loaded
        self.loaded = {row.kid: known.get(row.kid) or load(row, self._engine) for row in published}
        self._loaded_at = now()


def load(row: SigningKey, bind: Engine | Connection) -> LoadedKey:
    """The row as a key object. Slow, so done once per process."""
    kinds: dict[str, type[RSAKey] | type[ECKey] | type[OKPKey]] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}
    key = kinds[row.private_jwk["kty"]].import_key({**decrypt_jwk(bind, row.private_jwk), "kid": row.kid})
    return LoadedKey(row.kid, row.alg, row.signs_from, key)


def public_jwk(loaded: LoadedKey) -> dict[str, Any]:
    """The public JWK: never private members (RFC 7517 §9.2), always a kid (Core §10.1)."""
    return {**loaded.key.as_dict(private=False), "kid": loaded.kid, "use": "sig", "alg": loaded.alg}


def make_key(alg: str, signs_from: int) -> SigningKey:
    """A new key pair, not encrypted yet."""
    if alg == "RS256":
        key: Key = RSAKey.generate_key(RSA_BITS, private=True)
    elif alg == "ES256":
        key = ECKey.generate_key("P-256", private=True)
    else:
        key = OKPKey.generate_key("Ed25519", private=True)
    private_jwk = dict(key.as_dict(private=True))
    return SigningKey(
        kid=secrets.token_urlsafe(12), alg=alg, private_jwk=private_jwk, created_at=now(), signs_from=signs_from
    )


def make_first_keys(db: Session, algorithms: Sequence[str]) -> None:
    """Makes a key for each offered algorithm that has none: at the first start, or when the settings add one.

    Encrypts keys that an earlier version stored in clear. A key that cannot be decrypted, because the secret key in
    the settings changed, stays published for as long as a rotated key.
    """
    bind, present = db.get_bind(), set()
    for row in db.scalars(select(SigningKey)):
        if not is_encrypted(row.private_jwk):
            row.private_jwk = encrypt_jwk(bind, row.private_jwk)
        if "d" in decrypt_jwk(bind, row.private_jwk):
            present.add(row.alg)
        elif row.published_until is None:
            row.published_until = now() + AFTER_SIGNING_SECONDS
    add_keys(db, [make_key(alg, now()) for alg in algorithms if alg not in present])


def add_keys(db: Session, keys: list[SigningKey]) -> None:
    """Store new keys; their private parts are never written in clear."""
    for key in keys:
        key.private_jwk = encrypt_jwk(db.get_bind(), key.private_jwk)
    db.add_all(keys)


def rotate(db: Session, algorithms: Sequence[str]) -> list[SigningKey]:
    """Publish the next keys, and set until when the current ones are published. Commits; returns the new keys."""
    signs_from = now() + BEFORE_SIGNING_SECONDS
    retired = update(SigningKey).where(SigningKey.published_until.is_(None))
    db.execute(retired.values(published_until=signs_from + RELOAD_SECONDS + AFTER_SIGNING_SECONDS))
    new = [make_key(alg, signs_from) for alg in algorithms]
    add_keys(db, new)
    db.commit()
    return new
