"""/account and /console: access, and the sign-in that leads to them."""

import re
from html import unescape

import pytest
from werkzeug.test import TestResponse

from idp.sign_in.sso_session import COOKIE
from tests.conftest import PASSWORD, SiteClient
from tests.idp.conftest import Provider, hidden
from tests.idp.console.conftest import operator
from tests.reading import words


def sign_in_for(provider: Provider, path: str, username: str = "admin") -> tuple[SiteClient, TestResponse]:
    """Open a page, answer the login page, follow the redirects back."""
    browser = provider.browser()
    page = browser.get(browser.get(path).location)
    assert page.status_code == 200
    answer = browser.submit("/login", next=hidden(page, "next"), username=username, password=PASSWORD)
    return browser, answer


LOG_OUT = re.compile(r'<(?:a|button)\b[^>]*?class="([^"]*)"[^>]*>\s*Log out')


@pytest.mark.parametrize(
    "path", ["/", "/oidc/logout", "/account", "/account/log-out-everywhere", "/console", "/console/people"]
)
def test_log_out_button_has_the_same_colour_everywhere(provider: Provider, path: str) -> None:
    found = LOG_OUT.findall(operator(provider).get(path).text)
    assert found
    assert [classes for classes in found if "log-out" not in classes or "danger" in classes or "quiet" in classes] == []


@pytest.mark.parametrize("path", ["/account", "/console"])
def test_anonymous_user_signs_in_and_returns_to_the_page(provider: Provider, path: str) -> None:
    """Without visiting an app first."""
    browser, answer = sign_in_for(provider, path)
    assert (answer.status_code, answer.location) == (303, path)
    assert browser.get(path).status_code == 200


def test_console_is_for_operators_only(provider: Provider) -> None:
    """Other users get a message, and see none of its content."""
    browser, _ = sign_in_for(provider, "/console", "cameron")
    page = browser.get("/console")
    assert page.status_code == 403
    assert "Only operators can open the console You are signed in as cameron." in words(page)


def test_console_offers_other_users_a_sign_in(provider: Provider) -> None:
    """The link shows the sign-in form although cameron is signed in."""
    browser, _ = sign_in_for(provider, "/account", "cameron")
    refusal = browser.get("/console/sessions?search=a+b")
    link = re.search(r'href="([^"]+)">Sign in as someone else<', refusal.text)
    assert link
    form = browser.get(unescape(link[1]))
    assert form.status_code == 200
    answer = browser.submit("/login", next=hidden(form, "next"), username="admin", password=PASSWORD)
    assert (answer.status_code, answer.location) == (303, "/console/sessions?search=a+b")
    assert browser.get(answer.location).status_code == 200


def test_rejected_console_form_offers_a_sign_in_for_the_console(provider: Provider) -> None:
    """The form's address may have no page."""
    browser, _ = sign_in_for(provider, "/account", "cameron")
    refusal = browser.submit("/console/applications/pickup-dispatch/check")
    assert refusal.status_code == 403
    assert 'href="/login?next=/console">Sign in as someone else<' in refusal.text


@pytest.mark.parametrize(
    "following",
    ["https://elsewhere.example/account", "//elsewhere.example", "/\\elsewhere.example", "/oauth2/token", ""],
)
def test_sign_in_does_not_redirect_to_other_sites(provider: Provider, following: str) -> None:
    """RFC 9700 §4.11: no open redirector."""
    browser = provider.browser()
    assert browser.get("/login", query_string={"next": following}).location == "/"
    browser.get("/login?next=/account")
    answer = browser.submit("/login", next=following, username="admin", password=PASSWORD)
    assert answer.status_code == 400
    assert browser.get_cookie(COOKIE, domain="idp.localhost") is None


@pytest.mark.parametrize("path", ["/account/end-others", "/console/keys/rotate"])
def test_form_of_another_sign_in_is_rejected(path: str, provider: Provider) -> None:
    """A sibling site can set its own IdP cookie in the browser, and knows the form token that belongs to it."""
    victim, attacker = operator(provider), operator(provider)
    attacker.get(path)
    name = provider.app.config["SESSION_COOKIE_NAME"]
    tossed = attacker.get_cookie(name, "idp.localhost")
    assert tossed
    victim.set_cookie(name, tossed.value, domain="idp.localhost")
    assert victim.post(path, data={"csrf_token": attacker.csrf_token}).status_code == 400
    victim.get("/login?next=/account")  # a form without a user
    assert victim.submit(path).status_code == 400
    assert attacker.submit(path).status_code == 303, "control: there it is valid"


@pytest.mark.parametrize("path", ["/account/end-others", "/console/keys/rotate"])
def test_form_from_a_sibling_domain_is_rejected(path: str, provider: Provider) -> None:
    """Even with the token of this sign-in."""
    browser, _another = operator(provider), operator(provider)
    browser.get(path)
    form = {"csrf_token": browser.csrf_token}
    assert browser.post(path, data=form, headers={"Sec-Fetch-Site": "same-site"}).status_code == 400
    assert browser.post(path, data=form, headers={"Sec-Fetch-Site": "same-origin"}).status_code == 303
