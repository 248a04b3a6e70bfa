"""Request objects (Core §6): the parameters of an authorization request, signed by the client.

By value (``request``) or by reference (``request_uri``). Parameters in the object override those outside it.
"""

import json
from typing import Any

from werkzeug.datastructures import MultiDict

from idp.authorization.request import AuthorizationError
from idp.clients.jwks import ALGORITHMS, ClientKeyError, check_times
from idp.models import Client
from idp.outbox.http import BusyError, FetchError
from idp.provider import current_provider

TYP = "oauth-authz-req+jwt"  # RFC 9101 §10.8
TRY_AGAIN = "Too many requests are waiting for other sites. Try again."
ABOUT_ITSELF = {"iss", "aud", "exp", "iat", "nbf", "jti", "sub"}  # claims of the object, not parameters


def resolve(client: Client, parameters: MultiDict[str, str]) -> MultiDict[str, str]:
    """The request's parameters, overridden by those of its request object, if it has one.

    Raises :class:`AuthorizationError` if the object is not valid.
    """
    raw, uri = parameters.get("request"), parameters.get("request_uri")
    if raw and uri:  # Core §6.1, §6.2: never both
        raise AuthorizationError("invalid_request", "request and request_uri cannot be combined.")
    if uri:
        raw = fetch(client, uri)
    if not raw:
        return parameters
    inner = verified_parameters(client, raw)
    for name in ("client_id", "response_type"):  # Core §6.1: must be outside too, with the same value
        if name in inner and inner[name] != parameters.get(name):
            raise AuthorizationError("invalid_request_object", f"The request object has a different {name}.")
    outside = [(name, value) for name, value in parameters.items(multi=True) if name not in inner]
    return MultiDict([pair for pair in outside if pair[0] not in ("request", "request_uri")] + list(inner.items()))


def fetch(client: Client, uri: str) -> str:
    """The object at a registered ``request_uri``. Others are never fetched (Discovery §3: registration is required)."""
    if uri not in (client.registered.get("request_uris") or []):
        raise AuthorizationError("invalid_request_uri", "request_uri is not registered for the client.")
    try:
        return current_provider().http.get(uri.partition("#")[0]).decode("ascii").strip()
    except BusyError as error:
        raise AuthorizationError("temporarily_unavailable", TRY_AGAIN) from error
    except (FetchError, UnicodeDecodeError) as error:
        raise AuthorizationError("invalid_request_uri", "request_uri cannot be read.") from error


def verified_parameters(client: Client, raw: str) -> dict[str, str]:
    """The object's claims as parameters, after its signature is verified with the client's key (Core §6.3.2)."""
    registered = client.registered.get("request_object_signing_alg")
    try:
        claims = current_provider().client_keys.verify(raw, client, [registered] if registered else ALGORITHMS, TYP)
        check_times(claims)
    except ClientKeyError as error:
        raise AuthorizationError("invalid_request_object", "The request object is not valid: " + str(error)) from error
    except BusyError as error:
        raise AuthorizationError("temporarily_unavailable", TRY_AGAIN) from error
    audience = claims.get("aud", current_provider().issuer)
    if claims.get("iss", client.client_id) != client.client_id or current_provider().issuer not in listed(audience):
        raise AuthorizationError("invalid_request_object", "iss or aud of the request object is wrong.")
    # RFC 9101 §10.8: sub=client_id is for client assertions (RFC 7523 §3); a request object must not pass for one.
    if claims.get("sub") == client.client_id:
        raise AuthorizationError("invalid_request_object", "sub is the client, as in a client assertion.")
    if "events" in claims or "request" in claims or "request_uri" in claims:
        raise AuthorizationError(
            "invalid_request_object", "The request object has a parameter that is not allowed in it."
        )
    inner = {name: as_parameter(value) for name, value in claims.items() if name not in ABOUT_ITSELF}
    if not all(is_text(name) and is_text(value) for name, value in inner.items()):
        raise AuthorizationError("invalid_request_object", "The request object has a parameter that is not a string.")
    return inner


def listed(audience: Any) -> list[Any]:
    """One audience or many, as a list."""
    return audience if isinstance(audience, list) else [audience]


def is_text(value: str) -> bool:
    """False for NUL and lone surrogates, which JSON can express but a query cannot."""
    return "\0" not in value and not any("\ud800" <= character <= "\udfff" for character in value)


def as_parameter(value: Any) -> str:
    """A claim as a query parameter: in the object, ``claims`` is a JSON object and ``max_age`` a number."""
    return value if isinstance(value, str) else json.dumps(value)
