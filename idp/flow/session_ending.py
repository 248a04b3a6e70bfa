"""[5] The one door through which every session ends, whoever ends it and why.

    end the sessions ─ revoke their tokens ─ write one delivery a client     one transaction
    send the deliveries                                                      delivery.py, afterwards

If the process dies between the two, the deliveries are in the outbox, and another one sends them. If
it dies before, nothing has happened.

Many sessions end for everybody in that one transaction, too, but only the first piece of them gets its deliveries
there. The others get theirs piece by piece, so that others can write in between; until then each has a row in
``unfinished_ending``, and another process finishes what this one leaves. What a piece costs does not depend on how
many sessions or clients are in it, but for its rows.
"""

import secrets
from collections.abc import Collection, Iterable, Iterator, Sequence
from enum import StrEnum
from itertools import islice
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, delete, exists, func, or_, select, update
from sqlalchemy.orm import Session, load_only

from idp.models import Client, Delivery, Participation, SsoSession, Token, UnfinishedEnding, has_word
from idp.outbox.http import host_of
from pickup_web import events
from pickup_web.clock import now
from pickup_web.database import add_rows

IDLE_SECONDS = 2 * 3600  # a session ends when no app and no page asked for it for so long
GIVE_UP_SECONDS = 10 * 3600  # how long a logout is offered: no session of an app should live longer
LEASE_SECONDS = 20  # how long a process that took a delivery has for it; longer than any try takes (delivery.py)
SEND_NOW = 1000  # deliveries that an ending's own process takes; the rest is anybody's who looks
SESSIONS_AT_ONCE = 50  # ended sessions whose deliveries are written in one transaction,
PARTS_AT_ONCE = 500  # and of a removed client's participations: others can write in between


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
    Reason.REPLACED: "A different user signed in with this browser.",
    Reason.IDLE: "Your session expired because it was not used for a while.",
    Reason.EXPIRED: "Your session expired.",
    Reason.OPERATOR: "An operator ended your session.",
    Reason.PASSWORD_CHANGED: "Your password was changed.",
    Reason.USER_DISABLED: "Your account was disabled.",
    Reason.USER_REMOVED: "Your account was removed.",
    Reason.CLIENT_REMOVED: "This app was removed from the identity provider (IdP).",
}


class Part(NamedTuple):
    """A client's part in a session (BCL §2.3), and the subject it knows the user by."""

    client: Client
    sid: str
    sub: str


def end_session(
    db: Session, sid: str, reason: Reason, default_policy: str, *, initiator: Client | None = None
) -> list[str]:
    """End one session; returns the ids of the deliveries to send now.

    Does nothing, and returns nothing, for a session that has ended: exactly one caller ends it.
    ``initiator`` is the client in which the user logged out. Commits.
    """
    return end_sessions(db, [sid], reason, default_policy, initiator=initiator)


def end_sessions(
    db: Session, sids: Sequence[str], reason: Reason, default_policy: str, *, initiator: Client | None = None
) -> list[str]:
    """The same for many, however many. If this dies after its first commit, :func:`finish_endings` has the rest."""
    ended = begin_ending(db, SsoSession.sid.in_(sids), reason, default_policy)
    return finish_ending(db, ended, reason, default_policy, initiator=initiator)


def begin_ending(db: Session, which: ColumnElement[bool], reason: Reason, default_policy: str) -> list[str]:
    """End those of these that live, and revoke their tokens; returns their ``sid``, for :func:`finish_ending`.

    Does not commit. What the caller writes in between is one transaction with it.
    """
    # First the rows that everything else hangs on. Whoever is giving out tokens for these sessions right
    # now either commits before this (and is seen below) or finds the session ended. In one order, so that
    # two who end the same sessions wait for each other once, not each for the other.
    alive = select(SsoSession.sid).where(which, SsoSession.ended_at.is_(None))
    mine = update(SsoSession).where(SsoSession.sid.in_(alive.order_by(SsoSession.sid).with_for_update()))
    mine = mine.where(SsoSession.ended_at.is_(None)).execution_options(synchronize_session=False)
    ended = list(db.scalars(mine.values(ended_at=now(), end_reason=reason).returning(SsoSession.sid)))
    for piece in in_pieces(ended, PARTS_AT_ONCE):
        revoke_tokens(db, piece, default_policy)
    return ended


def finish_ending(
    db: Session, ended: Sequence[str], reason: Reason, default_policy: str, *, initiator: Client | None = None
) -> list[str]:
    """Write the deliveries of what :func:`begin_ending` ended; returns the ids of those to send now.

    Commits, the first time with whatever was changed before, also if no session was ended.
    """
    first, rest = ended[:SESSIONS_AT_ONCE], ended[SESSIONS_AT_ONCE:]
    add_rows(db, UnfinishedEnding, [{"sid": sid} for sid in rest])
    to_send = _tell(db, first, reason, default_policy, initiator)
    return to_send + finish_endings(db, rest, reason, default_policy, already=len(to_send))


def finish_endings(
    db: Session, unfinished: Sequence[str], reason: Reason, default_policy: str, *, already: int = 0
) -> list[str]:
    """Write the deliveries that are not written yet, each session's once, whoever else is at it.

    Returns the ids of those to send now. ``already``: how many of them the caller has. Commits each piece.
    """
    to_send: list[str] = []
    for piece in in_pieces(unfinished, SESSIONS_AT_ONCE):
        free = select(UnfinishedEnding.sid).where(UnfinishedEnding.sid.in_(piece)).with_for_update(skip_locked=True)
        mine = delete(UnfinishedEnding).where(UnfinishedEnding.sid.in_(free)).returning(UnfinishedEnding.sid)
        sids = db.scalars(mine.execution_options(synchronize_session=False)).all()
        to_send += _tell(db, sids, reason, default_policy, already=already + len(to_send))
    return to_send


def _tell(
    db: Session,
    sids: Sequence[str],
    reason: Reason,
    default_policy: str,
    initiator: Client | None = None,
    already: int = 0,
) -> list[str]:
    if not sids:
        db.commit()
        return []
    by = initiator and initiator.client_id
    parts = participants(db, sids)
    events.record_all(
        db, ({"name": "op.session.ended", "sid": sid, "client_id": by, "outcome": str(reason)} for sid in sids)
    )
    return _commit_deliveries(db, parts, sentence_for(reason, initiator), default_policy, already)


def end_participations(db: Session, client: Client, reason: Reason, default_policy: str) -> list[str]:
    """End a client's part in every session that lives, and all its tokens; the sessions go on without it.

    Returns the ids of the deliveries to send now. Commits, with whatever the caller changed before.
    """
    given = update(Token).where(Token.client_id == client.client_id, Token.revoked_at.is_(None))
    alive = select(SsoSession.sid).where(SsoSession.ended_at.is_(None))
    mine = select(Participation.sid).where(Participation.client_id == client.client_id, Participation.sid.in_(alive))
    to_send: list[str] = []
    while True:  # and each time the tokens, too: one that was being given out just now may be there by then
        db.execute(given.values(revoked_at=now()).execution_options(synchronize_session=False))
        those = delete(Participation).where(
            Participation.client_id == client.client_id, Participation.sid.in_(mine.limit(PARTS_AT_ONCE))
        )
        taken = db.execute(those.returning(Participation.sid, Participation.sub)).all()
        if not taken:
            db.commit()
            return to_send
        parts = [Part(client, sid, sub) for sid, sub in taken]
        to_send += _commit_deliveries(db, parts, sentence_for(reason, None), default_policy, len(to_send))


def participants(db: Session, sids: Collection[str]) -> list[Part]:
    """BCL §2.3: the clients that got an ID token in these sessions."""
    taken = db.execute(
        select(Participation.client_id, Participation.sid, Participation.sub).where(Participation.sid.in_(sids))
    ).all()
    needed = load_only(
        Client.client_id, Client.backchannel_logout_uri, Client.delete_tokens_on_logout, Client.retry_seconds
    )
    took_part = select(Participation.client_id).where(Participation.sid.in_(sids))
    clients = db.scalars(select(Client).where(Client.client_id.in_(took_part)).options(needed))
    by_id = {client.client_id: client for client in clients}
    return [Part(by_id[client_id], sid, sub) for client_id, sid, sub in taken if client_id in by_id]


def policy_of(client: Client, default_policy: str) -> str:
    """Delete tokens on logout: the client's own word, else the provider's."""
    return client.delete_tokens_on_logout or default_policy


def revoke_tokens(db: Session, sids: Collection[str], default_policy: str) -> None:
    """BCL §2.7: the sessions' tokens go with them, the offline ones only where the policy is ``all``.

    Also those of clients that got tokens, but no ID token, and so are not told.
    """
    its_policy = func.coalesce(Client.delete_tokens_on_logout, default_policy)
    for policy in ("session", "all"):
        others = select(Client.client_id).where(its_policy != policy)
        those = update(Token).where(Token.sid.in_(sids), Token.revoked_at.is_(None), Token.client_id.not_in(others))
        if policy == "session":
            those = those.where(~has_word(Token.scope, "offline_access"))
        db.execute(those.values(revoked_at=now()).execution_options(synchronize_session=False))


def why_not_told(client: Client, default_policy: str) -> str:
    """Why a client that took part hears nothing, in a sentence; empty if it is told."""
    if not client.backchannel_logout_uri:
        return "The client has no back-channel logout URI."
    if policy_of(client, default_policy) == "none":
        return "Its policy is to keep tokens and to send no logout request."
    return ""


def _commit_deliveries(db: Session, parts: list[Part], sentence: str, default_policy: str, already: int) -> list[str]:
    deliveries = [make_delivery(part, sentence, default_policy) for part in parts]
    for delivery in [one for one in deliveries if one["state"] == "pending"][: max(SEND_NOW - already, 0)]:
        delivery["taken_until"] = now() + LEASE_SECONDS  # the caller sends it; if not, another process will then
    add_rows(db, Delivery, deliveries)
    events.record_all(
        db,
        (
            {
                "name": "op.logout.not_sent" if one["note"] else "op.logout.queued",
                "sid": one["sid"],
                "client_id": one["client_id"],
                "outcome": one["note"] or None,
            }
            for one in deliveries
        ),
    )
    db.commit()
    return [delivery["id"] for delivery in deliveries if delivery["taken_until"]]


def make_delivery(part: Part, sentence: str, default_policy: str) -> dict[str, Any]:
    """The outbox's row for one client; one that is not told gets a row, too, which says why."""
    client, at = part.client, now()
    note = why_not_told(client, default_policy)
    return {
        "id": secrets.token_hex(16),
        "client_id": client.client_id,
        "sid": part.sid,
        "sub": part.sub,
        "host": host_of(client.backchannel_logout_uri or ""),
        "reason": sentence,
        "state": "not_sent" if note else "pending",
        "note": note,
        "created_at": at,
        "next_try_at": at,
        "taken_until": 0,
        "give_up_at": at + offered_seconds(client),
    }


def offered_seconds(client: Client) -> int:
    """How long a client is tried again: its own number, else the provider's."""
    return GIVE_UP_SECONDS if client.retry_seconds is None else client.retry_seconds


def sentence_for(reason: Reason, initiator: Client | None) -> str:
    """What the user is told in the apps."""
    if reason is Reason.LOGOUT:
        return f"You logged out of {initiator.name}." if initiator else "You logged out at the identity provider (IdP)."
    return SENTENCES[reason]


def expired_sessions(db: Session, limit: int) -> dict[Reason, list[str]]:
    """Sessions whose time is over but that nobody has ended yet, by the reason that came first."""
    idle_at = SsoSession.last_seen_at + IDLE_SECONDS
    over = or_(SsoSession.expires_at <= now(), SsoSession.last_seen_at <= now() - IDLE_SECONDS)
    rows = db.execute(
        select(SsoSession.sid, idle_at < SsoSession.expires_at).where(SsoSession.ended_at.is_(None), over).limit(limit)
    )
    found: dict[Reason, list[str]] = {}  # mostly nothing; and a look must not keep those who write waiting
    for sid, was_idle in rows:
        found.setdefault(Reason.IDLE if was_idle else Reason.EXPIRED, []).append(sid)
    return found


def unfinished_endings(db: Session, limit: int) -> dict[Reason, list[str]]:
    """Sessions that have ended while their deliveries are not written: somebody is at it, or was killed."""
    rows = db.execute(
        select(SsoSession.sid, SsoSession.end_reason).where(SsoSession.sid == UnfinishedEnding.sid).limit(limit)
    )
    found: dict[Reason, list[str]] = {}
    for sid, reason in rows:
        found.setdefault(Reason(str(reason)), []).append(sid)
    return found


def unfinished_removals(db: Session) -> list[Client]:
    """Clients that were removed, by whoever was killed before the last of their parts was ended."""
    alive = select(SsoSession.sid).where(SsoSession.ended_at.is_(None))
    takes_part = exists().where(Participation.client_id == Client.client_id, Participation.sid.in_(alive))
    return list(db.scalars(select(Client).where(Client.removed_at.is_not(None), takes_part)))


def in_pieces(items: Iterable[str], size: int) -> Iterator[list[str]]:
    """``items`` in lists of ``size``, the last one shorter."""
    left = iter(items)
    while piece := list(islice(left, size)):
        yield piece
