"""Error pages for users: what happened, which setting is wrong, the exact value, how to correct it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from werkzeug.test import TestResponse

from idp.authorization.pending import PENDING_SECONDS
from idp.error_pages import MAX_FACT
from tests.conftest import Clock, SiteClient
from tests.idp.conftest import DISPATCH, MANAGER, Provider, hidden
from tests.reading import words

EVIL = "https://evil.example/<script>?a=b&c='\""


@dataclass(frozen=True)
class Case:
    """A request, and the required text of its page: what happened, the value received, and who must change it."""

    send: Callable[[Provider, SiteClient], TestResponse]
    title: str
    value: str
    advice: str


def authorize(**changes: Any) -> Callable[[Provider, SiteClient], TestResponse]:
    """An authorization request."""
    return lambda provider, browser: provider.authorize(browser, **changes)


def log_out(**parameters: str) -> Callable[[Provider, SiteClient], TestResponse]:
    """A logout request; HINT stands for a valid hint of Dispatch."""

    def send(provider: Provider, browser: SiteClient) -> TestResponse:
        hint = provider.tokens(browser)["id_token"]
        return provider.end_session(browser, **{k: v.replace("HINT", hint) for k, v in parameters.items()})

    return send


CASES = {
    "client-unknown": Case(
        authorize(client_id="pickup-dispach"), "not known here", "client_id pickup-dispach", "operator should compare"
    ),
    "client-missing": Case(authorize(client_id=None), "not known here", "client_id (none)", "operator should compare"),
    "redirect-uri-unknown": Case(
        authorize(redirect_uri=EVIL),
        "Redirect address not registered for Pickup Dispatch",
        f"redirect_uri {EVIL}",
        "register exactly this address",
    ),
    "redirect-uri-slash": Case(
        authorize(redirect_uri="http://dispatch.localhost:8080/pickup-dispatch/oauth2client/"),
        "Redirect address not registered for Pickup Dispatch",
        "/oauth2client/",
        "a slash at the end",
    ),
    "redirect-uri-missing": Case(
        authorize(redirect_uri=None),
        "Redirect address missing for Pickup Dispatch",
        "redirect_uri (none)",
        "correct redirect_uri in the app",
    ),
    "response-mode": Case(
        authorize(response_mode="web_message"),
        "Response mode of Pickup Dispatch not supported",
        "response_mode web_message",
        "ask for one of these",
    ),
    "resume": Case(
        lambda _, browser: browser.get("/oauth2/authorize?resume=x"),
        "open for too long",
        "an hour",
        "Go back to the app",
    ),
    "logout-uri-unknown": Case(
        log_out(id_token_hint="HINT", post_logout_redirect_uri=EVIL),
        "not one of those registered for Pickup Dispatch",
        f"post_logout_redirect_uri {EVIL}",
        "operator of Pickup Dispatch should register",
    ),
    "logout-client-unknown": Case(
        log_out(client_id="unknown"), "not registered here", "client_id unknown", "operator should compare"
    ),
    "logout-client-mixed-up": Case(
        log_out(id_token_hint="HINT", client_id=MANAGER), "not the client", f"client_id {MANAGER}", "mixes up"
    ),
    "logout-hint-none-of-ours": Case(
        log_out(id_token_hint="HINTx"), "not an ID token of this provider", "id_token_hint", "unchanged"
    ),
    "logout-twice": Case(
        lambda _, browser: browser.get("/oidc/logout?state=1&state=2"), "more than once", "", "send each parameter once"
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_error_page_names_cause_setting_and_fix(case: Case, provider: Provider, cameron: SiteClient) -> None:
    """RPL-25, RPL-26, AUTH-03: with the exact value received, as text; 400, and no redirect."""
    page = case.send(provider, cameron)
    assert page.status_code == 400
    assert "Location" not in page.headers
    text = words(page)
    for part in (case.title, case.value, case.advice):
        assert part in text, f"{part!r} is not in {text!r}"
    assert "<script>?" not in page.text


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_error_page_reveals_no_registered_value(case: Case, provider: Provider, cameron: SiteClient) -> None:
    """RPL-31: no token, registered URI or state is shown; nothing is stored or sent."""
    hint = provider.tokens(cameron)["id_token"]
    page = case.send(provider, cameron)
    assert hint.rpartition(".")[2] not in page.text
    assert f'{provider.url(DISPATCH)}/oauth2client"' not in page.text
    assert f"{provider.url(DISPATCH)}/oauth2client<" not in page.text
    assert f"{provider.url(DISPATCH)}/logged-out" not in page.text
    assert "a state" not in page.text
    assert page.headers["Cache-Control"] == "no-store"
    assert page.headers["Referrer-Policy"] == "no-referrer"


def test_long_value_is_shown_shortened(provider: Provider, cameron: SiteClient) -> None:
    """A page shows only what is wrong."""
    text = words(provider.authorize(cameron, redirect_uri="https://evil.example/" + "x" * 5000))
    assert "… (5021 characters)" in text
    assert "x" * (MAX_FACT + 1) not in text


@pytest.mark.parametrize("path", ["/login", "/consent"])
def test_late_form_is_reported(path: str, provider: Provider, cameron: SiteClient, clock: Clock) -> None:
    """Nothing was done; the page says where to start again."""
    page = provider.authorize(cameron, prompt="consent")
    clock.turn(PENDING_SECONDS + 1)
    text = words(cameron.submit(path, request=hidden(page, "request"), answer="allow", username="x", password="x"))
    assert "open for too long" in text
    assert "Nothing was done" in text
    assert "Go back to the app" in text


def test_error_page_offers_log_out_only_to_signed_in_users(provider: Provider, cameron: SiteClient) -> None:
    """RPL-26: a signed-in user can always log out."""
    for browser, offered in ((cameron, True), (provider.browser(), False)):
        page = provider.end_session(browser, client_id="unknown")
        assert ("Log out here" in page.text) is offered
        assert ("still signed in" in page.text) is offered


OF_A_KNOWN_APP = ("redirect-uri-unknown", "redirect-uri-missing", "response-mode")


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_every_error_page_has_a_link_to_continue(case: Case, provider: Provider, cameron: SiteClient) -> None:
    """The app's start page, if the operator registered one; and always our own."""
    page = case.send(provider, cameron)
    assert 'href="/">Go to the start page<' in page.text
    if case in [CASES[name] for name in OF_A_KNOWN_APP]:
        assert f'href="{provider.url(DISPATCH)}/">Go to Pickup Dispatch<' in page.text


def test_error_page_does_not_link_to_an_app_without_a_start_page(provider: Provider, cameron: SiteClient) -> None:
    """An app that registered itself has none: it cannot place a link on our page."""
    provider.change_client(DISPATCH, home_url=None)
    page = provider.authorize(cameron, redirect_uri=EVIL)
    assert "Go to Pickup Dispatch" not in page.text
    assert 'href="/">Go to the start page<' in page.text
