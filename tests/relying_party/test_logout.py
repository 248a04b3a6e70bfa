"""Logging out at the application: RP-Initiated Logout 1.0, relying party's side (RPL-34 … RPL-39)."""

import re

import pytest
from flask.testing import FlaskClient
from jinja2 import ChoiceLoader, DictLoader
from werkzeug.test import TestResponse

from relying_party import access_token
from relying_party.logout import logout
from tests.conftest import START, Clock
from tests.network import Network, query_of
from tests.relying_party.conftest import BASE_URL, CLIENT_ID, COOKIE, ISSUER, Shop, who

COMPLETE = "The identity provider (IdP) was asked to end the shared session and to notify the other apps."
NEUTRAL = "Your session in this app has ended."


def log_out(browser: FlaskClient) -> TestResponse:
    """Click on "Log out"."""
    return browser.post("/logout", data={"csrf_token": browser.get("/form").text})


def test_logout_redirects_to_the_provider_with_all_parameters(shop: Shop) -> None:
    """RPL-34: the hint, the client id, the registered address, a fresh state; 303, because a form was posted."""
    browser = shop.sign_in()
    (row,) = shop.rows()
    assert row.login
    response = log_out(browser)
    assert response.status_code == 303
    assert response.location.startswith(f"{ISSUER}/logout?")
    sent = query_of(response.location)
    assert set(sent) == {"id_token_hint", "client_id", "post_logout_redirect_uri", "state"}
    assert sent["id_token_hint"] == row.login["id_token"]
    assert sent["client_id"] == CLIENT_ID
    assert sent["post_logout_redirect_uri"] == f"{BASE_URL}/logged-out"
    assert len(sent["state"]) == 43
    assert query_of(log_out(shop.sign_in()).location)["state"] != sent["state"]


def test_hint_is_the_newest_id_token(shop: Shop, clock: Clock) -> None:
    """RPL-34: a refresh returned another one."""
    browser = shop.sign_in()
    before = shop.rows()[0].login
    clock.turn(590)
    shop.provider.id_token = {"auth_time": START}
    cookie = browser.get_cookie(COOKIE, "shop.example")
    assert cookie
    with shop.app.test_request_context("/", headers={"Cookie": f"{COOKIE}={cookie.value}"}):
        access_token()
    after = shop.rows()[0].login
    assert before
    assert after
    assert before["id_token"] != after["id_token"]
    assert query_of(log_out(browser).location)["id_token_hint"] == after["id_token"]


def test_query_of_the_endpoint_is_kept(shop: Shop) -> None:
    """RPL-34: some providers' endpoints have one."""
    shop.provider.metadata = {"end_session_endpoint": f"{ISSUER}/logout?tenant=1"}
    response = log_out(shop.sign_in())
    assert response.location.startswith(f"{ISSUER}/logout?tenant=1&id_token_hint=")


def test_local_session_ends_first(shop: Shop) -> None:
    """RPL-36: it ends before the provider is contacted, and the row keeps no data."""
    browser = shop.sign_in()
    log_out(browser)
    assert who(browser) == "anonymous"
    (row,) = shop.rows()
    assert (row.login, row.end_reason) == (None, "You logged out here.")


def test_logout_token_for_the_ended_session_is_a_success(shop: Shop) -> None:
    """RPL-36, BCL-56: 200."""
    log_out(shop.sign_in())
    assert shop.log_out(shop.provider.maker().logout_token()).status_code == 200


def test_id_token_is_not_sent_to_the_browser_before_logout(shop: Shop) -> None:
    """RPL-35: it is kept on the server; no cookie and no page contains it."""
    browser = shop.sign_in()
    (row,) = shop.rows()
    assert row.login
    cookie = browser.get_cookie(COOKIE, "shop.example")
    assert cookie
    signature = row.login["id_token"].rpartition(".")[2]
    assert signature not in cookie.value
    assert signature not in browser.get("/profile").text


@pytest.mark.parametrize("fault", ["refuse", "time_out"])
def test_unreachable_provider_does_not_prevent_logout(fault: str, shop: Shop, network: Network) -> None:
    """RPL-36: the session here ends with or without cached metadata; no request is sent."""
    known, unknown = shop.sign_in(), shop.sign_in(sid="another session")
    getattr(network, fault)(ISSUER)
    asked = len(network.exchanges)
    assert log_out(known).location.startswith(f"{ISSUER}/logout?")
    shop.state.provider.reset()
    assert log_out(unknown).location.startswith(f"{ISSUER}/logout?"), "the user can complete the logout there later"
    assert (who(known), who(unknown)) == ("anonymous", "anonymous")
    assert len(network.exchanges) == asked


@pytest.mark.parametrize("endpoint", [None, 7, "http://op.example/logout"])
def test_provider_without_the_endpoint_means_local_logout(endpoint: object, shop: Shop) -> None:
    """RPL-39: the same holds for an endpoint without TLS or that is not a URL."""
    shop.provider.metadata = {"end_session_endpoint": endpoint}
    browser = shop.sign_in()
    assert log_out(browser).location == "/logged-out"
    assert NEUTRAL in browser.get("/logged-out").text
    assert who(browser) == "anonymous"


@pytest.mark.parametrize("token", ["", "made up"])
def test_other_site_cannot_log_a_user_out(token: str, shop: Shop) -> None:
    """RPL-38: the form's CSRF token is required."""
    browser = shop.sign_in()
    assert browser.post("/logout", data={"csrf_token": token}).status_code == 400
    assert who(browser) == "a user"


@pytest.mark.parametrize(
    ("site", "who_is_in"), [("cross-site", "a user"), ("same-site", "a user"), ("none", "anonymous")]
)
def test_sibling_site_cannot_log_a_user_out_without_csrf_tokens(site: str, who_is_in: str, shop: Shop) -> None:
    """RPL-38: browsers send the form's origin; "none" means that the user resubmitted it."""
    browser = shop.sign_in()
    token = browser.get("/form").text
    browser.post("/logout", data={"csrf_token": token}, headers={"Sec-Fetch-Site": site})
    assert who(browser) == who_is_in


def test_link_cannot_log_a_user_out(shop: Shop) -> None:
    """RPL-38: POST only; a prefetching browser or an image does no harm."""
    browser = shop.sign_in()
    assert browser.get("/logout").status_code == 405
    assert who(browser) == "a user"


def test_anonymous_logout_is_reported(shop: Shop) -> None:
    """Counterpart of RPL-27: logging out twice is not an error, and the provider gets no request."""
    browser = shop.browser()
    response = log_out(browser)
    assert (response.status_code, response.location) == (303, "/logged-out")


def test_late_logout_is_not_reported_as_forged(shop: Shop) -> None:
    """RPL-36: the session ended elsewhere, and with it the form's token."""
    browser = shop.sign_in()
    form = {"csrf_token": browser.get("/form").text}
    shop.log_out(shop.provider.maker().logout_token())
    response = browser.post("/logout", data=form)
    assert (response.status_code, response.location) == (303, "/logged-out")


@pytest.mark.parametrize("has_csrf", [True, False], ids=["with-csrf-tokens", "without"])
def test_extension_pages_have_a_log_out_button(has_csrf: bool, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """For any signed-in user; with the form's token if the application uses them."""
    browser = shop.sign_in()
    if not has_csrf:
        monkeypatch.delitem(shop.app.jinja_env.globals, "csrf_token")
        monkeypatch.setattr(shop.app, "template_context_processors", {None: []})  # Flask-WTF's token is here, too
        shop.app.extensions["csrf"].exempt(logout)
    page = browser.get("/profile").text
    form = page.partition('<form method="post" action="/logout">')[2].partition("</form>")[0]
    assert "Log out" in form
    token = re.search(r'name="csrf_token" value="([^"]+)"', form)
    assert bool(token) is has_csrf
    assert browser.post("/logout", data={"csrf_token": token[1]} if token else {}).status_code == 303
    assert who(browser) == "anonymous"
    assert "/logout" not in browser.get("/logged-out").text


# --- back from the provider ---


def test_valid_state_confirms_the_logout(shop: Shop) -> None:
    """RPL-37: it answers our own request; once."""
    browser = shop.sign_in()
    state = query_of(log_out(browser).location)["state"]
    page = browser.get(f"/logged-out?state={state}").text
    assert f"{NEUTRAL} {COMPLETE}" in page
    assert "You are logged out" in page
    assert COMPLETE not in browser.get(f"/logged-out?state={state}").text


def test_application_can_replace_the_logged_out_page(shop: Shop) -> None:
    """For example one that links to its provider; only if the provider was asked."""
    own = (
        '{% extends "relying_party/message.html" %}{% block more %}Ask {{ config.RELYING_PARTY_ISSUER }}{% endblock %}'
    )
    known = shop.app.jinja_loader
    assert known
    shop.app.jinja_loader = ChoiceLoader([DictLoader({"relying_party/logged_out.html": own}), known])
    browser = shop.sign_in()
    state = query_of(log_out(browser).location)["state"]
    page = browser.get(f"/logged-out?state={state}").text
    assert COMPLETE in page
    assert "Ask https://op.example" in page
    assert "Ask https://op.example" not in browser.get("/logged-out").text


@pytest.mark.parametrize("query", ["", "?state=", "?state=other", "?state=%C3%BC", "?state=a&state=b"])
@pytest.mark.parametrize("asked", [True, False], ids=["after-a-logout", "out-of-the-blue"])
def test_wrong_or_missing_state_gets_a_neutral_page(query: str, asked: bool, shop: Shop) -> None:
    """RPL-37: no crash, and no statement about a logout we did not request."""
    browser = shop.browser()
    if asked:
        log_out(shop.sign_in(browser))
    response = browser.get("/logged-out" + query)
    assert response.status_code == 200
    assert NEUTRAL in response.text
    assert COMPLETE not in response.text


def test_signed_in_user_is_not_shown_as_logged_out(shop: Shop) -> None:
    """RPL-37: opening the address late or by a link changes nothing."""
    browser = shop.sign_in()
    response = browser.get("/logged-out?state=x")
    assert (response.status_code, response.location) == (303, "/")
    assert who(browser) == "a user"
