"""What the provider keeps for each application object, and how a request finds it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from flask import current_app

from idp.clients.jwks import ClientKeys
from idp.flow.delivery import Outbox
from idp.outbox.http import GuardedHttpClient
from idp.tokens.signing_keys import SigningKeys
from pickup_web.settings import Settings

if TYPE_CHECKING:
    from idp.tokens.authlib_server import OAuthServer


@dataclass(frozen=True)
class Provider:
    """In ``app.extensions["idp"]``."""

    settings: Settings
    keys: SigningKeys
    http: GuardedHttpClient
    client_keys: ClientKeys
    outbox: Outbox
    oauth: "OAuthServer"

    @property
    def issuer(self) -> str:
        """The issuer: our own base URL (Discovery §3)."""
        return self.settings.idp_url


def current_provider() -> Provider:
    """The state of the application that handles this request."""
    return cast(Provider, current_app.extensions["idp"])
