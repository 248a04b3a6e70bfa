"""Access control of the API: introspects the access token at the IdP for each request.

Manager is a resource server here (RFC 6749 §1.1). It does not cache the IdP's responses, so a token that
was revoked, for instance by a logout, is rejected at the next request.
"""

from typing import Any
from urllib.parse import quote_plus

import requests
import structlog
from flask import Response, current_app, jsonify, request

from relying_party import RelyingParty, RelyingPartyError
from relying_party.connections import Connections

# Seconds to connect, seconds to answer: shorter than Dispatch's timeout for us (pickup_dispatch/drivers.py).
TIMEOUT = (1.0, 2.0)
REALM = "Pickup Manager"
LOG = structlog.get_logger()

_http = requests.Session()  # one per process
_http.mount("https://", _connections := Connections())
_http.mount("http://", _connections)
_http.trust_env = False  # no proxy and no .netrc between our own services


class Refusal(Exception):
    """Why a request is rejected: a status, the RFC's error code (or none), a message for the client."""

    def __init__(self, status: int, error: str | None, description: str, **challenge: str) -> None:
        super().__init__(description)
        self.status, self.error, self.description, self.challenge = status, error, description, challenge

    def response(self) -> Response:
        """The response in JSON; RFC 6750 §3: for 401 and 403 also as the challenge in the header."""
        words = {"error": self.error, "error_description": self.description}
        answer = jsonify({name: word for name, word in words.items() if word})
        answer.status_code = self.status
        answer.headers["Cache-Control"] = "no-store"
        if self.status in (401, 403):
            # RFC 6750 §3.1: a request without a token gets no error code.
            attributes = {"realm": REALM, **(words if self.error else {}), **self.challenge}
            challenge = ", ".join(f'{name}="{value}"' for name, value in attributes.items())
            answer.headers["WWW-Authenticate"] = f"Bearer {challenge}"
        return answer


def check_token(scope: str) -> None:
    """Accept the request if its token is active and has ``scope``; otherwise raise :class:`Refusal`.

    Without a scope, every token of the IdP would open the API, whatever it was issued for.
    """
    if not scope:
        raise Refusal(501, None, "This API is off, because no scope is set for it (PICKUP_DRIVERS_SCOPE).")
    claims = introspect(bearer_token())
    # RFC 7662 §2.2: `active` is the result; for an unknown token the response has no other members.
    if claims.get("active") is not True:
        raise Refusal(401, "invalid_token", "The access token is expired, revoked or was never issued.")
    if scope not in str(claims.get("scope", "")).split():  # RFC 7662 §2.2: space-separated
        raise Refusal(403, "insufficient_scope", f"This needs the scope {scope}.", scope=scope)


def bearer_token() -> str:
    """The request's token. RFC 6750 §2.1: only from the header, never from a URL, which ends up in logs."""
    authorization = request.authorization
    if authorization is None or authorization.type != "bearer":
        raise Refusal(401, None, "Send an access token: Authorization: Bearer TOKEN")
    if not authorization.token:
        raise Refusal(401, "invalid_token", "There is no token after Bearer.")
    return authorization.token


def introspect(token: str) -> dict[str, Any]:
    """Ask the IdP about ``token``. RFC 7662 §2.1: by POST, authenticated as this resource server."""
    config, endpoint = current_app.config, introspection_endpoint()
    # RFC 6749 §2.3.1: id and secret are form-encoded before HTTP Basic.
    credentials = (
        quote_plus(config["RELYING_PARTY_CLIENT_ID"]),
        quote_plus(config["RELYING_PARTY_CLIENT_SECRET"]),
    )
    try:
        answer = _http.post(
            endpoint,
            data={"token": token, "token_type_hint": "access_token"},
            auth=credentials,
            timeout=TIMEOUT,
            verify=config["RELYING_PARTY_CA_BUNDLE"] or True,
            allow_redirects=False,  # a redirect would send token and secret to another address
        )
        claims = answer.json() if answer.status_code == 200 else None
    except (requests.RequestException, ValueError) as error:
        raise _cannot_ask(type(error).__name__) from error
    if not isinstance(claims, dict):  # RFC 7662 §2.3: 401 is about our own credentials, not about the token
        raise _cannot_ask(f"status {answer.status_code}")
    return claims


def introspection_endpoint() -> str:
    """The address from the IdP's metadata (RFC 8414 §2). Not every IdP has one."""
    try:
        if "introspection_endpoint" not in RelyingParty.provider_metadata():
            raise Refusal(501, None, "The identity provider has no introspection endpoint to check the access token.")
        return RelyingParty.provider_endpoint("introspection_endpoint")  # RFC 7662 §4: only with https
    except RelyingPartyError as error:
        raise _cannot_ask(str(error)) from error


def _cannot_ask(why: str) -> Refusal:
    LOG.warning("rs.introspection.failed", outcome=why)
    return Refusal(503, "temporarily_unavailable", "The identity provider cannot check the access token at the moment.")
