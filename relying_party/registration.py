"""Who we are at the provider: the client id and secret of the settings, or those we registered ourselves for.

Registration 1.0 §3. Without a client id in the settings the first login registers this application,
back-channel logout included. The credentials are kept in the database, so that all workers and replicas
are one client, also after a restart.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, delete
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from relying_party.config import Config
from relying_party.errors import ProviderError
from relying_party.models import RegisteredClient


@dataclass(frozen=True)
class Credentials:
    """The client's name at the provider, and its secret."""

    client_id: str
    client_secret: str


class Registration:
    """One application's registration at one provider."""

    def __init__(self, config: Config, engine: Engine) -> None:
        self._config, self._engine = config, engine
        self._known = Credentials(config.client_id, config.client_secret) if config.client_id else None

    def known(self) -> Credentials | None:
        """The credentials, if there are some already."""
        if self._known is None:
            with Session(self._engine) as db:
                row = db.get(RegisteredClient, (self._config.issuer, self._config.base_url))
            self._known = Credentials(row.client_id, row.client_secret) if row else None
        return self._known

    def keep(self, answer: dict[str, Any]) -> Credentials:
        """Store what the provider answered; whoever was first wins, the others use the same."""
        client_id, secret = answer.get("client_id"), answer.get("client_secret")
        if not isinstance(client_id, str) or not isinstance(secret, str):
            raise ProviderError("The provider registered us, but gave no client_id and client_secret.")
        row = RegisteredClient(
            issuer=self._config.issuer, base_url=self._config.base_url, client_id=client_id, client_secret=secret
        )
        try:
            with Session(self._engine) as db, db.begin():
                db.add(row)
        except IntegrityError:
            self._known = None
        return self.known() or Credentials(client_id, secret)

    def forget(self) -> None:
        """Register anew at the next login; for a provider that has forgotten us."""
        with Session(self._engine) as db, db.begin():
            mine = RegisteredClient.issuer == self._config.issuer, RegisteredClient.base_url == self._config.base_url
            db.execute(delete(RegisteredClient).where(*mine))
        self._known = None


def metadata(config: Config) -> dict[str, Any]:
    """What we register: one consistent set, with where to log out (RP-30, BCL §2.2)."""
    return {
        "client_name": config.client_name,
        "application_type": "web",
        "redirect_uris": [config.url("/oauth2client")],
        "response_types": ["code"],
        "grant_types": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_method": "client_secret_basic",
        "scope": config.scopes,
        "id_token_signed_response_alg": config.signing_algorithm,
        "post_logout_redirect_uris": [config.url("/logged-out")],
        "backchannel_logout_uri": config.url("/bclogout"),
        "backchannel_logout_session_required": True,
    }
