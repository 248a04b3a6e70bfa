"""[3] The token endpoint and what it gives out; userinfo, introspection, revocation beside it."""

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from flask import Response, current_app, jsonify, make_response, request
from sqlalchemy import bindparam, select

from idp.models import AuthorizationCode, Client, Token, User, hash_of
from pickup_web import events
from pickup_web.clock import now
from pickup_web.database import db

if TYPE_CHECKING:
    from authlib.oauth2.rfc6749 import OAuth2Request

    from idp.provider import Provider

ID_TOKEN_SECONDS = 3600
TOKEN_OF_CLIENT = (
    select(Token)
    .join(Client, Client.client_id == Token.client_id)
    .where(Token.access_hash == bindparam("access_hash"), Client.removed_at.is_(None))
)
# Core §5.4: which claims a scope opens.
SCOPE_CLAIMS = {
    "profile": "name family_name given_name middle_name nickname preferred_username profile picture website gender "
    "birthdate zoneinfo locale updated_at",
    "email": "email email_verified",
    "address": "address",
    "phone": "phone_number phone_number_verified",
}


def token_endpoint() -> Response:
    """``POST /oauth2/token`` (RFC 6749 §3.2). One transaction: a refused request leaves nothing behind."""
    if any(len(values) > 1 for values in request.form.listvalues()):  # RFC 6749 §3.2
        answer = jsonify(error="invalid_request", error_description="A parameter appears more than once.")
        return uncached(make_response(answer, 400))
    response: Response = _state().oauth.create_token_response()
    if response.status_code == 200:
        db.session.commit()
    else:
        db.session.rollback()
        events.record(db.session, "op.token.refused", outcome=(response.get_json(silent=True) or {}).get("error"))
        db.session.commit()
    return uncached(response)


def revoke() -> Response:
    """``POST /oauth2/revoke`` (RFC 7009)."""
    response: Response = _state().oauth.create_endpoint_response("revocation")
    db.session.commit()
    return uncached(response)


def introspect() -> Response:
    """``POST /oauth2/introspect`` (RFC 7662)."""
    return uncached(_state().oauth.create_endpoint_response("introspection"))


def id_token(tokens: dict[str, Any], oauth_request: "OAuth2Request") -> str:
    """The ID token of a token response (Core §3.1.3.3, §12.2)."""
    code: AuthorizationCode | None = oauth_request.authorization_code
    origin: AuthorizationCode | Token = code or oauth_request.refresh_token
    return make_id_token(
        oauth_request.client,
        sub=origin.sub,
        sid=origin.sid,
        auth_time=origin.auth_time,
        amr=origin.amr,
        acr=origin.acr,
        nonce=code.nonce if code else None,  # Core §12.2: not after a refresh
        access_token=tokens["access_token"],
        code=oauth_request.form["code"] if code else None,
        asked=origin.claims,
    )


def make_id_token(
    client: Client,
    *,
    sub: str,
    sid: str | None,
    auth_time: int,
    amr: list[str],
    acr: str | None,
    nonce: str | None,
    access_token: str | None,
    code: str | None,
    asked: dict[str, Any],
    scopes: Sequence[str] = (),
) -> str:
    """A signed ID token (Core §2) with ``sid``: the same for every client of the session (BCL §2.1).

    ``asked`` is the claims parameter, ``scopes`` those whose claims go into the token itself.
    """
    alg = client.id_token_signed_response_alg
    claims: dict[str, Any] = {
        "iss": issuer(),
        "sub": sub,
        "aud": client.client_id,
        "azp": client.client_id,
        "iat": now(),
        "nbf": now(),
        "exp": now() + ID_TOKEN_SECONDS,
        "auth_time": auth_time,  # of the password, also after a refresh
        "amr": amr,
        "sid": sid,
        "acr": acr,
        "nonce": nonce,
        "at_hash": half_hash(access_token, alg) if access_token else None,
        "c_hash": half_hash(code, alg) if code else None,
    }
    names = set(asked.get("id_token", {}))
    if names or scopes:
        claims = granted_claims(db.session.get_one(User, sub), scopes, names) | claims
    events.record(db.session, "op.id_token.issued", sid=sid, client_id=client.client_id)
    present = {name: value for name, value in claims.items() if value is not None}  # Core §2: no nulls
    return _state().keys.sign(present, alg=alg, typ="JWT")


def half_hash(value: str, alg: str) -> str:
    """Core §3.1.3.6: the left half of the value's hash, the hash being that of the signature."""
    digest = hashlib.sha512 if alg == "EdDSA" else hashlib.sha256
    whole = digest(value.encode("ascii")).digest()
    return urlsafe_b64encode(whole[: len(whole) // 2]).rstrip(b"=").decode()


def userinfo() -> Response:
    """``GET`` and ``POST /oauth2/userinfo`` (Core §5.3): claims of the granted scopes, for a Bearer token."""
    values = bearer_tokens()
    if not values:
        return refuse_token("")
    if len(values) > 1:  # RFC 6750 §2: one way at a time
        return refuse_token('error="invalid_request", error_description="The token is there more than once."', 400)
    found = find_access_token(values[0])
    if found is None or found.is_expired() or found.is_revoked():
        return refuse_token('error="invalid_token", error_description="The token is unknown, expired or revoked."')
    if "openid" not in found.scope.split():  # Core §5.3: for tokens of OpenID Connect requests
        return refuse_token('error="insufficient_scope", scope="openid"', 403)
    user = db.session.get_one(User, found.sub)
    names = set((found.claims or {}).get("userinfo", {}))
    return userinfo_response(found.client_id, {"sub": user.sub, **granted_claims(user, found.scope.split(), names)})


def userinfo_response(client_id: str, claims: dict[str, Any]) -> Response:
    """JSON, or a signed token where the client registered for that (Core §5.3.2)."""
    client = db.session.get_one(Client, client_id)
    alg = client.registered.get("userinfo_signed_response_alg")
    if alg is None:
        return uncached(jsonify(claims))
    # Its own type: it is signed with the same keys as ID tokens and must not pass for one (RFC 8725 §3.11).
    signed = _state().keys.sign({**claims, "iss": issuer(), "aud": client_id}, alg=alg, typ="userinfo+jwt")
    response = make_response(signed)
    response.mimetype = "application/jwt"
    return uncached(response)


def find_access_token(value: str) -> Token | None:
    """Its row, good or not; but none if its client was removed, were it just as the token was being given out."""
    return db.session.scalar(TOKEN_OF_CLIENT, {"access_hash": hash_of(value)})


def bearer_tokens() -> list[str]:
    """RFC 6750 §2.1, §2.2: in the header or in a form's body; never in the address."""
    kind, _, value = request.headers.get("Authorization", "").partition(" ")
    in_header = [value] if kind.lower() == "bearer" else []
    return [token for token in [*in_header, *request.form.getlist("access_token")] if token]


def granted_claims(user: User, scopes: Sequence[str], asked: set[str]) -> dict[str, Any]:
    """The claims the scopes open (Core §5.4) and those asked for by name (§5.5), as far as we know them."""
    names = asked | {name for scope in scopes for name in SCOPE_CLAIMS.get(scope, "").split()}
    return {name: value for name, value in user.claims.items() if name in names}


def refuse_token(error: str, status: int = 401) -> Response:
    """RFC 6750 §3: the status, and why, in the header."""
    response = make_response("", status)
    response.headers["WWW-Authenticate"] = f"Bearer {error}".strip()
    return uncached(response)


def uncached(response: Response) -> Response:
    """RFC 6749 §5.1: nothing that holds tokens or claims is stored on the way."""
    response.headers.update({"Cache-Control": "no-store", "Pragma": "no-cache"})
    return response


def issuer() -> str:
    """Our own name."""
    return _state().issuer


def _state() -> "Provider":
    state: Provider = current_app.extensions["idp"]
    return state
