"""The rows of the outbox: queued in step [11], claimed, attempted and recorded in step [13].

A claimed row belongs to one worker until ``taken_until``. If that worker is killed, another one then claims it.
"""

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from textwrap import shorten
from typing import Any, NamedTuple

from sqlalchemy import Engine, bindparam, or_, select, update
from sqlalchemy.orm import Session

from idp.models import OUTCOME_LENGTH, Client, Delivery, DeliveryAttempt, Participant
from idp.outbox.http import BODY_SECONDS, LOOK_UP_SECONDS, host_of
from idp.outbox.reasons import why_not_told
from pickup_web import events
from pickup_web.clock import now
from pickup_web.database import add_rows, table_of

GIVE_UP_SECONDS = 10 * 3600  # how long a logout is retried: an app's session should not be active longer
LEASE_SECONDS = 23  # how long a worker that claimed a delivery may take; longer than any attempt with its record
# From an answer until it is recorded: the commit before, a second of gathering (sender.py) and its own commit. One of
# these seconds is for the lease itself, which is counted in whole seconds and so may end a second early.
RECORD_SECONDS = 3.0
LONGEST_PAUSE = 60  # seconds between two attempts (flow/delivery.py),
FARTHEST_SECONDS = 2 * LONGEST_PAUSE  # so no next attempt is scheduled farther ahead than this
SEND_NOW = 1000  # deliveries that the ending's own worker sends; the remaining rows are left to all workers
# Upper bounds for per-client timeouts. DNS + connect + read + body + record must stay below LEASE_SECONDS, or two
# workers could hold one row.
MAX_CONNECT_SECONDS, MAX_READ_SECONDS = 5.0, 10.0
CHANGED = ("tries", "refusals", "state", "note", "outcome", "next_try_at", "taken_until")


class Job(NamedTuple):
    """A claimed delivery, with what is known of its client. ``uri`` is None if the client no longer has one."""

    id: str
    client_id: str
    sid: str
    sub: str
    host: str
    reason: str
    tries: int
    created_at: int
    give_up_at: int
    taken_until: int
    refusals: int
    uri: str | None
    alg: str | None
    tell_reason: bool | None
    connect_timeout: float | None
    read_timeout: float | None
    ca_certificates: str | None

    def longest_try(self) -> float:
        """Upper bound in seconds for one attempt, until it is recorded."""
        return LOOK_UP_SECONDS + sum(self.patience()) + BODY_SECONDS + RECORD_SECONDS

    def patience(self) -> tuple[float, float]:
        """Seconds to connect, and to wait for the answer."""
        return min(self.connect_timeout or 0, MAX_CONNECT_SECONDS), min(self.read_timeout or 0, MAX_READ_SECONDS)


@dataclass(frozen=True)
class Outcome:
    """The result of one attempt. ``state``: delivered, refused, not_sent, or pending if it will be retried."""

    word: str
    state: str
    status: int | None = None
    answer: str = ""

    @property
    def is_400(self) -> bool:
        """The client rejected the token, or has no other status for a temporary fault (BCL §2.8)."""
        return self.state == "refused" and self.status == 400

    def in_ledger(self) -> str:
        """The word shortened to the ledger's column: SQLite stores a longer one, PostgreSQL rejects the whole row."""
        return shorten(self.word, OUTCOME_LENGTH, placeholder="…")


class Attempt(NamedTuple):
    """One attempt, to be recorded. Without ``jti`` nothing was sent. ``state``: the delivery's new state."""

    job: Job
    outcome: Outcome
    at: int
    state: str
    next_try_at: int
    milliseconds: int | None = None
    jti: str | None = None


# --- queue ---


def queue(
    db: Session,
    participants: Sequence[Participant],
    sentence: str,
    default_policy: str,
    initiator: Client | None = None,
) -> list[str]:
    """One row per participant; returns the ids that the caller has claimed and must send. Does not commit."""
    rows = [delivery_row(participant, sentence, default_policy, initiator) for participant in participants]
    claimed = [row for row in rows if row["state"] == "pending"][:SEND_NOW]
    for row in claimed:
        row["taken_until"] = now() + LEASE_SECONDS
    add_rows(db, Delivery, rows)
    events.record_all(
        db,
        (
            {
                "name": "op.logout.not_sent" if row["note"] else "op.logout.queued",
                "sid": row["sid"],
                "client_id": row["client_id"],
                "outcome": row["note"] or None,
            }
            for row in rows
        ),
    )
    return [row["id"] for row in claimed]


def delivery_row(
    participant: Participant, sentence: str, default_policy: str, initiator: Client | None
) -> dict[str, Any]:
    """The row for one participant. A participant that is not notified also gets a row, with the reason."""
    client, at = participant.client, now()
    note = why_not_told(client, default_policy, initiator)
    return {
        "id": secrets.token_hex(16),
        "client_id": client.client_id,
        "sid": participant.sid,
        "sub": participant.sub,
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
    """How long a client is retried: its own setting, otherwise the IdP's."""
    return GIVE_UP_SECONDS if client.retry_seconds is None else client.retry_seconds


# --- claim ---


def claim_due(db: Session, limit: int, excluded_hosts: Collection[str] = ()) -> list[str]:
    """Claim deliveries that are due and not claimed by another worker; returns their ids. Commits if there are any.

    Until its lease is over, a claimed row is sorted after all other due rows.
    """
    # A next_try_at beyond our longest pause means that a clock was wrong: treat it as due.
    is_late, is_odd = Delivery.next_try_at <= now(), Delivery.next_try_at > now() + FARTHEST_SECONDS
    is_let_go = or_(Delivery.taken_until <= now(), Delivery.taken_until > now() + LEASE_SECONDS)
    is_free = (Delivery.state == "pending", is_let_go)
    due = select(Delivery.id).where(*is_free, Delivery.host.not_in(excluded_hosts)).order_by(Delivery.next_try_at)
    # Two queries, because each uses one range of the index, and one query for both would not.
    found = [one for when in (is_late, is_odd) for one in db.scalars(due.where(when).limit(limit))][:limit]
    if not found:  # usual case, nothing due: take no write lock
        return []
    still = (*is_free, or_(is_late, is_odd))
    free = select(Delivery.id).where(Delivery.id.in_(found), *still).with_for_update(skip_locked=True)
    mine = update(Delivery).where(Delivery.id.in_(free), *still).execution_options(synchronize_session=False)
    until = now() + LEASE_SECONDS
    claimed = db.scalars(mine.values(taken_until=until, next_try_at=until).returning(Delivery.id)).all()
    db.commit()
    return list(claimed)


def load_jobs(engine: Engine, delivery_ids: Sequence[str]) -> list[Job]:
    """Those of the deliveries that are still pending."""
    if not delivery_ids:
        return []
    columns = (
        Delivery.id, Delivery.client_id, Delivery.sid, Delivery.sub, Delivery.host, Delivery.reason, Delivery.tries,
        Delivery.created_at, Delivery.give_up_at, Delivery.taken_until, Delivery.refusals,
        Client.backchannel_logout_uri, Client.id_token_signed_response_alg, Client.tell_logout_reason,
        Client.connect_timeout, Client.read_timeout, Client.ca_certificates,
    )  # fmt: skip
    query = select(*columns).outerjoin(Client, Client.client_id == Delivery.client_id)
    with Session(engine) as db:
        return [
            Job._make(row)
            for row in db.execute(query.where(Delivery.id.in_(delivery_ids), Delivery.state == "pending"))
        ]


# --- record ---


def record_attempts(db: Session, attempts: Sequence[Attempt]) -> None:
    """Record the attempts, and schedule the next one of each. Does not commit."""
    add_rows(db, DeliveryAttempt, [attempt_row(attempt) for attempt in attempts if attempt.jti is not None])
    row = table_of(Delivery).c
    # Only while the row is pending and no other worker has claimed it since: a slow attempt must not undo the result
    # of a later one. A delivered one always counts, because the app was notified.
    mine = update(table_of(Delivery)).where(
        row.id == bindparam("its_id"), row.state == "pending", row.taken_until <= bindparam("latest_lease")
    )
    changes = [delivery_changes(attempt) for attempt in attempts]
    db.connection().execute(mine.values({name: bindparam(name) for name in CHANGED}), changes)
    events.record_all(db, map(event_of, attempts))


def delivery_changes(attempt: Attempt) -> dict[str, Any]:
    """The changes to the delivery's row."""
    job, outcome = attempt.job, attempt.outcome
    return {
        "its_id": job.id,
        "latest_lease": 2**62 if outcome.state == "delivered" else job.taken_until,
        "tries": job.tries + 1,
        "refusals": job.refusals + outcome.is_400,
        "state": attempt.state,
        "note": outcome.word if outcome.state == "not_sent" else "",
        "outcome": "" if outcome.state == "not_sent" else outcome.in_ledger(),
        "next_try_at": attempt.next_try_at,
        "taken_until": 0,
    }


def attempt_row(attempt: Attempt) -> dict[str, Any]:
    """The row of the attempt itself."""
    return {
        "jti": attempt.jti,
        "delivery_id": attempt.job.id,
        "at": attempt.at,
        "milliseconds": attempt.milliseconds,
        "outcome": attempt.outcome.in_ledger(),
        "status": attempt.outcome.status,
        "answer": attempt.outcome.answer,
    }


def event_of(attempt: Attempt) -> dict[str, Any]:
    """The attempt as it is logged and stored as an event."""
    job, outcome = attempt.job, attempt.outcome
    return {
        "name": "op.logout.retrying" if attempt.state == "pending" else f"op.logout.{attempt.state}",
        "sid": job.sid,
        "jti": attempt.jti,
        "client_id": job.client_id,
        "outcome": outcome.word,
        "status": outcome.status,
        "milliseconds": attempt.milliseconds,
        "attempt": job.tries + 1,
        "waited": max(0, attempt.at - job.created_at),
        "answer": outcome.answer or None,
        "next_try_at": attempt.next_try_at if attempt.state == "pending" else None,
    }
