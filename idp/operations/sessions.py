"""Sessions: list them with their apps, show what ending one would do, and end them."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, SQLColumnExpression, case, false, func, or_, select
from sqlalchemy.orm import Session

from idp.flow import session_ending
from idp.models import Client, Delivery, Participation, SsoSession, Token, User, has_word
from idp.operations import NotFoundError
from idp.outbox import reasons
from idp.outbox.reasons import Reason, policy_of
from idp.provider import current_provider
from pickup_web import events
from pickup_web.clock import now

# Why a session ended, for operators and for the user's account page.
WHY_ENDED = {
    Reason.LOGOUT: "Logged out",
    Reason.ELSEWHERE: "Ended from another browser",
    Reason.EVERYWHERE: "Logged out everywhere",
    Reason.REPLACED: "A different user signed in with the same browser",
    Reason.IDLE: "Not used for a while",
    Reason.EXPIRED: "Maximum lifetime reached",
    Reason.OPERATOR: "Ended by an operator",
    Reason.PASSWORD_CHANGED: "The password was changed",
    Reason.USER_DISABLED: "The account was disabled",
    Reason.USER_REMOVED: "The account was removed",
}
# Sentences for deliveries that did not arrive; the row of ``not_sent`` has its own note.
NOT_HEARD = {
    "pending": "Not confirmed yet. The IdP tries again.",
    "refused": "It refused the logout request.",
    "given_up": "Not reached before the deadline.",
}
BROWSERS = {  # order matters: most browsers also claim to be the ones below
    "Edg": "Edge",
    "OPR": "Opera",
    "SamsungBrowser": "Samsung Internet",
    "Firefox": "Firefox",
    "FxiOS": "Firefox",
    "HeadlessChrome": "Chromium",
    "Chromium": "Chromium",
    "CriOS": "Chrome",
    "Chrome": "Chrome",
    "Safari": "Safari",
}
SYSTEMS = {
    "iPhone": "iPhone",
    "iPad": "iPad",
    "Android": "Android",
    "Windows": "Windows",
    "CrOS": "ChromeOS",
    "Macintosh": "macOS",
    "Linux": "Linux",
}


@dataclass
class AppInSession:
    """One app in a session. Counts valid tokens only; ``offline`` ones may outlive the session."""

    client: Client
    since: int
    told: bool  # active session: whether it will be notified; ended session: whether it was
    why_not: str  # a sentence, if it is not notified
    policy: str  # none, session, all
    access_alive: int = 0
    refresh_alive: int = 0
    offline_alive: int = 0
    delivery: Delivery | None = None  # once the session has ended

    @property
    def tokens_revoked(self) -> int:
        """How many of its tokens are revoked when the session ends."""
        mine = self.access_alive + self.refresh_alive
        return {"none": 0, "session": mine, "all": mine + self.offline_alive}[self.policy]

    @property
    def tokens_kept(self) -> int:
        """How many of its tokens outlive the session."""
        return self.access_alive + self.refresh_alive + self.offline_alive - self.tokens_revoked


@dataclass
class SessionView:
    """A session with its user, device and apps."""

    session: SsoSession
    user: User
    device: str
    apps: list[AppInSession] = field(default_factory=list)

    @property
    def ended_why(self) -> str:
        """Why it ended; empty while it is active."""
        reason = self.session.end_reason
        return WHY_ENDED.get(Reason(reason), reason) if reason else ""


def list_sessions(
    db: Session, *, sub: str | None = None, search: str = "", alive_only: bool = True, offset: int = 0, limit: int = 50
) -> tuple[list[SessionView], int]:
    """One page of sessions, last used first, and the total. ``search``: part of a name, device or sid."""
    wanted: list[ColumnElement[bool]] = []
    if sub is not None:
        wanted.append(SsoSession.sub == sub)
    if alive_only:
        wanted.append(SsoSession.ended_at.is_(None))
    if search := search.strip():
        columns = (User.username, User.claims["name"].as_string(), SsoSession.user_agent, SsoSession.sid)
        wanted.append(any_contains(columns, search))
    query = select(SsoSession, User).join(User).where(*wanted)
    total = db.scalar(select(func.count()).select_from(SsoSession).join(User).where(*wanted)) or 0
    order = query.order_by(SsoSession.last_seen_at.desc(), SsoSession.sid)
    return views(db, order.offset(offset).limit(limit)), total


def get_session(db: Session, sid: str) -> SessionView:
    """One session, active or ended; :class:`NotFoundError`."""
    found = views(db, select(SsoSession, User).join(User).where(SsoSession.sid == sid)) if sid.isprintable() else []
    if not found:
        raise NotFoundError("There is no session with this ID.")
    return found[0]


def dry_run(db: Session, sids: Sequence[str]) -> list[SessionView]:
    """What ending these sessions would do, app by app. Leaves out sessions that have ended."""
    alive = SsoSession.sid.in_(sids) & SsoSession.ended_at.is_(None)
    return views(db, select(SsoSession, User).join(User).where(alive).order_by(SsoSession.last_seen_at.desc()))


def dry_run_all_of(db: Session, sub: str, *, keep_sid: str | None = None) -> list[SessionView]:
    """The same for :func:`end_all_of`."""
    alive = all_of(sub, keep_sid) & SsoSession.ended_at.is_(None)
    return views(db, select(SsoSession, User).join(User).where(alive))


def end_one(db: Session, sid: str, reason: Reason, by: str) -> None:
    """End a session and notify its apps. :class:`NotFoundError` if it does not exist or has ended."""
    ended = end(db, SsoSession.sid == sid, reason) if sid.isprintable() else []
    if not ended:  # also when another request has just ended it
        db.rollback()
        raise NotFoundError("There is no such session, or it has ended already.")
    events.record(db, "op.session.end_requested", sid=sid, outcome=reason, by=by)
    tell(db, ended, reason)


def end_all_of(db: Session, sub: str, reason: Reason, by: str, *, keep_sid: str | None = None) -> int:
    """End all of a person's sessions except ``keep_sid``; returns how many ended."""
    ended = end(db, all_of(sub, keep_sid), reason)
    if ended:
        events.record(db, "op.session.end_requested", outcome=reason, by=by, sub=sub, sessions=len(ended))
    tell(db, ended, reason)
    return len(ended)


def all_of(sub: str, keep_sid: str | None = None) -> ColumnElement[bool]:
    """A condition: a person's sessions except ``keep_sid``."""
    mine = SsoSession.sub == sub
    return mine if keep_sid is None else mine & (SsoSession.sid != keep_sid)


def end(db: Session, which: ColumnElement[bool], reason: Reason) -> list[str]:
    """Mark the sessions as ended. The caller's transaction commits it, with :func:`tell`."""
    return session_ending.mark_ended(db, which, reason, current_provider().settings.delete_tokens_on_logout)


def tell(db: Session, ended: list[str], reason: Reason) -> None:
    """Queue and send the notifications for sessions that :func:`end` ended. Commits the caller's transaction."""
    provider = current_provider()
    provider.outbox.send(session_ending.queue_deliveries(db, ended, reason, provider.settings.delete_tokens_on_logout))


# --- views ---


def views(db: Session, query: Select[SsoSession, User]) -> list[SessionView]:
    """The sessions that ``query`` finds, with their apps. Always five queries."""
    rows = db.execute(query).all()
    found = {session.sid: SessionView(session, user, device_of(session.user_agent)) for session, user in rows}
    if not found:
        return []
    taken = select(Participation).where(Participation.sid.in_(found))
    told = select(Delivery).where(Delivery.sid.in_(found)).order_by(Delivery.created_at)
    tokens = {(row.sid, row.client_id): row for row in db.execute(count_tokens(found))}
    parts = {(row.sid, row.client_id): row for row in db.scalars(taken)}
    ledger = {(row.sid, row.client_id): row for row in db.scalars(told)}
    pairs = {*tokens, *parts, *ledger}
    names = {client_id for _, client_id in pairs}
    clients = {client.client_id: client for client in db.scalars(select(Client).where(Client.client_id.in_(names)))}
    for sid, client_id in pairs:
        client, pair = clients.get(client_id) or gone(client_id), (sid, client_id)
        found[sid].apps.append(app_in_session(client, parts.get(pair), tokens.get(pair), ledger.get(pair)))
    for view in found.values():
        view.apps.sort(key=lambda app: (app.since, app.client.name))
    return list(found.values())


def app_in_session(
    client: Client, part: Participation | None, tokens: Row[Any] | None, delivery: Delivery | None
) -> AppInSession:
    """One app: it took part, has tokens or has a delivery; usually all three."""
    default_policy = current_provider().settings.delete_tokens_on_logout
    if delivery:
        why_not = delivery.note or NOT_HEARD.get(delivery.state, "")
    else:
        why_not = why_not_told(client, part, default_policy, has_id_token=bool(tokens and tokens.openid))
    since = part.since if part else tokens.since if tokens else delivery.created_at if delivery else 0
    policy = policy_of(client, default_policy)
    app = AppInSession(client, since, told=not why_not, why_not=why_not, policy=policy, delivery=delivery)
    if tokens:
        app.access_alive, app.refresh_alive, app.offline_alive = tokens.access, tokens.refresh, tokens.offline
    return app


def why_not_told(client: Client, part: Participation | None, default_policy: str, *, has_id_token: bool) -> str:
    """Why an app is not notified of the session's end (BCL §2.3, §2.7); empty if it is."""
    if client.removed_at is not None:
        return "It was removed from this identity provider (IdP)."
    if part is None and has_id_token:
        return "It got its ID token without a code (implicit flow); only clients that redeem a code are notified."
    if part is None:
        return "It got no ID token, so it takes no part in the session."
    return reasons.why_not_told(client, default_policy)


def count_tokens(sids: Iterable[str]) -> Select[*tuple[Any, ...]]:
    """How many valid tokens of each kind each client has in each session."""
    is_offline = has_word(Token.scope, "offline_access")
    is_good = Token.revoked_at.is_(None)
    has_access = is_good & (Token.access_expires_at > now())
    has_refresh = (
        is_good & Token.refresh_hash.is_not(None) & Token.rotated_at.is_(None) & (Token.refresh_expires_at > now())
    )
    return (
        select(
            Token.sid,
            Token.client_id,
            func.min(Token.issued_at).label("since"),
            func.max(case((has_word(Token.scope, "openid"), 1), else_=0)).label("openid"),
            count_if(has_access & ~is_offline).label("access"),
            count_if(has_refresh & ~is_offline).label("refresh"),
            count_if((has_access | has_refresh) & is_offline).label("offline"),
        )
        .where(Token.sid.in_(list(sids)))
        .group_by(Token.sid, Token.client_id)
    )


def count_if(condition: ColumnElement[bool]) -> ColumnElement[int]:
    """How many rows of a group meet the condition."""
    return func.sum(case((condition, 1), else_=0))


def gone(client_id: str) -> Client:
    """Stands in for a client whose row was deleted."""
    return Client(client_id=client_id, name=client_id, removed_at=0)


def any_contains(columns: Iterable[SQLColumnExpression[str]], search: str) -> ColumnElement[bool]:
    """Whether a column contains the text. Unprintable text matches nothing: not every database accepts it."""
    if not search.isprintable():
        return false()
    return or_(*(func.lower(column).contains(search.lower(), autoescape=True) for column in columns))


def device_of(user_agent: str) -> str:
    """Browser and system, such as "Chrome on Windows"."""
    browser = next((name for word, name in BROWSERS.items() if re.search(rf"\b{word}/", user_agent)), "A browser")
    system = next((name for word, name in SYSTEMS.items() if word in user_agent), "")
    return f"{browser} on {system}" if system else browser
