"""The identity provider (IdP). Read it in the order of the flow:

flow/: [1] discovery.py · [3] authorize.py · [4] login.py · [5] token.py · [10] end_session.py ·
[11] session_ending.py · [12] logout_token.py · [13] delivery.py. README lists all sixteen steps.

Other parts: operations/ (what an operator can do), used by console/, admin_api/ and account/.
"""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from flask import Flask, Response, request
from flask.typing import ResponseReturnValue

from idp import account, admin_api, cli, console, logged_out, messages, registration, workbench
from idp.authorization import consent
from idp.background.loop import Background
from idp.clients.jwks import ClientKeys
from idp.encryption import use_key
from idp.error_pages import too_many_passwords
from idp.flow import authorize, delivery, discovery, end_session, login, token
from idp.home import home
from idp.models import Base
from idp.outbox.http import GuardedHttpClient
from idp.outbox.sender import Outbox
from idp.provider import Provider
from idp.seed import follow_settings, from_settings
from idp.seed_file import read_seed_file
from idp.sign_in import passwords
from idp.tokens import introspection, userinfo
from idp.tokens.authlib_server import OAuthServer
from idp.tokens.signing_keys import SigningKeys
from idp.tracing import traced
from pickup_web import Settings, create_service, csrf
from pickup_web.database import engine_of
from pickup_web.schema import Schema, prepare
from pickup_web.seed import add_reset_command
from pickup_web.settings import load_settings

Route = tuple[str, str, str, Callable[..., ResponseReturnValue]]

# fmt: off
ROUTES: list[Route] = [
    # what a client must know
    ("GET",      "/.well-known/openid-configuration", "discovery",    discovery.openid_configuration),
    ("GET",      "/oauth2/jwks",                      "jwks",         discovery.jwks),
    ("POST",     "/oauth2/register",                  "register",     registration.register),
    ("GET PUT DELETE", "/oauth2/register/<client_id>", "manage",      registration.manage),
    # signing in
    ("GET POST", "/oauth2/authorize",                 "authorize",    authorize.authorize),
    ("GET",      "/login",                            "login_page",   login.ask_for_own_page),
    ("POST",     "/login",                            "sign_in",      login.sign_in),
    ("POST",     "/consent",                          "answer_consent", consent.answer_consent),
    ("POST",     "/oauth2/token",                     "token",        token.token_endpoint),
    ("GET POST", "/oauth2/userinfo",                  "userinfo",     userinfo.userinfo),
    ("POST",     "/oauth2/introspect",                "introspect",   introspection.introspect),
    ("POST",     "/oauth2/revoke",                    "revoke",       introspection.revoke),
    # signing out
    ("GET POST", "/oidc/logout",                      "end_session",  end_session.end_session),
    ("POST",     "/oidc/logout/confirm",              "confirm",      end_session.confirm),
    ("GET",      "/oidc/logged-out",                  "logged_out",   logged_out.show),
    ("GET",      "/",                                 "home",         home),
]
# fmt: on
# Posts from programs or other sites have no CSRF token of ours. None of these views acts on a cookie alone.
FROM_ELSEWHERE = (
    authorize.authorize,
    token.token_endpoint,
    userinfo.userinfo,
    introspection.introspect,
    introspection.revoke,
    end_session.end_session,
    registration.register,
    registration.manage,
)
# Core §5.3, Discovery §3: scripts of other sites may call these. None of them uses a cookie.
FOR_SCRIPTS = ("token", "userinfo", "register", "manage")  # fmt: skip
SCHEMA = Schema("idp", Base.metadata, Path(__file__).with_name("migrations"))


def create_app(settings: Settings | None = None) -> Flask:
    """The application, with its data, outbox and routes."""
    settings = settings or load_settings("idp")
    if settings.demo_plain_http:
        os.environ["AUTHLIB_INSECURE_TRANSPORT"] = (
            "1"  # Authlib's own switch; it refuses http://idp.localhost otherwise
        )
    app = create_service(
        __name__,
        settings,
        name="idp",
        title="Pickup sign-in",
        base_url=settings.idp_url,
        database_url=settings.idp_database_url,
    )
    engine = engine_of(app)
    use_key(engine, settings.secret_key.get_secret_value())
    cli.add_commands(app)
    keys = SigningKeys(engine, settings.signing_algorithms)
    http = GuardedHttpClient(
        allow_plain_http=settings.demo_plain_http,
        allow_private_addresses=settings.demo_private_addresses,
        ca_bundle=settings.ca_bundle,
    )
    http, http_for_keys = map(traced, messages.init_app(app, settings, http))
    client_keys = ClientKeys(http_for_keys)
    outbox = Outbox(
        engine,
        partial(delivery.deliver, issuer=settings.idp_url, http=http),
        keys,
        redirect_wait=settings.logout_wait,
        per_host=settings.logout_per_host,
    )
    background = Background(engine, outbox, settings.delete_tokens_on_logout)
    app.extensions["idp"] = Provider(
        settings,
        keys,
        http,
        client_keys,
        outbox,
        background,
        OAuthServer(app, client_keys, settings.idp_url, token.exchange_code),
    )
    with app.app_context():
        own = read_seed_file(settings.seed)
    seed = from_settings(settings, own)
    if not prepare(engine, SCHEMA, seed):
        follow_settings(engine, settings, own)
    add_reset_command(app, engine, seed, keep=["signing_key"])  # so that issued tokens can still be verified
    app.extensions["after_fork"] += [background.start, passwords.pool.start]
    app.extensions["before_exit"] += [outbox.drain]
    for methods, path, name, view in ROUTES:
        app.add_url_rule(path, name, view, methods=methods.split())
    demo = [workbench.blueprint] if settings.demo_events else []
    for blueprint in (account.blueprint, console.blueprint, *demo):
        app.register_blueprint(blueprint)
    admin_api.init_app(app)
    for view in FROM_ELSEWHERE:
        csrf.exempt(view)
    app.register_error_handler(passwords.TooManyAtOnce, too_many_passwords)
    app.after_request(allow_scripts)
    if settings.metrics_listen:
        from idp import metrics  # imports prometheus_client

        metrics.init_app(app)
    return app


def allow_scripts(response: Response) -> Response:
    """CORS for the endpoints that scripts in a browser call."""
    if request.endpoint in FOR_SCRIPTS:
        response.headers["Access-Control-Allow-Origin"] = "*"
        response.headers["Access-Control-Allow-Headers"] = "Authorization, Content-Type"
        response.headers["Access-Control-Allow-Methods"] = "GET, POST, PUT, DELETE"
    return response
