"""Requests too long for a URL are stored on the server, up to a limit; above it the user gets an error page."""

import json
from typing import Any
from urllib.parse import urlencode

import pytest
from werkzeug.test import TestResponse

from idp.authorization import pending
from idp.authorization.pending import MAX_IN_URL, MAX_KEPT, MAX_REQUEST, MAX_RETURNED
from idp.models import LONG_REQUEST_SECONDS, LongRequest
from tests.conftest import Clock, SiteClient
from tests.idp.conftest import DISPATCH, Provider, hidden
from tests.idp.parties import SHOP, Party, answer_of
from tests.network import Browser, query_of
from tests.reading import words

MAX_HEADER = MAX_IN_URL + 500  # characters of a Location to ourselves


def long_claims(size: int) -> str:
    """A claims parameter of about this many bytes, which does not compress."""
    names = iter(f"{number * 2654435761 % 2**32:08x}" for number in range(size))
    claims: dict[str, None] = {}
    while len(claims) * 16 < size:
        claims[next(names)] = None
    return json.dumps({"userinfo": claims})


def assert_too_long(response: TestResponse) -> None:
    """The error page: what happened, the limit, and who must change what."""
    assert response.status_code == 413
    assert "request is too long" in words(response)
    assert f"{MAX_REQUEST:,}" in response.text
    assert "Location" not in response.headers


# --- authorization ---


@pytest.mark.parametrize("size", [5_000, 12_000, 18_000])
def test_long_post_from_another_site_uses_the_session(
    size: int, browser: Browser, provider: Provider, shop: Party
) -> None:
    """AUTH-01: like a short one, without a second password; no URL is long."""
    browser.open(f"{provider.issuer}/oauth2/authorize?{urlencode(provider.parameters())}")
    browser.submit("/login", username="cameron", password="correct horse")
    fields = shop.parameters(state="by post", response_mode="form_post", claims=long_claims(size))
    page = browser.post_from_elsewhere(f"{provider.issuer}/oauth2/authorize", **fields)
    form = page.form(SHOP)
    assert (form.fields["state"], bool(form.fields["code"])) == ("by post", True)
    assert max(map(len, [page.url, *page.came_by])) < MAX_HEADER


@pytest.mark.parametrize("size", [5_000, 18_000])
def test_long_request_continues_after_login_and_consent(size: int, shop: Party, provider: Provider) -> None:
    """AUTH-26: through the login page and the consent page."""
    browser = provider.browser()
    claims = long_claims(size)
    first = browser.post("/oauth2/authorize", data=shop.parameters(claims=claims, prompt="consent"))
    login = browser.get(first.location)
    signed_in = browser.submit("/login", request=hidden(login, "request"), username="cameron", password="correct horse")
    consent = browser.get(signed_in.location)
    allowed = browser.submit("/consent", request=hidden(consent, "request"), answer="allow")
    assert max(len(step.location) for step in (first, signed_in, allowed)) < MAX_HEADER
    assert "code" in answer_of(browser.get(allowed.location)).parameters


def test_page_of_a_long_request_can_be_reloaded(shop: Party, provider: Provider) -> None:
    """AUTH-26: the URL stays valid for a limited time."""
    browser = provider.browser()
    first = browser.post("/oauth2/authorize", data=shop.parameters(claims=long_claims(5_000)))
    for _ in range(2):
        assert hidden(browser.get(first.location), "request")


def test_url_of_a_long_request_expires(shop: Party, provider: Provider, clock: Clock) -> None:
    """AUTH-26: afterwards a page says so."""
    browser = provider.browser()
    first = browser.post("/oauth2/authorize", data=shop.parameters(claims=long_claims(5_000)))
    clock.turn(LONG_REQUEST_SECONDS + 1)
    response = browser.get(first.location)
    assert (response.status_code, "open for too long" in response.text) == (400, True)


@pytest.mark.parametrize("path", ["/oauth2/authorize", "/oidc/logout"])
@pytest.mark.parametrize("size", [MAX_REQUEST + 1, 300_000], ids=["above-the-bound", "above-every-form"])
@pytest.mark.parametrize("with_cookie", [True, False])
def test_request_above_the_limit_gets_an_error_page(
    with_cookie: bool, size: int, path: str, provider: Provider, cameron: SiteClient
) -> None:
    """AUTH-01, RPL-02: 413, and nothing is stored."""
    browser = cameron if with_cookie else provider.browser()
    assert_too_long(browser.post(path, data={"client_id": DISPATCH, "state": "x" * size}))
    assert provider.rows(LongRequest) == []


def test_invalid_long_request_is_not_stored(shop: Party, provider: Provider) -> None:
    """AUTH-03: from an unknown client, or with an address that is not the client's own."""
    for changes in ({"client_id": "unknown"}, {"redirect_uri": "https://evil.example/"}):
        response = provider.browser().post(
            "/oauth2/authorize", data=shop.parameters(claims=long_claims(5_000), **changes)
        )
        assert response.status_code == 400
    assert provider.rows(LongRequest) == []


def test_wrong_password_stores_nothing(shop: Party, provider: Provider) -> None:
    """AUTH-26: until the right password, the request stays in the page."""
    browser = provider.browser()
    first = browser.post("/oauth2/authorize", data=shop.parameters(claims=long_claims(5_000)))
    page = browser.get(first.location)
    for password in ("wrong", "correct horse"):
        before = len(provider.rows(LongRequest))
        response = browser.submit("/login", request=hidden(page, "request"), username="cameron", password=password)
        assert len(provider.rows(LongRequest)) - before == (password != "wrong")
    assert response.status_code == 303


def test_number_of_stored_requests_is_limited(shop: Party, provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    """AUTH-26: anyone can send them, so only the newest are stored, and expired ones are deleted."""
    monkeypatch.setattr(pending, "MAX_KEPT", 3)
    browser = provider.browser()
    locations = [
        browser.post("/oauth2/authorize", data=shop.parameters(claims=long_claims(5_000), state=str(number))).location
        for number in range(5)
    ]
    assert len(provider.rows(LongRequest)) == 3 < MAX_KEPT
    assert hidden(browser.get(locations[-1]), "request")


def test_expired_long_requests_are_deleted(shop: Party, provider: Provider, clock: Clock) -> None:
    """AUTH-26: also without new requests."""
    provider.browser().post("/oauth2/authorize", data=shop.parameters(claims=long_claims(5_000)))
    clock.turn(LONG_REQUEST_SECONDS + 1)
    provider.state.background.run_maintenance()
    assert provider.rows(LongRequest) == []


@pytest.mark.parametrize("name", ["state", "nonce"])
@pytest.mark.parametrize("how", ["good", "refused"])
def test_values_returned_in_the_url_are_limited_in_length(
    how: str, name: str, shop: Party, cameron: SiteClient
) -> None:
    """AUTH-08: an error page, because no server accepts such a Location."""
    changes = {name: "x" * (MAX_RETURNED + 1), "response_type": "id_token" if name == "nonce" else "code"}
    if how == "refused":
        changes["prompt"] = "none login"
    response = cameron.post("/oauth2/authorize", data=shop.parameters(**changes))
    assert response.status_code == 400
    assert "response_mode=form_post" in response.text
    assert f"({MAX_RETURNED + 1} characters)" in response.text


def test_values_returned_in_a_form_can_be_longer(shop: Party, cameron: SiteClient) -> None:
    """AUTH-08, FP-01."""
    state = "x" * (MAX_RETURNED + 1)
    response = cameron.post("/oauth2/authorize", data=shop.parameters(state=state, response_mode="form_post"))
    assert answer_of(response)["state"] == state


# --- logout ---


def hint(provider: Provider, browser: SiteClient) -> str:
    """An ID token of this session, as long as the IdP could have issued it."""
    return str(provider.tokens(browser, nonce="n" * 5_000)["id_token"])


def test_long_logout_from_another_site_is_repeated_with_the_cookie(provider: Provider, cameron: SiteClient) -> None:
    """RPL-02: like a short one; the hint is checked immediately and is in no URL."""
    back = f"{provider.url(DISPATCH)}/logged-out"
    data = {"id_token_hint": hint(provider, cameron), "post_logout_redirect_uri": back, "state": "s"}
    first = provider.app.test_client(use_cookies=False).post("/oidc/logout", data=data)
    assert first.status_code == 303
    assert len(first.location) < MAX_HEADER
    assert data["id_token_hint"][:50] not in first.location
    response = cameron.get(first.location)
    assert (response.status_code, response.location) == (303, f"{back}?state=s")
    assert provider.session().ended_at is not None


def test_invalid_long_logout_is_rejected_immediately(provider: Provider, cameron: SiteClient) -> None:
    """RPL-11: it is not stored and redirected."""
    data = {"id_token_hint": hint(provider, cameron)[:-5] + "AAAAA"}
    response = provider.app.test_client(use_cookies=False).post("/oidc/logout", data=data)
    assert (response.status_code, "Location" in response.headers) == (400, False)
    assert provider.rows(LongRequest) == []


def test_resume_url_of_a_long_logout_expires(provider: Provider, cameron: SiteClient, clock: Clock) -> None:
    """RPL-02: an old URL cannot end a session."""
    data = {"id_token_hint": hint(provider, cameron)}
    first = provider.app.test_client(use_cookies=False).post("/oidc/logout", data=data)
    clock.turn(LONG_REQUEST_SECONDS + 1)
    response = cameron.get(first.location)
    assert (response.status_code, "open for too long" in response.text) == (400, True)
    assert provider.session().ended_at is None


@pytest.mark.parametrize("resume", ["", "made up", "a.b.c"])
def test_forged_resume_url_of_a_logout_gets_an_error_page(resume: str, provider: Provider, cameron: SiteClient) -> None:
    """RPL-16: the session stays active."""
    response = cameron.get("/oidc/logout", query_string={"resume": resume})
    assert (response.status_code, "open for too long" in response.text) == (400, True)
    assert provider.session().ended_at is None


def test_logout_state_too_long_for_the_url_is_rejected(provider: Provider, cameron: SiteClient) -> None:
    """RPL-24: the session stays active, and the page offers to log out."""
    data: dict[str, Any] = {
        "id_token_hint": provider.tokens(cameron)["id_token"],
        "post_logout_redirect_uri": f"{provider.url(DISPATCH)}/logged-out",
        "state": "x" * (MAX_RETURNED + 1),
    }
    response = cameron.post("/oidc/logout", data=data)
    assert (response.status_code, "state is too long" in response.text) == (400, True)
    assert provider.session().ended_at is None
    assert query_of(cameron.post("/oidc/logout", data={**data, "state": "s"}).location) == {"state": "s"}
