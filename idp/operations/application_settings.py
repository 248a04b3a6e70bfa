"""The settings of an application: metadata, and what only the operator decides. Describes and checks them.

The rules of dynamic registration (clients/metadata.py) apply here too.
"""

import re
import ssl
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from idp.clients.metadata import (
    Address,
    ClientMetadata,
    MetadataError,
    Target,
    check_called_addresses,
    check_sector,
)
from idp.models import Client
from idp.outbox.ledger import GIVE_UP_SECONDS, MAX_CONNECT_SECONDS, MAX_READ_SECONDS
from pickup_web.words import duration

SCOPE = re.compile(r"[!#-\[\]-~]+")  # RFC 6749 §3.3
MOST_RETRY = 7 * 24 * 3600  # seconds; longer than any session of an app

PEM = Field(max_length=100_000, json_schema_extra={"format": "pem"})
Grant = Literal["authorization_code", "implicit", "refresh_token", "client_credentials"]


def certificates(pem: str) -> str:
    """One or more PEM certificates, and no private key."""
    if "PRIVATE KEY" in pem:
        raise ValueError("this contains a private key. Paste certificates only")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=pem)
    except (ssl.SSLError, ValueError, TypeError) as error:  # TypeError: non-ASCII characters
        raise ValueError("these are not certificates in PEM format: -----BEGIN CERTIFICATE----- …") from error
    return pem


class Metadata(ClientMetadata):
    """The same rules, but an operator may also register a program that acts for itself and signs in no users."""

    redirect_uris: list[Target] = Field(
        default=[],
        max_length=50,
        title="Redirect URIs",
        description="The app's callback addresses. What the app sends must be the same, letter by letter.",
        examples=["http://radio.localhost:8090/oauth2client"],
    )
    grant_types: list[Grant] = Field(  # type: ignore[assignment] # client_credentials is the operator's to give
        default=["authorization_code"],
        title="Grants",
        description="authorization_code and implicit follow from the flows.",
    )

    @model_validator(mode="after")
    def _program(self) -> "Metadata":
        if self.response_types and not self.redirect_uris:
            raise ValueError("enter at least one address (redirect_uris)")
        if not self.response_types and "client_credentials" not in self.grant_types:
            raise ValueError("choose at least one (response_types), or let the app act for itself")
        if not confidential(self) and "client_credentials" in self.grant_types:  # RFC 6749 §4.4
            raise ValueError("grant_types may contain client_credentials only if the application authenticates")
        return self


class OperatorSettings(BaseModel):
    """What an application cannot register about itself."""

    model_config = ConfigDict(extra="ignore", strict=True)

    home_url: Address | None = Field(
        default=None,
        title="Start page",
        description="Where people open the app. The pages of the IdP link to it.",
        examples=["http://radio.localhost:8090/"],
    )
    require_pkce: bool = Field(
        default=True,
        title="It must use PKCE",
        description="Protects the code in transit. Many libraries use it only if a setting says so. "
        "Clear it only for an app whose library does not support PKCE.",
    )
    may_introspect: bool = Field(
        default=False,
        title="It is an API",
        description="It receives access tokens of other apps and may check whether they are valid.",
    )
    claims_in_id_token: bool = Field(
        default=False,
        title="Claims in the ID token",
        description="Name, email and the other claims of its scopes are also in the ID token. "
        "For libraries that do not ask the userinfo endpoint.",
    )
    notify_initiator: bool = Field(
        default=True,
        title="Notify it of its own logouts",
        description="Also when the user logged out in this app. Clear it only for an app that cannot receive a logout "
        "request during its own logout, such as Keycloak as a broker.",
    )
    tell_logout_reason: bool = Field(
        default=False,
        title="Send the reason",
        description="The logout token says why the session ended and may name another app. For your own apps only.",
    )
    delete_tokens_on_logout: Literal["none", "session", "all"] | None = Field(
        default=None,
        title="Delete tokens on logout",
        description="Which of its tokens are revoked when a session ends, and whether it is notified. "
        "Default: the IdP's own setting.",
    )
    connect_timeout: float = Field(
        default=2.0,
        ge=0.1,
        le=MAX_CONNECT_SECONDS,
        allow_inf_nan=False,
        title="Connect timeout, in seconds",
        description="How long the app may take to accept a connection.",
        examples=[2],
    )
    read_timeout: float = Field(
        default=5.0,
        ge=0.1,
        le=MAX_READ_SECONDS,
        allow_inf_nan=False,
        title="Read timeout, in seconds",
        description="How long the app may take to answer.",
        examples=[5],
    )
    retry_seconds: int | None = Field(
        default=None,
        ge=0,
        le=MOST_RETRY,
        title="Retry deadline, in seconds",
        description="How long the IdP retries while the app is away. "
        f"Default: {GIVE_UP_SECONDS}, which is {duration(GIVE_UP_SECONDS)}.",
    )
    ca_certificates: Annotated[str, PEM, AfterValidator(certificates)] | None = Field(
        default=None,
        title="CA certificates",
        description="PEM. The authorities to trust for the app's certificate, if it has a private one.",
        examples=["-----BEGIN CERTIFICATE----- …"],
    )


# Every setting as JSON Schema: source of the console's form and of the texts in the admin API and docs/console.md.
SETTINGS: dict[str, dict[str, Any]] = {
    "client_id": {
        "type": "string",
        "title": "Client ID",
        "description": "The name of the app in the protocol. It cannot be changed later.",
        "examples": ["fleet-radio"],
    },
    **Metadata.model_json_schema()["properties"],
    **OperatorSettings.model_json_schema()["properties"],
}


# --- checks ---


def read(
    values: Mapping[str, Any], client: Client | None = None
) -> tuple[Metadata | None, OperatorSettings | None, dict[str, str]]:
    """Both models, and a sentence for each invalid value. ``client``: the one that is edited, if any."""
    errors = {name: "There is no such setting." for name in values if name not in SETTINGS}
    metadata = settings = None
    try:
        settings = OperatorSettings.model_validate(dict(values))
    except ValidationError as error:
        errors |= sentences(error)
    if not str(values.get("client_name") or "").strip():
        errors["client_name"] = "Enter a name."
    if wrong := [scope for scope in str(values.get("scope") or "").split() if not SCOPE.fullmatch(scope)]:
        errors["scope"] = f"{wrong[0]} is not a scope: leave out quotation marks, backslashes and accents."
    try:
        metadata = Metadata.model_validate(dict(values))
        check_called_addresses(metadata)
        check_sector(metadata, client)
    except ValidationError as error:
        errors |= sentences(error)
    except MetadataError as error:
        name, _, text = str(error).partition(": ")
        errors |= {name.partition(".")[0]: sentence(text)} if name.partition(".")[0] in SETTINGS else {"": str(error)}
    return metadata, settings, errors


def sentences(error: ValidationError) -> dict[str, str]:
    """The first error of each setting. An error about several settings names one in its text."""
    found: dict[str, str] = {}
    for problem in error.errors():
        text = PLAIN.get(problem["type"], "{msg}").format(msg=problem["msg"], **problem.get("ctx", {}))
        text = text.removeprefix("Value error, ")
        words = re.split(r"\W+", text)
        name = str(problem["loc"][0]) if problem["loc"] else next(filter(SETTINGS.__contains__, words), "")
        number = problem["loc"][1] if len(problem["loc"]) > 1 else None
        which = f"Number {number + 1}: " if isinstance(number, int) else ""
        found.setdefault(name, which + sentence(text))
    return found


PLAIN = {
    "missing": "Enter at least one.",
    "too_short": "Enter at least one.",
    "too_long": "Enter {max_length} at most.",
    "string_too_long": "Use {max_length} characters at most.",
    "greater_than_equal": "Enter {ge} or more.",
    "less_than_equal": "Enter {le} or less.",
    "literal_error": "Choose one of {expected}.",
}


def sentence(text: str) -> str:
    """As a sentence: a capital first, unless the first word is a protocol name, and a full stop."""
    first = text.partition(" ")[0]
    begins = text if "_" in first or first in SETTINGS else text[:1].upper() + text[1:]
    return begins + ("" if text.endswith((".", "…")) else ".")


def confidential(metadata: ClientMetadata) -> bool:
    """RFC 6749 §2.1: whether the client can authenticate."""
    return metadata.token_endpoint_auth_method != "none"  # noqa: S105 # the name of a method
