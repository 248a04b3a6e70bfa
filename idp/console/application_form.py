"""The form of an application: a sentence and an example for each field, and what its text means.

Whether a value is right is decided in operations/applications.py, as for software that registers itself.
"""

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from idp.outbox.ledger import GIVE_UP_SECONDS
from pickup_web.forms import Field, Form, Wrong, decimal, is_ticked, number, optional
from pickup_web.words import duration

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


@dataclass(frozen=True)
class Group:
    """Some fields of the form, under one heading."""

    title: str
    about: str
    fields: Sequence[Field]


def as_typed(given: str) -> str:
    """The text itself."""
    return given


def lines(given: str) -> list[str]:
    """One value a line."""
    return given.splitlines()


def json_object(given: str) -> dict[str, Any]:
    """Such as a JWK Set."""
    try:
        value = json.loads(given)
    except (ValueError, RecursionError) as error:
        raise Wrong("This is not JSON.") from error
    if not isinstance(value, dict):
        raise Wrong("This is not a JSON object.")
    return value


# What an application needs, in the order in which a newcomer knows it.
MAIN = [
    Group(
        "The application",
        "",
        [
            Field(
                "client_name",
                "Name",
                as_typed,
                "People see it when they sign in. For example: Fleet Radio",
            ),
            Field(
                "home_url",
                "Start page",
                optional(as_typed),
                "Where people open the app. The pages of the IdP link to it. For example: http://radio.localhost:8090/",
                kind="url",
                optional=True,
            ),
        ],
    ),
    Group(
        "Signing in",
        "The app sends people here. They return to it with a code.",
        [
            Field(
                "redirect_uris",
                "Redirect URIs",
                lines,
                "The app's callback addresses, one a line. What the app sends must be the same, letter by letter. "
                "For example: http://radio.localhost:8090/oauth2client",
                kind="textarea",
            ),
            Field(
                "token_endpoint_auth_method",
                "Client authentication",
                as_typed,
                "How it authenticates when it exchanges the code for tokens. An app on a server can keep a secret.",
                kind="select",
                choices=list(METHODS.items()),
            ),
            Field(
                "scope",
                "Scopes",
                as_typed,
                "The most it may ask for. About the person: profile, email, phone, address. Add offline_access to keep "
                "access after the user logs out. Or scopes of your own APIs. For example: openid profile email",
            ),
        ],
    ),
    Group(
        "Logging out",
        "When a session ends here, the IdP notifies each of its apps, server to server.",
        [
            Field(
                "backchannel_logout_uri",
                "Back-channel logout URL",
                optional(as_typed),
                "Where the IdP posts the logout token; no browser is involved. Without it, the app is not notified. "
                "For example: http://radio.localhost:8090/bclogout",
                kind="url",
                optional=True,
            ),
            Field(
                "post_logout_redirect_uris",
                "Post-logout redirect URIs",
                lines,
                "Where the app may send people after a logout, one a line. "
                "For example: http://radio.localhost:8090/logged-out",
                kind="textarea",
                optional=True,
            ),
            Field(
                "delete_tokens_on_logout",
                "Delete tokens on logout",
                optional(as_typed),
                "Which of its tokens are revoked when a session ends, and whether it is notified.",
                kind="select",
                choices=[("", "As set for the IdP (see Settings)"), *POLICIES.items()],
                optional=True,
            ),
        ],
    ),
]
# Fields whose defaults suit most applications.
MORE = [
    Group(
        "Identity",
        "",
        [
            Field(
                "client_id",
                "Client ID",
                as_typed,
                "The name of the app in the protocol. It cannot be changed later. For example: fleet-radio",
            ),
            Field(
                "jwks_uri",
                "Address of its public keys",
                optional(as_typed),
                "For private_key_jwt and signed requests. For example: https://radio.example/jwks.json",
                kind="url",
                optional=True,
            ),
            Field(
                "jwks",
                "Its public keys",
                optional(json_object),
                "A JWK Set, instead of its address.",
                kind="textarea",
                optional=True,
            ),
        ],
    ),
    Group(
        "Tokens",
        "",
        [
            Field("response_types", "Flows (response types)", lines, kind="checkboxes", choices=list(FLOWS.items())),
            Field("grant_types", "Other grants", lines, kind="checkboxes", choices=list(GRANTS.items())),
            Field(
                "require_pkce",
                "It must use PKCE",
                is_ticked,
                "Protects the code in transit. Clear it only for an app whose library does not support PKCE.",
                kind="checkbox",
            ),
            Field(
                "id_token_signed_response_alg",
                "Signing algorithm",
                as_typed,
                "For its ID tokens and logout tokens. Every library supports RS256.",
                kind="select",
                choices=[("RS256", "RS256"), ("ES256", "ES256"), ("EdDSA", "EdDSA (only if the settings offer it)")],
            ),
            Field(
                "may_introspect",
                "It is an API",
                is_ticked,
                "It receives access tokens of other apps and may check whether they are valid.",
                kind="checkbox",
            ),
        ],
    ),
    Group(
        "The logout request",
        "",
        [
            Field(
                "backchannel_logout_session_required",
                "It needs the session ID (sid)",
                is_ticked,
                "Logout tokens of this IdP always have sid and sub.",
                kind="checkbox",
            ),
            Field(
                "tell_logout_reason",
                "Send the reason",
                is_ticked,
                "The logout token says why the session ended and may name another app. For your own apps only.",
                kind="checkbox",
            ),
            Field(
                "connect_timeout",
                "Connect timeout, in seconds",
                decimal,
                "How long the app may take to accept a connection. For example: 2",
            ),
            Field(
                "read_timeout",
                "Read timeout, in seconds",
                decimal,
                "How long the app may take to answer. For example: 5",
            ),
            Field(
                "retry_seconds",
                "Retry deadline, in seconds",
                optional(number(0, 999_999_999)),
                "How long the IdP retries while the app is away. "
                f"Empty: {GIVE_UP_SECONDS}, which is {duration(GIVE_UP_SECONDS)}.",
                optional=True,
            ),
            Field(
                "ca_certificates",
                "CA certificates",
                optional(as_typed),
                "PEM. The authorities to trust for the app's certificate, if it has a private one. "
                "For example: -----BEGIN CERTIFICATE----- …",
                kind="textarea",
                optional=True,
            ),
        ],
    ),
]


def fields(*, is_new: bool) -> list[Field]:
    """All of them; the client id is fixed once it is given."""
    return [field for group in [*MAIN, *MORE] for field in group.fields if is_new or field.name != "client_id"]


def first_values() -> dict[str, Any]:
    """What stands in the form of a new application. The id is made here, so that a second click registers no twin."""
    return {
        "client_id": secrets.token_hex(8),
        "scope": "openid profile email",
        "response_types": ["code"],
        "grant_types": ["refresh_token"],
        "require_pkce": True,
        "backchannel_logout_session_required": True,
        "connect_timeout": 2.0,
        "read_timeout": 5.0,
    }


def filled_in(fields: Sequence[Field], values: dict[str, Any]) -> Form:
    """The form with these values in it."""
    return Form(fields, {field.name: text_of(values.get(field.name)) for field in fields})


def text_of(value: Any) -> str:
    """A value as a person would type it."""
    if value in (None, False):
        return ""
    if isinstance(value, dict):
        return json.dumps(value, indent=2)
    return "\n".join(value) if isinstance(value, list) else f"{value:g}" if isinstance(value, float) else str(value)


def values_of(form: Form) -> dict[str, Any]:
    """What was typed, by the names of operations/applications.py."""
    # Registration §2: the other grants follow from the flows.
    flows = [set(flow.split()) for flow in form.values.get("response_types", [])]
    needed = ["authorization_code"] if any("code" in flow for flow in flows) else []
    needed += ["implicit"] if any(flow - {"code"} for flow in flows) else []
    return {**form.values, "grant_types": [*needed, *form.values.get("grant_types", [])]}
