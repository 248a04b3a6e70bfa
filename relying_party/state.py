"""The extension's state for each app, and how a request gets it."""

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from flask import current_app
from flask import session as flask_session

from relying_party.config import Config
from relying_party.provider import Provider
from relying_party.registration import Registration
from relying_party.sessions import AppSession, SessionStore
from relying_party.signals import EndedSession, protocol_event, send_signal, session_ended


@dataclass(frozen=True)
class State:
    """Stored in ``app.extensions["relying_party"]``."""

    config: Config
    registration: Registration
    provider: Provider
    sessions: SessionStore
    streams: threading.BoundedSemaphore  # limits the event streams of this process; see live.py


def current_state() -> State:
    """The state of the app that handles this request."""
    return cast(State, current_app.extensions["relying_party"])


def current_session() -> AppSession:
    """``flask.session`` with its actual type."""
    return cast(AppSession, flask_session)


def session_user() -> dict[str, Any] | None:
    """The claims about the user who is signed in, from ID token and UserInfo, or None."""
    login = current_session().login
    return None if login is None else {**login["claims"], **login["userinfo"]}


def signed_in() -> bool:
    """Whether a user is signed in."""
    return current_session().login is not None


def session_key() -> str | None:
    """A name for the current session, or None if no user is signed in.

    It is not the cookie and gives no access. Store it with data of the session; the signal ``session_ended`` has the
    same value in ``ended.key``.
    """
    return current_session().key if signed_in() else None


def page_marks() -> dict[str, str]:
    """Hashes of user and session, for the page's scripts.

    typed.js offers kept input only to the user who typed it; live.js notices a new session.
    """
    login = current_session().login or {"claims": {}}
    claims = login["claims"]
    person, session = f"{claims.get('iss')} {claims.get('sub')}", f"session {current_session().key}"
    return {"person": _mark(person), "session": _mark(session)}


def _mark(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def tell_application(ended: Sequence[EndedSession], reason: str) -> None:
    """Send ``session_ended`` for each session."""
    for one in ended:
        send_signal(session_ended, ended=one, reason=reason)


def emit(
    name: str, *, sid: str | None = None, jti: str | None = None, outcome: str | None = None, **detail: Any
) -> None:
    """Send ``protocol_event`` for a step of the protocol."""
    credentials = current_state().registration.known()
    send_signal(
        protocol_event,
        name=name,
        sid=sid,
        jti=jti,
        client_id=credentials.client_id if credentials else None,
        outcome=outcome,
        **detail,
    )
