"""Pickup Dispatch: bookings of cabs."""

from pathlib import Path

from flask import Flask

from pickup_dispatch import bookings, drivers
from pickup_dispatch.models import Base
from pickup_web import Settings, create_service, events, relying_party_messages, relying_party_watching
from pickup_web.database import engine_of
from pickup_web.schema import Schema, prepare
from pickup_web.seed import add_reset_command, from_toml
from pickup_web.settings import load_settings
from relying_party import RelyingParty, login_required, protocol_event

SCHEMA = Schema("dispatch", Base.metadata, Path(__file__).with_name("migrations"))
rp = RelyingParty()

ONE = "/bookings/<int(max=2147483647):booking_id>"  # what the column can hold; anything else is a 404
# fmt: off
ROUTES = [
    ("GET",  "/",              "home",           bookings.home),
    ("POST", "/bookings",      "make_booking",   login_required(bookings.make)),
    ("GET",  "/bookings",      "bookings",       login_required(bookings.show_all)),
    ("GET",  f"{ONE}/driver",  "choose_driver",  login_required(bookings.choose_driver)),
    ("POST", f"{ONE}/driver",  "assign_driver",  login_required(bookings.assign_driver)),
    ("POST", f"{ONE}/cancel",  "cancel_booking", login_required(bookings.cancel)),
]
# fmt: on


def create_app(settings: Settings | None = None) -> Flask:
    """Creates the application: shared parts, sign-in, data, routes."""
    settings = settings or load_settings("dispatch")
    app = create_service(
        __name__,
        settings,
        name="dispatch",
        title="Pickup Dispatch",
        base_url=settings.dispatch_url,
        database_url=settings.dispatch_database_url,
        form_action=[settings.idp_url, *settings.idp_pages],  # the logout form redirects to the IdP
    )
    app.config.update(
        RELYING_PARTY_ISSUER=settings.idp_url,
        RELYING_PARTY_CLIENT_ID=settings.dispatch_client_id,
        RELYING_PARTY_CLIENT_SECRET=settings.dispatch_client_secret.get_secret_value(),
        RELYING_PARTY_BASE_URL=settings.dispatch_url,
        RELYING_PARTY_SCOPES=f"openid profile email {settings.drivers_scope}".strip(),
        RELYING_PARTY_SIGNING_ALGORITHM=settings.apps_signing_algorithm,
        RELYING_PARTY_ALLOW_PLAIN_HTTP=settings.demo_plain_http,
        RELYING_PARTY_CA_BUNDLE=settings.ca_bundle,
        RELYING_PARTY_LAYOUT="layout.html",
        MANAGER_DRIVERS_URL=f"{settings.manager_url}/api/drivers",
        DRIVERS_SCOPE=settings.drivers_scope,
    )
    engine, seed = engine_of(app), from_toml(Base.metadata, Path(__file__).with_name("seed.toml"))
    prepare(engine, SCHEMA, seed)
    add_reset_command(app, engine, seed)
    rp.init_app(app, engine)
    protocol_event.connect(events.record_signal, app)
    relying_party_messages.init_app(app, settings, "dispatch")
    relying_party_watching.init_app(app, settings)
    drivers.init_app(app, rp.access_token)

    for method, path, name, view in ROUTES:
        app.add_url_rule(path, name, view, methods=[method])
    return app
