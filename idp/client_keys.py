"""The public keys of a client, by value or by reference (Registration §2: ``jwks``, ``jwks_uri``)."""

import json
import threading
from contextlib import suppress
from typing import Any

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry, Key

from idp.fetch import Door, FetchError
from idp.models import Client
from pickup_web.clock import now

ALGORITHMS = ["RS256", "PS256", "ES256", "EdDSA"]  # what a client may sign with; never "none", never a shared secret
MAX_KEYS = 8  # how many keys one signature may cost us
KEEP_SECONDS = 300  # how long a fetched key set is believed; an unknown key id is asked for at once
REFETCH_SECONDS = 5  # but not more often than this: a forged key id must not flood the client


class ClientKeyError(Exception):
    """The client's signature cannot be verified; the text says why."""


class ClientKeys:
    """Finds clients' keys, and keeps those that were fetched. Shared by the threads of a process."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._lock = threading.Lock()
        self._fetched: dict[str, tuple[int, list[Any]]] = {}

    def verify(self, token: str, client: Client, algorithms: list[str]) -> dict[str, Any]:
        """The claims of a JWT that the client signed; :class:`ClientKeyError` otherwise."""
        try:
            kid = jws.extract_compact(token.encode()).headers().get("kid")
        except (JoseError, ValueError) as error:
            raise ClientKeyError("It is not a signed JSON Web Token.") from error
        for refetch in (False, True):
            for key in usable(self._jwks(client, refetch=refetch), kid):
                with suppress(JoseError, ValueError):
                    return dict(jwt.decode(token, key, algorithms=algorithms).claims)
            if not client.registered.get("jwks_uri"):
                break  # a key we do not know yet may be a new one (Core §10.1.1), if there is a place to look
        raise ClientKeyError("The signature cannot be verified with the client's keys.")

    def _jwks(self, client: Client, *, refetch: bool) -> list[Any]:
        uri = client.registered.get("jwks_uri")
        if not uri:
            return list((client.registered.get("jwks") or {}).get("keys", []))
        with self._lock:
            at, keys = self._fetched.get(uri, (0, []))
            if at + KEEP_SECONDS < now() or (refetch and at + REFETCH_SECONDS <= now()):
                try:
                    keys = list(json.loads(self._door.get(uri))["keys"])
                except (FetchError, ValueError, KeyError, TypeError) as error:
                    raise ClientKeyError(f"The client's jwks_uri cannot be read: {error}.") from error
                if len(self._fetched) > 1000:  # bounded, whoever registers
                    self._fetched.clear()
                self._fetched[uri] = (now(), keys)
            return keys


def usable(jwks: list[Any], kid: str | None) -> list[Key]:
    """The keys that could have signed (Core §10.1); those we cannot use are passed over (RFC 7517 §5)."""
    keys: list[Key] = []
    for jwk in jwks:
        with suppress(JoseError, ValueError, TypeError, AttributeError, KeyError):
            if jwk.get("use", "sig") == "sig" and jwk["kty"] != "oct" and (kid is None or jwk.get("kid") == kid):
                keys.append(JWKRegistry.import_key(jwk))
    return keys[:MAX_KEYS]
