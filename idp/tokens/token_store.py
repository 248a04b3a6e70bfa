"""Issued tokens: their rows, and the ID tokens that go with them. Only hashes are stored."""

import secrets
from typing import Any, NamedTuple

from authlib.oauth2.rfc6749 import UnauthorizedClientError
from sqlalchemy import or_, select

from idp.clients.registry import mark_client_used
from idp.models import AuthorizationCode, Client, Token, User, hash_of
from idp.prepared import TOKEN_OF_CLIENT
from idp.provider import current_provider
from idp.tokens.id_token import granted_claims, id_token_claims
from idp.tokens.revoke import revoke_all
from idp.tokens.signing_keys import NoSigningKeyError
from pickup_web import events
from pickup_web.clock import now
from pickup_web.database import add_row, db

ACCESS_SECONDS = 600  # lifetime of an access token
REFRESH_SECONDS = 10 * 3600  # as long as a session can last
OFFLINE_SECONDS = 30 * 24 * 3600


class SignIn(NamedTuple):
    """The sign-in data for an ID token. Codes and tokens have the same columns."""

    sub: str
    sid: str
    auth_time: int
    amr: list[str]
    acr: str | None
    claims: dict[str, Any]  # the claims parameter (Core §5.5)


def new_tokens(scope: str, *, with_refresh_token: bool) -> dict[str, Any]:
    """A Bearer token response (RFC 6749 §5.1) with random values; nothing is stored."""
    values = {"token_type": "Bearer", "access_token": secrets.token_urlsafe(32), "expires_in": ACCESS_SECONDS}
    refresh = {"refresh_token": secrets.token_urlsafe(32)} if with_refresh_token else {}
    return {**values, **refresh, **({"scope": scope} if scope else {})}


def issue_tokens(client: Client, code: AuthorizationCode, *, with_refresh_token: bool) -> dict[str, Any]:
    """An access token, and if requested a refresh token, with the scope of the code. Does not commit."""
    tokens = new_tokens(client.get_allowed_scope(code.scope), with_refresh_token=with_refresh_token)
    store_tokens(tokens, client, code, family=code.code_hash)
    return tokens


def store_tokens(tokens: dict[str, Any], client: Client, origin: AuthorizationCode | Token, *, family: str) -> None:
    """Stores the tokens of a response. ``family`` groups all tokens from one code."""
    mark_client_used(client)
    scope = tokens.get("scope", "")
    lifetime = OFFLINE_SECONDS if "offline_access" in scope.split() else REFRESH_SECONDS
    add_row(
        db.session,
        Token,
        access_hash=hash_of(tokens["access_token"]),
        refresh_hash=hash_of(tokens["refresh_token"]) if "refresh_token" in tokens else None,
        family=family,
        client_id=client.client_id,
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


def issue_id_token(
    client: Client,
    origin: SignIn | AuthorizationCode | Token,
    *,
    nonce: str | None,
    access_token: str | None,
    code: str | None,
    scope: str,
    is_alone: bool = False,
) -> str:
    """A signed ID token, issued for ``origin``. ``is_alone``: without an access token.

    Core §5.4: the claims of ``scope`` are at the userinfo endpoint; in the ID token only if it is alone, or if the
    client is set to get them there as well.
    """
    provider, alg = current_provider(), client.id_token_signed_response_alg
    asked = set(origin.claims.get("id_token", {}))
    scopes = scope.split() if is_alone or client.claims_in_id_token else []
    about_user = granted_claims(db.session.get_one(User, origin.sub).claims, scopes, asked) if asked or scopes else {}
    claims = id_token_claims(
        issuer=provider.issuer,
        client_id=client.client_id,
        sub=origin.sub,
        sid=origin.sid,
        auth_time=origin.auth_time,
        amr=origin.amr,
        acr=origin.acr,
        nonce=nonce,
        access_token=access_token,
        code=code,
        alg=alg,
        now=now(),
    )
    events.record(db.session, "op.id_token.issued", sid=origin.sid, client_id=client.client_id)
    try:
        return provider.keys.sign({**about_user, **claims}, alg=alg, typ="JWT")
    except NoSigningKeyError as error:  # the settings no longer offer the algorithm
        raise UnauthorizedClientError(
            f"This provider does not sign with {alg}, which the client registered."
        ) from error


def find_access_token(value: str) -> Token | None:
    """The token's row, expired or revoked included; None once its client is removed."""
    return db.session.scalar(TOKEN_OF_CLIENT, {"access_hash": hash_of(value)})


def find_token(value: str) -> Token | None:
    """Finds an access or a refresh token. RFC 7009 §2.1: the server may ignore token_type_hint."""
    wanted = hash_of(value)
    return db.session.scalar(select(Token).where(or_(Token.access_hash == wanted, Token.refresh_hash == wanted)))


def revoke_family(family: str, client: Client, why: str) -> None:
    """Revoke all tokens from one code. Commits, because the request itself is then refused and rolled back."""
    if revoke_all(db.session, Token.family == family):
        events.record(db.session, "op.tokens.revoked", client_id=client.client_id, outcome=why)
    db.session.commit()
