"""What a person can set at their Practice, and what a lab can simulate around it. The first choice is the right one."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from sqlalchemy import update
from sqlalchemy.orm import Session

from pickup_learn.practice.models import PracticeSession, PracticeSettings
from pickup_web import clock


class Setting(NamedTuple):
    """One setting; each choice is a value and its words on the page."""

    name: str
    label: str
    choices: tuple[tuple[str, str], ...]

    @property
    def right(self) -> str:
        """The value of a correct receiver."""
        return self.choices[0][0]


# fmt: off
ALL = (
    Setting("service", "Service", (
        ("running", "Running"), ("stopped", "Stopped"))),
    Setting("answer_time", "Clean-up work before the answer to a logout request", (
        ("0", "None"), ("6", "Takes 6 seconds"))),
    Setting("csrf", "CSRF filter checks", (
        ("pages", "The forms of our own pages"), ("everything", "Every POST"))),
    Setting("https", "Logout requests by http", (
        ("answer", "Are answered"), ("redirect", "Are redirected to https"))),
    Setting("storage", "Sessions are kept in", (
        ("database", "The database"), ("memory", "The memory of each worker"))),
    Setting("jti_guard", "Replay guard remembers", (
        ("accepted", "Tokens that were applied"), ("seen", "Every token that was seen"))),
    Setting("clock", "Clock of the server", (
        ("0", "Right"), ("300", "Five minutes fast"), ("-300", "Five minutes slow"))),
    Setting("keys", "Unknown signing key", (
        ("refetch", "Fetch the keys from the IdP again"), ("never", "Use the cached keys for ever"))),
    Setting("audience", "Expected audience", (
        ("pickup-practice", "pickup-practice"), ("pickup-dispatch", "pickup-dispatch"))),
    Setting("typ", "Accepted token types", (
        ("logout+jwt", "logout+jwt, JWT or none"), ("JWT", "JWT or none"))),
    Setting("ends_by", "Logout token ends sessions by", (
        ("sid or sub", "sid, or sub if there is no sid"), ("sid", "sid only"))),
    Setting("invalid", "Answer to an invalid token", (
        ("400", "400, with the reason"), ("200", "200, without a body"))),
    Setting("checks", "Checks of a logout token", (
        ("all", "All that the specification requires"), ("none", "None: sub and sid are read"))),
    Setting("algorithms", "Accepted signatures", (
        ("RS256", "RS256 only"), ("none", "RS256, or none if the token says so"),
        ("HS256", "By the algorithm that the token names, with the IdP's key"))),
    Setting("issuer", "Trusted issuer", (
        ("idp", "The IdP"), ("any", "The iss of the token: its keys are fetched from there"))),
    Setting("kind", "Logout token is told from other tokens by", (
        ("events", "events, typ, jti and no nonce"), ("nothing", "Nothing: the IdP signs only good tokens"))),
    Setting("tab", "Open tab", (
        ("watches", "Watches its session"), ("ignores", "Notices at the next click"))),
)
# fmt: on
SETTINGS: Mapping[str, Setting] = {setting.name: setting for setting in ALL}

# What a lab simulates, because this IdP does not do it by itself. The settings page names it.
CONDITIONS: Mapping[str, str] = {
    "retried": "Practice crashes in the middle of each logout request, before it has ended a session. The load "
    "balancer in front of it then sends the same request again.",
    "rotated": "Practice fetched the keys of the IdP long ago. Since then the IdP signs with another key.",
    "sub_only": "The logout tokens of the IdP have a sub and no sid. "
    "Practice removes the sid after it has verified the signature.",
}


class Fault(NamedTuple):
    """What a lab sets when it starts."""

    values: Mapping[str, str]
    conditions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Behaviour:
    """How Practice behaves for one person: ``behaviour["clock"]``, ``"retried" in behaviour.conditions``."""

    values: Mapping[str, str] = field(default_factory=dict)
    conditions: Collection[str] = ()

    def __getitem__(self, name: str) -> str:
        return self.values.get(name, SETTINGS[name].right)


def behaviour_of(db: Session, sub: str | None) -> Behaviour:
    """The person's settings; the right ones for a person who changed none."""
    row = db.get(PracticeSettings, sub) if sub else None
    return Behaviour(row.values, row.conditions) if row else Behaviour()


def change(db: Session, sub: str, values: Mapping[str, str], conditions: Collection[str]) -> None:
    """Replace the person's settings. Settings that are not in ``values`` become right."""
    before = behaviour_of(db, sub)
    known = {name: value for name, value in values.items() if value in dict(SETTINGS[name].choices)}
    db.merge(PracticeSettings(sub=sub, values=known, conditions=list(conditions)))
    after = Behaviour(known, conditions)
    if before["storage"] != after["storage"]:  # the app is deployed anew
        move_sessions(db, sub, in_memory=after["storage"] == "memory")


def move_sessions(db: Session, sub: str, *, in_memory: bool) -> None:
    """Load the person's sessions into worker 1, or lose what it had in memory."""
    mine = update(PracticeSession).where(PracticeSession.sub == sub, PracticeSession.ended_at.is_(None))
    lost = {"ended_at": clock.now(), "reason": "The app was restarted, and its memory was empty."}
    db.execute(mine.values(in_memory=True) if in_memory else mine.where(PracticeSession.in_memory).values(lost))
