"""Encrypts the private signing keys in the database, so that a reader of the database cannot sign.

The key is derived from the IdP's ``PICKUP_SECRET_KEY``, which is not in the database.
"""

import json
from base64 import urlsafe_b64encode
from typing import Any, cast

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy import Connection, Engine

OPTION = "fernet"  # engine option: each connection of the engine has the key
ENCRYPTED = "encrypted"  # the member of a stored JWK that has the complete JWK, encrypted
PRIVATE = {"d", "p", "q", "dp", "dq", "qi", "oth"}  # RFC 7518 §6.2.2, §6.3.2; RFC 8037 §2


def use_key(engine: Engine, secret_key: str) -> None:
    """Encrypt and decrypt this database's keys with a key derived from ``secret_key``."""
    # RFC 5869: the cookies are signed with the same secret; this key has no other use.
    key = HKDF(SHA256(), 32, salt=None, info=b"pickup idp: private signing keys").derive(secret_key.encode())
    engine.update_execution_options(**{OPTION: Fernet(urlsafe_b64encode(key))})


def encrypt_jwk(bind: Engine | Connection, jwk: dict[str, Any]) -> dict[str, Any]:
    """A private JWK for storage: the public members in clear, and the complete JWK encrypted."""
    public = {name: value for name, value in jwk.items() if name not in PRIVATE}
    return {**public, ENCRYPTED: _fernet(bind).encrypt(json.dumps(jwk).encode()).decode()}


def is_encrypted(stored: dict[str, Any]) -> bool:
    """False for a key that an earlier version stored in clear."""
    return ENCRYPTED in stored


def decrypt_jwk(bind: Engine | Connection, stored: dict[str, Any]) -> dict[str, Any]:
    """The private JWK; only its public members if another key encrypted it."""
    if not is_encrypted(stored):
        return stored
    try:
        return cast(dict[str, Any], json.loads(_fernet(bind).decrypt(stored[ENCRYPTED])))
    except InvalidToken:
        return {name: value for name, value in stored.items() if name != ENCRYPTED}


def _fernet(bind: Engine | Connection) -> Fernet:
    return cast(Fernet, bind.get_execution_options()[OPTION])
