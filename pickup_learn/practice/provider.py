"""What Practice asks the IdP, server to server: metadata, keys, tokens. Each request is recorded."""

import threading
import time
from typing import Any

import jwt
import requests
from flask import current_app

from pickup_learn.practice.receiver import Refused
from pickup_web import message_shape, messages, trace
from pickup_web.message_row import Note

CLIENT_ID = "pickup-practice"
TIMEOUT = (2, 5)  # seconds to connect, and between two parts of an answer
REFETCH_SECONDS = 5  # between two requests for the keys, so that tokens with invented keys cost the IdP nothing
METADATA = "/.well-known/openid-configuration"


class Unreachable(Exception):  # a fault of the IdP or of the network
    """The IdP did not answer as it should."""


class Provider:
    """The IdP, as Practice knows it. Metadata and keys are kept in memory."""

    def __init__(self, issuer: str, ca_bundle: str | None) -> None:
        self.issuer = issuer
        self._verify: str | bool = ca_bundle or True
        self._metadata: dict[str, Any] = {}
        self._keys: dict[str | None, Any] = {}
        self._fetched_at = float("-inf")
        self._fetching = threading.Lock()

    def endpoint(self, name: str) -> str:
        """The address of an endpoint, by its name in the metadata."""
        if not self._metadata:
            found = self._ask("discovery", "GET", self.issuer + METADATA)
            if found.get("issuer") != self.issuer:  # Discovery §4.3: they MUST be the same
                raise Unreachable("The metadata are of another issuer.")
            self._metadata = found
        return str(self._metadata[name])

    def key(self, kid: str | None) -> Any:
        """The public key with this kid. An unknown one is fetched, because the IdP changes its keys (Core §10.1.1)."""
        with self._fetching:
            if kid not in self._keys and time.monotonic() >= self._fetched_at + REFETCH_SECONDS:
                self._fetched_at = time.monotonic()
                document = self._ask("jwks", "GET", self.endpoint("jwks_uri"))
                self._keys = {key.key_id: key for key in jwt.PyJWKSet.from_dict(document).keys}
        if kid not in self._keys:
            raise Refused("The issuer does not publish the key that signed the token.")
        return self._keys[kid]

    def redeem(self, code: str, redirect_uri: str, verifier: str) -> dict[str, Any]:
        """The token response for a code (RFC 6749 §4.1.3, RFC 7636 §4.5)."""
        form = {
            "grant_type": "authorization_code",
            "client_id": CLIENT_ID,
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        }
        return self._ask("token_request", "POST", self.endpoint("token_endpoint"), form)

    def name_of(self, sub: str, access_token: str) -> str:
        """The user name of the person who signed in."""
        found = self._ask("userinfo", "GET", self.endpoint("userinfo_endpoint"), token=access_token)
        if found.get("sub") != sub:  # Core §5.3.2: a UserInfo response with another sub MUST NOT be used
            raise Unreachable("UserInfo is about another person.")
        return str(found.get("preferred_username") or sub)

    def _ask(
        self, kind: str, method: str, url: str, form: dict[str, str] | None = None, token: str = ""
    ) -> dict[str, Any]:
        """The JSON object in the answer."""
        span = trace.new_span()
        headers = {"traceparent": trace.traceparent(span)}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        note = Note(kind, "out", "practice", "idp", method, url, span, known={"client_id": CLIENT_ID})
        note.request_parameters = {name: [value] for name, value in (form or {}).items()}
        try:
            answer = requests.request(
                method,
                url,
                data=form,
                headers=headers,
                timeout=TIMEOUT,
                verify=self._verify,
                allow_redirects=False,
            )
            note.status, note.response_body = answer.status_code, answer.content
            note.response_headers = message_shape.chosen(answer.headers, message_shape.RESPONSE_HEADERS)
            answer.raise_for_status()
            return dict(answer.json())
        except (requests.RequestException, ValueError) as error:
            note.error = type(error).__name__
            raise Unreachable(f"The IdP did not answer as expected: {type(error).__name__}") from error
        finally:
            note.end()
            recorder: messages.Recorder = current_app.extensions["messages"]
            recorder.add(note)


def current_idp() -> Provider:
    provider: Provider = current_app.extensions["practice"]
    return provider
