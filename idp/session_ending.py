"""[5] The one door through which every session ends, whoever ends it and why.

    end the session ─ revoke its tokens ─ write one delivery a client     one transaction
    send the deliveries                                                   delivery.py, afterwards

If the process dies between the two, the deliveries are in the outbox, and another one sends them. If
it dies before, nothing has happened. There is no third case.
"""

import secrets
from collections.abc import Iterable
from enum import StrEnum

from sqlalchemy import ColumnElement, or_, select, update
from sqlalchemy.orm import Session

from idp.models import Client, Delivery, Participation, SsoSession, Token
from pickup_web import events
from pickup_web.clock import now

IDLE_SECONDS = 2 * 3600  # a session ends when no app and no page asked for it for so long
GIVE_UP_SECONDS = 10 * 3600  # how long a logout is offered: no session of an app should live longer
LEASE_SECONDS = 10  # how long the process that wrote a delivery has for it; longer than its timeouts


class Reason(StrEnum):
    """Why a session ended."""

    LOGOUT = "logout"  # in an app, or at the provider
    ELSEWHERE = "elsewhere"  # the person ended it from another of their sessions
    EVERYWHERE = "everywhere"  # the person logged out everywhere
    REPLACED = "replaced"
    IDLE = "idle"
    EXPIRED = "expired"
    OPERATOR = "operator"
    PASSWORD_CHANGED = "password_changed"  # noqa: S105 # a reason, not a password
    USER_DISABLED = "user_disabled"
    USER_REMOVED = "user_removed"
    CLIENT_REMOVED = "client_removed"  # only this app's part in the session ends


SENTENCES = {
    Reason.ELSEWHERE: "You ended this session from another browser.",
    Reason.EVERYWHERE: "You logged out everywhere.",
    Reason.REPLACED: "Somebody else signed in in this browser.",
    Reason.IDLE: "Your session expired: nobody used it for a while.",
    Reason.EXPIRED: "Your session expired.",
    Reason.OPERATOR: "An operator ended your session.",
    Reason.PASSWORD_CHANGED: "Your password was changed.",
    Reason.USER_DISABLED: "Your account was disabled.",
    Reason.USER_REMOVED: "Your account was removed.",
    Reason.CLIENT_REMOVED: "This app was removed from the sign-in service.",
}


def end_session(
    db: Session, sid: str, reason: Reason, default_policy: str, *, initiator: Client | None = None
) -> list[str]:
    """End one session; returns the ids of the deliveries to send now.

    Does nothing, and returns nothing, for a session that has ended: exactly one caller ends it.
    ``initiator`` is the client in which the user logged out. Commits.
    """
    # First the row that everything else hangs on. Whoever is giving out tokens for this session right
    # now either commits before this (and is seen below) or finds the session ended.
    alive = update(SsoSession).where(SsoSession.sid == sid, SsoSession.ended_at.is_(None))
    ended = db.scalar(alive.values(ended_at=now(), end_reason=reason).returning(SsoSession.sid))
    if ended is None:
        db.rollback()
        return []
    sentence = sentence_for(reason, initiator)
    clients = participants(db, sid)
    revoke_tokens(
        db,
        sid,
        {client.client_id: policy_of(client, default_policy) for client, _ in clients},
        default_policy,
    )
    deliveries = [make_delivery(client, taken, sentence, default_policy) for client, taken in clients]
    db.add_all(deliveries)
    events.record(db, "op.session.ended", sid=sid, client_id=initiator and initiator.client_id, outcome=reason)
    for delivery in deliveries:
        name = "op.logout.queued" if delivery.state == "pending" else "op.logout.not_sent"
        events.record(db, name, sid=sid, client_id=delivery.client_id, outcome=delivery.note or None)
    to_send = [delivery.id for delivery in deliveries if delivery.state == "pending"]
    db.commit()
    return to_send


def end_sessions(db: Session, sids: Iterable[str], reason: Reason, default_policy: str) -> list[str]:
    """End many sessions; returns the ids of the deliveries to send now. Commits."""
    return [delivery_id for sid in sids for delivery_id in end_session(db, sid, reason, default_policy)]


def participants(db: Session, sid: str) -> list[tuple[Client, Participation]]:
    """BCL §2.3: the clients that got an ID token in this session."""
    query = select(Client, Participation).join(Participation, Participation.client_id == Client.client_id)
    return [(client, taken) for client, taken in db.execute(query.where(Participation.sid == sid))]


def policy_of(client: Client, default_policy: str) -> str:
    """Delete tokens on logout: the client's own word, else the provider's."""
    return client.delete_tokens_on_logout or default_policy


def revoke_tokens(db: Session, sid: str, policies: dict[str, str], default_policy: str) -> None:
    """BCL §2.7: the session's tokens go with it, the offline ones only where the policy is ``all``."""
    for policy in {*policies.values(), default_policy}:
        if policy == "none":
            continue
        those = [client_id for client_id, its_policy in policies.items() if its_policy == policy]
        mine: ColumnElement[bool] = Token.client_id.in_(those)
        if policy == default_policy:  # also clients that got tokens, but no ID token
            mine = or_(mine, Token.client_id.not_in(policies))
        revoked = update(Token).where(Token.sid == sid, Token.revoked_at.is_(None), mine)
        if policy == "session":
            revoked = revoked.where(~Token.scope.contains("offline_access"))
        db.execute(revoked.values(revoked_at=now()).execution_options(synchronize_session=False))


def make_delivery(client: Client, taken: Participation, sentence: str, default_policy: str) -> Delivery:
    """The outbox's row for one client; one that is not told gets a row, too, which says why."""
    note = ""
    if not client.backchannel_logout_uri:
        note = "The client has no back-channel logout URI."
    elif policy_of(client, default_policy) == "none":
        note = "Its policy is to keep tokens and to send no logout request."
    return Delivery(
        id=secrets.token_hex(16),
        client_id=client.client_id,
        sid=taken.sid,
        sub=taken.sub,
        reason=sentence,
        state="not_sent" if note else "pending",
        note=note,
        created_at=now(),
        next_try_at=now() + LEASE_SECONDS,  # the caller sends it; if that never happens, another process will
        give_up_at=now() + GIVE_UP_SECONDS,
    )


def sentence_for(reason: Reason, initiator: Client | None) -> str:
    """What the user is told in the apps."""
    if reason is Reason.LOGOUT:
        return f"You logged out of {initiator.name}." if initiator else "You logged out at the sign-in service."
    return SENTENCES[reason]


def expired_sessions(db: Session, limit: int) -> list[str]:
    """Sessions whose time is over but that nobody has ended yet."""
    over = or_(SsoSession.expires_at <= now(), SsoSession.last_seen_at <= now() - IDLE_SECONDS)
    return list(db.scalars(select(SsoSession.sid).where(SsoSession.ended_at.is_(None), over).limit(limit)))
