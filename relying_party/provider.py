"""[1] All HTTP requests to the identity provider (IdP): metadata, keys, registration, tokens and UserInfo."""

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

TIMEOUT = (2, 5)  # seconds to connect, and to wait for the response
DEFAULT_LIFETIME = 300  # seconds; for an access token without expires_in
MAX_ANSWER = 1024 * 1024  # bytes; metadata and key sets have a few thousand
METADATA_SECONDS = 3600  # how long metadata and keys are cached
# A token with an unknown key id causes a fetch of the keys. A bucket of REFETCHES, refilled by one every
# REFETCH_SECONDS, keeps forged key ids from flooding the provider.
REFETCHES = 5
REFETCH_SECONDS = 10


class Provider:
    """The configured provider, with cached metadata and keys. Shared by the threads of a process."""

    def __init__(self, config: Config, registration: Registration) -> None:
        self.config, self._registration = config, registration
        self._http = requests.Session()
        self._connect(self._http, Connections())
        # For token requests: a code or refresh token that is lost on a stale connection cannot be sent again.
        self._new_connections = Connections(reuse=False)
        self._lock, self._registering = threading.Lock(), threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Clear the caches."""
        self._metadata: tuple[int, dict[str, Any]] | None = None
        self._keys: tuple[int, list[PyJWK]] | None = None
        self._refetches, self._refilled_at = REFETCHES, now()

    def metadata(self) -> dict[str, Any]:
        """The provider's metadata (Discovery 1.0 §4)."""
        if not self._metadata or self._metadata[0] + METADATA_SECONDS < now():
            # Discovery §4.1: a terminating slash of the issuer MUST be removed before appending the path.
            found = self._get_json(self.config.issuer.removesuffix("/") + "/.well-known/openid-configuration")
            # Discovery §4.3: issuer MUST be identical to the issuer URL used for the request. Otherwise one provider
            # could impersonate another (§7.2).
            if found.get("issuer") != self.config.issuer:
                raise ProviderError("The identity provider's metadata names another issuer.", found.get("issuer"))
            self._metadata = (now(), found)
        return self._metadata[1]

    def endpoint(self, name: str) -> str:
        """The URL of an endpoint; :class:`ProviderError` if the metadata has none, or one without https."""
        value = self.metadata().get(name)
        if not isinstance(value, str):
            raise ProviderError(f"The identity provider's metadata has no {name}.")
        self._check_https(value)
        return value

    def client(self) -> Credentials:
        """Our credentials at the provider. The first call may register the app (Registration §3)."""
        known = self._registration.known()
        if known is None:
            url = self._registration_endpoint()
            with self._registering:
                known = self._registration.known() or self._registration.register_once(lambda: self._register(url))
        return known

    def _registration_endpoint(self) -> str:
        if "registration_endpoint" not in self.metadata():
            raise ProviderError("This app has no client id, and the identity provider has no registration endpoint.")
        return self.endpoint("registration_endpoint")

    def _register(self, url: str) -> dict[str, Any]:
        token = self.config.registration_token
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        status, body = self._send("POST", url, headers, metadata(self.config, self.auth_method()))
        if status in (401, 403) and not token:
            raise ProviderError("The identity provider registers this app only with an initial access token.", status)
        if status not in (200, 201):  # Registration §3.2: 201; some providers send 200
            raise ProviderError(f"The identity provider refused to register this app ({status}).", body[:200])
        return json_object(body, url)

    def auth_method(self) -> str:
        """Discovery §3: client_secret_basic is the default for the token endpoint if the metadata lists no methods."""
        offered = self.metadata().get("token_endpoint_auth_methods_supported")
        if isinstance(offered, list) and "client_secret_basic" not in offered and "client_secret_post" in offered:
            return "client_secret_post"
        return "client_secret_basic"

    def keys(self, *, refetch: bool = False) -> Sequence[PyJWK]:
        """The provider's signing keys. With ``refetch``, fetch them again within the limit above (Core §10.1.1)."""
        with self._lock:
            stale = self._keys is None or self._keys[0] + METADATA_SECONDS < now()
            fetch = stale or (refetch and self._may_refetch())
        # Not under the lock: other threads use the known keys while this one waits for the provider.
        return self._fetch_keys() if fetch or self._keys is None else self._keys[1]

    def _fetch_keys(self) -> Sequence[PyJWK]:
        jwks = self._get_json(self.endpoint("jwks_uri")).get("keys")
        if not isinstance(jwks, list):
            raise ProviderError("The identity provider's key set has no keys.")
        keys = usable_keys(jwks, self.config.signing_algorithm)
        self._keys = (now(), keys)
        return keys

    def _may_refetch(self) -> bool:
        if now() < self._refilled_at:  # the clock was set back
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
        """Authlib's client, for the authorization URL with PKCE and for token requests."""
        client, method = self.client(), self.auth_method()
        secret_in = client_secret_basic if method == "client_secret_basic" else method
        session = OAuth2Session(
            client.client_id,
            client.client_secret,
            token_endpoint_auth_method=secret_in if client.client_secret else "none",
            scope=self.config.scopes,
            redirect_uri=self.config.url("/oauth2client"),
            code_challenge_method="S256",  # RFC 7636 §4.2
            default_timeout=TIMEOUT,
        )
        self._connect(session, self._new_connections)
        return session

    def exchange_code(self, code: str, code_verifier: str) -> dict[str, Any]:
        """The token response for an authorization code (Core §3.1.3)."""
        return self._token_request(code=code, code_verifier=code_verifier, grant_type="authorization_code")

    def refresh(self, refresh_token: str) -> dict[str, Any]:
        """The token response for a refresh token (Core §12)."""
        return self._token_request(refresh_token=refresh_token, grant_type="refresh_token")

    def _token_request(self, **parameters: str) -> dict[str, Any]:
        try:
            answer = self.oauth().fetch_token(self.endpoint("token_endpoint"), allow_redirects=False, **parameters)
        except OAuthError as error:
            # RFC 6749 §5.2, invalid_grant: the grant is invalid, expired, revoked or was issued to another client.
            kind = GrantRefused if error.error == "invalid_grant" else ProviderError
            raise kind("The identity provider refused the token request.", error.error) from error
        except (TypeError, AttributeError, ValueError) as error:  # includes requests' JSONDecodeError
            raise ProviderError("The identity provider's token response cannot be read.", repr(error)) from error
        except requests.RequestException as error:
            raise ProviderError(no_answer(error), repr(error)) from error
        if not isinstance(answer.get("access_token"), str):  # RFC 6749 §5.1: required
            raise ProviderError("The identity provider's token response has no access token.")
        lifetime = answer.get("expires_in")  # RFC 6749 §5.1: RECOMMENDED, so it may be missing
        answer["expires_in"] = lifetime if isinstance(lifetime, int) else DEFAULT_LIFETIME
        return dict(answer)

    def userinfo(self, access_token: str) -> dict[str, Any] | None:
        """The UserInfo claims (Core §5.3); None if the provider has no such endpoint (Discovery §3: RECOMMENDED).

        RFC 6750 §2.1: the access token is in the Authorization header. §2.3: in a URL, it would be logged.
        """
        if "userinfo_endpoint" not in self.metadata():
            return None
        return self._get_json(self.endpoint("userinfo_endpoint"), {"Authorization": f"Bearer {access_token}"})

    def _get_json(self, url: str, headers: dict[str, str] | None = None) -> dict[str, Any]:
        status, body = self._send("GET", url, headers or {})
        if status != 200:
            # RFC 6750 §3.1, invalid_token: 401, because the token is expired, revoked or invalid.
            kind = GrantRefused if status == 401 and headers else ProviderError
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
        # Discovery §7.1: the connections to the provider use TLS.
        if urlsplit(url).scheme != "https" and not self.config.allow_plain_http:
            raise ProviderError("The identity provider's URL is not https.", url)

    def _connect(self, session: requests.Session, connections: Connections) -> None:
        session.mount("https://", connections)
        session.mount("http://", connections)
        session.trust_env = False  # ignore HTTP_PROXY, REQUESTS_CA_BUNDLE and .netrc
        session.verify = self.config.ca_bundle or True


def no_answer(error: Exception) -> str:
    """A sentence for a request without a response. For a stalled body, requests wraps the time-out in its own error."""
    kinds = (requests.Timeout, HttpTimeout, TimeoutError)
    too_slow = isinstance(error, kinds) or any(isinstance(cause, kinds) for cause in error.args)
    return f"The identity provider (IdP) {'did not answer in time' if too_slow else 'cannot be reached'}."


def json_object(body: bytes, url: str) -> dict[str, Any]:
    """The JSON object in the body of a response."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ProviderError("The identity provider's answer is not JSON.", url) from error
    if not isinstance(answer, dict):
        raise ProviderError("The identity provider's answer is not a JSON object.", url)
    return answer


def client_secret_basic(client: Any, _method: str, uri: str, headers: dict[str, str], body: str) -> Any:
    """RFC 6749 §2.3.1: client id and secret are form-encoded before HTTP Basic. Authlib does not encode them."""
    credentials = f"{quote_plus(client.client_id)}:{quote_plus(client.client_secret)}"
    headers["Authorization"] = "Basic " + b64encode(credentials.encode()).decode()
    return uri, headers, body
