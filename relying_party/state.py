"""What the extension keeps for each application, and how a request finds it."""

from dataclasses import dataclass
from typing import Any, cast

from flask import current_app
from flask import session as flask_session

from relying_party.config import Config
from relying_party.provider import Provider
from relying_party.registration import Registration
from relying_party.sessions import AppSession, SessionStore
from relying_party.signals import protocol_event


@dataclass(frozen=True)
class State:
    """In ``app.extensions["relying_party"]``."""

    config: Config
    registration: Registration
    provider: Provider
    sessions: SessionStore


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


def emit(
    name: str, *, sid: str | None = None, jti: str | None = None, outcome: str | None = None, **detail: Any
) -> None:
    """Tell whoever listens that a step of the protocol was taken."""
    credentials = current_state().registration.known()
    app = current_app._get_current_object()  # type: ignore[attr-defined] # signals want the application, not its proxy
    protocol_event.send(
        app,
        name=name,
        sid=sid,
        jti=jti,
        client_id=credentials.client_id if credentials else None,
        outcome=outcome,
        **detail,
    )
