"""The objects of one IdP application, and how a request gets them."""

from dataclasses import dataclass
from typing import Protocol, cast

from flask import Response, current_app

from idp.background.loop import Background
from idp.clients.jwks import ClientKeys
from idp.outbox.http import GuardedHttpClient
from idp.outbox.sender import Outbox
from idp.tokens.signing_keys import SigningKeys
from pickup_web.settings import Settings


class OAuth(Protocol):
    """The library's authorization server (tokens/authlib_server.py)."""

    def create_token_response(self) -> Response:
        """RFC 6749 §3.2."""

    def create_endpoint_response(self, name: str) -> Response:
        """``introspection`` or ``revocation``."""


@dataclass(frozen=True)
class Provider:
    """In ``app.extensions["idp"]``."""

    settings: Settings
    keys: SigningKeys
    http: GuardedHttpClient
    client_keys: ClientKeys
    outbox: Outbox
    background: Background
    oauth: OAuth

    @property
    def issuer(self) -> str:
        """The issuer: our own base URL (Discovery §3)."""
        return self.settings.idp_url


def current_provider() -> Provider:
    """The IdP that handles this request."""
    return cast(Provider, current_app.extensions["idp"])
