"""[11] Every session ends here: at a logout, at expiry, or when an operator or another sign-in ends it.

    end the sessions ─ revoke their tokens ─ find the participants ─ queue one delivery each ─ commit
    send the deliveries                                                   delivery.py, afterwards

The first line is one transaction. If the process crashes before the commit, nothing has happened. If it crashes
afterwards, the deliveries are in the outbox, and another worker sends them.
"""

from collections.abc import Collection, Iterator, Sequence
from itertools import islice

from sqlalchemy import ColumnElement, delete, exists, func, select, update
from sqlalchemy.orm import Session

from idp.models import IDLE_SECONDS, Client, Participant, Participation, SsoSession, Token, has_word
from idp.outbox.ledger import queue
from idp.outbox.reasons import Reason, sentence_for
from idp.sign_in.participation import participants_of
from idp.tokens.revoke import revoke_all
from pickup_web import events
from pickup_web.clock import now

SESSIONS_A_STATEMENT = 500  # ids per statement; databases limit the number of parameters


def end_session(
    db: Session, sid: str, reason: Reason, default_policy: str, *, initiator: Client | None = None
) -> list[str]:
    """End one session. Commits; returns the ids of the deliveries to send now.

    Does nothing for a session that has already ended, so exactly one of several callers ends it.
    ``initiator`` is the client in which the user logged out. It is notified like the others, unless it is set not to
    be: we cannot see whether it has ended its own session, and a second logout does no harm.
    """
    ended = mark_ended(db, SsoSession.sid == sid, reason, default_policy)
    return queue_deliveries(db, ended, reason, default_policy, initiator=initiator)


def mark_ended(db: Session, which: ColumnElement[bool], reason: Reason, default_policy: str) -> list[str]:
    """End those of these sessions that are active, and revoke their tokens. Returns each ``sid`` that was ended.

    Does not commit, so that the caller can add its own changes to the same transaction.
    """
    # Lock these rows first. A request that is issuing tokens for one of these sessions either commits before this, and
    # its tokens are revoked below, or finds the session ended. All callers lock the rows in the same order, so they
    # never deadlock.
    active = select(SsoSession.sid).where(which, SsoSession.ended_at.is_(None))
    mine = update(SsoSession).where(SsoSession.sid.in_(active.order_by(SsoSession.sid).with_for_update()))
    mine = mine.where(SsoSession.ended_at.is_(None)).execution_options(synchronize_session=False)
    ended = list(db.scalars(mine.values(ended_at=now(), end_reason=reason).returning(SsoSession.sid)))
    for sids in batches(ended):
        revoke_tokens(db, sids, default_policy)
    return ended


def queue_deliveries(
    db: Session, ended: Sequence[str], reason: Reason, default_policy: str, *, initiator: Client | None = None
) -> list[str]:
    """BCL §2.3: queue a delivery for each participant of the sessions that :func:`mark_ended` ended.

    Commits, with the caller's earlier changes, even if no session was ended. Returns the ids to send now.
    """
    participants = [each for sids in batches(ended) for each in participants_of(db, sids)]
    to_send = queue(db, participants, sentence_for(reason, initiator), default_policy, initiator)
    by = initiator and initiator.client_id
    events.record_all(
        db, ({"name": "op.session.ended", "sid": sid, "client_id": by, "outcome": str(reason)} for sid in ended)
    )
    db.commit()
    return to_send


def end_participations(db: Session, client: Client, reason: Reason, default_policy: str) -> list[str]:
    """End a client's participation in every active session, and revoke all its tokens; the sessions continue.

    Commits, with the caller's earlier changes. Returns the ids of the deliveries to send now.
    """
    is_active = exists().where(SsoSession.sid == Participation.sid, SsoSession.ended_at.is_(None))
    mine = delete(Participation).where(Participation.client_id == client.client_id, is_active)
    rows = db.execute(mine.returning(Participation.sid, Participation.sub)).all()
    revoke_all(db, Token.client_id == client.client_id)
    participants = [Participant(client, sid, sub) for sid, sub in rows]
    to_send = queue(db, participants, sentence_for(reason, None), default_policy)
    db.commit()
    return to_send


def revoke_tokens(db: Session, sids: Collection[str], default_policy: str) -> None:
    """Revoke the sessions' tokens by each client's policy: ``session`` (not offline tokens), ``all`` or ``none``.

    BCL §2.7: refresh tokens SHOULD be revoked, but normally not those with ``offline_access``. Tokens of clients that
    got no ID token, and so are not notified, are revoked too.
    """
    its_policy = func.coalesce(Client.delete_tokens_on_logout, default_policy)
    for policy in ("session", "all"):
        others = select(Client.client_id).where(its_policy != policy)
        those = update(Token).where(Token.sid.in_(sids), Token.revoked_at.is_(None), Token.client_id.not_in(others))
        if policy == "session":
            those = those.where(~has_word(Token.scope, "offline_access"))
        db.execute(those.values(revoked_at=now()).execution_options(synchronize_session=False))


def expired_sessions(db: Session, limit: int) -> dict[Reason, list[str]]:
    """Sessions past their idle or absolute limit that are not marked as ended yet, by the limit that came first."""
    was_idle = SsoSession.last_seen_at + IDLE_SECONDS < SsoSession.expires_at
    active = select(SsoSession.sid).where(SsoSession.ended_at.is_(None)).limit(limit)
    # Two queries, because each reads one range of an index in its order. For one query, PostgreSQL reads all sessions
    # if there are very many.
    idle = active.where(SsoSession.last_seen_at <= now() - IDLE_SECONDS, was_idle)
    expired = active.where(SsoSession.expires_at <= now(), ~was_idle)
    found = {
        Reason.IDLE: db.scalars(idle.order_by(SsoSession.ended_at, SsoSession.last_seen_at)).all(),
        Reason.EXPIRED: db.scalars(expired.order_by(SsoSession.ended_at, SsoSession.expires_at)).all(),
    }
    return {reason: list(sids) for reason, sids in found.items() if sids}


def batches(sids: Sequence[str]) -> Iterator[list[str]]:
    """``sids`` in lists that fit into one statement."""
    left = iter(sids)
    while batch := list(islice(left, SESSIONS_A_STATEMENT)):
        yield batch
