"""Revokes tokens, for every cause."""

from sqlalchemy import ColumnElement, update
from sqlalchemy.orm import Session

from idp.models import Token
from pickup_web.clock import now


def revoke_all(session: Session, which: ColumnElement[bool]) -> bool:
    """Revoke these tokens; returns whether any was active. Does not commit."""
    active = update(Token).where(which, Token.revoked_at.is_(None)).execution_options(synchronize_session=False)
    # Repeat until none is found: the next round sees a token that was being issued during this one.
    count = 0
    while found := session.scalars(active.values(revoked_at=now()).returning(Token.access_hash)).all():
        count += len(found)
    return count > 0
