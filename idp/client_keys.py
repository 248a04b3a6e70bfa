"""The public keys of a client, by value or by reference (Registration §2: ``jwks``, ``jwks_uri``)."""

import json
import threading
from contextlib import suppress
from dataclasses import dataclass, field
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
LEEWAY = 60  # seconds that a client's clock may be wrong
MAX_SITES = 1000  # key sets that are kept
REFETCH_SECONDS = 5  # but not more often than this: a forged key id must not flood the client


class ClientKeyError(Exception):
    """The client's signature cannot be verified; the text says why."""


@dataclass
class Fetched:
    """What a ``jwks_uri`` gave, and when; an empty ``fault`` means that it gave keys."""

    lock: threading.Lock = field(default_factory=threading.Lock)  # one a site: a slow one holds up nobody else
    at: int = 0
    tried_at: int = 0
    keys: list[Any] = field(default_factory=list)
    fault: str = ""


class ClientKeys:
    """Finds clients' keys, and keeps those that were fetched. Shared by the threads of a process."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._lock = threading.Lock()
        self._fetched: dict[str, Fetched] = {}

    def verify(self, token: str, client: Client, algorithms: list[str]) -> dict[str, Any]:
        """The claims of a JWT that the client signed; :class:`ClientKeyError` otherwise."""
        kid = unverified(token).headers().get("kid")
        for refetch in (False, True):
            for key in usable(self._jwks(client, refetch=refetch), kid):
                with suppress(JoseError, ValueError, RecursionError):
                    return dict(jwt.decode(token, key, algorithms=algorithms).claims)
            if not client.registered.get("jwks_uri"):
                break  # a key we do not know yet may be a new one (Core §10.1.1), if there is a place to look
        raise ClientKeyError("The signature cannot be verified with the client's keys.")

    def _jwks(self, client: Client, *, refetch: bool) -> list[Any]:
        uri = client.registered.get("jwks_uri")
        if not uri:
            return list((client.registered.get("jwks") or {}).get("keys", []))
        with self._lock:
            if len(self._fetched) > MAX_SITES:  # bounded, whoever registers
                self._fetched.clear()
            found = self._fetched.setdefault(uri, Fetched())
        with found.lock:
            is_old = found.at + KEEP_SECONDS < now()
            if (is_old or refetch) and found.tried_at + REFETCH_SECONDS <= now():
                self._fetch(uri, found)
            if found.fault and (is_old or refetch):
                raise ClientKeyError(f"The client's jwks_uri cannot be read: {found.fault}.")
            return found.keys

    def _fetch(self, uri: str, found: Fetched) -> None:
        found.tried_at = now()
        try:
            found.keys, found.at, found.fault = list(json.loads(self._door.get(uri))["keys"]), now(), ""
        except FetchError as error:
            found.fault = str(error)
        except (ValueError, KeyError, TypeError, RecursionError):
            found.fault = "it is not a JWK Set"


def unverified(token: str) -> jws.CompactSignature:
    """A signed token's parts, which say nothing yet; :class:`ClientKeyError` if there are none."""
    try:
        parts = jws.extract_compact(token.encode())
        parts.headers()
    except (JoseError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ClientKeyError("It is not a signed JSON Web Token.") from error
    if not isinstance(parts.protected, dict):
        raise ClientKeyError("It is not a signed JSON Web Token.")
    return parts


def check_times(claims: dict[str, Any]) -> None:
    """RFC 7519 §4.1.4, §4.1.5: not over, and begun; with the leeway that clocks need. Both may be missing."""
    if not number(claims.get("exp", now())) > now() - LEEWAY:
        raise ClientKeyError("exp has passed.")
    if not number(claims.get("nbf", now())) <= now() + LEEWAY:
        raise ClientKeyError("nbf has not come yet.")


def number(value: Any) -> float:
    """A NumericDate (RFC 7519 §2); a word or true is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ClientKeyError("exp or nbf is not a number.")
    return value


def usable(jwks: list[Any], kid: str | None) -> list[Key]:
    """The keys that could have signed (Core §10.1); those we cannot use are passed over (RFC 7517 §5)."""
    keys: list[Key] = []
    for jwk in jwks:
        with suppress(JoseError, ValueError, TypeError, AttributeError, KeyError):
            if jwk.get("use", "sig") == "sig" and jwk["kty"] != "oct" and (kid is None or jwk.get("kid") == kid):
                keys.append(JWKRegistry.import_key(jwk))
    return keys[:MAX_KEYS]
