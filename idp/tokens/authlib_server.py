"""Wires Authlib's authorization server to our clients and grants.

Authlib drives the protocol (RFC 6749, 7009, 7662). The view commits, so a request that fails
changes nothing.
"""

from collections.abc import Callable, Mapping
from typing import Any

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.integrations.flask_oauth2.requests import FlaskOAuth2Payload, FlaskOAuth2Request
from authlib.oauth2.rfc6749 import OAuth2Request
from flask import Flask, request
from werkzeug.datastructures import MultiDict

from idp.clients.authentication import PrivateKeyJwt, client_secret_basic
from idp.clients.jwks import ClientKeys
from idp.clients.registry import known_client
from idp.models import Client
from idp.tokens.client_credentials import ServiceClientGrant
from idp.tokens.code_grant import CodeGrant
from idp.tokens.introspection import Introspection, Revocation
from idp.tokens.refresh_grant import RefreshGrant

ExchangeCode = Callable[[Client, Mapping[str, str]], dict[str, Any]]


class OAuthServer(AuthorizationServer):  # type: ignore[misc] # Authlib has no types
    """Authlib's server, over our tables. ``exchange_code`` is step [5] (flow/token.py)."""

    def __init__(self, app: Flask, client_keys: ClientKeys, issuer: str, exchange_code: ExchangeCode) -> None:
        super().__init__(app, query_client=known_client)
        self.exchange_code = exchange_code
        self.register_client_auth_method("client_secret_basic", client_secret_basic)
        audiences = [issuer, f"{issuer}/oauth2/token"]
        self.register_client_auth_method("private_key_jwt", PrivateKeyJwt(client_keys, audiences))
        self.register_grant(CodeGrant)
        self.register_grant(RefreshGrant)
        self.register_grant(ServiceClientGrant)
        self.register_endpoint(Revocation)
        self.register_endpoint(Introspection)

    def create_oauth2_request(self, _request: None) -> OAuth2Request:
        """Replaces Authlib's request: see :class:`FormPayload`."""
        oauth_request = FlaskOAuth2Request(request)
        oauth_request.payload = FormPayload(request)
        return oauth_request


class FormPayload(FlaskOAuth2Payload):  # type: ignore[misc] # Authlib has no types
    """RFC 6749 §2.3.1, §4.1.3: parameters are read from the body only. Authlib would prefer those in the URL."""

    @property
    def data(self) -> MultiDict[str, str]:
        """The form, without the URL's query."""
        return request.form
