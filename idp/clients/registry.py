"""Looks up registered clients for the protocol steps."""

from sqlalchemy import select, update

from idp.models import Client
from idp.prepared import CLIENT_ROW, client_of
from pickup_web.clock import now
from pickup_web.database import db


def find_client(client_id: str) -> Client | None:
    """The registered client with this id, as a row that can be changed."""
    client = db.session.get(Client, client_id) if is_client_id(client_id) else None
    return client if client and client.removed_at is None else None


def known_client(client_id: str) -> Client | None:
    """The same client, read-only: all threads share the object.

    The row is read each time, so that a change applies immediately and in every process. Only the
    object made from the row is cached, because making it takes longer than reading the row.
    """
    row = CLIENT_ROW.first(db.session, {"client_id": client_id}) if is_client_id(client_id) else None
    return client_of(tuple(row)) if row else None


def is_client_id(text: str) -> bool:
    """RFC 6749 §A.1: printable ASCII. Other text is never sent to the database."""
    return text.isascii() and text.isprintable()


def mark_client_used(client: Client) -> None:
    """Record the first use of a self-registered client, so that clean_up.py keeps it."""
    if client.registration_token_hash is None or client.used_at is not None:
        return
    # Another transaction may be changing or removing the client and waiting for us; then the next use is recorded.
    free = select(Client.client_id).where(Client.client_id == client.client_id).with_for_update(skip_locked=True)
    used = update(Client).where(Client.client_id.in_(free)).values(used_at=now())
    db.session.execute(used.execution_options(synchronize_session=False))
