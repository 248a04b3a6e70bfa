"""The three services with PostgreSQL instead of SQLite: sign in, and single logout."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import inspect, text

import idp as idp_service
import pickup_dispatch
import pickup_manager
from pickup_web import Settings
from pickup_web.database import engine_of
from tests.conftest import PASSWORD, client_of, close, make_settings, prepared
from tests.network import Browser, Network
from tests.postgres import Postgres

FACTORIES: dict[str, Any] = {"idp": idp_service, "dispatch": pickup_dispatch, "manager": pickup_manager}


@pytest.fixture
def on_postgres(postgres: Postgres, tmp_path: Path) -> Settings:
    """Settings with an empty database for each service."""
    urls = {f"{name}_database_url": postgres.new_database().render_as_string(hide_password=False) for name in FACTORIES}
    return make_settings(tmp_path, **urls)


@pytest.fixture
def services(on_postgres: Settings, network: Network) -> Iterator[dict[str, Flask]]:
    """The three services, each at its address."""
    made = {}
    for name, module in FACTORIES.items():
        address = getattr(on_postgres, f"{name}_url")
        made[name] = prepared(module.create_app(on_postgres), address)
        network.add(address, made[name])
    yield made
    for app in made.values():
        close(app)


def test_logout_at_one_app_ends_the_session_at_the_other(
    services: dict[str, Flask], on_postgres: Settings, browser: Browser
) -> None:
    """PostgreSQL by setting one database URL per service."""
    assert {engine_of(app).dialect.name for app in services.values()} == {"postgresql"}
    browser.open(f"{on_postgres.dispatch_url}/login")
    browser.submit("login", username="cameron", password=PASSWORD)
    while not browser.page.url.startswith(on_postgres.dispatch_url):  # the IdP may ask for consent
        form = browser.page.forms[-1]
        browser.submit(form.action)
    assert "Cameron" in browser.page.text
    manager = browser.open(f"{on_postgres.manager_url}/overview")
    assert "Cameron" in manager.text, "single sign-on: no password form"
    browser.open(f"{on_postgres.dispatch_url}/bookings")
    browser.submit("/logout")
    assert browser.open(f"{on_postgres.manager_url}/session/status").status == 200
    assert '"signed_in":false' in browser.page.html.replace(" ", "")


def test_second_start_changes_no_data(services: dict[str, Flask], on_postgres: Settings) -> None:
    """Tables and seed are created once; a restart adds nothing."""
    before = client_of(services["manager"]).get("/healthz")
    again = prepared(pickup_manager.create_app(on_postgres), on_postgres.manager_url)
    assert before.text == client_of(again).get("/healthz").text == "ok\n"
    close(again)


def test_database_of_an_earlier_version_gets_the_new_columns(services: dict[str, Flask], on_postgres: Settings) -> None:
    """A column of the type boolean, which PostgreSQL gives no integer as default."""
    engine = engine_of(services["idp"])
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE client DROP COLUMN frontchannel_logout_session_required"))
        idp_service.SCHEMA.version_table.drop(connection)
    close(prepared(idp_service.create_app(on_postgres), on_postgres.idp_url))
    assert "frontchannel_logout_session_required" in {each["name"] for each in inspect(engine).get_columns("client")}
