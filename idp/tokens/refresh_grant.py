"""The refresh token grant (RFC 6749 §6, Core §12). Each use replaces the refresh token (RFC 9700 §4.14.2)."""

from typing import Any

from authlib.oauth2.rfc6749 import InvalidGrantError
from authlib.oauth2.rfc6749.grants import RefreshTokenGrant
from sqlalchemy import select

from idp.clients.authentication import METHODS
from idp.models import Client, Token, hash_of
from idp.prepared import CLAIM_REFRESH, LOCK_SESSION_OF, LOCK_USER_OF
from idp.tokens.token_store import issue_id_token, new_tokens, revoke_family, store_tokens
from pickup_web.clock import now
from pickup_web.database import db

GRACE_SECONDS = 10  # a refresh token may be used again for this long, because the response may have been lost


class RefreshGrant(RefreshTokenGrant):  # type: ignore[misc] # Authlib has no types
    """Authlib authenticates the client, and checks that the token is the client's and the scope; the rest is below."""

    TOKEN_ENDPOINT_AUTH_METHODS = METHODS

    def authenticate_refresh_token(self, refresh_token: str) -> Token | None:
        """The row of an active refresh token, now marked as replaced. Of two simultaneous requests one marks it."""
        wanted, at = hash_of(refresh_token), now()
        # Lock the session of the refresh token first (the user, for an offline one), then the token. Ending a session
        # locks in the same order; with different orders the two could deadlock.
        if not (
            db.session.scalar(LOCK_SESSION_OF, {"wanted": wanted, "at": at})
            or db.session.scalar(LOCK_USER_OF, {"wanted": wanted})
        ):
            raise InvalidGrantError("The session has ended, the account is disabled, or the token is unknown.")
        found: Token | None = db.session.scalar(CLAIM_REFRESH, {"wanted": wanted, "at": at})
        if found is None:
            found = db.session.scalar(select(Token).where(Token.refresh_hash == wanted))
            if found and not may_be_used_again(found, at):
                # RFC 9700 §4.14.2: a second use means that the token was stolen, so the whole family is revoked.
                client = db.session.get_one(Client, found.client_id)
                revoke_family(found.family, client, "a refresh token was used twice")
                return None
        return found if found and (found.refresh_expires_at or 0) > at else None

    def create_token_response(self) -> tuple[int, dict[str, Any], Any]:
        """RFC 6749 §6. The session is locked above, so it cannot have ended; an offline token may outlive it."""
        old, client = self.request.refresh_token, self.request.client
        scope = client.get_allowed_scope(self.request.payload.scope or old.scope)
        tokens = new_tokens(scope, with_refresh_token=True)
        store_tokens(tokens, client, old, family=old.family)
        old.replaced_by = hash_of(tokens["access_token"])
        if "openid" in scope.split():
            # Core §12.2: a refreshed ID token should have no nonce.
            tokens["id_token"] = issue_id_token(
                client, old, nonce=None, access_token=tokens["access_token"], code=None, scope=scope
            )
        return 200, tokens, self.TOKEN_RESPONSE_HEADER


def may_be_used_again(replaced: Token, at: int) -> bool:
    """Whether the first response may have been lost: within GRACE_SECONDS, while the successor is unused.

    If so, revokes the successor, so that only one of the two stays active.
    """
    if replaced.revoked_at is not None or (replaced.rotated_at or 0) + GRACE_SECONDS < at:
        return False
    successor = db.session.get(Token, replaced.replaced_by) if replaced.replaced_by else None
    if successor is None:  # a token that was replaced by a version without this column
        return True
    if successor.rotated_at is not None or successor.revoked_at is not None:
        return False
    successor.revoked_at = at
    return True
