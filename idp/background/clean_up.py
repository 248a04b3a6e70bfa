"""Deletes rows that are no longer needed, each minute (loop.py). Small transactions: no request waits for long."""

import time
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, exists, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from idp.models import (
    LONG_REQUEST_SECONDS,
    AuthorizationCode,
    Client,
    Delivery,
    DeliveryAttempt,
    LongRequest,
    Participation,
    SsoSession,
    Token,
    UsedAssertion,
)
from pickup_web.clock import now

BATCH = 100  # rows of a transaction
SECONDS = 5.0  # after which each kind gets one more batch only; this thread also looks for due deliveries
CODE_SECONDS = 30 * 24 * 3600  # a code is kept this long, and until its last token is deleted
LEDGER_SECONDS = 90 * 24 * 3600  # deliveries and their sessions are kept for three months
EXCHANGE_SECONDS = 300  # longer than the exchange of a code takes, and than the clocks of two replicas differ
UNUSED_SECONDS = 7 * 24 * 3600  # a self-registered client that no user signs in to is deleted after this time

BELONGING: dict[Any, list[InstrumentedAttribute[str]]] = {  # rows deleted together with their parent
    Delivery: [DeliveryAttempt.delivery_id],
    SsoSession: [Participation.sid],
}


def clean_up(db: Session) -> None:
    """Delete the rows of each kind, and commit each batch.

    Selects first, because usually nothing is due: no write lock then.
    """
    is_old_delivery = (Delivery.state != "pending") & (Delivery.created_at < now() - LEDGER_SECONDS)
    # RFC 6749 §4.1.2: a second use of a code revokes its tokens, so the code is kept as long as its tokens.
    is_old_code = (AuthorizationCode.expires_at < now() - CODE_SECONDS) & ~exists().where(
        Token.family == AuthorizationCode.code_hash
    )
    kinds: list[tuple[InstrumentedAttribute[str], ColumnElement[bool]]] = [
        (Delivery.id, is_old_delivery),
        (SsoSession.sid, (SsoSession.ended_at < now() - LEDGER_SECONDS) & is_unneeded()),
        (Client.client_id, Client.removed_at.is_not(None) & is_unreferenced()),
        (AuthorizationCode.code_hash, is_old_code),
        (LongRequest.key_hash, LongRequest.kept_at < now() - LONG_REQUEST_SECONDS),
        (UsedAssertion.jti_hash, UsedAssertion.expires_at < now()),
        (Client.client_id, is_unused_client() & is_unreferenced()),
        # Two kinds, because each uses one range of the index. For one condition, SQLite may read all of it.
        (Token.access_hash, Token.refresh_expires_at.is_(None) & (Token.access_expires_at < now())),
        (Token.access_hash, (Token.refresh_expires_at < now()) & (Token.access_expires_at < now())),
    ]
    until = time.monotonic() + SECONDS
    for key, is_over in kinds:
        while delete_batch(db, key, is_over) == BATCH and time.monotonic() < until:
            pass


def delete_batch(db: Session, key: InstrumentedAttribute[str], is_over: ColumnElement[bool]) -> int:
    """Delete some rows with what belongs to them, and commit. Returns the number of rows.

    Several workers may clean up at the same time: each skips the rows that another one is deleting.
    """
    keys = db.scalars(select(key).where(is_over).limit(BATCH).with_for_update(skip_locked=True)).all()
    if keys:
        for column in BELONGING.get(key.class_, []):
            db.execute(delete(column.class_).where(column.in_(keys)).execution_options(synchronize_session=False))
        db.execute(delete(key.class_).where(key.in_(keys)).execution_options(synchronize_session=False))
        db.commit()
    return len(keys)


def unfinished_removals(db: Session) -> list[Client]:
    """Removed clients that still take part in a session, because a code exchange was in progress at the removal."""
    removed = db.scalars(select(Client).where(Client.removed_at.is_not(None))).all()
    return [client for client in removed if takes_part_since_removal(db, client)]


def takes_part_since_removal(db: Session, client: Client) -> bool:
    """Asked for one client at a time, so that PostgreSQL knows how few rows there are."""
    since = (client.removed_at or 0) - EXCHANGE_SECONDS
    its = select(Participation.sid).where(Participation.client_id == client.client_id, Participation.since >= since)
    active = its.join(SsoSession, SsoSession.sid == Participation.sid).where(SsoSession.ended_at.is_(None))
    return db.scalar(active.limit(1)) is not None


# Each of the following conditions is an AND of NOT EXISTS, because PostgreSQL reads a whole table for NOT (… OR …).


def is_unneeded() -> ColumnElement[bool]:
    """Whether neither a delivery nor a token of the session exists any more."""
    return and_(*(~exists().where(column == SsoSession.sid) for column in (Delivery.sid, Token.sid)))


def is_unreferenced() -> ColumnElement[bool]:
    """Whether the client takes part in no session, and has no delivery and no token."""
    columns = (Participation.client_id, Delivery.client_id, Token.client_id)
    return and_(*(~exists().where(column == Client.client_id) for column in columns))


def is_unused_client() -> ColumnElement[bool]:
    """Whether the client registered itself more than UNUSED_SECONDS ago and was never used."""
    is_old = Client.created_at < now() - UNUSED_SECONDS
    return Client.registration_token_hash.is_not(None) & Client.used_at.is_(None) & is_old
