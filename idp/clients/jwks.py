"""The public keys of a client, by value or by reference (Registration §2: ``jwks``, ``jwks_uri``)."""

import json
import threading
from concurrent.futures import Future, wait
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry, Key

from idp.models import Client
from idp.outbox.http import FetchError, GuardedHttpClient, in_background, place_to_wait
from pickup_web.clock import now

ALGORITHMS = ["RS256", "PS256", "ES256", "EdDSA"]  # what a client may sign with; never "none", never a shared secret
MAX_KEYS = 8  # how many keys one signature may cost us
KEEP_SECONDS = 300  # how long a fetched key set is cached; an unknown key id triggers a fetch
LEEWAY = 60  # seconds that a client's clock may be wrong
MAX_SITES = 1000  # key sets that are kept
REFETCH_SECONDS = 5  # but not more often than this: a forged key id must not flood the client
WAIT_SECONDS = 5.0  # how long a request waits for a fetch


class ClientKeyError(Exception):
    """The client's signature cannot be verified; the text says why."""


@dataclass
class Fetched:
    """The result of fetching a ``jwks_uri``. Times are seconds since the epoch. It has keys if ``fault`` is empty."""

    at: int = 0  # the last success
    tried_at: int = 0  # the end of the last try
    keys: list[Any] = field(default_factory=list)
    fault: str = ""
    under_way: Future[None] | None = None


class ClientKeys:
    """Finds clients' keys, and keeps those that were fetched. Shared by the threads of a process."""

    def __init__(self, http: GuardedHttpClient) -> None:
        self._http = http
        self._lock = threading.Lock()  # never held during a request
        self.fetched: dict[str, Fetched] = {}  # by jwks_uri

    def verify(self, token: str, client: Client, algorithms: list[str], typ: str) -> dict[str, Any]:
        """The claims of a JWT that the client signed; :class:`ClientKeyError` otherwise.

        ``typ`` is the type of such a JWT. Older clients send ``JWT`` or none.
        :class:`BusyError` if its keys are at an address, and too many requests wait for other sites.
        """
        header = unverified(token).headers()
        # RFC 8725 §3.11: a JWT of another explicit type does not pass for this one.
        if str(header.get("typ", "JWT")).lower().removeprefix("application/") not in ("jwt", typ):
            raise ClientKeyError("typ says that it is another kind of token.")
        kid = header.get("kid")
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
            if len(self.fetched) > MAX_SITES:  # bounded, because clients register themselves
                self.fetched.clear()
            found = self.fetched.setdefault(uri, Fetched())
        # A time ahead of the clock was written by a clock that was wrong.
        if not refetch and found.at <= now() <= found.at + KEEP_SECONDS:
            return found.keys
        if under_way := self._fetch(uri, found):
            with place_to_wait():  # a fetch that has begun serves the next request, whether or not this one waits
                wait([under_way], WAIT_SECONDS)
        if fault := found.fault if under_way is None or under_way.done() else "timeout":
            raise ClientKeyError(f"The client's jwks_uri cannot be read: {fault}.")
        return found.keys

    def _fetch(self, uri: str, found: Fetched) -> Future[None] | None:
        """The one fetch that all requests wait for; None if the site was asked a moment ago."""
        with self._lock:
            if found.under_way is None or found.under_way.done():
                if found.tried_at <= now() < found.tried_at + REFETCH_SECONDS:
                    return None
                found.under_way = in_background(self._read(uri, found))
            return found.under_way

    async def _read(self, uri: str, found: Fetched) -> None:
        try:
            document = await self._http.document(uri)
            found.keys, found.at, found.fault = list(json.loads(document)["keys"]), now(), ""
        except FetchError as error:
            found.fault = str(error)
        except (ValueError, KeyError, TypeError, RecursionError):
            found.fault = "it is not a JWK Set"
        finally:
            found.tried_at = now()  # the pause begins here: the fetch itself may take as long


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
