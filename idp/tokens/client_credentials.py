"""Access tokens for service clients, which act for themselves (RFC 6749 §4.4): they call the admin API.

No user is involved. So there is no session, refresh token, ID token or participation, and such a client is never
notified of a logout (BCL §2.3).
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

# Only an operator can give a client these scopes. Registration refuses them, and no user's token has one.
ADMIN_SCOPES = {
    "account:read": "See accounts and their sessions.",
    "account:write": "End the sessions of accounts.",
    "account:manage": "Add, change and remove accounts, operators too.",
    "client:read": "See the registered clients.",
    "client:manage": "Register, change and remove clients.",
    "delivery:read": "See which app was notified, and how it answered.",
    "delivery:write": "Send a logout to an app again.",
}


class ServiceClientGrant(ClientCredentialsGrant):  # type: ignore[misc] # Authlib has no types
    """RFC 6749 §4.4.2: only for confidential clients that the operator registered with this grant."""

    TOKEN_ENDPOINT_AUTH_METHODS = CONFIDENTIAL

    def create_token_response(self) -> tuple[int, dict[str, Any], Any]:
        """RFC 6749 §4.4.3: an access token without a refresh token."""
        tokens = new_tokens(self.granted_scope(), with_refresh_token=False)
        self.save_token(tokens)
        return 200, tokens, self.TOKEN_RESPONSE_HEADER

    def granted_scope(self) -> str:
        """RFC 6749 §3.3: the requested scopes that are allowed; all that are allowed if none was requested."""
        client: Client = self.request.client
        allowed = [scope for scope in ADMIN_SCOPES if scope in client.scopes]
        asked = self.request.payload.scope
        granted = allowed if asked is None else [scope for scope in allowed if scope in asked.split()]
        if not granted:
            raise InvalidScopeError("scope contains no scope that this client may request.")
        return " ".join(granted)

    def save_token(self, tokens: dict[str, Any]) -> None:
        """Stores the token without a session. It ends by expiry, revocation or removal of the client."""
        client: Client = self.request.client
        access_hash = hash_of(tokens["access_token"])
        db.session.add(
            Token(
                access_hash=access_hash,
                family=access_hash,
                client_id=client.client_id,
                sub=client.client_id,  # RFC 9068 §2.2: without a user, sub identifies the client
                scope=tokens["scope"],
                auth_time=now(),
                amr=[],
                issued_at=now(),
                access_expires_at=now() + tokens["expires_in"],
            )
        )
        events.record(db.session, "op.token.issued", client_id=client.client_id, outcome=tokens["scope"])
