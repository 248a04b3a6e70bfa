"""The client's credentials: from the settings, or from dynamic registration (Registration 1.0 §3).

Without a client id in the settings, the first sign-in registers the app, with its back-channel logout URI. All
workers and replicas share the credentials in the database.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Engine, and_, delete
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session

from relying_party.clock import now
from relying_party.config import Config
from relying_party.encryption import Encryption
from relying_party.errors import ProviderError
from relying_party.models import RegisteredClient


@dataclass(frozen=True)
class Credentials:
    """Client id, client secret, and the time at which the secret expires (0: never)."""

    client_id: str
    client_secret: str
    expires_at: int = 0

    def are_valid(self) -> bool:
        """Whether the secret has not expired."""
        return not self.expires_at or self.expires_at > now()


class Registration:
    """One app's registration at one provider."""

    def __init__(self, config: Config, engine: Engine, encryption: Encryption, tell: Callable[[], None]) -> None:
        """``tell`` is called after the provider has registered the app."""
        self._config, self._engine, self._encryption, self._tell = config, engine, encryption, tell
        self._known = Credentials(config.client_id, config.client_secret) if config.client_id else None

    def known(self) -> Credentials | None:
        """The credentials, or None before the registration."""
        if self._known is None and not self._config.client_id:
            with Session(self._engine) as db:
                row = db.get(RegisteredClient, (self._config.issuer, self._config.base_url))
            self._known = self._decrypted(row) if row else None
        if self._known and not self._known.are_valid():
            self._known = None
        return self._known

    def _decrypted(self, row: RegisteredClient) -> Credentials | None:
        secret: str | None = self._encryption.decrypt(row.client_secret)
        if secret is None:  # SECRET_KEY was changed, so the client secret is lost
            same = RegisteredClient.client_secret == row.client_secret  # another worker may have registered meanwhile
            with Session(self._engine) as db, db.begin():
                db.execute(delete(RegisteredClient).where(self._mine(), same))
            return None
        return Credentials(row.client_id, secret, row.secret_expires_at)

    def register_once(self, ask: Callable[[], dict[str, Any]]) -> Credentials:
        """Register with ``ask``, which returns the provider's response, unless another worker is registering.

        One transaction inserts the row, asks, and fills the row. A second worker waits at its INSERT and then finds
        the row. If the first worker fails, its transaction is rolled back and the second worker registers.
        """
        row = RegisteredClient(issuer=self._config.issuer, base_url=self._config.base_url)
        try:
            with Session(self._engine) as db, db.begin():
                has_expired = RegisteredClient.secret_expires_at.between(1, now())
                db.execute(delete(RegisteredClient).where(self._mine(), has_expired))
                db.add(row)
                db.flush()
                row.client_id, secret, row.secret_expires_at = credentials_in(ask())
                row.client_secret = self._encryption.encrypt(secret)
        except IntegrityError:
            self._known = None  # another worker has registered: read its credentials
        except OperationalError as error:  # SQLite: the other worker's transaction took longer than busy_timeout
            raise ProviderError("This app is being registered. Please try again.", repr(error)) from error
        else:
            self._tell()
        if credentials := self.known():
            return credentials
        raise ProviderError("This app is not registered at the identity provider.")

    def forget(self) -> None:
        """Register again at the next sign-in. For a provider that has deleted the client."""
        with Session(self._engine) as db, db.begin():
            db.execute(delete(RegisteredClient).where(self._mine()))
        self._known = None

    def _mine(self) -> ColumnElement[bool]:
        config, table = self._config, RegisteredClient
        return and_(table.issuer == config.issuer, table.base_url == config.base_url)


def credentials_in(answer: dict[str, Any]) -> tuple[str, str, int]:
    """Registration §3.2: client_id is REQUIRED; client_secret_expires_at is a time, or 0 for never."""
    client_id, secret = answer.get("client_id"), answer.get("client_secret")
    if not isinstance(client_id, str) or not isinstance(secret, str) or not client_id:
        raise ProviderError("The identity provider's registration response has no client_id or no client_secret.")
    expires_at = answer.get("client_secret_expires_at", 0)
    return client_id, secret, expires_at if isinstance(expires_at, int) else 0


def metadata(config: Config, auth_method: str) -> dict[str, Any]:
    """The registration request: Registration §2, RPIL §3.1 and BCL §2.2; FCL §2 if the app has switched it on."""
    front_channel = {
        "frontchannel_logout_uri": config.url("/fclogout"),
        "frontchannel_logout_session_required": True,
    }
    return {
        "client_name": config.client_name,
        "application_type": "web",
        "redirect_uris": [config.url("/oauth2client")],
        "response_types": ["code"],
        "grant_types": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_method": auth_method,
        "scope": config.scopes,
        "id_token_signed_response_alg": config.signing_algorithm,
        "post_logout_redirect_uris": [config.url("/logged-out")],
        "backchannel_logout_uri": config.url("/bclogout"),
        "backchannel_logout_session_required": True,
        **(front_channel if config.frontchannel_logout else {}),
    }
