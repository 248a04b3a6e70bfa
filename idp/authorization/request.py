"""An authorization request, checked (Core §3.1.2.1, §3.1.2.2, §3.3.2.1): parameters in, a value or an error out.

Nothing here depends on the signed-in user; authorize.py decides about that.
"""

import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote_plus

from werkzeug.datastructures import MultiDict

from idp.models import Client
from idp.provider import current_provider
from idp.tokens.client_credentials import ADMIN_SCOPES

ACR = "urn:pickup:acr:password"  # the one level of authentication we have (Core §2: acr)
DEFAULT_MODES = {"code": "query"}  # Multiple Response Types §5: all others answer in the fragment
MODES = ("query", "fragment", "form_post")


PKCE_MISSING = "code_challenge is missing: this client must use PKCE."


class AuthorizationError(Exception):
    """The request is refused, with an error code of Core §3.1.2.6 and a description in ASCII."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(description)
        self.error = error


@dataclass(frozen=True)
class AuthorizationRequest:
    """A valid request, which can be granted once the right user is signed in."""

    client: Client
    redirect_uri: str
    response_types: frozenset[str]
    response_mode: str
    scopes: list[str]
    state: str | None
    nonce: str | None
    prompts: frozenset[str]
    max_age: int | None
    acr: str | None  # to be put into the ID token
    claims: dict[str, Any] = field(repr=False)
    sub: str | None  # the only acceptable user (id_token_hint, or a claims request for sub)
    code_challenge: str | None


def response_mode_of(parameters: MultiDict[str, str]) -> str:
    """The requested response mode, else the default of the response type. Errors use it too (Core §3.1.2.6)."""
    wanted = parameters.get("response_mode")
    return wanted if wanted in MODES else DEFAULT_MODES.get(parameters.get("response_type") or "code", "fragment")


def returned_length(parameters: MultiDict[str, str]) -> int:
    """How many characters of the request return in the redirect URL. A form_post has no URL to fill."""
    if response_mode_of(parameters) == "form_post":
        return 0
    nonce = parameters.get("nonce", "") if "id_token" in parameters.get("response_type", "") else ""
    return len(quote_plus(parameters.get("state", ""))) + len(nonce.encode())


def check(client: Client, parameters: MultiDict[str, str], hinted_sub: str | None) -> AuthorizationRequest:
    """The validated request; :class:`AuthorizationError` for the first error found."""
    if any(len(values) > 1 for _, values in parameters.lists()):
        raise AuthorizationError("invalid_request", "A parameter appears more than once.")  # RFC 6749 §3.1
    if any("\0" in value for value in parameters.values()):  # PostgreSQL cannot store NUL
        raise AuthorizationError("invalid_request", "A parameter contains a NUL character.")
    if parameters.get("registration"):
        raise AuthorizationError("registration_not_supported", "The registration parameter is not supported.")
    response_types = check_response_type(client, parameters)
    check_algorithm(client)
    scopes = check_scope(client, parameters, response_types)
    claims = check_claims(parameters)
    if "id_token" in response_types and not parameters.get("nonce"):
        # Core §3.2.2.1, §3.3.2.11: nonce is REQUIRED when the ID token is returned through the browser.
        raise AuthorizationError("invalid_request", "nonce is missing. This response type requires it.")
    return AuthorizationRequest(
        client=client,
        redirect_uri=parameters["redirect_uri"],
        response_types=response_types,
        response_mode=response_mode_of(parameters),
        scopes=scopes,
        state=parameters.get("state") or None,
        nonce=parameters.get("nonce") or None,
        prompts=check_prompt(parameters),
        max_age=check_max_age(client, parameters),
        acr=check_acr(client, parameters, claims),
        claims=claims,
        sub=check_sub(claims, hinted_sub),
        code_challenge=check_challenge(client, parameters),
    )


def check_response_type(client: Client, parameters: MultiDict[str, str]) -> frozenset[str]:
    """The response type, if it is supported, registered and allowed with the response mode."""
    response_type = parameters.get("response_type")
    if not response_type:
        raise AuthorizationError("invalid_request", "response_type is missing.")
    words = frozenset(response_type.split())
    if not words or not words <= {"code", "id_token", "token"} or words == {"token"}:
        raise AuthorizationError("unsupported_response_type", "This response type is not supported.")
    if not client.check_response_type(response_type):
        raise AuthorizationError("unauthorized_client", "This response type is not registered for the client.")
    if response_mode_of(parameters) == "query" and words != {"code"}:
        # Multiple Response Types §5: a query must not carry tokens, because URLs get into logs and histories.
        raise AuthorizationError("invalid_request", "response_mode query is not allowed with tokens.")
    return words


def check_algorithm(client: Client) -> None:
    """The settings may no longer offer the algorithm that the client registered for its ID tokens."""
    if client.id_token_signed_response_alg not in current_provider().settings.signing_algorithms:
        alg = client.id_token_signed_response_alg
        raise AuthorizationError(
            "unauthorized_client", f"This provider does not sign with {alg}, which the client registered."
        )


def check_scope(client: Client, parameters: MultiDict[str, str], response_types: frozenset[str]) -> list[str]:
    """The scopes the client may have; unknown ones are ignored (Core §3.1.2.1)."""
    allowed = client.get_allowed_scope(parameters.get("scope")).split()
    scopes = [scope for scope in allowed if scope not in ADMIN_SCOPES]  # only for service clients, never for a user
    if not scopes or ("id_token" in response_types and "openid" not in scopes):
        raise AuthorizationError(
            "invalid_scope", "scope contains no scope that this client may request with this response type."
        )
    # Core §11: ignore offline_access unless the user is asked for consent and the response has a code.
    prompts = (parameters.get("prompt") or "").split()
    if "offline_access" in scopes and ("consent" not in prompts or "code" not in response_types):
        scopes.remove("offline_access")
    return scopes


def check_prompt(parameters: MultiDict[str, str]) -> frozenset[str]:
    """Core §3.1.2.1: ``none`` with any other value is an error. We ignore unknown values."""
    prompts = frozenset((parameters.get("prompt") or "").split())
    if "none" in prompts and len(prompts) > 1:
        raise AuthorizationError("invalid_request", "prompt=none cannot be combined with other values.")
    return prompts


def check_max_age(client: Client, parameters: MultiDict[str, str]) -> int | None:
    """The maximum age of the sign-in in seconds, from the request, else from the registration."""
    max_age = parameters.get("max_age")
    if not max_age:
        registered: int | None = client.registered.get("default_max_age")
        return registered
    if not (max_age.isascii() and max_age.isdigit() and len(max_age) < 12):
        raise AuthorizationError("invalid_request", "max_age must be a number of seconds.")
    return int(max_age)


def check_claims(parameters: MultiDict[str, str]) -> dict[str, Any]:
    """Core §5.5: a JSON object with ``userinfo`` and ``id_token``, each an object or null."""
    if not parameters.get("claims"):
        return {}
    try:
        claims = json.loads(parameters["claims"])
        asked = {place: claims.get(place) or {} for place in ("userinfo", "id_token")}
    except (ValueError, AttributeError, RecursionError) as error:
        raise AuthorizationError("invalid_request", "claims is not a JSON object.") from error
    if not all(isinstance(names, dict) for names in asked.values()):
        raise AuthorizationError("invalid_request", "userinfo and id_token in claims must be JSON objects.")
    return asked


def check_acr(client: Client, parameters: MultiDict[str, str], claims: dict[str, Any]) -> str | None:
    """Our only acr, if it was requested. Core §5.5.1.1: a different essential acr is a failed authentication."""
    request = (claims.get("id_token") or {}).get("acr")
    if isinstance(request, dict):
        values = request.get("values") or [request.get("value", ACR)]
        if isinstance(values, list) and ACR in values:
            return ACR
        if request.get("essential") is True:
            raise AuthorizationError("access_denied", "This provider does not support the essential acr.")
    asked = (parameters.get("acr_values") or "").split() or client.registered.get("default_acr_values") or []
    return ACR if ACR in asked or (isinstance(claims.get("id_token"), dict) and "acr" in claims["id_token"]) else None


def check_sub(claims: dict[str, Any], hinted_sub: str | None) -> str | None:
    """Core §3.1.2.2 (4): the user that a claims request for sub, or the hint, names."""
    request = (claims.get("id_token") or {}).get("sub")
    wanted = request.get("value") if isinstance(request, dict) else None
    if wanted and hinted_sub and wanted != hinted_sub:
        raise AuthorizationError("invalid_request", "claims and id_token_hint name different users.")
    return wanted if isinstance(wanted, str) else hinted_sub


def check_challenge(client: Client, parameters: MultiDict[str, str]) -> str | None:
    """PKCE (RFC 7636 §4.4.1): required where the client is registered so, and only with S256."""
    challenge = parameters.get("code_challenge")
    if not challenge:
        if client.require_pkce:
            raise AuthorizationError("invalid_request", PKCE_MISSING)
        return None
    if parameters.get("code_challenge_method") != "S256":
        # RFC 9700 §2.1.1: only S256 hides the verifier. RFC 7636 §4.3: without a method it is "plain".
        raise AuthorizationError("invalid_request", "code_challenge_method must be S256.")
    allowed = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    if len(challenge) != 43 or not set(challenge) <= allowed:  # RFC 7636 §4.2: a SHA-256 in base64url
        raise AuthorizationError("invalid_request", "code_challenge is not an S256 challenge.")
    return challenge
