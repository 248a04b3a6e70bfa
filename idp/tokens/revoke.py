"""Revoking tokens, whatever the cause."""

from sqlalchemy import ColumnElement, update
from sqlalchemy.orm import Session

from idp.models import Token
from pickup_web.clock import now


def revoke_all(session: Session, which: ColumnElement[bool]) -> bool:
    """Revoke these tokens; whether there were any. Does not commit."""
    active = update(Token).where(which, Token.revoked_at.is_(None)).execution_options(synchronize_session=False)
    # Repeated until there are none: a token that was being issued meanwhile is seen the second time.
    count = 0
    while found := session.scalars(active.values(revoked_at=now()).returning(Token.access_hash)).all():
        count += len(found)
    return count > 0
