"""The shared parts of the three web applications: headers, errors, health, addresses, events."""

import re
import socket
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from flask import Flask
from gunicorn.http.errors import ChunkMissingTerminator, InvalidChunkSize, NoMoreData
from sqlalchemy import func, select
from sqlalchemy.orm import Session

import pickup_dispatch
import pickup_manager
from pickup_web import Settings, events, localhost
from pickup_web.database import engine_of
from pickup_web.events import Event
from pickup_web.localhost import MACHINE, is_localhost_name, resolve, resolve_as_container
from pickup_web.pages import datetime_element, pretty_json
from tests.conftest import START, SiteClient, client_of, close, make_settings, prepared

SERVICES = ["idp", "dispatch", "manager"]


@pytest.fixture(params=SERVICES)
def client(request: pytest.FixtureRequest) -> SiteClient:
    """The browser of a user who is not signed in, at each of the three services."""
    return client_of(request.getfixturevalue(request.param))


def test_pages_send_security_headers(client: SiteClient) -> None:
    """BCP-06, BCP-08: own scripts and styles only, no framing, no referrer, no content sniffing, no caching."""
    headers = client.get("/").headers
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'self';")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(("name", "module"), [("dispatch", pickup_dispatch), ("manager", pickup_manager)])
def test_logout_may_lead_to_the_pages_of_another_idp(name: str, module: ModuleType, tmp_path: Path) -> None:
    """Browsers apply form-action to the redirects after the logout form, too."""
    pages = ("https://login.example", "https://end.example/x")
    settings = make_settings(tmp_path, idp_url="https://id.example/realm", idp_pages=pages)
    app = prepared(module.create_app(settings), getattr(settings, f"{name}_url"))
    policy = client_of(app).get("/").headers["Content-Security-Policy"]
    close(app)
    assert policy.endswith("form-action 'self' https://end.example https://id.example https://login.example")


def test_pages_comply_with_their_content_security_policy(client: SiteClient) -> None:
    """No inline script or style, and nothing loaded from other hosts, so pages work without internet access."""
    page = client.get("/").text
    assert "<style" not in page
    assert " style=" not in page
    assert "<script>" not in page
    assert not [host for host in ("cdn", "googleapis", "unpkg") if host in page]


def test_plain_http_is_shown_in_a_banner(client: SiteClient) -> None:
    """Never silent. The banner is a landmark, because a page's whole content must be in one (WCAG 2.2, 1.3.1)."""
    assert re.search(r'<aside class="demo-banner" aria-label="Demo mode">\s*Demo: plain http', client.get("/").text)


@pytest.mark.parametrize("path", ["/no/such/page", "/static/../../etc/passwd"])
def test_error_is_shown_on_our_own_page(client: SiteClient, path: str) -> None:
    """It explains the error in a sentence and links to the start page."""
    response = client.get(path)
    assert response.status_code == 404
    assert "Error 404" in response.text
    assert "Go to the start page" in response.text


def test_server_root_redirects_to_the_app(dispatch_client: SiteClient, settings: Settings) -> None:
    """A user who types only the host's name reaches the app; its cookies stay below its path."""
    response = super(SiteClient, dispatch_client).open("/", base_url="http://dispatch.localhost:8080")
    assert (response.status_code, response.headers["Location"]) == (302, "/pickup-dispatch/")
    almost = super(SiteClient, dispatch_client).open("/pickup-dispatcher", base_url="http://dispatch.localhost:8080")
    assert almost.status_code == 302
    assert settings.dispatch_url.endswith("/pickup-dispatch")


def test_host_header_does_not_change_addresses(idp: Flask, settings: Settings) -> None:
    """BCP-07: a request with another Host header still gets the configured addresses."""
    document = idp.test_client().get("/.well-known/openid-configuration", headers={"Host": "evil.example"}).get_json()
    assert document["issuer"] == settings.idp_url
    assert "evil" not in str(document)


@pytest.fixture
def strict(tmp_path: Path) -> Iterator[SiteClient]:
    """A service without demo switches, at an https address."""
    urls = {f"{name}_url": f"https://{name}.example" for name in SERVICES}
    app = pickup_dispatch.create_app(make_settings(tmp_path, demo_plain_http=False, demo_events=False, **urls))
    yield client_of(prepared(app, urls["dispatch_url"]))
    close(app)


def test_demo_features_are_off_without_their_switches(strict: SiteClient) -> None:
    """DEC-07: no banner, no public events, a Secure cookie."""
    page = strict.get("/")
    assert page.status_code == 200
    assert "plain http" not in page.text
    assert strict.get("/events").status_code == 404
    config = strict.application.config
    assert config["SESSION_COOKIE_SECURE"] is True
    assert config["SESSION_COOKIE_HTTPONLY"] is True
    assert config["SESSION_COOKIE_SAMESITE"] == "Lax"


def test_post_without_csrf_token_is_rejected(idp: Flask) -> None:
    """AUTH-22: unless a route is exempt by name; the page tells the user what to do."""
    response = client_of(idp).post("/login")
    assert response.status_code == 400
    assert "came from another site" in response.text


# --- events ---


def test_events_are_filtered_by_name_sid_and_position(dispatch: Flask, dispatch_client: SiteClient) -> None:
    """Tests and lessons poll the events here; oldest first."""
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


def test_rolled_back_transaction_records_no_event(idp: Flask) -> None:
    """A transaction that is rolled back also discards its events."""
    with Session(engine_of(idp)) as db:
        events.record(db, "op.session.ended", sid="s")
        db.rollback()
        assert db.scalar(select(func.count()).select_from(Event)) == 0


def test_rejected_tokens_cannot_fill_the_disk(
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
def test_localhost_names_are_this_machine(name: object, is_one: bool) -> None:
    """RFC 6761 §6.3: names below .localhost, and no others."""
    assert is_localhost_name(name) is is_one


def test_localhost_names_are_not_sent_to_the_resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 6761 §6.3: offline, a DNS query costs seconds. Other names are still resolved."""
    asked = record_resolver(monkeypatch, known=["127.0.0.1", "idp.example"])
    assert resolve("idp.localhost", 80) == "127.0.0.1:80"
    assert resolve("idp.example", 80) == "idp.example:80"
    assert asked == ["127.0.0.1", "idp.example"]


def test_compose_network_asks_the_resolver_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """It knows the services. Unknown .localhost names are programs on the Docker host; others stay unknown."""
    asked = record_resolver(monkeypatch, known=["127.0.0.1", "manager.localhost", MACHINE])
    assert resolve_as_container("manager.localhost", 80) == "manager.localhost:80"
    assert resolve_as_container("shop.localhost", 80) == f"{MACHINE}:80"
    with pytest.raises(socket.gaierror):
        resolve_as_container("idp.example", 80)
    assert asked == ["manager.localhost", "shop.localhost", MACHINE, "idp.example"]


def test_localhost_name_is_the_container_if_the_host_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Container engines other than Docker may not define that name."""
    record_resolver(monkeypatch, known=["127.0.0.1"])
    assert resolve_as_container("shop.localhost", 80) == "127.0.0.1:80"


def record_resolver(monkeypatch: pytest.MonkeyPatch, known: list[str]) -> list[str]:
    asked = []

    def resolver(host: str, port: int) -> str:
        asked.append(host)
        if host in known:
            return f"{host}:{port}"
        raise socket.gaierror

    monkeypatch.setattr(localhost, "system_resolver", resolver)
    return asked


# --- pages ---


def test_time_element_is_machine_readable() -> None:
    """In UTC, which is stated."""
    assert str(datetime_element(START)) == '<time datetime="2027-01-15T08:00:00+00:00">2027-01-15 08:00:00 UTC</time>'


def test_json_is_shown_unchanged() -> None:
    """Only the page escapes it, and the order of members is kept."""
    assert pretty_json({"b": "ü", "a": 1}) == '{\n  "b": "ü",\n  "a": 1\n}'


@pytest.mark.parametrize("error", [InvalidChunkSize(b"zz"), ChunkMissingTerminator(b"XX"), NoMoreData()])
@pytest.mark.parametrize("path", ["/bclogout", "/login"])
def test_malformed_body_is_the_clients_fault(idp: Flask, dispatch: Flask, path: str, error: Exception) -> None:
    """RFC 9110 §15.5.1: 400. gunicorn raises these errors while the application reads a chunked body."""

    class Malformed:
        def read(self, _size: int) -> bytes:
            raise error

    app, base_url = (dispatch, "/pickup-dispatch") if path == "/bclogout" else (idp, "")
    answer = app.test_client().post(
        base_url + path,
        content_type="application/x-www-form-urlencoded",
        environ_overrides={"wsgi.input": Malformed(), "wsgi.input_terminated": True, "CONTENT_LENGTH": ""},
    )
    assert answer.status_code == 400
    assert path == "/login" or "cannot be read" in answer.text
