"""What the three services share as web applications: headers, errors, health, addresses, events."""

import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select
from sqlalchemy.orm import Session

import pickup_dispatch
from pickup_web import Settings, events
from pickup_web.database import engine_of
from pickup_web.events import Event
from pickup_web.localhost import MACHINE, is_localhost_name, resolve, resolve_as_container
from pickup_web.pages import datetime_element, pretty_json
from tests.conftest import START, SiteClient, client_of, close, make_settings, prepared

SERVICES = ["idp", "dispatch", "manager"]


@pytest.fixture(params=SERVICES)
def client(request: pytest.FixtureRequest) -> SiteClient:
    """A stranger's browser at each of the three."""
    return client_of(request.getfixturevalue(request.param))


def test_every_page_says_what_a_browser_must_not_do(client: SiteClient) -> None:
    """BCP-06, BCP-08: own scripts and styles only, no framing, no referrer, no guessing of types, not stored."""
    headers = client.get("/").headers
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'self';")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store"


def test_pages_keep_to_their_own_policy(client: SiteClient) -> None:
    """No inline script or style, nothing from elsewhere: closed rooms."""
    page = client.get("/").text
    assert "<style" not in page
    assert " style=" not in page
    assert "<script>" not in page
    assert not [host for host in ("cdn", "googleapis", "unpkg") if host in page]


def test_plain_http_is_shown_in_a_banner(client: SiteClient) -> None:
    """Never a silent default; and a landmark, because all content of a page is in one (WCAG 2.2, 1.3.1)."""
    assert re.search(r'<aside class="demo-banner" aria-label="Demo mode">\s*Demo: plain http', client.get("/").text)


@pytest.mark.parametrize("path", ["/no/such/page", "/static/../../etc/passwd"])
def test_an_error_is_a_page_of_ours(client: SiteClient, path: str) -> None:
    """What happened, in a sentence, and a way on."""
    response = client.get(path)
    assert response.status_code == 404
    assert "Error 404" in response.text
    assert "Go to the start page" in response.text


def test_the_server_root_leads_to_the_app(dispatch_client: SiteClient, settings: Settings) -> None:
    """Who types only the host's name lands on the app; its cookies stay below its path."""
    response = super(SiteClient, dispatch_client).open("/", base_url="http://dispatch.localhost:8080")
    assert (response.status_code, response.headers["Location"]) == (302, "/pickup-dispatch/")
    almost = super(SiteClient, dispatch_client).open("/pickup-dispatcher", base_url="http://dispatch.localhost:8080")
    assert almost.status_code == 302
    assert settings.dispatch_url.endswith("/pickup-dispatch")


def test_addresses_come_from_settings_and_never_from_the_host_header(idp: Flask, settings: Settings) -> None:
    """BCP-07: whoever sends another Host gets the real addresses."""
    document = idp.test_client().get("/.well-known/openid-configuration", headers={"Host": "evil.example"}).get_json()
    assert document["issuer"] == settings.idp_url
    assert "evil" not in str(document)


@pytest.fixture
def strict(tmp_path: Path) -> Iterator[SiteClient]:
    """A service without any demo switch, at an https address."""
    urls = {f"{name}_url": f"https://{name}.example" for name in SERVICES}
    app = pickup_dispatch.create_app(make_settings(tmp_path, demo_plain_http=False, demo_events=False, **urls))
    yield client_of(prepared(app, urls["dispatch_url"]))
    close(app)


def test_without_the_switches_nothing_of_a_demo_is_left(strict: SiteClient) -> None:
    """DEC-07: no banner, no public events, a Secure cookie."""
    page = strict.get("/")
    assert page.status_code == 200
    assert "plain http" not in page.text
    assert strict.get("/events").status_code == 404
    config = strict.application.config
    assert config["SESSION_COOKIE_SECURE"] is True
    assert config["SESSION_COOKIE_HTTPONLY"] is True
    assert config["SESSION_COOKIE_SAMESITE"] == "Lax"


def test_every_post_needs_a_token_of_ours(idp: Flask) -> None:
    """AUTH-22: unless a route is exempt by name; the page says what to do."""
    response = client_of(idp).post("/login")
    assert response.status_code == 400
    assert "came from another site" in response.text


# --- events ---


def test_events_can_be_asked_for_by_name_sid_and_place(dispatch: Flask, dispatch_client: SiteClient) -> None:
    """The tests' waits and the lessons read them here; oldest first."""
    with Session(engine_of(dispatch)) as db, db.begin():
        events.record(db, "rp.session.created", sid="s 1")
        events.record(db, "rp.session.ended", sid="s 1", outcome="why", extra=1)
        events.record(db, "rp.session.created", sid="s 2")

    def ask(query: str) -> list[dict[str, Any]]:
        return list(dispatch_client.get("/events" + query).get_json()["events"])

    everything = ask("")
    assert [event["sid"] for event in everything] == ["s 1", "s 1", "s 2"]
    assert everything[1] == {
        "id": everything[1]["id"], "at": START, "name": "rp.session.ended", "sid": "s 1", "jti": None,
        "client_id": None, "outcome": "why", "detail": {"extra": 1},
    }  # fmt: skip
    assert len(ask("?name=rp.session.created")) == 2
    assert len(ask("?sid=s+1")) == 2
    assert ask(f"?after={everything[1]['id']}") == everything[2:]
    assert ask("?after=nonsense") == everything


def test_an_event_is_there_only_if_what_it_tells_happened(idp: Flask) -> None:
    """The transaction that is rolled back takes its events along."""
    with Session(engine_of(idp)) as db:
        events.record(db, "op.session.ended", sid="s")
        db.rollback()
        assert db.scalar(select(func.count()).select_from(Event)) == 0


def test_nobody_can_fill_the_disk_with_rejected_tokens(
    dispatch: Flask, dispatch_client: SiteClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """BCL-71: only the newest events are kept."""
    monkeypatch.setattr(events, "KEEP", 5)
    for _ in range(12):
        assert dispatch_client.post("/bclogout", data={"logout_token": "garbage"}).status_code == 400
    with Session(engine_of(dispatch)) as db:
        assert db.scalar(select(func.count()).select_from(Event)) == 5


# --- *.localhost ---


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("localhost", True),
        ("idp.localhost", True),
        ("IDP.LocalHost.", True),
        (b"a.b.localhost", True),
        ("localhost.example", False),
        ("idp-localhost", False),
        ("notlocalhost", False),
        (None, False),
    ],
)
def test_which_names_are_this_machine(name: object, is_one: bool) -> None:
    """RFC 6761 §6.3: below .localhost and nothing else."""
    assert is_localhost_name(name) is is_one


def test_no_resolver_is_asked_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 6761 §6.3: offline, a question costs seconds; other names are none of our business."""
    asked = record_resolver(monkeypatch, known=["127.0.0.1", "idp.example"])
    assert resolve("idp.localhost", 80) == "127.0.0.1:80"
    assert resolve("idp.example", 80) == "idp.example:80"
    assert asked == ["127.0.0.1", "idp.example"]


def test_in_a_compose_network_the_resolver_is_asked_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """There it knows the names; those it does not know are programs on the machine around; others stay unknown."""
    asked = record_resolver(monkeypatch, known=["127.0.0.1", "manager.localhost", MACHINE])
    assert resolve_as_container("manager.localhost", 80) == "manager.localhost:80"
    assert resolve_as_container("shop.localhost", 80) == f"{MACHINE}:80"
    with pytest.raises(socket.gaierror):
        resolve_as_container("idp.example", 80)
    assert asked == ["manager.localhost", "shop.localhost", MACHINE, "idp.example"]


def test_where_nobody_knows_the_machine_around_it_is_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other engines than Docker may not have that name."""
    record_resolver(monkeypatch, known=["127.0.0.1"])
    assert resolve_as_container("shop.localhost", 80) == "127.0.0.1:80"


def record_resolver(monkeypatch: pytest.MonkeyPatch, known: list[str]) -> list[str]:
    asked = []

    def resolver(host: str, port: int) -> str:
        asked.append(host)
        if host in known:
            return f"{host}:{port}"
        raise socket.gaierror

    monkeypatch.setattr("pickup_web.localhost._ask_resolver", resolver)
    return asked


# --- pages ---


def test_times_are_elements_that_programs_can_read_too() -> None:
    """In UTC, and says so."""
    assert str(datetime_element(START)) == '<time datetime="2027-01-15T08:00:00+00:00">2027-01-15 08:00:00 UTC</time>'


def test_json_is_shown_as_it_is() -> None:
    """Nothing is escaped that the page escapes anyway; the order stays."""
    assert pretty_json({"b": "ü", "a": 1}) == '{\n  "b": "ü",\n  "a": 1\n}'
