"""The checks of an authorization code (RFC 6749 §4.1.3, RFC 7636), and Authlib's grant around step [5]."""

import hashlib
import hmac
import re
from base64 import urlsafe_b64encode
from typing import Any

from authlib.oauth2.rfc6749 import InvalidGrantError, InvalidRequestError, UnauthorizedClientError
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant

from idp.clients.authentication import METHODS
from idp.models import AuthorizationCode, Client, hash_of
from idp.prepared import CLAIM_CODE
from idp.tokens.token_store import revoke_family
from pickup_web.clock import now
from pickup_web.database import db

CODE_SECONDS = 60  # RFC 6749 §4.1.2 allows ten minutes; a redirect takes one second
VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")  # RFC 7636 §4.1

InvalidGrant = InvalidGrantError  # Authlib's class for the error code invalid_grant (RFC 6749 §5.2)


def redeem_code(value: str | None, client: Client) -> AuthorizationCode:
    """The client's own unused code, marked as used; :class:`InvalidGrant` if there is none (RFC 6749 §5.2)."""
    if value is None:
        raise InvalidRequestError("Missing 'code' in request.")
    wanted = hash_of(value)
    code: AuthorizationCode | None = CLAIM_CODE.first(
        db.session, {"wanted": wanted, "by": client.client_id, "at": now()}
    )
    if code:
        return code
    used = db.session.get(AuthorizationCode, wanted)
    if used and used.client_id == client.client_id and used.used_at is not None:
        # RFC 6749 §4.1.2: a second use means that the code leaked, so all tokens from it are revoked. The first use
        # may be any time ago.
        revoke_family(wanted, client, "the code was used twice")
    raise InvalidGrant("Invalid 'code' in request.")


def check_redirect_uri(code: AuthorizationCode, redirect_uri: str | None) -> None:
    """RFC 6749 §4.1.3: the same redirect_uri as in the authorization request."""
    if redirect_uri != code.redirect_uri:
        raise InvalidGrant("Invalid 'redirect_uri' in request.")


def check_code_verifier(code: AuthorizationCode, verifier: str | None, *, is_public: bool) -> None:
    """RFC 7636 §4.6, S256 only. Each failure is ``invalid_grant``; the comparison takes constant time."""
    challenge, verifier = code.code_challenge or "", verifier or ""
    if not challenge and not verifier and not is_public:
        return
    # RFC 9700 §4.8: a verifier without a challenge in the request is a PKCE downgrade, so it is refused too.
    made = urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=")
    if not VERIFIER.fullmatch(verifier) or not hmac.compare_digest(made, challenge.encode()):
        raise InvalidGrant("The code_verifier does not match the code.")


class CodeGrant(AuthorizationCodeGrant):  # type: ignore[misc] # Authlib has no types
    """Core §3.1.3: Authlib authenticates the client, flow/token.py exchanges the code."""

    TOKEN_ENDPOINT_AUTH_METHODS = METHODS

    def validate_token_request(self) -> None:
        """RFC 6749 §3.2.1: authenticate the client, and check that it may use the grant."""
        self.request.client = self.authenticate_token_endpoint_client()
        if not self.request.client.check_grant_type(self.GRANT_TYPE):
            raise UnauthorizedClientError("The client is not authorized to use 'grant_type=authorization_code'")

    def create_token_response(self) -> tuple[int, dict[str, Any], Any]:
        """RFC 6749 §5.1."""
        return 200, self.server.exchange_code(self.request.client, self.request.form), self.TOKEN_RESPONSE_HEADER
