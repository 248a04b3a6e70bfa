"""[1] Everything the relying party asks the OpenID Provider over HTTP: metadata, keys, tokens, claims."""

import json
import threading
from base64 import b64encode
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote_plus, urlsplit

import requests
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from jwt import PyJWK
from urllib3.exceptions import HTTPError
from urllib3.exceptions import TimeoutError as HttpTimeout

from relying_party.clock import now
from relying_party.config import Config
from relying_party.connections import Connections
from relying_party.errors import GrantRefused, ProviderError
from relying_party.jws import usable_keys
from relying_party.registration import Credentials, Registration, metadata

TIMEOUT = (2, 5)  # seconds to connect, and to wait for the answer
DEFAULT_LIFETIME = 300  # seconds of an access token whose provider does not say
MAX_ANSWER = 1024 * 1024  # bytes; metadata and key sets have a few thousand
METADATA_SECONDS = 3600  # how long metadata and keys are believed
REFETCHES = 5  # how many unknown key ids in a row may each cause one fetch of the keys,
REFETCH_SECONDS = 10  # and after how many seconds one more may: forged ids must not flood the provider


class Provider:
    """One provider, as this process knows it. Shared by its threads."""

    def __init__(self, config: Config, registration: Registration) -> None:
        self.config, self._registration = config, registration
        self._http = requests.Session()
        self._connect(self._http, Connections())
        # For codes and refresh tokens: one that was lost on the way cannot be sent again.
        self._new_connections = Connections(reuse=False)
        self._lock, self._registering = threading.Lock(), threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Forget what was fetched."""
        self._metadata: tuple[int, dict[str, Any]] | None = None
        self._keys: tuple[int, list[PyJWK]] | None = None
        self._refetches, self._refilled_at = REFETCHES, now()

    def metadata(self) -> dict[str, Any]:
        """The identity provider's metadata, from Discovery 1.0 §4."""
        if not self._metadata or self._metadata[0] + METADATA_SECONDS < now():
            # Discovery §4.1: one slash at the end of the issuer is taken away before appending.
            found = self._get_json(self.config.issuer.removesuffix("/") + "/.well-known/openid-configuration")
            # Discovery §4.3: the document must be about the issuer we asked for. This is the check that
            # keeps one provider from speaking for another, so nothing is used before it.
            if found.get("issuer") != self.config.issuer:
                raise ProviderError("The identity provider's metadata names another issuer.", found.get("issuer"))
            self._metadata = (now(), found)
        return self._metadata[1]

    def endpoint(self, name: str) -> str:
        """The address of an endpoint; :class:`ProviderError` if the provider has none, or one without TLS."""
        value = self.metadata().get(name)
        if not isinstance(value, str):
            raise ProviderError(f"The identity provider's metadata has no {name}.")
        self._check_https(value)
        return value

    def client(self) -> Credentials:
        """Who we are at this provider; the first call may have to register (Registration §3)."""
        known = self._registration.known()
        if known is None:
            url = self._registration_endpoint()
            with self._registering:
                known = self._registration.known() or self._registration.register_once(lambda: self._register(url))
        return known

    def _registration_endpoint(self) -> str:
        if "registration_endpoint" not in self.metadata():
            raise ProviderError(
                "This application has no client id, and the identity provider does not register applications."
            )
        return self.endpoint("registration_endpoint")

    def _register(self, url: str) -> dict[str, Any]:
        token = self.config.registration_token
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        status, body = self._send("POST", url, headers, metadata(self.config, self.auth_method()))
        if status in (401, 403) and not token:
            raise ProviderError(
                "The identity provider registers this application only with an initial access token.", status
            )
        if status not in (200, 201):  # Registration §3.2 wants 201; some providers say 200
            raise ProviderError(f"The identity provider refused to register this application ({status}).", body[:200])
        return json_object(body, url)

    def auth_method(self) -> str:
        """How we say who we are at the token endpoint: Basic, unless the provider takes only the other (Disc. §3)."""
        offered = self.metadata().get("token_endpoint_auth_methods_supported")
        if isinstance(offered, list) and "client_secret_basic" not in offered and "client_secret_post" in offered:
            return "client_secret_post"
        return "client_secret_basic"

    def keys(self, *, refetch: bool = False) -> Sequence[PyJWK]:
        """The provider's signing keys. ``refetch`` looks for new ones, as often as is decent (Core §10.1.1)."""
        with self._lock:
            stale = self._keys is None or self._keys[0] + METADATA_SECONDS < now()
            fetch = stale or (refetch and self._may_refetch())
        # Without the lock: while a forged key id makes us wait for the provider, known keys go on working.
        return self._fetch_keys() if fetch or self._keys is None else self._keys[1]

    def _fetch_keys(self) -> Sequence[PyJWK]:
        jwks = self._get_json(self.endpoint("jwks_uri")).get("keys")
        if not isinstance(jwks, list):
            raise ProviderError("The identity provider's key set has no keys.")
        keys = usable_keys(jwks, self.config.signing_algorithm)
        self._keys = (now(), keys)
        return keys

    def _may_refetch(self) -> bool:
        if now() < self._refilled_at:  # the clock was set back: count from here
            self._refilled_at = now()
        refill = (now() - self._refilled_at) // REFETCH_SECONDS
        if refill:
            self._refetches = min(REFETCHES, self._refetches + refill)
            self._refilled_at += refill * REFETCH_SECONDS
        if not self._refetches:
            return False
        self._refetches -= 1
        return True

    def oauth(self) -> OAuth2Session:
        """Authlib's client: authorization URL with PKCE, token requests."""
        client, method = self.client(), self.auth_method()
        secret_in = client_secret_basic if method == "client_secret_basic" else method
        session = OAuth2Session(
            client.client_id,
            client.client_secret,
            token_endpoint_auth_method=secret_in if client.client_secret else "none",
            scope=self.config.scopes,
            redirect_uri=self.config.url("/oauth2client"),
            code_challenge_method="S256",
            default_timeout=TIMEOUT,
        )
        self._connect(session, self._new_connections)
        return session

    def exchange_code(self, code: str, code_verifier: str) -> dict[str, Any]:
        """The token response for a code (Core §3.1.3)."""
        return self._token_request(code=code, code_verifier=code_verifier, grant_type="authorization_code")

    def refresh(self, refresh_token: str) -> dict[str, Any]:
        """The token response for a refresh token (Core §12)."""
        return self._token_request(refresh_token=refresh_token, grant_type="refresh_token")

    def _token_request(self, **parameters: str) -> dict[str, Any]:
        try:
            answer = self.oauth().fetch_token(self.endpoint("token_endpoint"), allow_redirects=False, **parameters)
        except OAuthError as error:
            kind = GrantRefused if error.error == "invalid_grant" else ProviderError  # RFC 6749 §5.2
            raise kind("The identity provider refused the token request.", error.error) from error
        except (TypeError, AttributeError, ValueError) as error:  # requests' own error for no JSON is a ValueError, too
            raise ProviderError("The identity provider's token response cannot be read.", repr(error)) from error
        except requests.RequestException as error:
            raise ProviderError(no_answer(error), repr(error)) from error
        if not isinstance(answer.get("access_token"), str):  # RFC 6749 §5.1: required
            raise ProviderError("The identity provider's token response has no access token.")
        lifetime = answer.get("expires_in")  # RFC 6749 §5.1: recommended, so it may be missing, or odd
        answer["expires_in"] = lifetime if isinstance(lifetime, int) else DEFAULT_LIFETIME
        return dict(answer)

    def userinfo(self, access_token: str) -> dict[str, Any] | None:
        """Claims about the user (Core §5.3). The token travels in the header, never in the address.

        Discovery §3 only recommends the endpoint: a provider without it says all it has to say in the ID token.
        """
        if "userinfo_endpoint" not in self.metadata():
            return None
        return self._get_json(self.endpoint("userinfo_endpoint"), {"Authorization": f"Bearer {access_token}"})

    def _get_json(self, url: str, headers: dict[str, str] | None = None) -> dict[str, Any]:
        status, body = self._send("GET", url, headers or {})
        if status != 200:
            kind = GrantRefused if status == 401 and headers else ProviderError  # RFC 6750 §3.1
            raise kind(f"The identity provider answered {status} where 200 was expected.", url)
        return json_object(body, url)

    def _send(self, method: str, url: str, headers: dict[str, str], body: Any = None) -> tuple[int, bytes]:
        self._check_https(url)
        try:
            with self._http.request(
                method, url, headers=headers, json=body, timeout=TIMEOUT, allow_redirects=False, stream=True
            ) as response:
                status, answer = response.status_code, response.raw.read(MAX_ANSWER + 1, decode_content=True)
        except (requests.RequestException, HTTPError, OSError) as error:
            raise ProviderError(no_answer(error), repr(error)) from error
        if len(answer) > MAX_ANSWER:
            raise ProviderError("The identity provider's answer is too long.", url)
        return status, answer

    def _check_https(self, url: str) -> None:
        if urlsplit(url).scheme != "https" and not self.config.allow_plain_http:
            raise ProviderError("The identity provider's address is not https.", url)

    def _connect(self, session: requests.Session, connections: Connections) -> None:
        session.mount("https://", connections)
        session.mount("http://", connections)
        session.trust_env = False  # no proxy by surprise
        session.verify = self.config.ca_bundle or True


def no_answer(error: Exception) -> str:
    """A sentence for a request that got no answer. A body that stalls is a ConnectionError around the time-out."""
    kinds = (requests.Timeout, HttpTimeout, TimeoutError)
    too_slow = isinstance(error, kinds) or any(isinstance(cause, kinds) for cause in error.args)
    return f"The identity provider (IdP) {'did not answer in time' if too_slow else 'cannot be reached'}."


def json_object(body: bytes, url: str) -> dict[str, Any]:
    """The JSON object of an answer."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ProviderError("The identity provider's answer is not JSON.", url) from error
    if not isinstance(answer, dict):
        raise ProviderError("The identity provider's answer is not a JSON object.", url)
    return answer


def client_secret_basic(client: Any, _method: str, uri: str, headers: dict[str, str], body: str) -> Any:
    """HTTP Basic as RFC 6749 §2.3.1 wants it: id and secret form-encoded first. Authlib's own leaves that out."""
    credentials = f"{quote_plus(client.client_id)}:{quote_plus(client.client_secret)}"
    headers["Authorization"] = "Basic " + b64encode(credentials.encode()).decode()
    return uri, headers, body
