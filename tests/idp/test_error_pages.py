"""Error pages that a person understands: what happened, whose setting is wrong, the exact value, what to change."""

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
    """A request, and what its page must say: what happened, the value received, and who changes what."""

    send: Callable[[Provider, SiteClient], TestResponse]
    title: str
    value: str
    advice: str


def authorize(**changes: Any) -> Callable[[Provider, SiteClient], TestResponse]:
    """An authorization request."""
    return lambda provider, browser: provider.authorize(browser, **changes)


def log_out(**parameters: str) -> Callable[[Provider, SiteClient], TestResponse]:
    """A logout request; HINT stands for a good hint of Dispatch."""

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
def test_an_error_page_names_the_cause_the_setting_and_the_fix(
    case: Case, provider: Provider, cameron: SiteClient
) -> None:
    """RPL-25, RPL-26, AUTH-03: with the exact value received, as text; 400, and no redirect."""
    page = case.send(provider, cameron)
    assert page.status_code == 400
    assert "Location" not in page.headers
    text = words(page)
    for part in (case.title, case.value, case.advice):
        assert part in text, f"{part!r} is not in {text!r}"
    assert "<script>?" not in page.text


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_an_error_page_reveals_no_registered_value(case: Case, provider: Provider, cameron: SiteClient) -> None:
    """RPL-31: no token, no registered address, no state; nothing of it is stored or told to others."""
    hint = provider.tokens(cameron)["id_token"]
    page = case.send(provider, cameron)
    assert hint.rpartition(".")[2] not in page.text
    assert f'{provider.url(DISPATCH)}/oauth2client"' not in page.text
    assert f"{provider.url(DISPATCH)}/oauth2client<" not in page.text
    assert f"{provider.url(DISPATCH)}/logged-out" not in page.text
    assert "a state" not in page.text
    assert page.headers["Cache-Control"] == "no-store"
    assert page.headers["Referrer-Policy"] == "no-referrer"


def test_a_long_value_is_shortened_and_says_so(provider: Provider, cameron: SiteClient) -> None:
    """A page says what is wrong, and only that."""
    text = words(provider.authorize(cameron, redirect_uri="https://evil.example/" + "x" * 5000))
    assert "… (5021 characters)" in text
    assert "x" * (MAX_FACT + 1) not in text


@pytest.mark.parametrize("path", ["/login", "/consent"])
def test_a_form_that_came_too_late_says_so(path: str, provider: Provider, cameron: SiteClient, clock: Clock) -> None:
    """Nothing was done, and where to start again."""
    page = provider.authorize(cameron, prompt="consent")
    clock.turn(PENDING_SECONDS + 1)
    text = words(cameron.submit(path, request=hidden(page, "request"), answer="allow", username="x", password="x"))
    assert "open for too long" in text
    assert "Nothing was done" in text
    assert "Go back to the app" in text


def test_an_error_page_offers_log_out_only_to_signed_in_users(provider: Provider, cameron: SiteClient) -> None:
    """RPL-26: nobody is trapped."""
    for browser, offered in ((cameron, True), (provider.browser(), False)):
        page = provider.end_session(browser, client_id="unknown")
        assert ("Log out here" in page.text) is offered
        assert ("still signed in" in page.text) is offered


OF_A_KNOWN_APP = ("redirect-uri-unknown", "redirect-uri-missing", "response-mode")


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_every_error_page_offers_a_way_on(case: Case, provider: Provider, cameron: SiteClient) -> None:
    """The app's start page, where the operator registered one for a known app; and always our own."""
    page = case.send(provider, cameron)
    assert 'href="/">Go to the start page<' in page.text
    if case in [CASES[name] for name in OF_A_KNOWN_APP]:
        assert f'href="{provider.url(DISPATCH)}/">Go to Pickup Dispatch<' in page.text


def test_an_error_page_links_to_no_address_of_an_app_without_a_start_page(
    provider: Provider, cameron: SiteClient
) -> None:
    """An app that registered itself has none: it cannot place a link on our page."""
    provider.change_client(DISPATCH, home_url=None)
    page = provider.authorize(cameron, redirect_uri=EVIL)
    assert "Go to Pickup Dispatch" not in page.text
    assert 'href="/">Go to the start page<' in page.text
