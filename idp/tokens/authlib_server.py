"""The one file that wires Authlib's grants and endpoints to our tables.

Authlib drives the protocol (RFC 6749, 7009, 7636, 7662, Core §3.1.3) and asks the methods below. A
transaction lasts until the view commits it (token.py): an error on the way leaves nothing behind.
"""

import functools
import hashlib
import hmac
import json
import re
import secrets
from base64 import urlsafe_b64encode
from typing import Any

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.integrations.flask_oauth2.requests import FlaskOAuth2Payload, FlaskOAuth2Request
from authlib.oauth2.rfc6749 import InvalidGrantError, OAuth2Request, UnauthorizedClientError
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant, RefreshTokenGrant
from authlib.oauth2.rfc6750 import BearerTokenGenerator
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oauth2.rfc7662 import IntrospectionEndpoint
from authlib.oidc.core.grants.code import OpenIDToken
from flask import Flask, request
from sqlalchemy import JSON, Text, bindparam, cast, exists, insert, or_, select, update
from werkzeug.datastructures import MultiDict

from idp.clients.authentication import CONFIDENTIAL, METHODS, PrivateKeyJwt, client_secret_basic
from idp.clients.jwks import ClientKeys
from idp.flow import token
from idp.models import AuthorizationCode, Client, Participation, SsoSession, Token, User, has_word, hash_of
from idp.sign_in.sso_session import lock_if_active
from idp.tokens.client_credentials import ServiceClientGrant
from idp.tokens.signing_keys import NoSigningKeyError
from pickup_web import events
from pickup_web.clock import now
from pickup_web.database import add_row, db, table_of

CODE_SECONDS = 60  # RFC 6749 §4.1.2 allows ten minutes; a redirect takes one second
ACCESS_SECONDS = 600
REFRESH_SECONDS = 10 * 3600  # as long as a session can last
OFFLINE_SECONDS = 30 * 24 * 3600
VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")  # RFC 7636 §4.1
GRACE_SECONDS = 10  # in which a refresh token may be used again: its answer may have been lost on the way


class OAuthServer(AuthorizationServer):  # type: ignore[misc] # Authlib has no types
    """Authlib's server, over our tables."""

    def __init__(self, app: Flask, client_keys: ClientKeys, issuer: str) -> None:
        super().__init__(app, query_client=known_client, save_token=save_token)
        self.register_token_generator(
            "default",
            BearerTokenGenerator(
                lambda **_: secrets.token_urlsafe(32),
                lambda **_: secrets.token_urlsafe(32),
                lambda *_: ACCESS_SECONDS,
            ),
        )
        self.register_client_auth_method("client_secret_basic", client_secret_basic)
        audiences = [issuer, f"{issuer}/oauth2/token"]
        self.register_client_auth_method("private_key_jwt", PrivateKeyJwt(client_keys, audiences))
        self.register_grant(CodeGrant, [Pkce(), IdToken()])
        self.register_grant(RefreshGrant, [IdToken()])
        self.register_grant(ServiceClientGrant)
        self.register_endpoint(Revocation)
        self.register_endpoint(Introspection)

    def create_oauth2_request(self, _request: None) -> OAuth2Request:
        """What Authlib reads in place of its own: see :class:`FormPayload`."""
        oauth_request = FlaskOAuth2Request(request)
        oauth_request.payload = FormPayload(request)
        return oauth_request


class FormPayload(FlaskOAuth2Payload):  # type: ignore[misc] # Authlib has no types
    """RFC 6749 §2.3.1, §4.1.3: parameters come in the body. Authlib would prefer those in the URL."""

    @property
    def data(self) -> MultiDict[str, str]:
        """The form, without the URL's query."""
        return request.form


def find_client(client_id: str) -> Client | None:
    """The registered client of that name, which is printable ASCII (RFC 6749 §A.1); no database sees anything else."""
    client = db.session.get(Client, client_id) if client_id.isascii() and client_id.isprintable() else None
    return client if client and client.removed_at is None else None


_client, _code, _participation = table_of(Client), table_of(AuthorizationCode), table_of(Participation)
_session, _user = table_of(SsoSession), table_of(User)
_is_json = [isinstance(column.type, JSON) for column in _client.columns]
# Statements that each flow runs are built once: building one takes longer than SQLite takes to answer it.
CLIENT_ROW = select(
    *(cast(column, Text) if json_ else column for column, json_ in zip(_client.columns, _is_json, strict=True))
).where(_client.c.client_id == bindparam("client_id"), _client.c.removed_at.is_(None))


def known_client(client_id: str) -> Client | None:
    """The same, to look at and not to change: one object for all threads.

    The row is read each time, so that a change counts at once and in every process. What is remembered is only the
    object that was made of that very row, which takes longer than reading it.
    """
    if not (client_id.isascii() and client_id.isprintable()):
        return None
    row = db.session.execute(CLIENT_ROW, {"client_id": client_id}).first()
    return _client_of(tuple(row)) if row else None


@functools.lru_cache(maxsize=1000)
def _client_of(row: tuple[Any, ...]) -> Client:
    values = (json.loads(value) if json_ and value else value for value, json_ in zip(row, _is_json, strict=True))
    return Client(**dict(zip(_client.columns.keys(), values, strict=True)))


CLAIM_CODE = (
    update(_code)
    .where(
        _code.c.code_hash == bindparam("wanted"),
        _code.c.client_id == bindparam("by"),
        _code.c.used_at.is_(None),
        _code.c.expires_at > bindparam("at"),
    )
    .values(used_at=bindparam("at"))
    .returning(*_code.columns)
)


class CodeGrant(AuthorizationCodeGrant):  # type: ignore[misc] # Authlib has no types
    """Core §3.1.3: a code for tokens. The code itself is made in authorization_response.py."""

    TOKEN_ENDPOINT_AUTH_METHODS = METHODS

    def query_authorization_code(self, code: str, client: Client) -> AuthorizationCode | None:
        """The client's own unused code. The first to ask has it (CODE-04); a second means that somebody has a copy."""
        wanted = hash_of(code)
        row = db.session.execute(CLAIM_CODE, {"wanted": wanted, "by": client.client_id, "at": now()}).first()
        if row:
            return AuthorizationCode(**row._mapping)
        used = db.session.get(AuthorizationCode, wanted)
        if used and used.client_id == client.client_id and used.used_at is not None:
            # RFC 6749 §4.1.2: all tokens that came from this code are revoked, however long ago it was used.
            revoke_family(wanted, client, "the code was used twice")
        return None

    def authenticate_user(self, code: AuthorizationCode) -> AuthorizationCode | None:
        """The code, if its session still lives. From here until the commit it cannot end: its row is locked."""
        return code if lock_if_active(code.sid) else None

    def delete_authorization_code(self, _code: AuthorizationCode) -> None:
        """Done above, before anything was given for it."""


class Pkce(CodeChallenge):  # type: ignore[misc] # Authlib has no types
    """RFC 7636 §4.6 with S256 alone. Whatever is wrong is ``invalid_grant``, and takes the same time to find out."""

    def validate_code_verifier(self, grant: CodeGrant, _result: Any) -> None:
        """The verifier that the code's challenge was made of; none where there was no challenge (RFC 9700 §4.8)."""
        oauth_request: OAuth2Request = grant.request
        challenge = oauth_request.authorization_code.code_challenge or ""
        verifier = oauth_request.form.get("code_verifier") or ""
        if not challenge and not verifier and oauth_request.auth_method != "none":
            return
        made = urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=")
        if not VERIFIER.fullmatch(verifier) or not hmac.compare_digest(made, challenge.encode()):
            raise InvalidGrantError("The code_verifier does not belong to the code.")


# Whom a refresh token hangs on is held before the token is touched: its session, or of an offline one the person.
# An ending takes them in the same order. In another one the two would wait for each other, and the ending might lose.
_is_offline = has_word(Token.scope, "offline_access")
_by_refresh = Token.refresh_hash == bindparam("wanted")
HOLD_SESSION_OF = (
    update(_session)
    .where(_session.c.sid == select(Token.sid).where(_by_refresh, ~_is_offline).scalar_subquery())
    .where(_session.c.ended_at.is_(None))
    .values(last_seen_at=bindparam("at"))
    .returning(_session.c.sid)
)
HOLD_PERSON_OF = (
    update(_user)
    .where(_user.c.sub == select(Token.sub).where(_by_refresh, _is_offline).scalar_subquery())
    .where(_user.c.disabled_at.is_(None))
    .values(disabled_at=None)
    .returning(_user.c.sub)
)
CLAIM_REFRESH = (
    update(Token)
    .where(Token.refresh_hash == bindparam("wanted"), Token.rotated_at.is_(None), Token.revoked_at.is_(None))
    .values(rotated_at=bindparam("at"))
    .returning(Token)
)


class RefreshGrant(RefreshTokenGrant):  # type: ignore[misc] # Authlib has no types
    """RFC 6749 §6, Core §12. Each use replaces the refresh token; the use of a replaced one revokes them all."""

    TOKEN_ENDPOINT_AUTH_METHODS = METHODS
    INCLUDE_NEW_REFRESH_TOKEN = True

    def authenticate_refresh_token(self, refresh_token: str) -> Token | None:
        """The token it belongs to, if it is still good. The first to ask has it, and rotates it (RFC 9700 §4.14.2)."""
        wanted, at = hash_of(refresh_token), now()
        if not (
            db.session.scalar(HOLD_SESSION_OF, {"wanted": wanted, "at": at})
            or db.session.scalar(HOLD_PERSON_OF, {"wanted": wanted})
        ):
            raise InvalidGrantError("The session has ended, the account is disabled, or there is no such token.")
        found: Token | None = db.session.scalar(CLAIM_REFRESH, {"wanted": wanted, "at": at})
        if found is None:
            found = db.session.scalar(select(Token).where(Token.refresh_hash == wanted))
            if found and not may_be_used_again(found, at):
                # RFC 9700 §4.14.2: a replaced refresh token comes back, so one of its two owners stole it.
                client = db.session.get_one(Client, found.client_id)
                revoke_family(found.family, client, "a refresh token was used twice")
                return None
        return found if found and (found.refresh_expires_at or 0) > at else None

    def authenticate_user(self, old: Token) -> Token:
        """Held above: its session lives, or it is offline access and may outlive its session (Core §11)."""
        return old

    def revoke_old_credential(self, _old: Token) -> None:
        """Done above, before anything was given for it."""


def may_be_used_again(replaced: Token, at: int) -> bool:
    """Whether the answer to its first use may have been lost: within the grace, while its successor is unused.

    The successor is revoked then, so that one of the two continues.
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


class IdToken(OpenIDToken):  # type: ignore[misc] # Authlib has no types
    """Puts the ID token of token.py into the token response."""

    def encode_id_token(self, tokens: dict[str, Any], oauth_request: OAuth2Request) -> str:
        """Authlib would import the private key each time; ours is loaded."""
        try:
            return token.id_token(tokens, oauth_request)
        except NoSigningKeyError as error:  # taken out of the settings since the client was registered
            raise UnauthorizedClientError(f"This provider does not sign with {error}, as the client wants.") from error


def save_token(tokens: dict[str, Any], oauth_request: OAuth2Request) -> None:
    """Store a token response, and that the client now takes part in the session."""
    code: AuthorizationCode | None = oauth_request.authorization_code
    origin: AuthorizationCode | Token = oauth_request.authorization_code or oauth_request.refresh_token
    mark_client_used(oauth_request.client)
    scope = tokens.get("scope", "")
    lifetime = OFFLINE_SECONDS if "offline_access" in scope.split() else REFRESH_SECONDS
    add_row(
        db.session,
        Token,
        access_hash=hash_of(tokens["access_token"]),
        refresh_hash=hash_of(tokens["refresh_token"]) if "refresh_token" in tokens else None,
        family=origin.code_hash if isinstance(origin, AuthorizationCode) else origin.family,
        client_id=oauth_request.client.client_id,
        sid=origin.sid,
        sub=origin.sub,
        scope=scope,
        auth_time=origin.auth_time,
        amr=origin.amr,
        acr=origin.acr,
        claims=origin.claims,
        issued_at=now(),
        access_expires_at=now() + ACCESS_SECONDS,
        refresh_expires_at=now() + lifetime,
    )
    if isinstance(origin, Token):
        origin.replaced_by = hash_of(tokens["access_token"])
    if code and "openid" in scope.split():
        record_participation(code.sid, code.client_id, code.sub)


def mark_client_used(client: Client) -> None:
    """REG-17: a client that registered itself stays if somebody signed in to it, once and however long ago."""
    if client.registration_token_hash is None or client.used_at is not None:
        return
    # Whoever holds its row just now changes or removes it, and may wait for us: then the next use is noted.
    free = select(Client.client_id).where(Client.client_id == client.client_id).with_for_update(skip_locked=True)
    used = update(Client).where(Client.client_id.in_(free)).values(used_at=now())
    db.session.execute(used.execution_options(synchronize_session=False))


_new = [bindparam(column.key, type_=column.type) for column in _participation.columns]
_old = exists().where(_participation.c.sid == bindparam("sid"), _participation.c.client_id == bindparam("client_id"))
PARTICIPATE = insert(_participation).from_select(_participation.columns.keys(), select(*_new).where(~_old))


def record_participation(sid: str, client_id: str, sub: str) -> None:
    """BCL §2.3: who got an ID token in this session will hear of its end; once is enough.

    Written where it is given, and never guessed from tokens that happen to live; plain OAuth is not told. The
    session's row is locked, so nobody writes the same between the question and the answer.
    """
    db.session.execute(PARTICIPATE, {"sid": sid, "client_id": client_id, "sub": sub, "since": now()})


def revoke_family(family: str, client: Client, why: str) -> None:
    """Revoke everything that came from one code; at once, whatever happens to the request."""
    alive = update(Token).where(Token.family == family, Token.revoked_at.is_(None))
    revoked: list[str] = []
    # Again until there are none: one that was being given out just now is there by the second time.
    while found := db.session.scalars(alive.values(revoked_at=now()).returning(Token.access_hash)).all():
        revoked += found
    if revoked:
        events.record(db.session, "op.tokens.revoked", client_id=client.client_id, outcome=why)
    db.session.commit()


def find_token(value: str) -> Token | None:
    """By either of its two values; a hint about the kind would only be a hint (RFC 7009 §2.1)."""
    wanted = hash_of(value)
    return db.session.scalar(select(Token).where(or_(Token.access_hash == wanted, Token.refresh_hash == wanted)))


class Revocation(RevocationEndpoint):  # type: ignore[misc] # Authlib has no types
    """RFC 7009. Clients without a secret may give back their own tokens, too."""

    CLIENT_AUTH_METHODS = METHODS

    def authenticate_token(self, oauth_request: OAuth2Request, client: Client) -> Token | None:
        """RFC 7009 §2.2: an unknown token, or another client's, is no error and nothing happens."""
        self.check_params(oauth_request, client)
        found = find_token(oauth_request.form["token"])
        return found if found and found.check_client(client) else None

    def revoke_token(self, found: Token, _request: OAuth2Request) -> None:
        """The access token goes with its refresh token, and the other way round (RFC 7009 §2.1)."""
        found.revoked_at = found.revoked_at or now()
        events.record(db.session, "op.token.revoked", sid=found.sid, client_id=found.client_id)


class Introspection(IntrospectionEndpoint):  # type: ignore[misc] # Authlib has no types
    """RFC 7662. APIs ask here whether a token is still good: so a logout takes effect at once."""

    CLIENT_AUTH_METHODS = CONFIDENTIAL

    def query_token(self, value: str, _hint: str | None) -> Token | None:
        """Access tokens only: a refresh token is of no use at an API."""
        return token.find_access_token(value)

    def check_permission(self, found: Token, client: Client, _request: OAuth2Request) -> bool:
        """RFC 7662 §4: its own tokens, or any if it is an API; for everybody else the token is not active."""
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
            "iss": token.issuer(),
        }
