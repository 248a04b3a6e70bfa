"""The overview, the keys and the settings."""

import re

import pytest
from pydantic import SecretStr

from idp.models import Delivery, SigningKey
from pickup_web import Settings
from tests.conftest import Clock, SiteClient
from tests.idp.conftest import DISPATCH, MANAGER, Provider
from tests.idp.console.conftest import after, operator
from tests.network import origin_of
from tests.reading import words

# --- overview ---


def test_header_names_and_links_the_console(admin: SiteClient) -> None:
    page = admin.get("/console/people").text
    assert "<title>People · Console</title>" in page
    assert re.search(r'<a class="brand" href="/console">\s*<img [^>]*>\s*Console\s*</a>', page)
    assert re.search(r'<a class="brand" href="/">\s*<img [^>]*>\s*Pickup sign-in\s*</a>', admin.get("/account").text)


def count(browser: SiteClient, name: str) -> str:
    """The number on a tile."""
    return browser.get("/console").text.partition(f'id="count-{name}">')[2].partition("<")[0]


def test_overview_shows_the_counts(provider: Provider, cameron: SiteClient, clock: Clock) -> None:
    provider.network.refuse(provider.url(MANAGER))
    admin = operator(provider)
    assert (count(admin, "sessions"), count(admin, "pending"), count(admin, "applications")) == (
        "2",
        "0",
        str(words(admin.get("/console/applications")).count(" Edit ")),
    )
    provider.end_session(cameron, id_token_hint=provider.tokens(cameron)["id_token"])
    assert (count(admin, "sessions"), count(admin, "pending"), count(admin, "refused")) == ("1", "1", "0")
    with provider.database() as db:
        db.get_one(Delivery, provider.delivery(MANAGER).id).state = "refused"
    assert (count(admin, "pending"), count(admin, "refused"), count(admin, "people")) == ("0", "1", "3")
    clock.turn(25 * 3600)
    assert count(operator(provider), "refused") == "0", "yesterday's is no news"


def test_overview_shows_the_last_deliveries(provider: Provider, cameron: SiteClient) -> None:
    admin = operator(provider)
    assert "No deliveries yet" in words(admin.get("/console"))
    provider.apps[MANAGER].status = 401
    provider.end_session(cameron, id_token_hint=provider.tokens(cameron)["id_token"])
    text = words(admin.get("/console"))
    assert "Pickup Dispatch Delivered cameron 2027-01-15 08:00:00 UTC" in text
    assert "Pickup Manager Refused cameron 2027-01-15 08:00:00 UTC" in text


def test_overview_loads_before_the_services_are_checked(admin: SiteClient, provider: Provider) -> None:
    """A hanging app must not delay the page; its script, or a link without scripts, starts the check."""
    before = len(provider.network.exchanges)
    page = admin.get("/console")
    assert len(provider.network.exchanges) == before
    assert "Identity provider answers Pickup Dispatch not asked yet Pickup Manager not asked yet" in words(page)
    assert 'src="/static/overview.js"' in page.text
    assert 'href="/console?ask=services"' in page.text


@pytest.mark.parametrize("path", ["/console?ask=services", "/console?part=services"])
def test_overview_shows_which_service_answers(admin: SiteClient, provider: Provider, path: str) -> None:
    provider.apps[DISPATCH].status = 503
    provider.network.refuse(origin_of(provider.url(MANAGER)))
    page = admin.get(path)
    states = re.findall(
        r'<span class="badge (\w+)">([^<]+)</span>', page.text.partition('id="services"')[2] or page.text
    )
    assert states[:3] == [("good", "answers"), ("bad", "answers 503"), ("bad", "not reached: connection refused")]
    assert provider.network.exchanges[-1].request.url.endswith("/healthz")
    provider.apps[DISPATCH].status = 200
    assert ("good", "answers") in re.findall(r'"badge (\w+)">([^<]+)<', admin.get(path).text)[1:]
    assert ("<html" in page.text) is ("part" not in path)


# --- keys ---


def test_keys_page_explains_each_key(admin: SiteClient, provider: Provider) -> None:
    text = words(admin.get("/console/keys"))
    for row in provider.rows(SigningKey):
        assert f"{row.kid} {row.alg} signs" in text
    assert "private" not in text


def test_rotation_needs_confirmation_and_is_reported(admin: SiteClient, provider: Provider, clock: Clock) -> None:
    before = {row.kid for row in provider.rows(SigningKey)}
    assert "all sessions continue" in words(admin.get("/console/keys/rotate"))
    assert {row.kid for row in provider.rows(SigningKey)} == before, "the question alone changes nothing"
    page = after(admin, admin.submit("/console/keys/rotate"))
    assert "3 new keys are published by every worker within 30 seconds; they sign in 2 minutes." in page
    assert page.count("signs from 2027-01-15 08:02:00 UTC") == 3
    clock.turn(121)
    page = words(admin.get("/console/keys"))
    assert page.count(" signs ") == 3
    assert page.count("verifies only") == 3
    clock.turn(30 * 3600)
    page = words(operator(provider).get("/console/keys"))
    assert not any(kid in page for kid in before), "what is not published any more is not shown"
    assert {event.detail.get("by") for event in provider.events("op.key.published")} == {"admin"}


# --- settings ---


def test_each_setting_is_listed_with_its_description(admin: SiteClient) -> None:
    text = words(admin.get("/console/settings"))
    for name, field in Settings.model_fields.items():
        assert f"PICKUP_{name.upper()}" in text
        assert " ".join((field.description or "").split()) in text


def test_no_secret_is_shown(admin: SiteClient, provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = {name: value for name, value in provider.settings if isinstance(value, SecretStr)}
    assert len(secrets) >= 4
    monkeypatch.setattr(
        provider.settings, "idp_database_url", "postgresql+psycopg://pickup:hunter2@db.example/idp?password=hunter3"
    )
    answer = admin.get("/console/settings")
    page = answer.text
    for value in secrets.values():
        assert value.get_secret_value() not in page
    assert "hunter" not in page
    assert "postgresql+psycopg://pickup:***@db.example/idp" in words(answer)
