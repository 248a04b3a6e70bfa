"""What the extension keeps for each application, and how a request finds it."""

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from blinker import NamedSignal
from flask import Flask, current_app
from flask import session as flask_session

from relying_party.config import Config
from relying_party.provider import Provider
from relying_party.registration import Registration
from relying_party.sessions import AppSession, SessionStore
from relying_party.signals import EndedSession, protocol_event, session_ended


@dataclass(frozen=True)
class State:
    """In ``app.extensions["relying_party"]``."""

    config: Config
    registration: Registration
    provider: Provider
    sessions: SessionStore
    streams: threading.BoundedSemaphore  # places for event streams in this process; see live.py


def current_state() -> State:
    """The extension's state in the application that handles this request."""
    return cast(State, current_app.extensions["relying_party"])


def current_session() -> AppSession:
    """``flask.session``, under its own type."""
    return cast(AppSession, flask_session)


def session_user() -> dict[str, Any] | None:
    """The claims of the person who is signed in (userinfo and ID token), or None."""
    login = current_session().login
    return None if login is None else {**login["claims"], **login["userinfo"]}


def signed_in() -> bool:
    """Whether somebody is signed in."""
    return current_session().login is not None


def session_key() -> str | None:
    """A name for the session of the person who is signed in, or None.

    It is not the cookie and opens nothing; keep it beside what must go when the session ends, and compare it
    with ``ended.key`` of the signal ``session_ended``.
    """
    return current_session().key if signed_in() else None


def page_marks() -> dict[str, str]:
    """By these the page's script knows whether it is the same person, and the same session, as before.

    Hashes, for telling apart only: typed.js keeps what one person typed from the next one.
    """
    login = current_session().login or {"claims": {}}
    claims = login["claims"]
    person, session = f"{claims.get('iss')} {claims.get('sub')}", f"session {current_session().key}"
    return {"person": _mark(person), "session": _mark(session)}


def _mark(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _application() -> Flask:
    return current_app._get_current_object()  # type: ignore[attr-defined,no-any-return] # signals want no proxy


def tell_application(ended: Sequence[EndedSession], reason: str) -> None:
    """The application's own clean-up."""
    for one in ended:
        _send(session_ended, ended=one, reason=reason)


def _send(signal: NamedSignal, **values: Any) -> None:
    # What goes wrong in a receiver is the application's: it undoes no logout, and the other receivers hear of it.
    app = _application()
    for receiver in signal.receivers_for(app):
        try:
            receiver(app, **values)
        except Exception:
            app.logger.exception("A receiver of %s failed.", signal.name)


def emit(
    name: str, *, sid: str | None = None, jti: str | None = None, outcome: str | None = None, **detail: Any
) -> None:
    """Tell whoever listens that a step of the protocol was taken."""
    credentials = current_state().registration.known()
    _send(
        protocol_event,
        name=name,
        sid=sid,
        jti=jti,
        client_id=credentials.client_id if credentials else None,
        outcome=outcome,
        **detail,
    )
