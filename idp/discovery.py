"""[0] What a client must know: Discovery 1.0 §3 and the JWK Set."""

from flask import Response, jsonify

from idp.state import current_state

# Anything with a browser may read these (Discovery §3): they are public.
PUBLIC = {"Access-Control-Allow-Origin": "*"}
CLAIMS = [
    "sub",
    "name",
    "given_name",
    "family_name",
    "preferred_username",
    "email",
    "email_verified",
    "phone_number",
]


def openid_configuration() -> Response:
    """``GET /.well-known/openid-configuration``. A feature that is not built is not announced."""
    issuer = current_state().issuer
    authentication = ["client_secret_basic", "client_secret_post"]
    return public(
        {
            "issuer": issuer,
            "authorization_endpoint": f"{issuer}/oauth2/authorize",
            "token_endpoint": f"{issuer}/oauth2/token",
            "jwks_uri": f"{issuer}/oauth2/jwks",
            "userinfo_endpoint": f"{issuer}/oauth2/userinfo",
            "introspection_endpoint": f"{issuer}/oauth2/introspect",
            "revocation_endpoint": f"{issuer}/oauth2/revoke",
            "end_session_endpoint": f"{issuer}/oidc/logout",  # RPIL §2.1
            "backchannel_logout_supported": True,  # BCL §2.1
            "backchannel_logout_session_supported": True,  # BCL §2.1: ID tokens and logout tokens carry sid
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": ["authorization_code", "refresh_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": current_state().keys.algorithms(),
            "token_endpoint_auth_methods_supported": authentication,
            "introspection_endpoint_auth_methods_supported": authentication,
            "revocation_endpoint_auth_methods_supported": authentication,
            "scopes_supported": ["openid", "profile", "email", "phone", "address", "offline_access"],
            "claims_supported": [*CLAIMS, "auth_time", "amr", "sid"],
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,  # RFC 9207 §3
            "claims_parameter_supported": False,
            "request_parameter_supported": False,
            "request_uri_parameter_supported": False,
        },
        max_age=3600,
    )


def jwks() -> Response:
    """``GET /oauth2/jwks``: the public keys. Cached shortly, so that a new key is known before it signs."""
    return public(current_state().keys.jwks(), max_age=60)


def public(document: dict[str, object], *, max_age: int) -> Response:
    """A document for everybody, to be kept for ``max_age`` seconds."""
    response = jsonify(document)
    response.headers.update({"Cache-Control": f"public, max-age={max_age}", **PUBLIC})
    return response
