"""Dynamic registration: software registers itself (Registration 1.0, RFC 7591) and looks after its entry (RFC 7592).

It gets what a client registered by hand gets, back-channel logout included. What only the operator may decide
(policies, being an API, being told why a session ended) is not registered here.
"""

import hmac
import json
import secrets
from ipaddress import ip_address
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from flask import Response, jsonify, make_response, request
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from sqlalchemy import delete
from sqlalchemy.orm import Session

from idp.clients.authentication import METHODS
from idp.clients.jwks import ALGORITHMS
from idp.clients.registry import find_client
from idp.flow.session_ending import end_participations
from idp.models import AuthorizationCode, Client, Consent, hash_of
from idp.outbox.http import FetchError
from idp.outbox.reasons import Reason
from idp.provider import current_provider
from pickup_web import events
from pickup_web.clock import now
from pickup_web.database import db
from pickup_web.localhost import is_localhost_name

SCOPES = ["openid", "profile", "email", "phone", "address", "offline_access"]
RESPONSE_TYPES = ("code", "id_token", "id_token token", "code id_token", "code token", "code id_token token")
GRANT_TYPES = ("authorization_code", "implicit", "refresh_token")
COLUMNS = (
    "redirect_uris", "post_logout_redirect_uris", "grant_types", "response_types", "token_endpoint_auth_method",
    "id_token_signed_response_alg", "backchannel_logout_uri", "backchannel_logout_session_required",
)  # fmt: skip


class RegistrationError(Exception):
    """RFC 7591 §3.2.2: an error word and a sentence."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(description)
        self.error = error


def address(url: str) -> str:
    """An address this server may call or send people to."""
    try:
        current_provider().http.check(url)
    except FetchError as error:
        raise ValueError(f"the address {error}") from error
    return url


def without_fragment(url: str) -> str:
    """RFC 6749 §3.1.2, BCL §2.2, RPIL §3.1: no fragment, and a scheme that leads to a site."""
    if "#" in url:
        raise ValueError("the address has a fragment")
    return address(url)


def printable(text: str) -> str:
    """What pages show and databases keep."""
    if not text.isprintable():
        raise ValueError("the text has control characters")
    return text


Address = Annotated[str, Field(max_length=2000), AfterValidator(address)]
Target = Annotated[str, Field(max_length=2000), AfterValidator(without_fragment)]
Text = Annotated[str, Field(max_length=255), AfterValidator(printable)]


def offered_algorithm(alg: str) -> str:
    """Registration §2: one that discovery announces."""
    offered = current_provider().settings.signing_algorithms
    if alg not in offered:
        raise ValueError(f"this provider signs with {' or '.join(offered)}")
    return alg


SigningAlg = Annotated[str, AfterValidator(offered_algorithm)]


class ClientMetadata(BaseModel):
    """What a client may say about itself. Unknown members are ignored (RFC 7591 §2)."""

    model_config = ConfigDict(extra="ignore", strict=True)

    redirect_uris: list[Target] = Field(min_length=1, max_length=50)
    response_types: list[str] = Field(default=["code"], max_length=20)
    grant_types: list[Literal["authorization_code", "implicit", "refresh_token"]] = ["authorization_code"]
    application_type: Literal["web", "native"] = "web"
    token_endpoint_auth_method: str = "client_secret_basic"  # noqa: S105 # the name of a method
    token_endpoint_auth_signing_alg: str | None = None
    client_name: Text | None = None
    client_uri: Address | None = None
    logo_uri: Address | None = None
    policy_uri: Address | None = None
    tos_uri: Address | None = None
    contacts: list[Text] | None = None
    scope: Text | None = None
    jwks: dict[str, Any] | None = None
    jwks_uri: Address | None = None
    sector_identifier_uri: Address | None = None
    subject_type: Literal["public"] | None = None
    id_token_signed_response_alg: SigningAlg = "RS256"  # noqa: S105 # the name of an algorithm
    userinfo_signed_response_alg: SigningAlg | None = None
    request_object_signing_alg: str | None = None
    request_uris: list[Address] | None = Field(default=None, max_length=20)
    default_max_age: int | None = Field(default=None, ge=0, lt=2**31)
    require_auth_time: bool = False
    default_acr_values: list[Text] | None = None
    initiate_login_uri: Address | None = None
    post_logout_redirect_uris: list[Target] = []
    backchannel_logout_uri: Target | None = None
    backchannel_logout_session_required: bool = False
    software_id: Text | None = None
    software_version: Text | None = None

    @model_validator(mode="after")
    def _flows(self) -> "ClientMetadata":
        types = [set(response_type.split()) for response_type in self.response_types]
        known = [set(response_type.split()) for response_type in RESPONSE_TYPES]
        if any(asked not in known for asked in types):
            raise ValueError("response_types holds a type that is not supported")
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
    def _plain_http(self) -> "ClientMetadata":
        # BCL §2.2, RPIL §3.1: http only for confidential clients, and only where the provider allows it (address()).
        # A demonstration may also use it for a public client on the loopback, which no network carries.
        addresses = [self.backchannel_logout_uri or "", *self.post_logout_redirect_uris]
        if self.token_endpoint_auth_method == "none" and any(map(is_on_the_wire_in_clear, addresses)):  # noqa: S105
            raise ValueError(
                "a public client needs https for backchannel_logout_uri and post_logout_redirect_uris, unless they are "
                "on this machine (localhost)"
            )
        return self


def is_on_the_wire_in_clear(uri: str) -> bool:
    """Whether it is http, and not on the loopback."""
    parts = urlsplit(uri)
    return parts.scheme == "http" and not is_loopback(parts.hostname or "")


def is_loopback(host: str) -> bool:
    """RFC 6761 §6.3, RFC 8252 §7.3: ``localhost``, a name below it, or an address of this machine only."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return is_localhost_name(host)


def is_localhost(uri: str) -> bool:
    """REG-18: the host itself, not a name that contains the word. A demonstration is on localhost by nature."""
    return urlsplit(uri).hostname == "localhost" and not current_provider().settings.demo_private_addresses


def register() -> Response:
    """``POST /oauth2/register`` → 201 with everything that was registered (Registration §3)."""
    if refusal := refuse_initial_token():
        return refusal
    try:
        metadata = read_metadata()
    except RegistrationError as error:
        return registration_error(error)
    client = Client(client_id=secrets.token_urlsafe(16), scopes=list(SCOPES), require_pkce=False)
    store(client, metadata)
    secret, management_token = new_secret(client), secrets.token_urlsafe(32)
    client.registration_token_hash = hash_of(management_token)
    db.session.add(client)
    events.record(db.session, "op.client.registered", client_id=client.client_id)
    db.session.commit()
    return client_information(client, 201, secret=secret, management_token=management_token)


def new_secret(client: Client) -> str | None:
    """A secret of 256 bits, for the methods that have one; stored as its hash."""
    if not client.token_endpoint_auth_method.startswith("client_secret"):
        return None
    secret = secrets.token_urlsafe(32)
    client.secret_hash = hash_of(secret)
    return secret


def manage(client_id: str) -> Response:
    """``GET``, ``PUT`` and ``DELETE /oauth2/register/ID`` (RFC 7592 §2)."""
    client = find_client(client_id)
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    known = client.registration_token_hash if client else None
    if kind.lower() != "bearer" or not known or not hmac.compare_digest(known, hash_of(token)) or client is None:
        return unauthorized("The registration access token is not one of this client.")
    if request.method == "DELETE":
        remove(db.session, client, by=client_id)
        return make_response("", 204)
    secret = None
    if request.method == "PUT":
        try:
            metadata = read_metadata(client)
        except RegistrationError as error:
            return registration_error(error)
        store(client, metadata)
        secret = None if client.secret_hash else new_secret(client)
        events.record(db.session, "op.client.changed", client_id=client_id, outcome="by itself")
        db.session.commit()
    return client_information(client, 200, secret=secret, management_token=token)


def remove(session: Session, client: Client, by: str) -> int:
    """RFC 7592 §2.3: nobody signs in to it any more; its part in every session ends, with all its tokens.

    Returns how many of its sessions it is told of. The row stays: its id is not given out again, and the
    outbox needs its address until the last logout is told.
    """
    client.removed_at, client.secret_hash, client.registration_token_hash = now(), None, None
    for model in (AuthorizationCode, Consent):
        session.execute(delete(model).where(model.client_id == client.client_id))
    events.record(session, "op.client.removed", client_id=client.client_id, by=by)
    provider = current_provider()
    policy = provider.settings.delete_tokens_on_logout
    to_send = end_participations(session, client, Reason.CLIENT_REMOVED, policy)
    provider.outbox.send(to_send)
    return len(to_send)


def refuse_initial_token() -> Response | None:
    """RFC 7591 §1.2: registration is open, or needs the initial access token of the settings."""
    settings = current_provider().settings
    if settings.demo_open_registration:
        return None
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    expected = settings.registration_token.get_secret_value() if settings.registration_token else ""
    if expected and kind.lower() == "bearer" and hmac.compare_digest(expected.encode(), token.encode()):
        return None
    return unauthorized("Registration needs the initial access token that the operator gives out.")


def read_metadata(client: Client | None = None) -> ClientMetadata:
    """The request's metadata, checked; :class:`RegistrationError` with the first thing that is wrong."""
    try:
        content = json.loads(request.get_data())
        metadata = ClientMetadata.model_validate(content)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"])
        word = "invalid_redirect_uri" if where.startswith("redirect_uris") else "invalid_client_metadata"
        raise RegistrationError(word, f"{where}: {problem['msg']}" if where else problem["msg"]) from error
    except (ValueError, RecursionError) as error:
        raise RegistrationError("invalid_client_metadata", "The body is not a JSON object.") from error
    if client:
        check_identity(client, content)
    check_called_addresses(metadata)
    check_sector(metadata, client)
    return metadata


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
            raise RegistrationError("invalid_client_metadata", f"{name}: the address leads to a private address")


def check_identity(client: Client, content: dict[str, Any]) -> None:
    """RFC 7592 §2.2: who sends its own entry back does not choose its name or its secret by that."""
    if content.get("client_id", client.client_id) != client.client_id:
        raise RegistrationError("invalid_client_metadata", "client_id: it is another client's")
    secret = content.get("client_secret")
    if secret is not None and not (isinstance(secret, str) and client.check_client_secret(secret)):
        raise RegistrationError("invalid_client_metadata", "client_secret: it is not this client's")


def check_sector(metadata: ClientMetadata, client: Client | None = None) -> None:
    """Registration §5: the sector's file must list every redirect URI, or a stranger could join the sector.

    It is asked once: an entry that keeps both is not refused because the sector's site is away.
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
        raise RegistrationError("invalid_client_metadata", f"sector_identifier_uri: {error}") from error
    if not isinstance(listed, list) or any(uri not in listed for uri in metadata.redirect_uris):
        raise RegistrationError("invalid_client_metadata", "sector_identifier_uri does not list the redirect_uris")


def store(client: Client, metadata: ClientMetadata) -> None:
    """Put the metadata into the client: what the flows ask for into columns, the rest beside them.

    What the operator decided stays: a client gives scopes up (RFC 7592 §2.2), but takes none, and PKCE, once required,
    is required.
    """
    values = metadata.model_dump(exclude_none=True)
    client.backchannel_logout_uri = None
    for name in COLUMNS:
        if name in values:
            setattr(client, name, values.pop(name))
    client.name = values.pop("client_name", None) or client.client_id
    if metadata.scope:
        given_up = set(SCOPES) - {"openid", *metadata.scope.split()}  # those of the company's APIs are not its to name
        client.scopes = [scope for scope in client.scopes if scope not in given_up]
    client.registered = values
    if client.token_endpoint_auth_method == "none":  # noqa: S105 # PKCE-05: others have a secret
        client.require_pkce = True


def client_information(
    client: Client, status: int, *, secret: str | None = None, management_token: str | None = None
) -> Response:
    """RFC 7591 §3.2.1, RFC 7592 §3: all that is registered, and how to look after it."""
    information: dict[str, Any] = {
        "client_id": client.client_id,
        "client_id_issued_at": client.created_at or now(),
        **client.registered,
        **{name: value for name in COLUMNS if (value := getattr(client, name)) is not None},
        "client_name": client.name,
        "scope": " ".join(client.scopes),
        "registration_client_uri": f"{current_provider().issuer}/oauth2/register/{client.client_id}",
        "registration_access_token": management_token,
    }
    if secret:
        information |= {"client_secret": secret, "client_secret_expires_at": 0}
    response = make_response(jsonify(information), status)
    response.headers.update({"Cache-Control": "no-store", "Access-Control-Allow-Origin": "*"})
    return response


def registration_error(error: RegistrationError) -> Response:
    """RFC 7591 §3.2.2: 400 with the error in JSON."""
    response = make_response(jsonify(error=error.error, error_description=str(error)), 400)
    response.headers["Cache-Control"] = "no-store"
    return response


def unauthorized(sentence: str) -> Response:
    """RFC 6750 §3."""
    response = make_response(jsonify(error="invalid_token", error_description=sentence), 401)
    response.headers.update({"WWW-Authenticate": 'Bearer error="invalid_token"', "Cache-Control": "no-store"})
    return response
