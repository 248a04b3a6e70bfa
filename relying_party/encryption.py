"""Encrypts tokens and the client secret of an app that registered itself, before they go into the database.

The key is derived from Flask's ``SECRET_KEY``, so a copy of the database has no usable token.
"""

import json
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from flask import Flask

MARK = "encrypted:"  # begins each ciphertext; an earlier version stored values without encryption


class Encryption:
    """Authenticated encryption (Fernet) of JSON values. Shared by threads."""

    def __init__(self, secret_keys: Sequence[str | bytes]) -> None:
        """The first key encrypts, all of them decrypt."""
        self._fernet = MultiFernet([Fernet(_derive(key)) for key in secret_keys])

    @classmethod
    def from_app(cls, app: Flask) -> "Encryption":
        """With ``SECRET_KEY`` and, to decrypt, ``SECRET_KEY_FALLBACKS``. :class:`ValueError` without a key."""
        if not app.secret_key:
            raise ValueError("SECRET_KEY is not set. It encrypts the tokens that sessions keep.")
        return cls([app.secret_key, *(app.config["SECRET_KEY_FALLBACKS"] or ())])

    def encrypt(self, value: Any) -> str:
        """``value`` as JSON, encrypted."""
        return MARK + self._fernet.encrypt(json.dumps(value).encode()).decode()

    def decrypt(self, stored: Any) -> Any:
        """The value. A value that is not encrypted is returned as it is; one encrypted with another key gives None."""
        if not (isinstance(stored, str) and stored.startswith(MARK)):
            return stored
        try:
            return json.loads(self._fernet.decrypt(stored.removeprefix(MARK)))
        except InvalidToken:
            return None


def _derive(secret_key: str | bytes) -> bytes:
    # RFC 5869 §3.2: `info` binds the key to its purpose. Flask signs with the same secret.
    secret = secret_key.encode() if isinstance(secret_key, str) else secret_key
    return urlsafe_b64encode(HKDF(SHA256(), 32, salt=None, info=b"relying_party: stored tokens").derive(secret))
