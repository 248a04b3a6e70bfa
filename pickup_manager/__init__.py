"""Pickup Manager: the fleet. Drivers, vehicles and passengers, and the list of drivers as an API."""

from pathlib import Path

from flask import Flask

from pickup_manager import api, crud, overview
from pickup_manager.models import Base
from pickup_manager.resources import RESOURCES
from pickup_web import Settings, create_service, events, relying_party_messages, relying_party_watching
from pickup_web.database import engine_of
from pickup_web.schema import Schema, prepare
from pickup_web.seed import add_reset_command, from_toml
from pickup_web.settings import load_settings
from relying_party import RelyingParty, login_required, protocol_event

SCHEMA = Schema("manager", Base.metadata, Path(__file__).with_name("migrations"))
rp = RelyingParty()

# One set of pages for the three resources: `kind` is a resource's name, `key` a row's identifier.
ALL = f"/<any({', '.join(RESOURCES)}):kind>"
# fmt: off
ROUTES = [
    ("GET",      "/",                  "home",        overview.home),
    ("GET",      "/overview",          "overview",    login_required(overview.overview)),
    ("GET",      ALL,                  "show_all",    login_required(crud.show_all)),
    ("GET POST", f"{ALL}/add",         "add",         login_required(crud.add)),
    ("GET POST", f"{ALL}/<key>/edit",  "edit",        login_required(crud.edit)),
    ("GET POST", f"{ALL}/<key>/remove", "remove",     login_required(crud.remove)),
    # for programs: a Bearer token instead of a session
    ("GET",      "/api/drivers",       "api_drivers", api.drivers),
]
# fmt: on


def create_app(settings: Settings | None = None) -> Flask:
    """Creates the application: shared parts, sign-in, data, routes."""
    settings = settings or load_settings("manager")
    app = create_service(
        __name__,
        settings,
        name="manager",
        title="Pickup Manager",
        base_url=settings.manager_url,
        database_url=settings.manager_database_url,
        form_action=[settings.idp_url, *settings.idp_pages],  # the logout form redirects to the IdP
    )
    app.config.update(
        RELYING_PARTY_ISSUER=settings.idp_url,
        RELYING_PARTY_CLIENT_ID=settings.manager_client_id,
        RELYING_PARTY_CLIENT_SECRET=settings.manager_client_secret.get_secret_value(),
        RELYING_PARTY_BASE_URL=settings.manager_url,
        RELYING_PARTY_SCOPES="openid profile email",
        RELYING_PARTY_SIGNING_ALGORITHM=settings.apps_signing_algorithm,
        RELYING_PARTY_ALLOW_PLAIN_HTTP=settings.demo_plain_http,
        RELYING_PARTY_CA_BUNDLE=settings.ca_bundle,
        RELYING_PARTY_LAYOUT="layout.html",
        RELYING_PARTY_FRONTCHANNEL_LOGOUT=True,  # for chapter 7 of the tutorial, which registers /fclogout at the IdP
        DRIVERS_SCOPE=settings.drivers_scope,
    )
    engine, seed = engine_of(app), from_toml(Base.metadata, Path(__file__).with_name("seed.toml"))
    prepare(engine, SCHEMA, seed)
    add_reset_command(app, engine, seed)
    rp.init_app(app, engine)
    protocol_event.connect(events.record_signal, app)
    relying_party_messages.init_app(app, settings, "manager")
    relying_party_watching.init_app(app, settings)
    app.jinja_env.globals["resources"] = RESOURCES

    for methods, path, name, view in ROUTES:
        app.add_url_rule(path, name, view, methods=methods.split())
    return app
