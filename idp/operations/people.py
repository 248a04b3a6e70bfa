"""People: add, disable, enable, remove; passwords and roles."""

import json
import re
import secrets
from collections.abc import Callable, Mapping
from typing import Any, Literal

from sqlalchemy import ColumnElement, delete, func, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from idp.models import Consent, SsoSession, Token, User
from idp.operations import InvalidError, NotFoundError, OperationError
from idp.operations.sessions import all_of, any_contains, end, tell
from idp.outbox.reasons import Reason
from idp.sign_in.passwords import MAX_PASSWORD, hash_password, is_password
from pickup_web import events
from pickup_web.clock import now
from pickup_web.forms import Wrong
from pickup_web.forms import email as read_email
from pickup_web.forms import text as read_text

MIN_PASSWORD = 8  # characters; NIST SP 800-63B §5.1.1.2 asks for length and against composition rules
ROLES = ("user", "operator")
USERNAME = re.compile(r"[a-z0-9][a-z0-9._@-]{0,63}")
SUB = re.compile(r"[!-~]{1,255}")  # Core §2: ASCII, 255 characters at most

# The protocol sets these itself (Core §2, §5.3.2, BCL §2.1, RFC 7519 §4.1).
PROTOCOL_CLAIMS = {
    *("iss", "sub", "aud", "exp", "nbf", "iat", "jti", "nonce", "sid", "auth_time"),
    *("acr", "amr", "azp", "at_hash", "c_hash", "events"),
}
MAX_CLAIM_NAME = 100  # characters
TYPES = {"name": str, "preferred_username": str, "email": str, "email_verified": bool}  # our pages show these


def list_people(db: Session, search: str = "", offset: int = 0, limit: int = 50) -> tuple[list[User], int]:
    """One page of people by username, and the total. ``search``: part of a username, name or email."""
    wanted: list[ColumnElement[bool]] = [User.removed_at.is_(None)]
    if search := search.strip():
        columns = (User.username, User.claims["name"].as_string(), User.claims["email"].as_string())
        wanted.append(any_contains(columns, search))
    total = db.scalar(select(func.count()).select_from(User).where(*wanted)) or 0
    page = select(User).where(*wanted).order_by(User.username).offset(offset).limit(limit)
    return list(db.scalars(page)), total


def count_sessions(db: Session, subs: list[str]) -> dict[str, int]:
    """The number of active sessions of each person; people without one are left out."""
    alive = select(SsoSession.sub, func.count().label("sessions")).where(
        SsoSession.sub.in_(subs), SsoSession.ended_at.is_(None)
    )
    return {row.sub: row.sessions for row in db.execute(alive.group_by(SsoSession.sub))}


def get_person(db: Session, sub: str) -> User:
    """The person; :class:`NotFoundError` if there is none, or they were removed."""
    person = db.get(User, sub) if sub.isprintable() else None
    if person is None or person.removed_at is not None:
        raise NotFoundError("There is no such person.")
    return person


def add_person(
    db: Session,
    username: str,
    name: str,
    email: str,
    password: str,
    role: str,
    by: str,
    *,
    email_verified: bool = False,
    sub: str | None = None,
    more_claims: Mapping[str, Any] | None = None,
) -> User:
    """Add a person. ``email`` may be empty; ``sub`` is random if None.

    :class:`InvalidError` with a sentence for each invalid field.
    """
    username = username.strip().lower()
    wrong = {
        "username": ""
        if USERNAME.fullmatch(username)
        else "Use up to 64 letters (a to z), digits and . _ - @, beginning with a letter or a digit.",
        "name": fault(read_text("a name"), name.strip()),
        "email": fault(read_email, email.strip()) if email.strip() else "",
        "email_verified": "Enter the address that is verified." if email_verified and not email.strip() else "",
        "password": password_fault(password),
        "role": "" if role in ROLES else "Choose user or operator.",
        "sub": sub_fault(db, sub),
        "claims": claims_fault(dict(more_claims or {})),
    }
    if fields := {field: sentence for field, sentence in wrong.items() if sentence}:
        raise InvalidError(fields)
    claims = {"preferred_username": username, "updated_at": now(), **(more_claims or {}), "name": name.strip()}
    if email.strip():
        claims |= {"email": email.strip(), "email_verified": email_verified}
    person = User(
        sub=sub or secrets.token_hex(12),
        username=username,
        password_hash=hash_password(password),
        role=role,
        claims=claims,
    )
    db.add(person)
    try:
        db.flush()
    except IntegrityError as error:
        db.rollback()
        raise InvalidError({"username": f"The username {username} is already in use."}) from error
    events.record(db, "op.user.added", by=by, sub=person.sub, role=role)
    db.commit()
    return person


def disable_person(db: Session, sub: str, by: str) -> None:
    """End all sessions, revoke all tokens (offline access too), and refuse sign-in until the person is enabled."""
    person = lock_other_person(db, sub, by)
    if person.disabled_at is not None:
        db.rollback()
        raise OperationError(f"{person.username} is already disabled.")
    person.disabled_at = now()
    shut_out(db, person, Reason.USER_DISABLED, "op.user.disabled", by)


def enable_person(db: Session, sub: str, by: str) -> None:
    """Allow sign-in again. Ended sessions stay ended."""
    person = get_person(db, sub)
    if person.disabled_at is None:
        raise OperationError(f"{person.username} is not disabled.")
    person.disabled_at = None
    events.record(db, "op.user.enabled", by=by, sub=sub)
    db.commit()


def remove_person(db: Session, sub: str, by: str) -> None:
    """Delete the person's data. The ``sub`` is never reused (Core §2); the username can be."""
    person = lock_other_person(db, sub, by)
    person.disabled_at = person.removed_at = now()
    person.username, person.password_hash, person.claims = f"(removed {sub})", "", {}
    db.execute(delete(Consent).where(Consent.sub == sub))
    shut_out(db, person, Reason.USER_REMOVED, "op.user.removed", by)


def set_role(db: Session, sub: str, role: str, by: str) -> None:
    """Make a user an operator, or an operator a user. Applies from their next request."""
    if role not in ROLES:
        raise InvalidError({"role": "Choose user or operator."})
    person = lock_other_person(db, sub, by)
    person.role = role
    events.record(db, "op.user.role_changed", outcome=role, by=by, sub=sub)
    db.commit()


def change_claims(db: Session, sub: str, changes: Mapping[str, Any], by: str) -> User:
    """Set the claims in ``changes``; None removes one. Applies from the next ID token or userinfo response."""
    person = get_person(db, sub)
    claims = {**person.claims, **changes}
    claims = {name: value for name, value in claims.items() if value is not None} | {"updated_at": now()}
    if wrong := claims_fault(claims):
        raise InvalidError({"claims": wrong})
    person.claims = claims
    events.record(db, "op.user.claims_changed", outcome=", ".join(sorted(changes))[:255], by=by, sub=sub)
    db.commit()
    return person


def reset_password(db: Session, sub: str, by: str, password: str | None = None) -> str:
    """Set a new password, generated if none is given, and return it to be shown once. All their sessions end."""
    person = get_person(db, sub)
    password = password or "-".join(secrets.token_hex(2) for _ in range(5))  # 80 bits, easy to read aloud
    if wrong := password_fault(password):
        raise InvalidError({"password": wrong})
    person.password_hash = hash_password(password)
    db.flush()
    events.record(db, "op.user.password_reset", by=by, sub=sub)
    tell(db, end(db, all_of(sub), Reason.PASSWORD_CHANGED), Reason.PASSWORD_CHANGED)
    return password


def change_own_password(db: Session, user: User, old: str, new: str, keep_sid: str) -> int:
    """Change it and end the person's other sessions; returns how many. :class:`InvalidError` for ``old`` or ``new``."""
    if not is_password(user.password_hash, old):
        raise InvalidError({"old": "That is not your password."})
    if wrong := password_fault(new):
        raise InvalidError({"new": wrong})
    # Replace only the hash that was checked: if an operator resets the password meanwhile, that reset stays.
    unchanged = (User.sub == user.sub) & (User.password_hash == user.password_hash) & User.disabled_at.is_(None)
    replaced = update(User).where(unchanged).values(password_hash=hash_password(new)).returning(User.sub)
    if db.scalar(replaced) is None:
        db.rollback()
        raise InvalidError({"old": "Your password was changed a moment ago."})
    events.record(db, "op.user.password_changed", by=user.username, sub=user.sub)
    others = end(db, all_of(user.sub, keep_sid), Reason.PASSWORD_CHANGED)
    tell(db, others, Reason.PASSWORD_CHANGED)
    return len(others)


# --- rules ---


def password_fault(password: str) -> str:
    """What is wrong with a new password; empty if it is valid."""
    if len(password) < MIN_PASSWORD:
        return f"Use at least {MIN_PASSWORD} characters; a few words are easy to remember."
    if len(password) > MAX_PASSWORD:
        return f"Use {MAX_PASSWORD} characters at most."
    return ""


def sub_fault(db: Session, sub: str | None) -> str:
    """What is wrong with the ``sub`` of a new person; empty if it is valid."""
    if sub is None:
        return ""
    if not SUB.fullmatch(sub):
        return "Use 1 to 255 printable ASCII characters, without spaces."
    return "Another person has or had this sub. It is never used twice." if db.get(User, sub) else ""


def claims_fault(claims: dict[str, Any]) -> str:
    """What is wrong with a person's claims; empty if a token can contain them."""
    if taken := sorted(PROTOCOL_CLAIMS & set(claims)):
        return f"The IdP itself sets {', '.join(taken)}."
    if wrong := [name for name, kind in TYPES.items() if name in claims and not isinstance(claims[name], kind)]:
        return f"{wrong[0]} must be {'true or false' if TYPES[wrong[0]] is bool else 'a text'}."
    if not all(name.isprintable() and len(name) <= MAX_CLAIM_NAME for name in claims):
        return f"Use printable characters for the name of a claim, {MAX_CLAIM_NAME} at most."
    try:
        text = json.dumps(claims, allow_nan=False)
    except (TypeError, ValueError):
        return "JSON has no dates, nan or inf: put the value in quotation marks."
    return "Leave out the character NUL." if "\\u0000" in text else ""  # PostgreSQL cannot search for it


def fault(read: Callable[[str], object], given: str) -> str:
    """The error of a reader in pickup_web.forms; empty if it accepts the text."""
    try:
        read(given)
    except Wrong as wrong:
        return str(wrong)
    return ""


def lock_other_person(db: Session, sub: str, by: str) -> User:
    """Lock and return the person; refuses if it is ``by`` or the last operator.

    Locks all operators too, so that two of them cannot disable each other at the same time.
    """
    db.execute(update(User).where((User.role == "operator") | (User.sub == sub)).values(role=User.role))
    person = get_person(db, sub)
    db.refresh(person)
    others = select(User.sub).where(User.role == "operator", User.disabled_at.is_(None), User.sub != sub)
    refusal = ""
    if person.username == by:
        refusal = "You cannot do this to your own account; another operator can."
    elif person.role == "operator" and db.scalar(others) is None:
        refusal = f"{person.username} is the last operator. Make another person an operator first."
    if refusal:
        db.rollback()
        raise OperationError(refusal)
    return person


def shut_out(
    db: Session, person: User, reason: Reason, event: Literal["op.user.disabled", "op.user.removed"], by: str
) -> None:
    """End all sessions and revoke all tokens of a person, in the caller's transaction. Commits it."""
    db.flush()
    ended = end(db, all_of(person.sub), reason)
    given = update(Token).where(Token.sub == person.sub, Token.revoked_at.is_(None))
    db.execute(given.values(revoked_at=now()).execution_options(synchronize_session=False))
    events.record(db, event, by=by, sub=person.sub)
    tell(db, ended, reason)
