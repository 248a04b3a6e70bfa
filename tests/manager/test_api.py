"""GET /api/drivers: the IdP's introspection decides each request."""

import base64
import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest
from werkzeug.test import TestResponse

from pickup_web import Settings
from tests.conftest import SiteClient
from tests.network import Network


def ask(client: SiteClient, authorization: str | None = "Bearer a.b-c") -> TestResponse:
    headers = {"Accept": "application/json", **({"Authorization": authorization} if authorization else {})}
    return client.get("/api/drivers", headers=headers)


def test_active_token_with_scope_gets_only_ids_and_names(manager_client: SiteClient) -> None:
    answer = ask(manager_client)
    assert answer.status_code == 200
    rows = answer.json["drivers"] if answer.json else []
    assert {"id": "D0072", "name": "Tiger Nixon"} in rows
    assert len(rows) == 6
    assert all(row.keys() == {"id", "name"} for row in rows)
    assert answer.headers["Cache-Control"] == "no-store"


def test_introspection_is_a_post_with_managers_own_credentials(
    manager_client: SiteClient, network: Network, introspection: str
) -> None:
    ask(manager_client)
    (exchange,) = network.to(introspection)
    request = exchange.request
    assert request.method == "POST"
    assert request.form == {"token": ["a.b-c"], "token_type_hint": ["access_token"]}
    encoded = base64.b64encode(b"pickup-manager:manager%2Fsecret%26more").decode()
    assert request.headers["Authorization"] == f"Basic {encoded}", "RFC 6749 §2.3.1: form-encoded first"


def test_revocation_applies_immediately(manager_client: SiteClient, network: Network, introspection: str) -> None:
    assert ask(manager_client).status_code == 200
    network.answer(introspection, 200, json.dumps({"active": False}))
    assert ask(manager_client).status_code == 401


@pytest.mark.parametrize("claims", [{"active": False}, {}, {"active": "true", "scope": "fleet.read"}])
def test_inactive_token_is_rejected(
    manager_client: SiteClient, network: Network, introspection: str, claims: dict[str, Any]
) -> None:
    network.answer(introspection, 200, json.dumps(claims))
    answer = ask(manager_client)
    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
    assert "Tiger" not in answer.text


@pytest.mark.parametrize("scope", ["openid", "", "fleet.read.all", None])
def test_token_without_the_scope_is_rejected(
    manager_client: SiteClient, network: Network, introspection: str, scope: str | None
) -> None:
    network.answer(introspection, 200, json.dumps({"active": True, "scope": scope}))
    answer = ask(manager_client)
    assert answer.status_code == 403
    assert 'error="insufficient_scope"' in answer.headers["WWW-Authenticate"]
    assert 'scope="fleet.read"' in answer.headers["WWW-Authenticate"]


@pytest.mark.parametrize("authorization", [None, "Basic YTpi", "Digest x"])
def test_request_without_token_gets_a_challenge_without_error(
    manager_client: SiteClient, network: Network, authorization: str | None
) -> None:
    answer = ask(manager_client, authorization)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="Pickup Manager"', "RFC 6750 §3.1"
    assert not network.exchanges


def test_token_in_the_url_is_ignored(manager_client: SiteClient, network: Network) -> None:
    assert manager_client.get("/api/drivers?access_token=a.b-c").status_code == 401
    assert not network.exchanges


def test_session_cookie_is_not_accepted_as_a_token(fleet_manager: SiteClient) -> None:
    assert fleet_manager.get("/api/drivers").status_code == 401


@pytest.mark.parametrize("fault", [Network.refuse, Network.time_out])
def test_unreachable_idp_rejects_every_request(
    manager_client: SiteClient, network: Network, introspection: str, fault: Callable[[Network, str], None]
) -> None:
    fault(network, introspection)
    answer = ask(manager_client)
    assert answer.status_code == 503
    assert "cannot check the access token" in answer.text


@pytest.mark.parametrize(
    ("status", "body"), [(401, {"active": True}), (302, {}), (500, b""), (200, b"no JSON"), (200, [])]
)
def test_malformed_introspection_response_rejects_the_request(
    manager_client: SiteClient, network: Network, introspection: str, status: int, body: str
) -> None:
    network.answer(introspection, status, body, {"Location": "http://elsewhere.test/"})
    assert ask(manager_client).status_code == 503
    assert len(network.to(introspection)) == 1


@pytest.mark.parametrize("fault", [Network.refuse, Network.time_out])
def test_unreachable_metadata_rejects_every_request(
    manager_client: SiteClient, network: Network, settings: Settings, fault: Callable[[Network, str], None]
) -> None:
    fault(network, f"{settings.idp_url}/.well-known/openid-configuration")
    assert ask(manager_client).status_code == 503


def test_idp_without_introspection_is_said_to_be_one(
    manager_client: SiteClient, network: Network, settings: Settings
) -> None:
    metadata = {"issuer": settings.idp_url}
    network.answer(f"{settings.idp_url}/.well-known/openid-configuration", 200, json.dumps(metadata))
    answer = ask(manager_client)
    assert answer.status_code == 501
    assert "no introspection endpoint" in answer.text


def test_token_and_secret_are_not_sent_without_https(
    manager_client: SiteClient, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 7662 §4: the endpoint is protected by TLS. An issuer with https may still name an address without."""
    issuer, endpoint = "https://idp.example", "http://idp.example/introspect"
    provider = manager_client.application.extensions["relying_party"].provider
    config = dataclasses.replace(provider.config, issuer=issuer, allow_plain_http=False)
    monkeypatch.setattr(provider, "config", config)
    provider.reset()
    metadata = {"issuer": issuer, "introspection_endpoint": endpoint}
    network.answer(f"{issuer}/.well-known/openid-configuration", 200, json.dumps(metadata))
    network.answer(endpoint, 200, json.dumps({"active": True, "scope": "fleet.read"}))
    assert ask(manager_client).status_code == 503
    assert network.to(endpoint) == []


def test_api_without_a_scope_is_off(manager_client: SiteClient, network: Network) -> None:
    """Else every token of the IdP would open it, whatever it was issued for."""
    manager_client.application.config["DRIVERS_SCOPE"] = ""
    answer = ask(manager_client)
    assert answer.status_code == 501
    assert not network.exchanges


def test_api_is_read_only(manager_client: SiteClient) -> None:
    assert manager_client.post("/api/drivers").status_code in (400, 405)
