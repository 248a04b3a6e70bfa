"""The participants of a session (BCL §2.3): recorded in step [5], read in step [11]."""

from collections.abc import Collection

from sqlalchemy import select
from sqlalchemy.orm import Session, load_only

from idp.models import Client, Participant, Participation
from idp.prepared import PARTICIPATE
from pickup_web.clock import now
from pickup_web.database import db


def record_participation(sid: str, client_id: str, sub: str) -> None:
    """BCL §2.3: a client that got an ID token in this session is notified of its end. One row per client.

    Called where the ID token is issued; never inferred from active tokens, because a plain OAuth client is not
    notified. The caller has locked the session's row, so no other transaction can insert the same participation.
    """
    PARTICIPATE.execute(db.session, {"sid": sid, "client_id": client_id, "sub": sub, "since": now()})


def participants_of(session: Session, sids: Collection[str]) -> list[Participant]:
    """The participants of these sessions, except clients whose row was deleted."""
    rows = session.execute(
        select(Participation.client_id, Participation.sid, Participation.sub).where(Participation.sid.in_(sids))
    ).all()
    needed = load_only(
        Client.client_id, Client.backchannel_logout_uri, Client.delete_tokens_on_logout, Client.retry_seconds
    )
    wanted = select(Client).where(Client.client_id.in_({client_id for client_id, _, _ in rows})).options(needed)
    clients = {client.client_id: client for client in session.scalars(wanted)}
    return [Participant(clients[client_id], sid, sub) for client_id, sid, sub in rows if client_id in clients]
