"""Introspection (RFC 7662) and revocation (RFC 7009). Authlib reads the requests and authenticates the client."""

from typing import Any

from authlib.oauth2.rfc6749 import OAuth2Request
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7662 import IntrospectionEndpoint
from flask import Response

from idp.clients.authentication import CONFIDENTIAL, METHODS
from idp.models import Client, Token
from idp.provider import current_provider
from idp.tokens.token_store import find_access_token, find_token
from pickup_web import events
from pickup_web.clock import now
from pickup_web.database import db
from pickup_web.security import uncached


def revoke() -> Response:
    """``POST /oauth2/revoke`` (RFC 7009)."""
    response = current_provider().oauth.create_endpoint_response("revocation")
    db.session.commit()
    return uncached(response)


def introspect() -> Response:
    """``POST /oauth2/introspect`` (RFC 7662)."""
    return uncached(current_provider().oauth.create_endpoint_response("introspection"))


class Revocation(RevocationEndpoint):  # type: ignore[misc] # Authlib has no types
    """RFC 7009. Public clients may revoke their own tokens, too."""

    CLIENT_AUTH_METHODS = METHODS

    def authenticate_token(self, oauth_request: OAuth2Request, client: Client) -> Token | None:
        """RFC 7009 §2.2: an unknown token is not an error. We treat another client's token as unknown."""
        self.check_params(oauth_request, client)
        found = find_token(oauth_request.form["token"])
        return found if found and found.check_client(client) else None

    def revoke_token(self, found: Token, _request: OAuth2Request) -> None:
        """Revokes the access token and its refresh token together, whichever was sent (RFC 7009 §2.1)."""
        found.revoked_at = found.revoked_at or now()
        events.record(db.session, "op.token.revoked", sid=found.sid, client_id=found.client_id)


class Introspection(IntrospectionEndpoint):  # type: ignore[misc] # Authlib has no types
    """RFC 7662. APIs ask here whether a token is active, so a logout applies immediately."""

    CLIENT_AUTH_METHODS = CONFIDENTIAL

    def query_token(self, value: str, _hint: str | None) -> Token | None:
        """Access tokens only: APIs never receive refresh tokens."""
        return find_access_token(value)

    def check_permission(self, found: Token, client: Client, _request: OAuth2Request) -> bool:
        """RFC 7662 §4: its own tokens, or any if it is an API; for every other client the token is not active."""
        return client.may_introspect or found.check_client(client)

    def introspect_token(self, found: Token) -> dict[str, Any]:
        """RFC 7662 §2.2."""
        return {
            "active": True,
            "scope": found.scope,
            "client_id": found.client_id,
            "token_type": "Bearer",
            "exp": found.access_expires_at,
            "iat": found.issued_at,
            "sub": found.sub,
            "iss": current_provider().issuer,
        }
