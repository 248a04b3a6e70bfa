"""Dynamic registration (Registration 1.0, RFC 7591) and its management by the client (RFC 7592).

A client that registers itself gets what the operator's clients get, back-channel logout included. The rules of its
metadata are in idp/clients/metadata.py.
"""

import hmac
import json
import secrets
from typing import Any

from flask import Response, jsonify, make_response, request
from pydantic import ValidationError

from idp.clients.metadata import (
    COLUMNS,
    SCOPES,
    ClientMetadata,
    MetadataError,
    check_called_addresses,
    check_sector,
    new_secret,
    store,
)
from idp.clients.registry import find_client
from idp.models import Client, hash_of
from idp.operations.applications import remove_application
from idp.provider import current_provider
from pickup_web import events
from pickup_web.clock import now
from pickup_web.database import db


def register() -> Response:
    """``POST /oauth2/register`` → 201 with all registered metadata (Registration §3.2)."""
    if refusal := refuse_initial_token():
        return refusal
    try:
        metadata = read_metadata()
    except MetadataError as error:
        return registration_error(error)
    client = Client(client_id=secrets.token_urlsafe(16), scopes=list(SCOPES), require_pkce=False)
    store(client, metadata)
    secret, management_token = new_secret(client), secrets.token_urlsafe(32)
    client.registration_token_hash = hash_of(management_token)
    db.session.add(client)
    events.record(db.session, "op.client.registered", client_id=client.client_id)
    db.session.commit()
    return client_information(client, 201, secret=secret, management_token=management_token)


def manage(client_id: str) -> Response:
    """``GET``, ``PUT`` and ``DELETE /oauth2/register/ID`` (RFC 7592 §2)."""
    client = find_client(client_id)
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    known = client.registration_token_hash if client else None
    if kind.lower() != "bearer" or not known or not hmac.compare_digest(known, hash_of(token)) or client is None:
        return unauthorized("The registration access token does not belong to this client.")
    if request.method == "DELETE":
        remove_application(db.session, client_id, by=client_id)
        return make_response("", 204)
    secret = None
    if request.method == "PUT":
        try:
            metadata = read_metadata(client)
        except MetadataError as error:
            return registration_error(error)
        store(client, metadata)
        secret = None if client.secret_hash else new_secret(client)
        events.record(db.session, "op.client.changed", client_id=client_id, outcome="by itself")
        db.session.commit()
    return client_information(client, 200, secret=secret, management_token=token)


def refuse_initial_token() -> Response | None:
    """RFC 7591 §3: requires the initial access token of the settings, unless the demo switch opens registration."""
    settings = current_provider().settings
    if settings.demo_open_registration:
        return None
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    expected = settings.registration_token.get_secret_value() if settings.registration_token else ""
    if expected and kind.lower() == "bearer" and hmac.compare_digest(expected.encode(), token.encode()):
        return None
    return unauthorized("Registration needs the initial access token. Ask the operator for it.")


def read_metadata(client: Client | None = None) -> ClientMetadata:
    """The request's metadata, checked; :class:`MetadataError` for the first error."""
    try:
        content = json.loads(request.get_data())
        metadata = ClientMetadata.model_validate(content)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"])
        word = "invalid_redirect_uri" if where.startswith("redirect_uris") else "invalid_client_metadata"
        raise MetadataError(word, f"{where}: {problem['msg']}" if where else problem["msg"]) from error
    except (ValueError, RecursionError) as error:
        raise MetadataError("invalid_client_metadata", "The body is not a JSON object.") from error
    if client:
        check_identity(client, content)
    check_called_addresses(metadata)
    check_sector(metadata, client)
    return metadata


def check_identity(client: Client, content: dict[str, Any]) -> None:
    """RFC 7592 §2.2: client_id and client_secret, if sent, must match: the client cannot choose them."""
    if content.get("client_id", client.client_id) != client.client_id:
        raise MetadataError("invalid_client_metadata", "client_id: it does not match this client")
    secret = content.get("client_secret")
    if secret is not None and not (isinstance(secret, str) and client.check_client_secret(secret)):
        raise MetadataError("invalid_client_metadata", "client_secret: it does not match this client")


def client_information(
    client: Client, status: int, *, secret: str | None = None, management_token: str | None = None
) -> Response:
    """RFC 7591 §3.2.1, RFC 7592 §3: all registered metadata, and the URL and token to manage it."""
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


def registration_error(error: MetadataError) -> Response:
    """RFC 7591 §3.2.2: 400 with the error in JSON."""
    response = make_response(jsonify(error=error.error, error_description=str(error)), 400)
    response.headers["Cache-Control"] = "no-store"
    return response


def unauthorized(sentence: str) -> Response:
    """RFC 6750 §3."""
    response = make_response(jsonify(error="invalid_token", error_description=sentence), 401)
    response.headers.update({"WWW-Authenticate": 'Bearer error="invalid_token"', "Cache-Control": "no-store"})
    return response
