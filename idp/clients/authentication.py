"""The four client authentication methods at the token endpoint (Core §9). Authlib calls the registered one.

``client_secret_basic`` and ``client_secret_post`` with a shared secret, ``private_key_jwt`` with the
client's own key, and ``none`` for public clients, which must use PKCE.
"""

import json
from base64 import b64decode
from typing import Any
from urllib.parse import unquote_plus

from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import InvalidClientError, InvalidRequestError, OAuth2Request
from sqlalchemy import delete
from sqlalchemy.exc import IntegrityError

from idp.clients.jwks import ALGORITHMS, LEEWAY, ClientKeyError, ClientKeys, check_times, unverified
from idp.models import Client, UsedAssertion, hash_of
from idp.outbox.http import BusyError
from pickup_web.clock import now
from pickup_web.database import db

METHODS = ["client_secret_basic", "client_secret_post", "private_key_jwt", "none"]
CONFIDENTIAL = METHODS[:3]
ASSERTION_TYP = "client-authentication+jwt"  # the typ header (draft-ietf-oauth-rfc7523bis)
OF_REQUESTS = {"client_id", "redirect_uri", "response_type", "scope"}  # claims of request objects, not of assertions
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"  # RFC 7523 §2.2
MAX_ASSERTION_SECONDS = 3600  # the latest allowed exp; its jti is stored until then


class TryAgainError(OAuth2Error):  # type: ignore[misc] # Authlib has no types
    """The error code is from RFC 6749 §4.1.2.1 (another endpoint), the status from RFC 9110 §15.6.4."""

    error = "temporarily_unavailable"
    description = "Too many requests are waiting for clients' keys. Try again."
    status_code = 503

    def get_headers(self) -> list[tuple[str, str]]:
        """After one second, the keys have usually been fetched."""
        return [*super().get_headers(), ("Retry-After", "1")]


def refuse_two_methods(oauth_request: OAuth2Request) -> None:
    """RFC 6749 §2.3: a client must not use more than one authentication method per request."""
    form = oauth_request.form
    used = ["Authorization" in oauth_request.headers, "client_secret" in form, "client_assertion" in form]
    if sum(used) > 1:
        raise InvalidRequestError("The client uses more than one authentication method.")


def client_secret_basic(query_client: Any, oauth_request: OAuth2Request) -> Client | None:
    """RFC 6749 §2.3.1: id and secret are form-encoded inside Basic. Authlib does not decode them."""
    refuse_two_methods(oauth_request)
    kind, _, credentials = oauth_request.headers.get("Authorization", "").partition(" ")
    if kind.lower() != "basic":
        return None
    try:
        client_id, _, secret = b64decode(credentials, validate=True).decode().partition(":")
    except ValueError:  # neither base64 nor UTF-8
        return None
    client: Client | None = query_client(unquote_plus(client_id))
    return client if client and client.check_client_secret(unquote_plus(secret)) else None


class PrivateKeyJwt:
    """RFC 7523 §3: an assertion that the client signs with its key. iss and sub name the client, aud names us."""

    def __init__(self, keys: ClientKeys, audiences: list[str]) -> None:
        self._keys, self._audiences = keys, audiences

    def __call__(self, query_client: Any, oauth_request: OAuth2Request) -> Client | None:
        """The client; None without an assertion. An invalid assertion is an error."""
        form = oauth_request.form
        assertion = form.get("client_assertion")
        if form.get("client_assertion_type") != ASSERTION_TYPE or not assertion:
            return None
        client_id = unverified_subject(assertion)
        client: Client | None = query_client(client_id) if client_id else None
        if client is None or form.get("client_id", client_id) != client_id:
            raise InvalidClientError(description="The assertion names no client registered here.")
        registered = client.registered.get("token_endpoint_auth_signing_alg")
        try:
            algorithms = [registered] if registered else ALGORITHMS
            claims = self._keys.verify(assertion, client, algorithms, ASSERTION_TYP)
            check_times(claims)
        except ClientKeyError as error:
            raise InvalidClientError(description=str(error)) from error
        except BusyError as error:
            raise TryAgainError from error
        self._check(claims, client)
        return client

    def _check(self, claims: dict[str, Any], client: Client) -> None:
        # RFC 7523 §3 (1): iss is the client. RFC 8725 §3.12: a logout token, which has events, is not an assertion.
        if claims.get("iss") != client.client_id or "events" in claims:
            raise InvalidClientError(description="iss and sub must both be the client_id.")
        # RFC 9101 §10.8: a request object, which passes through the browser, is not an assertion either.
        if OF_REQUESTS & set(claims):
            raise InvalidClientError(description="A request object is not an assertion.")
        # RFC 7523 §3 (3): aud is the token endpoint (Core §9) or the issuer (newer drafts), no others.
        audience = claims.get("aud")
        named = [audience] if isinstance(audience, str) else audience
        if not isinstance(named, list) or not named or any(name not in self._audiences for name in named):
            raise InvalidClientError(description="aud must be the issuer or the token endpoint.")
        expires, jti = claims.get("exp"), claims.get("jti")
        if expires is None or expires > now() + MAX_ASSERTION_SECONDS:
            raise InvalidClientError(description="exp is missing, or too far ahead.")
        if not isinstance(jti, str) or not jti:
            raise InvalidClientError(description="jti is missing.")
        remember(client.client_id, jti, int(expires) + LEEWAY)


def remember(client_id: str, jti: str, expires_at: int) -> None:
    """RFC 7523 §3 (7): store the jti for all workers, so that a copy of the assertion is refused."""
    db.session.execute(delete(UsedAssertion).where(UsedAssertion.expires_at < now()))
    db.session.add(UsedAssertion(client_id=client_id, jti_hash=hash_of(jti), expires_at=expires_at))
    try:
        db.session.commit()
    except IntegrityError as error:
        db.session.rollback()
        raise InvalidClientError(description="The assertion was used before.") from error


def unverified_subject(assertion: str) -> str | None:
    """The assertion's sub before verification: used only to select the keys to verify it with."""
    try:
        claims = json.loads(unverified(assertion).payload)
    except (ClientKeyError, ValueError, RecursionError):
        return None
    subject = claims.get("sub") if isinstance(claims, dict) else None
    return subject if isinstance(subject, str) else None
