"""OpenID Connect for a Flask application, with Back-Channel Logout.

    rp = RelyingParty()
    rp.init_app(app, engine)

Signing in and out, sessions that somebody else can end, and the address where the provider says so.
Reading order: login.py, sessions.py, logout.py, backchannel.py, logout_token.py, live.py.
"""

from collections.abc import Callable

from flask import Blueprint, Flask
from flask.typing import ResponseReturnValue
from sqlalchemy import Engine

from relying_party import backchannel, live, login, logout, pages
from relying_party.config import Config
from relying_party.errors import RelyingPartyError, TokenUnavailable
from relying_party.login import access_token, login_required
from relying_party.models import make_tables
from relying_party.provider import Provider
from relying_party.registration import Registration
from relying_party.sessions import ServerSideSessions, SessionStore
from relying_party.signals import protocol_event, session_ended
from relying_party.state import State, session_user, signed_in

__all__ = [
    "RelyingParty",
    "RelyingPartyError",
    "TokenUnavailable",
    "access_token",
    "login_required",
    "protocol_event",
    "session_ended",
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


class RelyingParty:
    """The Flask extension. Settings are read from ``app.config``, see config.py."""

    def init_app(self, app: Flask, engine: Engine) -> None:
        """Give ``app`` sessions in ``engine``'s database, and the routes above."""
        config = Config.from_app(app)
        store, registration = SessionStore(engine), Registration(config, engine)
        make_tables(engine)
        app.extensions["relying_party"] = State(config, registration, Provider(config, registration), store)
        app.session_interface = ServerSideSessions(store)
        app.config.setdefault("RELYING_PARTY_LAYOUT", config.layout)
        app.jinja_env.globals.update(signed_in=signed_in, session_user=session_user)
        app.jinja_env.filters = {**pages.FILTERS, **app.jinja_env.filters}

        blueprint = Blueprint(
            "relying_party",
            __name__,
            template_folder="templates",
            static_folder="static",
            static_url_path="/rp-static",
        )
        for method, path, name, view in ROUTES:
            # No OPTIONS of Flask's own: at /bclogout that is a wrong method, too, and has its answer below.
            blueprint.add_url_rule(path, name, view, methods=[method], provide_automatic_options=False)
        others = ["GET", "PUT", "PATCH", "DELETE", "OPTIONS"]
        blueprint.add_url_rule("/bclogout", "wrong_method", backchannel.wrong_method, methods=others)
        app.register_blueprint(blueprint)
        # The provider's POST comes without a cookie and without a form of ours: see backchannel.py.
        if csrf := app.extensions.get("csrf"):
            csrf.exempt(backchannel.backchannel_logout)
            csrf.exempt(backchannel.wrong_method)

    @staticmethod
    def access_token() -> str:
        """See :func:`relying_party.login.access_token`."""
        return access_token()
