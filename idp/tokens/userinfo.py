"""The userinfo endpoint (Core §5.3): claims about the user, for a Bearer token (RFC 6750)."""

from typing import Any

from flask import Response, jsonify, make_response, request

from idp.models import Client, User
from idp.provider import current_provider
from idp.tokens.id_token import granted_claims
from idp.tokens.token_store import find_access_token
from pickup_web.database import db
from pickup_web.security import uncached


def userinfo() -> Response:
    """``GET`` and ``POST /oauth2/userinfo`` (Core §5.3): claims of the granted scopes, for a Bearer token."""
    values = bearer_tokens()
    if not values:
        return refuse_token("")
    if len(values) > 1:  # RFC 6750 §2: only one method per request
        return refuse_token('error="invalid_request", error_description="The token was sent more than once."', 400)
    found = find_access_token(values[0])
    if found is None or found.is_expired() or found.is_revoked():
        return refuse_token('error="invalid_token", error_description="The token is unknown, expired or revoked."')
    if "openid" not in found.scope.split():  # Core §5.3: only for tokens of OpenID Connect requests
        return refuse_token('error="insufficient_scope", scope="openid"', 403)
    user = db.session.get_one(User, found.sub)
    names = set((found.claims or {}).get("userinfo", {}))
    return userinfo_response(
        found.client_id, {"sub": user.sub, **granted_claims(user.claims, found.scope.split(), names)}
    )


def userinfo_response(client_id: str, claims: dict[str, Any]) -> Response:
    """JSON, or a signed token where the client registered for that (Core §5.3.2)."""
    client = db.session.get_one(Client, client_id)
    alg = client.registered.get("userinfo_signed_response_alg")
    if alg is None:
        return uncached(jsonify(claims))
    # RFC 8725 §3.11: explicit typ, because the same keys sign ID tokens and this must not pass for one.
    signed = current_provider().keys.sign(
        {**claims, "iss": current_provider().issuer, "aud": client_id}, alg=alg, typ="userinfo+jwt"
    )
    response = make_response(signed)
    response.mimetype = "application/jwt"
    return uncached(response)


def bearer_tokens() -> list[str]:
    """RFC 6750 §2.1, §2.2: in the header or the form; never in the URL."""
    kind, _, value = request.headers.get("Authorization", "").partition(" ")
    in_header = [value] if kind.lower() == "bearer" else []
    return [token for token in [*in_header, *request.form.getlist("access_token")] if token]


def refuse_token(error: str, status: int = 401) -> Response:
    """RFC 6750 §3: the error in the WWW-Authenticate header."""
    response = make_response("", status)
    response.headers["WWW-Authenticate"] = f"Bearer {error}".strip()
    return uncached(response)
