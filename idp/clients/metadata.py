"""Client metadata (Registration 1.0 §2, RFC 7591 §2): the rules, and the row they end up in.

Dynamic registration and the console use the same rules. What only the operator decides (policies, being an API,
receiving the reason of a logout) is not part of the metadata.
"""

import json
import secrets
from ipaddress import ip_address
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from idp.clients.authentication import METHODS
from idp.clients.jwks import ALGORITHMS
from idp.models import Client, hash_of
from idp.outbox.http import FetchError
from idp.provider import current_provider
from pickup_web.localhost import is_localhost_name

SCOPES = ["openid", "profile", "email", "phone", "address", "offline_access"]
RESPONSE_TYPES = ("code", "id_token", "id_token token", "code id_token", "code token", "code id_token token")
GRANT_TYPES = ("authorization_code", "implicit", "refresh_token")
COLUMNS = (
    "redirect_uris", "post_logout_redirect_uris", "grant_types", "response_types", "token_endpoint_auth_method",
    "id_token_signed_response_alg", "backchannel_logout_uri", "backchannel_logout_session_required",
    "frontchannel_logout_uri", "frontchannel_logout_session_required",
)  # fmt: skip


class MetadataError(Exception):
    """RFC 7591 §3.2.2: an error code and a sentence."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(description)
        self.error = error


def address(url: str) -> str:
    """An address that the IdP may call or redirect to."""
    try:
        current_provider().http.check(url)
    except FetchError as error:
        raise ValueError(f"the address {error}") from error
    return url


def without_fragment(url: str) -> str:
    """RFC 6749 §3.1.2, BCL §2.2, RPIL §3.1: an absolute URI without a fragment."""
    if "#" in url:
        raise ValueError("the address has a fragment")
    return address(url)


def printable(text: str) -> str:
    """Text that every page can show and every database can store."""
    if not text.isprintable():
        raise ValueError("the text has control characters")
    return text


def offered_algorithm(alg: str) -> str:
    """Registration §2: an algorithm that discovery lists."""
    offered = current_provider().settings.signing_algorithms
    if alg not in offered:
        raise ValueError(f"this provider signs with {' or '.join(offered)}")
    return alg


URI = Field(max_length=2000, json_schema_extra={"format": "uri"})
Address = Annotated[str, URI, AfterValidator(address)]
Target = Annotated[str, URI, AfterValidator(without_fragment)]
Text = Annotated[str, Field(max_length=255), AfterValidator(printable)]
SigningAlg = Annotated[str, AfterValidator(offered_algorithm)]


class ClientMetadata(BaseModel):
    """What a client may state about itself. Unknown members are ignored (RFC 7591 §2).

    Titles, descriptions and examples are the labels and hints of the console, and the texts of the admin API.
    """

    model_config = ConfigDict(extra="ignore", strict=True)

    redirect_uris: list[Target] = Field(min_length=1, max_length=50)
    response_types: list[str] = Field(default=["code"], max_length=20, title="Flows (response types)")
    grant_types: list[Literal["authorization_code", "implicit", "refresh_token"]] = ["authorization_code"]
    application_type: Literal["web", "native"] = "web"
    token_endpoint_auth_method: str = Field(
        default="client_secret_basic",
        title="Client authentication",
        description="How it authenticates when it exchanges the code for tokens. An app on a server can keep a secret.",
    )
    token_endpoint_auth_signing_alg: str | None = None
    client_name: Text | None = Field(
        default=None, title="Name", description="People see it when they sign in.", examples=["Fleet Radio"]
    )
    client_uri: Address | None = None
    logo_uri: Address | None = None
    policy_uri: Address | None = None
    tos_uri: Address | None = None
    contacts: list[Text] | None = None
    scope: Text | None = Field(
        default=None,
        title="Scopes",
        description="The most it may ask for. About the person: profile, email, phone, address. Add offline_access to "
        "keep access after the user logs out. Or scopes of your own APIs.",
        examples=["openid profile email"],
    )
    jwks: dict[str, Any] | None = Field(
        default=None, title="Its public keys", description="A JWK Set, instead of its address."
    )
    jwks_uri: Address | None = Field(
        default=None,
        title="Address of its public keys",
        description="For private_key_jwt and signed requests.",
        examples=["https://radio.example/jwks.json"],
    )
    sector_identifier_uri: Address | None = None
    subject_type: Literal["public"] | None = None
    id_token_signed_response_alg: SigningAlg = Field(
        default="RS256",
        title="Signing algorithm",
        description="For its ID tokens and logout tokens. Every library supports RS256.",
    )
    userinfo_signed_response_alg: SigningAlg | None = None
    request_object_signing_alg: str | None = None
    request_uris: list[Address] | None = Field(default=None, max_length=20)
    default_max_age: int | None = Field(default=None, ge=0, lt=2**31)
    require_auth_time: bool = False
    default_acr_values: list[Text] | None = None
    initiate_login_uri: Address | None = None
    post_logout_redirect_uris: list[Target] = Field(
        default=[],
        title="Post-logout redirect URIs",
        description="Where the app may send people after a logout.",
        examples=["http://radio.localhost:8090/logged-out"],
    )
    backchannel_logout_uri: Target | None = Field(
        default=None,
        title="Back-channel logout URL",
        description="Where the IdP posts the logout token, without a browser. If empty, the app is not notified.",
        examples=["http://radio.localhost:8090/bclogout"],
    )
    backchannel_logout_session_required: bool = Field(
        default=False,
        title="It needs the session ID (sid)",
        description="Logout tokens of this IdP always have sid and sub.",
    )
    frontchannel_logout_uri: Target | None = Field(
        default=None,
        title="Front-channel logout URL",
        description="What the browser loads in a frame after a logout. Best effort: it fails if the browser is closed "
        "or blocks third-party cookies. Scheme, host and port must be those of a redirect URI.",
        examples=["http://radio.localhost:8090/fclogout"],
    )
    frontchannel_logout_session_required: bool = Field(
        default=False,
        title="The frame's address needs iss and sid",
        description="They say which session ended, so that the app can ignore frames of other sites.",
    )
    software_id: Text | None = None
    software_version: Text | None = None

    @model_validator(mode="after")
    def _flows(self) -> "ClientMetadata":
        types = [set(response_type.split()) for response_type in self.response_types]
        known = [set(response_type.split()) for response_type in RESPONSE_TYPES]
        if any(asked not in known for asked in types):
            raise ValueError("response_types has a type that is not supported")
        # Registration §2: the grants follow from the response types.
        needed = {"authorization_code" for asked in types if "code" in asked}
        needed |= {"implicit" for asked in types if asked - {"code"}}
        if not needed <= set(self.grant_types):
            raise ValueError("grant_types lacks what response_types needs: " + ", ".join(sorted(needed)))
        if self.application_type == "web" and "implicit" in needed and any(map(is_localhost, self.redirect_uris)):
            raise ValueError("a web client with front-channel tokens needs redirect_uris that are not localhost")
        return self

    @model_validator(mode="after")
    def _keys(self) -> "ClientMetadata":
        if self.token_endpoint_auth_method not in METHODS:
            raise ValueError("token_endpoint_auth_method is not supported")
        if self.jwks is not None and not isinstance(self.jwks.get("keys"), list):
            raise ValueError("jwks is not a JWK Set: it has no list of keys")
        if self.jwks and self.jwks_uri:
            raise ValueError("jwks and jwks_uri exclude each other")
        if self.token_endpoint_auth_method == "private_key_jwt" and not (self.jwks or self.jwks_uri):  # noqa: S105
            raise ValueError("private_key_jwt needs jwks or jwks_uri")
        for alg in (self.token_endpoint_auth_signing_alg, self.request_object_signing_alg):
            if alg is not None and alg not in ALGORITHMS:
                raise ValueError("a signing algorithm is not supported")
        return self

    @model_validator(mode="after")
    def _front_channel(self) -> "ClientMetadata":
        # FCL §2: domain, port and scheme of this URL MUST be the same as those of a registered redirection URI.
        uri = self.frontchannel_logout_uri
        if uri and origin_of(uri) not in map(origin_of, self.redirect_uris):
            raise ValueError("frontchannel_logout_uri must have the scheme, host and port of one of the redirect_uris")
        return self

    @model_validator(mode="after")
    def _plain_http(self) -> "ClientMetadata":
        # BCL §2.2, FCL §2, RPIL §3.1: http only for confidential clients, and where the provider allows it (address()).
        # A demonstration may also use http for a public client on the loopback: that traffic never leaves the machine.
        addresses = [
            self.backchannel_logout_uri or "",
            self.frontchannel_logout_uri or "",
            *self.post_logout_redirect_uris,
        ]
        if self.token_endpoint_auth_method == "none" and any(map(is_plain_http, addresses)):  # noqa: S105
            raise ValueError(
                "a public client needs https for backchannel_logout_uri, frontchannel_logout_uri and "
                "post_logout_redirect_uris, unless they are on this machine (localhost)"
            )
        return self


def origin_of(uri: str) -> tuple[str, str | None, int | None]:
    """Scheme, host and port, the default port included (RFC 6454 §4)."""
    parts = urlsplit(uri)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def is_plain_http(uri: str) -> bool:
    """Whether requests would cross a network unencrypted: http, and not to the loopback."""
    parts = urlsplit(uri)
    return parts.scheme == "http" and not is_loopback(parts.hostname or "")


def is_loopback(host: str) -> bool:
    """RFC 6761 §6.3, RFC 8252 §7.3: ``localhost``, a name below it, or an address of this machine only."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return is_localhost_name(host)


def is_localhost(uri: str) -> bool:
    """Registration §2 (application_type): whether the host is localhost itself. Demonstrations are exempt."""
    return urlsplit(uri).hostname == "localhost" and not current_provider().settings.demo_private_addresses


# --- rules that need the network ---


def check_called_addresses(metadata: ClientMetadata) -> None:
    """Rejects names that resolve to private addresses now; outbox/http.py checks again on every request."""
    called = {
        "backchannel_logout_uri": metadata.backchannel_logout_uri,
        "jwks_uri": metadata.jwks_uri,
        "sector_identifier_uri": metadata.sector_identifier_uri,
        **{f"request_uris.{number}": uri for number, uri in enumerate(metadata.request_uris or [])},
    }
    inside = current_provider().http.leading_inside(url for url in called.values() if url)
    for name, url in called.items():
        if url in inside:
            raise MetadataError("invalid_client_metadata", f"{name}: the address leads to a private address")


def check_sector(metadata: ClientMetadata, client: Client | None = None) -> None:
    """Registration §5: the file at sector_identifier_uri must list every redirect URI.

    An update that changes neither is not checked again, so it succeeds while the sector's site is down.
    """
    sector = metadata.sector_identifier_uri
    is_checked = (
        client is not None
        and client.registered.get("sector_identifier_uri") == sector
        and set(metadata.redirect_uris) <= set(client.redirect_uris)
    )
    if sector is None or is_checked:
        return
    try:
        listed = json.loads(current_provider().http.get(sector))
    except (FetchError, ValueError, RecursionError) as error:
        raise MetadataError("invalid_client_metadata", f"sector_identifier_uri: {error}") from error
    if not isinstance(listed, list) or any(uri not in listed for uri in metadata.redirect_uris):
        raise MetadataError("invalid_client_metadata", "sector_identifier_uri does not list the redirect_uris")


# --- the row ---


def store(client: Client, metadata: ClientMetadata) -> None:
    """Write the metadata to the row: what the flows read into columns, the rest into ``registered``.

    The operator's decisions stay: a client may give up scopes (RFC 7592 §2.2) but not add any, and it cannot turn off
    PKCE.
    """
    values = metadata.model_dump(exclude_none=True)
    client.backchannel_logout_uri = client.frontchannel_logout_uri = None
    for name in COLUMNS:
        if name in values:
            setattr(client, name, values.pop(name))
    client.name = values.pop("client_name", None) or client.client_id
    if metadata.scope:
        given_up = set(SCOPES) - {"openid", *metadata.scope.split()}  # scopes of the company's APIs stay
        client.scopes = [scope for scope in client.scopes if scope not in given_up]
    client.registered = values
    if client.token_endpoint_auth_method == "none":  # noqa: S105 # RFC 9700 §2.1.1: public clients MUST use PKCE
        client.require_pkce = True


def new_secret(client: Client) -> str | None:
    """A new secret of 256 bits, of which only the hash is stored; None if the client's method uses no secret."""
    if not client.token_endpoint_auth_method.startswith("client_secret"):
        return None
    secret = secrets.token_urlsafe(32)
    client.secret_hash = hash_of(secret)
    return secret
