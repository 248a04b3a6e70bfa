"""The form of an application, made of the settings that operations/application_settings.py describes and checks."""

import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from idp.operations.application_settings import SETTINGS
from pickup_web.forms import Field, Form, Wrong, decimal, is_ticked, number, optional

METHODS = {
    "client_secret_basic": "A secret in the Authorization header (client_secret_basic). Most libraries do this",
    "client_secret_post": "A secret in the form (client_secret_post)",
    "private_key_jwt": "Its own key (private_key_jwt). Enter the key under “More settings”",
    "none": "None: a public client, such as an app in a browser or on a phone. It must use PKCE",
}
POLICIES = {
    "none": "none: keep all tokens and send no logout request",
    "session": "session: revoke the session's tokens, keep offline access",
    "all": "all: revoke every token of the session, offline access too",
}
FLOWS = {
    "code": "code: the usual one",
    "code id_token": "code id_token",
    "code token": "code token",
    "code id_token token": "code id_token token",
    "id_token": "id_token: without a code, so the app is not notified of logouts",
    "id_token token": "id_token token: without a code, so the app is not notified of logouts",
}
GRANTS = {
    "refresh_token": "Renew its tokens (refresh_token)",
    "client_credentials": "Act for itself, without a person (client_credentials), such as a script for the admin API. "
    "If it does nothing else, clear the flows above. It then needs no redirect URI",
}


CHOICES: dict[str, dict[str, str]] = {
    "token_endpoint_auth_method": METHODS,
    "delete_tokens_on_logout": {"": "As set for the IdP (see Settings)", **POLICIES},
    "response_types": FLOWS,
    "grant_types": GRANTS,
    "id_token_signed_response_alg": {
        "RS256": "RS256",
        "ES256": "ES256",
        "EdDSA": "EdDSA (only if the settings offer it)",
    },
}
# Libraries that use PKCE only if they are told to: the line, and where it belongs.
PKCE_SETTINGS = [
    ("mod_auth_openidc", "OIDCPKCEMethod S256", ""),
    (
        "Spring Security 6",
        "resolver.setAuthorizationRequestCustomizer(OAuth2AuthorizationRequestCustomizers.withPkce())",
        "resolver: a DefaultOAuth2AuthorizationRequestResolver, set at oauth2Login's authorizationEndpoint",
    ),
    ("Authlib", 'client_kwargs={"code_challenge_method": "S256"}', "an argument of oauth.register(), beside the scope"),
    ("oauth2-proxy", "--code-challenge-method=S256", ""),
]
NEEDED = {"client_name", "redirect_uris", "scope"}  # optional in the models, required in this form


def json_object(given: str) -> dict[str, Any]:
    """A JSON object, such as a JWK Set."""
    try:
        value = json.loads(given)
    except (ValueError, RecursionError) as error:
        raise Wrong("This is not JSON.") from error
    if not isinstance(value, dict):
        raise Wrong("This is not a JSON object.")
    return value


TYPES: dict[str, tuple[str, Callable[[str], Any]]] = {
    # JSON Schema type → kind of field, reader
    "string": ("text", str),
    "array": ("textarea", str.splitlines),
    "object": ("textarea", json_object),
    "boolean": ("checkbox", is_ticked),
    "number": ("text", decimal),
    "integer": ("text", number(0, 999_999_999)),
}
FORMATS = {"uri": "url", "pem": "textarea"}


def field_of(name: str) -> Field:
    """The field of a setting, as operations/application_settings.py describes it."""
    about = SETTINGS[name]
    shape = about["anyOf"][0] if "anyOf" in about else about  # the other is null
    kind, read = TYPES[shape["type"]]
    kind = FORMATS.get(shape.get("format", ""), kind)
    if name in CHOICES:
        kind = "checkboxes" if kind == "textarea" else "select"
    return Field(
        name,
        about["title"],
        optional(read) if "anyOf" in about else read,
        hint_of(about, "One a line." if shape["type"] == "array" and kind == "textarea" else ""),
        kind=kind,
        choices=list(CHOICES.get(name, {}).items()),
        optional=name not in NEEDED and ("anyOf" in about or about.get("default") == []),
    )


def hint_of(about: dict[str, Any], how: str = "") -> str:
    """The description, how to type it, and an example."""
    example = "".join(f"For example: {one}" for one in about.get("examples", []))
    return " ".join(filter(None, (about.get("description"), how, example)))


@dataclass(frozen=True)
class Group:
    """Some fields of the form, under one heading."""

    title: str
    about: str
    fields: Sequence[Field]


def group(title: str, about: str, *names: str) -> Group:
    """The fields of these settings."""
    return Group(title, about, [field_of(name) for name in names])


# What every application needs.
MAIN = [
    group("The application", "", "client_name", "home_url"),
    group(
        "Signing in",
        "The app sends people here. They return to it with a code.",
        "redirect_uris",
        "token_endpoint_auth_method",
        "scope",
        "require_pkce",
    ),
    group(
        "Logging out",
        "When a session ends here, the IdP notifies each of its apps, server to server.",
        "backchannel_logout_uri",
        "post_logout_redirect_uris",
        "delete_tokens_on_logout",
    ),
]
# Fields whose defaults suit most applications.
MORE = [
    group("Identity", "", "client_id", "jwks_uri", "jwks"),
    group(
        "Tokens",
        "",
        "response_types",
        "grant_types",
        "id_token_signed_response_alg",
        "claims_in_id_token",
        "may_introspect",
    ),
    group(
        "Front-channel logout",
        "A second way, through the browser. It does not replace the back channel.",
        "frontchannel_logout_uri",
        "frontchannel_logout_session_required",
    ),
    group(
        "The logout request",
        "",
        "backchannel_logout_session_required",
        "notify_initiator",
        "tell_logout_reason",
        "connect_timeout",
        "read_timeout",
        "retry_seconds",
        "ca_certificates",
    ),
]


def fields(*, is_new: bool) -> list[Field]:
    """All fields; the client id cannot be edited."""
    return [field for group in [*MAIN, *MORE] for field in group.fields if is_new or field.name != "client_id"]


def first_values() -> dict[str, Any]:
    """The initial values of a new application. The id is generated here, so a double click registers only one."""
    return {
        "client_id": secrets.token_hex(8),
        "scope": "openid profile email",
        "response_types": ["code"],
        "grant_types": ["refresh_token"],
        "require_pkce": True,
        "notify_initiator": True,
        "backchannel_logout_session_required": True,
        "frontchannel_logout_session_required": True,
        "connect_timeout": 2.0,
        "read_timeout": 5.0,
    }


def filled_in(fields: Sequence[Field], values: dict[str, Any]) -> Form:
    """The form filled in with these values."""
    return Form(fields, {field.name: text_of(values.get(field.name)) for field in fields})


def text_of(value: Any) -> str:
    """A value as a user would type it."""
    if value in (None, False):
        return ""
    if isinstance(value, dict):
        return json.dumps(value, indent=2)
    return "\n".join(value) if isinstance(value, list) else f"{value:g}" if isinstance(value, float) else str(value)


def values_of(form: Form) -> dict[str, Any]:
    """The values for operations/applications.py."""
    # Registration §2: the other grants follow from the flows.
    flows = [set(flow.split()) for flow in form.values.get("response_types", [])]
    needed = ["authorization_code"] if any("code" in flow for flow in flows) else []
    needed += ["implicit"] if any(flow - {"code"} for flow in flows) else []
    return {**form.values, "grant_types": [*needed, *form.values.get("grant_types", [])]}
