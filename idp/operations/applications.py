"""The applications that sign their users in here: register, change, remove."""

import json
import re
import secrets
from collections.abc import Mapping
from typing import Any

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from idp.authorization.request import PKCE_MISSING
from idp.clients.metadata import (
    COLUMNS,
    SCOPES,
    new_secret,
    store,
)
from idp.flow.session_ending import end_participations
from idp.models import AuthorizationCode, Client, Consent, Token, hash_of
from idp.operations import InvalidError, NotFoundError, OperationError
from idp.operations.application_settings import Metadata, OperatorSettings, confidential, read
from idp.outbox.reasons import Reason
from idp.provider import current_provider
from pickup_web import events
from pickup_web.clock import now
from pickup_web.events import Event

CLIENT_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,99}")
RESERVED = ("register",)  # /console/applications/register is the form


# --- looking ---


def list_applications(db: Session, search: str = "") -> list[Client]:
    """All registered applications by name. ``search``: part of a name or client id."""
    query = select(Client).where(Client.removed_at.is_(None)).order_by(Client.name, Client.client_id)
    if search:
        part = search.replace("\0", "?")  # PostgreSQL refuses NUL
        query = query.where(
            or_(*(column.icontains(part, autoescape=True) for column in (Client.name, Client.client_id)))
        )
    return list(db.scalars(query))


def get_application(db: Session, client_id: str) -> Client:
    """The application with this id; :class:`NotFoundError` if there is none, or it was removed."""
    client = db.get(Client, client_id) if client_id.isprintable() else None
    if client is None or client.removed_at is not None:
        raise NotFoundError("No application of this id is registered.")
    return client


def values_of(client: Client) -> dict[str, Any]:
    """All settings, by the names that :func:`edit_application` takes."""
    own = {**client.registered, **{name: getattr(client, name) for name in COLUMNS}}
    settings = {name: getattr(client, name) for name in OperatorSettings.model_fields}
    return {**own, **settings, "client_name": client.name, "scope": " ".join(client.scopes)}


def version_of(client: Client) -> str:
    """A hash of the settings: changes with every edit."""
    return hash_of(json.dumps(values_of(client), sort_keys=True))


def first_refusal_without_pkce(db: Session, client: Client) -> int | None:
    """When a request of this confidential client was first refused because it lacked PKCE, since its newest code."""
    if client.is_public or not client.require_pkce:
        return None
    its = Event.client_id == client.client_id
    newest_code = select(func.max(Event.id)).where(its, Event.name == "op.code.issued").scalar_subquery()
    refused = (Event.name == "op.authorization.refused") & (Event.detail["reason"].as_string() == PKCE_MISSING)
    return db.scalar(select(func.min(Event.at)).where(its, refused, Event.id > func.coalesce(newest_code, 0)))


# --- changing ---


def register_application(
    db: Session, values: Mapping[str, Any], by: str, given_secret: str | None = None
) -> tuple[Client, str | None]:
    """Register an application; returns it and its secret, or None if its method uses no secret.

    The secret is random, unless the operator gives one.

    ``values``: the metadata of RFC 7591 §2, :class:`OperatorSettings`, and optionally ``client_id``.
    :class:`InvalidError` with a sentence for each invalid value.
    """
    metadata, settings, errors = read(values)
    client_id = values.get("client_id") or secrets.token_hex(12)
    if not isinstance(client_id, str) or not CLIENT_ID.fullmatch(client_id):
        errors["client_id"] = "Use letters, digits and . _ ~ - only, 100 at most, and begin with a letter or a digit."
    elif client_id in RESERVED:
        errors["client_id"] = "This word is reserved. Choose another id."
    elif db.get(Client, client_id):
        errors["client_id"] = "Another application has or had this id. An id is never used twice."
    if wrong := secret_fault(metadata, given_secret):
        errors["client_secret"] = wrong
    if errors or metadata is None or settings is None:
        raise InvalidError(errors)
    client = Client(client_id=client_id, created_at=now(), scopes=[])
    apply(client, metadata, settings)
    secret = new_secret(client)
    if given_secret is not None:
        secret, client.secret_hash = given_secret, hash_of(given_secret)
    db.add(client)
    events.record(db, "op.client.registered", client_id=client_id, by=by)
    try:
        db.commit()
    except IntegrityError as error:  # another request took the id at the same time
        db.rollback()
        raise InvalidError({"client_id": "Another application has this id."}) from error
    return client, secret


def edit_application(
    db: Session,
    client_id: str,
    values: Mapping[str, Any],
    by: str,
    seen: str | None = None,
    given_secret: str | None = None,
) -> Client:
    """Change the settings in ``values``, and the secret if one is given. Deletes it if the new method uses none.

    ``seen``: the :func:`version_of` when the form was opened. If it has changed since, nothing is saved.
    """
    client = get_application(db, client_id)
    before = values_of(client)
    metadata, settings, errors = read({**before, **values}, client)
    if wrong := secret_fault(metadata, given_secret):
        errors["client_secret"] = wrong
    if errors or metadata is None or settings is None:
        raise InvalidError(errors)
    # Lock the row until the commit, so that of two operators who save the same version, one is refused.
    db.execute(update(Client).where(Client.client_id == client_id).values(name=Client.name))
    db.refresh(client)
    if seen not in (None, version_of(client)):
        db.rollback()
        sentence = (
            "Another operator changed this application in the meantime, so nothing was saved. Open the form again."
        )
        raise InvalidError({"": sentence})
    apply(client, metadata, settings)
    if not has_secret(client):
        client.secret_hash = None
    if given_secret is not None:
        client.secret_hash = hash_of(given_secret)
        finish_new_secret(db, client_id, by)
    after = values_of(client)
    changed = sorted(name for name in values if before.get(name) != after.get(name))
    if changed:
        events.record(db, "op.client.changed", client_id=client_id, outcome=", ".join(changed)[:255], by=by)
    db.commit()
    return client


def renew_secret(db: Session, client_id: str, by: str) -> str:
    """Replace the secret. The old one and the client's own tokens (client credentials) stop working."""
    client = get_application(db, client_id)
    secret = new_secret(client)
    if secret is None:
        raise OperationError(f"{client.name} has no secret because it authenticates in another way.")
    finish_new_secret(db, client_id, by)
    db.commit()
    return secret


def finish_new_secret(db: Session, client_id: str, by: str) -> None:
    """Revokes the tokens that the client got for itself with the old secret. Does not commit."""
    own = (Token.client_id == client_id) & Token.sid.is_(None) & Token.revoked_at.is_(None)
    db.execute(update(Token).where(own).values(revoked_at=now()).execution_options(synchronize_session=False))
    events.record(db, "op.client.secret_renewed", client_id=client_id, by=by)


def remove_application(db: Session, client_id: str, by: str) -> int:
    """End its part in every session, with all its tokens; returns how many logouts it is notified of (RFC 7592 §2.3).

    The row stays: the client id is never used again, and the outbox needs the address for the last logout tokens.
    """
    client = get_application(db, client_id)
    client.removed_at, client.secret_hash, client.registration_token_hash = now(), None, None
    for model in (AuthorizationCode, Consent):
        db.execute(delete(model).where(model.client_id == client_id))
    events.record(db, "op.client.removed", client_id=client_id, by=by)
    provider = current_provider()
    deliveries = end_participations(db, client, Reason.CLIENT_REMOVED, provider.settings.delete_tokens_on_logout)
    provider.outbox.send(deliveries)
    return len(deliveries)


def secret_fault(metadata: Metadata | None, secret: str | None) -> str:
    """What is wrong with the secret that the operator gave; empty if it is valid, or if there is none."""
    if secret is None or metadata is None:
        return ""
    method = metadata.token_endpoint_auth_method
    if not method.startswith("client_secret"):
        return f"An app that authenticates with {method} has no secret."
    return "" if secret else "Enter at least one character."


def has_secret(client: Client) -> bool:
    """Whether its authentication method uses a secret."""
    return client.token_endpoint_auth_method.startswith("client_secret")


def apply(client: Client, metadata: Metadata, settings: OperatorSettings) -> None:
    """Write checked values to the row."""
    store(client, metadata)
    for name, value in settings:
        setattr(client, name, value)
    client.require_pkce = client.require_pkce or not confidential(
        metadata
    )  # RFC 9700 §2.1.1: public clients MUST use PKCE
    asked = (metadata.scope or " ".join(SCOPES)).split()
    client.scopes = list(
        dict.fromkeys([*(["openid"] if metadata.response_types else []), *asked])
    )  # those of our own APIs, too
