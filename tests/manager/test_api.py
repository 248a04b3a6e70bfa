"""GET /api/drivers: who may read the fleet is the provider's answer, every time."""

import base64
from typing import Any

import pytest
import requests
from werkzeug.test import TestResponse

from tests.apps import Browser, Neighbour


def ask(browser: Browser, authorization: str | None = "Bearer a.b-c") -> TestResponse:
    headers = {"Accept": "application/json", **({"Authorization": authorization} if authorization else {})}
    return browser.get("/api/drivers", headers=headers)


def test_an_active_token_with_the_scope_gets_ids_and_names_and_no_more(browser: Browser) -> None:
    answer = ask(browser)
    assert answer.status_code == 200
    rows = answer.json["drivers"] if answer.json else []
    assert {"id": "D0072", "name": "Tiger Nixon"} in rows
    assert len(rows) == 6
    assert all(row.keys() == {"id", "name"} for row in rows)
    assert answer.headers["Cache-Control"] == "no-store"


def test_the_provider_is_asked_by_post_and_as_ourselves(browser: Browser, idp: Neighbour) -> None:
    ask(browser)
    request = idp.asked[0]
    assert (request.method, request.url) == ("POST", "http://idp.test/oauth2/introspect")
    assert request.body == "token=a.b-c&token_type_hint=access_token"
    encoded = base64.b64encode(b"pickup-manager:manager%27s%3A+secret").decode()
    assert request.headers["Authorization"] == f"Basic {encoded}", "RFC 6749 §2.3.1: form-encoded first"


def test_no_answer_is_kept_so_that_a_revoked_token_is_refused_at_once(browser: Browser, idp: Neighbour) -> None:
    assert ask(browser).status_code == 200
    idp.body = {"active": False}
    assert ask(browser).status_code == 401


@pytest.mark.parametrize("claims", [{"active": False}, {}, {"active": "true", "scope": "fleet.read"}])
def test_a_token_that_is_not_active_is_refused(browser: Browser, idp: Neighbour, claims: dict[str, Any]) -> None:
    idp.body = claims
    answer = ask(browser)
    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
    assert "Tiger" not in answer.text


@pytest.mark.parametrize("scope", ["openid", "", "fleet.read.all", None])
def test_a_token_for_something_else_is_not_enough(browser: Browser, idp: Neighbour, scope: str | None) -> None:
    idp.body = {"active": True, "scope": scope}
    answer = ask(browser)
    assert answer.status_code == 403
    assert 'error="insufficient_scope"' in answer.headers["WWW-Authenticate"]
    assert 'scope="fleet.read"' in answer.headers["WWW-Authenticate"]


@pytest.mark.parametrize("authorization", [None, "Basic YTpi", "Digest x"])
def test_without_a_token_the_challenge_names_no_error(
    browser: Browser, idp: Neighbour, authorization: str | None
) -> None:
    answer = ask(browser, authorization)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="Pickup Manager"', "RFC 6750 §3.1"
    assert not idp.asked


def test_a_token_in_the_address_does_not_count(browser: Browser, idp: Neighbour) -> None:
    assert browser.get("/api/drivers?access_token=a.b-c").status_code == 401
    assert not idp.asked


def test_a_session_is_no_token(manager: Browser) -> None:
    assert manager.get("/api/drivers").status_code == 401


@pytest.mark.parametrize("failure", [requests.ConnectionError("down"), requests.ReadTimeout("slow")])
def test_when_the_provider_does_not_answer_nobody_gets_in(browser: Browser, idp: Neighbour, failure: Exception) -> None:
    idp.failure = failure
    answer = ask(browser)
    assert answer.status_code == 503
    assert "cannot be asked" in answer.text


@pytest.mark.parametrize(
    ("status", "body"), [(401, {"active": True}), (302, {}), (500, b""), (200, b"no JSON"), (200, [])]
)
def test_an_answer_that_is_none_is_not_taken_for_one(browser: Browser, idp: Neighbour, status: int, body: Any) -> None:
    idp.status, idp.body = status, body
    assert ask(browser).status_code == 503
    assert len(idp.asked) == 1


def test_the_api_is_for_reading(browser: Browser) -> None:
    assert browser.post("/api/drivers", csrf="").status_code in (400, 405)
