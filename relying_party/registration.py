"""Who we are at the provider: the client id and secret of the settings, or those we registered ourselves for.

Registration 1.0 §3. Without a client id in the settings the first login registers this application,
back-channel logout included. The credentials are kept in the database, so that all workers and replicas
are one client, also after a restart.
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
    """The client's name at the provider, and its secret, which may expire (0: never)."""

    client_id: str
    client_secret: str
    expires_at: int = 0

    def are_valid(self) -> bool:
        """Whether the provider still takes them."""
        return not self.expires_at or self.expires_at > now()


class Registration:
    """One application's registration at one provider."""

    def __init__(self, config: Config, engine: Engine, encryption: Encryption, tell: Callable[[], None]) -> None:
        """``tell`` is called when the provider has registered us."""
        self._config, self._engine, self._encryption, self._tell = config, engine, encryption, tell
        self._known = Credentials(config.client_id, config.client_secret) if config.client_id else None

    def known(self) -> Credentials | None:
        """The credentials, if there are some already."""
        if self._known is None and not self._config.client_id:
            with Session(self._engine) as db:
                row = db.get(RegisteredClient, (self._config.issuer, self._config.base_url))
            self._known = self._decrypted(row) if row else None
        if self._known and not self._known.are_valid():
            self._known = None
        return self._known

    def _decrypted(self, row: RegisteredClient) -> Credentials | None:
        secret: str | None = self._encryption.decrypt(row.client_secret)
        if secret is None:  # SECRET_KEY was changed: without its secret we cannot be that client
            same = RegisteredClient.client_secret == row.client_secret  # else another worker has registered meanwhile
            with Session(self._engine) as db, db.begin():
                db.execute(delete(RegisteredClient).where(self._mine(), same))
            return None
        return Credentials(row.client_id, secret, row.secret_expires_at)

    def register_once(self, ask: Callable[[], dict[str, Any]]) -> Credentials:
        """Register by ``ask``, which returns the provider's answer, unless another worker is just doing it.

        The row is inserted first and filled after the answer, in one transaction: a worker that comes
        second waits at its INSERT, and then finds the row. If we fail, it is its turn.
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
            self._known = None  # the other one was first, and it is one client
        except OperationalError as error:  # SQLite has one writer at a time, and waits for it not for ever
            raise ProviderError("This application is being registered. Please try again.", repr(error)) from error
        else:
            self._tell()
        if credentials := self.known():
            return credentials
        raise ProviderError("This application is not registered at the identity provider.")

    def forget(self) -> None:
        """Register anew at the next login; for a provider that has forgotten us."""
        with Session(self._engine) as db, db.begin():
            db.execute(delete(RegisteredClient).where(self._mine()))
        self._known = None

    def _mine(self) -> ColumnElement[bool]:
        config, table = self._config, RegisteredClient
        return and_(table.issuer == config.issuer, table.base_url == config.base_url)


def credentials_in(answer: dict[str, Any]) -> tuple[str, str, int]:
    """Registration §3.2: client id, secret, and until when the secret is good."""
    client_id, secret = answer.get("client_id"), answer.get("client_secret")
    if not isinstance(client_id, str) or not isinstance(secret, str) or not client_id:
        raise ProviderError("The identity provider registered us, but gave no client_id and client_secret.")
    expires_at = answer.get("client_secret_expires_at", 0)
    return client_id, secret, expires_at if isinstance(expires_at, int) else 0


def metadata(config: Config, auth_method: str) -> dict[str, Any]:
    """What we register: one consistent set, with where to log out (RP-30, BCL §2.2)."""
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
    }
