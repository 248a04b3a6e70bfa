"""Access tokens for programs that act for themselves (RFC 6749 §4.4): the way into the admin API.

No person takes part. So there is no session, no refresh token and no ID token; and no participation, which is why
such a client never hears of a logout (BCL §2.3).
"""

from typing import Any

from authlib.oauth2.rfc6749 import InvalidScopeError
from authlib.oauth2.rfc6749.grants import ClientCredentialsGrant

from idp.clients.authentication import CONFIDENTIAL
from idp.models import Client, Token, hash_of
from idp.tokens.token_store import new_tokens
from pickup_web import events
from pickup_web.clock import now
from pickup_web.database import db

# What an operator may allow a program. Nobody can register these, and no person's token ever holds one.
ADMIN_SCOPES = {
    "account:read": "See accounts and their sessions.",
    "account:write": "End the sessions of accounts.",
    "client:read": "See the registered clients.",
    "delivery:read": "See what was told to which app, and how it answered.",
    "delivery:write": "Send a logout to an app again.",
}


class ServiceClientGrant(ClientCredentialsGrant):  # type: ignore[misc] # Authlib has no types
    """RFC 6749 §4.4.2: for clients that can keep a secret, and that the operator registered with this grant."""

    TOKEN_ENDPOINT_AUTH_METHODS = CONFIDENTIAL

    def create_token_response(self) -> tuple[int, dict[str, Any], Any]:
        """RFC 6749 §4.4.3: an access token, and nothing to renew it with."""
        tokens = new_tokens(self.granted_scope(), with_refresh_token=False)
        self.save_token(tokens)
        return 200, tokens, self.TOKEN_RESPONSE_HEADER

    def granted_scope(self) -> str:
        """RFC 6749 §3.3: what was asked for, as far as it is allowed; all that is allowed, if nothing was asked."""
        client: Client = self.request.client
        allowed = [scope for scope in ADMIN_SCOPES if scope in client.scopes]
        asked = self.request.payload.scope
        granted = allowed if asked is None else [scope for scope in allowed if scope in asked.split()]
        if not granted:
            raise InvalidScopeError("scope holds nothing this client may ask for.")
        return " ".join(granted)

    def save_token(self, tokens: dict[str, Any]) -> None:
        """A row without a session: nothing but its own time, a revocation or the client's end takes it away."""
        client: Client = self.request.client
        access_hash = hash_of(tokens["access_token"])
        db.session.add(
            Token(
                access_hash=access_hash,
                family=access_hash,
                client_id=client.client_id,
                sub=client.client_id,  # as RFC 9068 §2.2 has it, where there is no person
                scope=tokens["scope"],
                auth_time=now(),
                amr=[],
                issued_at=now(),
                access_expires_at=now() + tokens["expires_in"],
            )
        )
        events.record(db.session, "op.token.issued", client_id=client.client_id, outcome=tokens["scope"])
