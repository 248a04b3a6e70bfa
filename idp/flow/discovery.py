"""[1] The provider metadata (Discovery 1.0 §3) and the JWK Set (Core §10.1)."""

from flask import Response, jsonify

from idp.authorization.request import ACR, MODES
from idp.clients.authentication import CONFIDENTIAL, METHODS
from idp.clients.jwks import ALGORITHMS
from idp.clients.metadata import GRANT_TYPES, RESPONSE_TYPES, SCOPES
from idp.provider import current_provider
from idp.tokens.id_token import SCOPE_CLAIMS

# Discovery §3: scripts of any site may read these public documents.
PUBLIC = {"Access-Control-Allow-Origin": "*"}


def openid_configuration() -> Response:
    """``GET /.well-known/openid-configuration``. Lists only what is implemented."""
    issuer, signing = current_provider().issuer, current_provider().keys.algorithms()
    return public(
        {
            "issuer": issuer,
            "authorization_endpoint": f"{issuer}/oauth2/authorize",
            "token_endpoint": f"{issuer}/oauth2/token",
            "jwks_uri": f"{issuer}/oauth2/jwks",
            "userinfo_endpoint": f"{issuer}/oauth2/userinfo",
            "introspection_endpoint": f"{issuer}/oauth2/introspect",
            "revocation_endpoint": f"{issuer}/oauth2/revoke",
            "registration_endpoint": f"{issuer}/oauth2/register",
            "end_session_endpoint": f"{issuer}/oidc/logout",  # RPIL §2.1
            "backchannel_logout_supported": True,  # BCL §2.1
            "backchannel_logout_session_supported": True,  # BCL §2.1: ID tokens and logout tokens carry sid
            # FCL §3: always true, because any client may register for it; it is off for all others.
            "frontchannel_logout_supported": True,
            "frontchannel_logout_session_supported": True,
            "response_types_supported": list(RESPONSE_TYPES),
            "response_modes_supported": list(MODES),
            "grant_types_supported": [*GRANT_TYPES, "client_credentials"],
            "subject_types_supported": ["public"],
            "acr_values_supported": [ACR],
            "id_token_signing_alg_values_supported": signing,
            "userinfo_signing_alg_values_supported": signing,
            "request_object_signing_alg_values_supported": ALGORITHMS,
            "token_endpoint_auth_methods_supported": METHODS,
            "token_endpoint_auth_signing_alg_values_supported": ALGORITHMS,
            "introspection_endpoint_auth_methods_supported": CONFIDENTIAL,
            "introspection_endpoint_auth_signing_alg_values_supported": ALGORITHMS,
            "revocation_endpoint_auth_methods_supported": METHODS,
            "revocation_endpoint_auth_signing_alg_values_supported": ALGORITHMS,
            "scopes_supported": SCOPES,
            "claims_supported": ["sub", "auth_time", "amr", "acr", "sid", *" ".join(SCOPE_CLAIMS.values()).split()],
            "claim_types_supported": ["normal"],
            "prompt_values_supported": ["none", "login", "consent", "select_account"],
            "display_values_supported": ["page"],
            "ui_locales_supported": ["en"],
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,  # RFC 9207 §3
            "claims_parameter_supported": True,
            "request_parameter_supported": True,
            "request_uri_parameter_supported": True,  # Discovery §3: true if left out, so always stated
            "require_request_uri_registration": True,
        },
        max_age=3600,
    )


def jwks() -> Response:
    """``GET /oauth2/jwks``: the public keys (RFC 7517 §5).

    Core §10.1.1: keys are rotated by adding new ones to this set. A new key is published for longer than
    ``max-age`` before it signs.
    """
    return public(current_provider().keys.jwks(), max_age=60)


def public(document: dict[str, object], *, max_age: int) -> Response:
    """A public JSON document that caches may keep for ``max_age`` seconds."""
    response = jsonify(document)
    response.headers.update({"Cache-Control": f"public, max-age={max_age}", **PUBLIC})
    return response
