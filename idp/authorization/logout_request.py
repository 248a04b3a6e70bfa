"""A validated logout request (RPIL §2), and how it survives a redirect to ourselves."""

from dataclasses import dataclass

from flask import url_for
from itsdangerous import BadSignature, URLSafeTimedSerializer

from idp.authorization.pending import for_url, from_url
from idp.clients.registry import find_client
from idp.models import LONG_REQUEST_SECONDS, Client
from idp.provider import current_provider


class Refused(Exception):
    """RPIL §4: a request with an error is never redirected; a page shows the error.

    ``advice`` says what the app should change; ``blamed`` are the parameters that the page shows.
    """

    def __init__(self, sentence: str, advice: str, *blamed: str) -> None:
        super().__init__(sentence)
        self.advice, self.blamed = advice, blamed


@dataclass(frozen=True)
class LogoutRequest:
    """A validated logout request."""

    client: Client | None
    redirect_uri: str | None  # where to go after the logout, with state
    hint_sid: str | None  # the session in which the id_token_hint was issued; None without a hint

    def resume_url(self) -> str:
        """A URL of ours that continues this request, without the hint: it may be long, and was verified."""
        content = [self.client and self.client.client_id, self.redirect_uri, self.hint_sid]
        return url_for("end_session", resume=for_url(_resume_signer().dumps(content)))

    @classmethod
    def read(cls, given: str) -> "LogoutRequest | None":
        """The request from :meth:`resume_url`; None if it is forged or too old, or the client was removed."""
        try:
            client_id, redirect_uri, hint_sid = _resume_signer().loads(from_url(given), max_age=LONG_REQUEST_SECONDS)
        except BadSignature:
            return None
        client = find_client(client_id) if client_id else None
        return None if client_id and client is None else cls(client, redirect_uri, hint_sid)


def _resume_signer() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(current_provider().settings.secret_key.get_secret_value(), salt="logout-resumed")
