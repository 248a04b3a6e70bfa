"""OpenID Connect for a Flask application, with Back-Channel Logout.

    rp = RelyingParty()
    rp.init_app(app)

Signs users in and out, and keeps their sessions on the server, where a logout token from the provider can end them.
Reading order: provider.py, login.py, id_token.py, sessions.py, logout.py, backchannel.py, logout_token.py, live.py.
Views use guard.py. Off by default: frontchannel.py.
"""

import threading
from collections.abc import Callable
from typing import Any

from flask import Blueprint, Flask
from flask.typing import ResponseReturnValue
from sqlalchemy import Engine

from relying_party import backchannel, frontchannel, guard, live, login, logout, pages
from relying_party.access_tokens import access_token
from relying_party.config import Config
from relying_party.database import open_engine
from relying_party.encryption import Encryption
from relying_party.errors import RelyingPartyError, TokenUnavailable
from relying_party.guard import login_required
from relying_party.models import make_tables
from relying_party.provider import Provider
from relying_party.registration import Registration
from relying_party.sessions import ServerSideSessions, SessionStore
from relying_party.signals import EndedSession, protocol_event, request_sending, request_sent, session_ended
from relying_party.state import State, current_state, emit, page_marks, session_key, session_user, signed_in
from relying_party.version import VERSION

__version__ = VERSION
__all__ = [
    "EndedSession",
    "RelyingParty",
    "RelyingPartyError",
    "TokenUnavailable",
    "access_token",
    "login_required",
    "protocol_event",
    "request_sending",
    "request_sent",
    "session_ended",
    "session_key",
    "session_user",
    "signed_in",
]

Route = tuple[str, str, str, Callable[[], ResponseReturnValue]]

ROUTES: list[Route] = [
    ("GET", "/login", "login", login.start_login),
    ("GET", "/oauth2client", "callback", login.callback),
    ("GET", "/profile", "profile", login_required(pages.profile)),
    ("GET", "/session/live", "live", live.live),
    ("GET", "/session/status", "status", live.status),
    ("POST", "/logout", "logout", logout.logout),
    ("GET", "/logged-out", "logged_out", logout.logged_out),
    ("POST", "/bclogout", "backchannel_logout", backchannel.backchannel_logout),
]
FRONTCHANNEL: list[Route] = [("GET", "/fclogout", "frontchannel_logout", frontchannel.frontchannel_logout)]


class RelyingParty:
    """The Flask extension. Settings are read from ``app.config``, see config.py."""

    def init_app(self, app: Flask, engine: Engine | None = None) -> None:
        """Give ``app`` the routes above, and sessions in ``engine``'s database.

        Without ``engine`` the database is that of the setting ``RELYING_PARTY_DATABASE_URL``.
        """
        config, encryption = Config.from_app(app), Encryption.from_app(app)
        engine = engine or open_engine(config.database_url, app.instance_path)
        make_tables(engine)
        registration = Registration(config, engine, encryption, tell=lambda: emit("rp.client.registered"))
        provider, store = Provider(config, registration), SessionStore(engine, encryption)
        streams = threading.BoundedSemaphore(config.live_streams)
        app.extensions["relying_party"] = State(config, registration, provider, store, streams)
        app.session_interface = ServerSideSessions(store, https=config.base_url.startswith("https:"))
        app.config.setdefault("RELYING_PARTY_LAYOUT", config.layout)
        app.jinja_env.globals.update(signed_in=signed_in, session_user=session_user)
        app.jinja_env.globals.update(relying_party_marks=page_marks, relying_party_page=pages.this_page)  # live.html
        app.jinja_env.filters = {**pages.FILTERS, **app.jinja_env.filters}
        app.register_blueprint(make_blueprint(config))
        if config.frontchannel_logout:
            app.after_request(frontchannel.remember_browser)
        app.before_request_funcs.setdefault(None, []).insert(0, guard.require_login_first)
        exempt_from_csrf(app)
        app.before_request(lambda: exempt_from_csrf(app))  # for protection that is set up after this extension

    @staticmethod
    def provider_metadata() -> dict[str, Any]:
        """The provider's metadata (Discovery 1.0 §4). Raises :class:`RelyingPartyError` if it cannot be had."""
        return current_state().provider.metadata()

    @staticmethod
    def provider_endpoint(name: str) -> str:
        """The URL of one of the provider's endpoints. Raises :class:`RelyingPartyError` if it has none with https."""
        return current_state().provider.endpoint(name)

    @staticmethod
    def access_token() -> str:
        """See :func:`relying_party.access_tokens.access_token`."""
        return access_token()


def exempt_from_csrf(app: Flask) -> None:
    """The provider's POST has no cookie and no CSRF token; see backchannel.py."""
    if csrf := app.extensions.get("csrf"):  # Flask-WTF's
        csrf.exempt(backchannel.backchannel_logout)
        csrf.exempt(backchannel.wrong_method)


def make_blueprint(config: Config) -> Blueprint:
    """The routes, with the extension's own templates and scripts."""
    blueprint = Blueprint(
        "relying_party",
        __name__,
        template_folder="templates",
        static_folder="static",
        static_url_path="/rp-static",
    )
    routes = ROUTES + FRONTCHANNEL if config.frontchannel_logout else ROUTES
    for method, path, name, view in routes:
        # No automatic OPTIONS from Flask, because at /bclogout it is a wrong method too, answered below.
        blueprint.add_url_rule(path, name, view, methods=[method], provide_automatic_options=False)
    others = ["GET", "PUT", "PATCH", "DELETE", "OPTIONS"]
    blueprint.add_url_rule("/bclogout", "wrong_method", backchannel.wrong_method, methods=others)
    return blueprint
