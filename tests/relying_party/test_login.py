"""Signing in: the request, the response, and its validation (Core §3.1, RFC 6749, 7636, 9207)."""

import hashlib
import json
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus, urlencode

import pytest
import requests
from flask.testing import FlaskClient
from urllib3 import HTTPConnectionPool
from urllib3.exceptions import ReadTimeoutError
from werkzeug import Response

from relying_party.login import LOGIN_SECONDS, LOGINS_AT_ONCE, local_path
from relying_party.models import StoredSession
from relying_party.sessions import hash_of
from tests.conftest import Clock
from tests.network import Fault, Network, Request
from tests.reading import words
from tests.relying_party.conftest import (
    BASE_URL,
    CLIENT_ID,
    CLIENT_SECRET,
    COOKIE,
    ISSUER,
    Shop,
    json_response,
    make_shop,
    who,
)
from tests.tokens import LOGOUT_EVENT, b64, rsa_key


def answer(shop: Shop, browser: FlaskClient, **changes: str) -> Any:
    """The provider's response to a login started now; an empty change omits a parameter."""
    request = shop.start_login(browser)
    shop.provider.nonce = request["nonce"]
    parameters = {"code": "a code", "state": request["state"], "iss": ISSUER, **changes}
    return shop.answer(browser, **{name: value for name, value in parameters.items() if value})


def assert_failed(shop: Shop, browser: FlaskClient, response: Any, says: str, status: int = 400) -> None:
    """A page with the reason, no session, and an event."""
    assert response.status_code == status, response.text
    assert says in response.text
    assert who(browser) == "anonymous"
    assert shop.rows() == []
    assert shop.outcomes("rp.login.failed")


# --- the request ---


def test_authorization_request_follows_the_specification(shop: Shop) -> None:
    """RP-05: code flow, openid, the exact address, state, nonce, PKCE; the endpoint's own query is kept."""
    response = shop.browser().get("/login")
    assert response.status_code == 303
    assert response.location.startswith(f"{ISSUER}/authorize?tenant=1&")
    request = shop.start_login(shop.browser())
    assert set(request) == {
        "tenant", "response_type", "client_id", "redirect_uri", "scope", "state", "nonce", "code_challenge",
        "code_challenge_method",
    }  # fmt: skip
    assert request["response_type"] == "code"
    assert request["client_id"] == CLIENT_ID
    assert request["redirect_uri"] == f"{BASE_URL}/oauth2client"
    assert request["scope"].split() == ["openid", "profile", "email"]  # RP-23: at least one more than openid
    assert request["code_challenge_method"] == "S256"


def test_state_and_nonce_are_long_and_new_each_time(shop: Shop) -> None:
    """RP-06: 256 random bits, URL-safe, 43 characters."""
    browser = shop.browser()
    requests = [shop.start_login(browser) for _ in range(3)]
    values = [request[name] for request in requests for name in ("state", "nonce", "code_challenge")]
    assert len(set(values)) == 9
    assert {len(value) for value in values} == {43}


def test_token_request_follows_the_specification(shop: Shop, network: Network) -> None:
    """RP-07, RP-09: a form post with the code, the address and the verifier; the secret only in the header."""
    browser = shop.browser()
    request = shop.start_login(browser)
    shop.provider.nonce = request["nonce"]
    shop.answer(browser, code="a code", state=request["state"], iss=ISSUER)
    (exchange,) = network.to(f"{ISSUER}/token")
    sent = exchange.request
    assert (sent.method, sent.headers["Content-Type"].partition(";")[0]) == (
        "POST",
        "application/x-www-form-urlencoded",
    )
    assert sent.form["grant_type"] == ["authorization_code"]
    assert sent.form["code"] == ["a code"]
    assert sent.form["redirect_uri"] == [f"{BASE_URL}/oauth2client"]
    (verifier,) = sent.form["code_verifier"]
    assert 43 <= len(verifier) <= 128
    assert b64(hashlib.sha256(verifier.encode()).digest()) == request["code_challenge"]
    assert "client_secret" not in sent.form
    assert "?" not in sent.url


def test_client_id_and_secret_are_form_encoded_in_basic(shop: Shop, network: Network) -> None:
    """RP-09, LIB-01: RFC 6749 §2.3.1. Libraries omit the encoding, which fails for a colon in the id."""
    shop.sign_in()
    (exchange,) = network.to(f"{ISSUER}/token")
    kind, _, credentials = exchange.request.headers["Authorization"].partition(" ")
    client_id, _, secret = b64decode(credentials).decode().partition(":")
    assert kind == "Basic"
    assert (unquote_plus(client_id), unquote_plus(secret)) == (CLIENT_ID, CLIENT_SECRET)
    assert not {" ", "/", "&", "="} & set(client_id + secret)


# --- the answer ---


def test_valid_response_signs_in_and_redirects_back(shop: Shop, network: Network) -> None:
    """RP-22, RP-26: userinfo is requested with the token in the header; the row has iss, sub and sid."""
    browser = shop.sign_in(sub="Ann", sid="s 1")
    assert who(browser) == "Ann"
    (row,) = shop.rows()
    assert (row.iss, row.sub, row.sid) == (ISSUER, "Ann", "s 1")
    (exchange,) = network.to(f"{ISSUER}/userinfo")
    assert exchange.request.headers["Authorization"] == "Bearer access 1"
    assert "access" not in exchange.request.url


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        pytest.param({"state": ""}, "did not start this sign-in", id="RP-08-no-state"),
        pytest.param({"state": "made up"}, "did not start this sign-in", id="RP-08-other-state"),
        pytest.param({"state": "ümläut"}, "did not start this sign-in", id="RP-08-state-not-ascii"),
        pytest.param({"iss": ""}, "The answer does not come from this app", id="RP-08-no-iss-though-announced"),
        pytest.param({"iss": "https://other.example"}, "The answer does not come from this app", id="RP-08-other-iss"),
        pytest.param({"iss": ISSUER + "/"}, "The answer does not come from this app", id="RP-08-iss-with-slash"),
        pytest.param({"code": ""}, "sent no code", id="RP-08-no-code"),
        pytest.param({"code": "", "error": "access_denied"}, "You did not allow", id="RP-08-access-denied"),
        pytest.param({"error": "server_error"}, "refused the sign-in", id="RP-08-error-beside-a-code"),
    ],
)
def test_invalid_response_does_not_sign_in(changes: dict[str, str], says: str, shop: Shop, network: Network) -> None:
    """RP-08: the code is not exchanged."""
    browser = shop.browser()
    assert_failed(shop, browser, answer(shop, browser, **changes), says)
    assert not network.to(f"{ISSUER}/token")


@pytest.mark.parametrize("name", ["state", "code", "iss"])
def test_repeated_parameter_is_rejected(name: str, shop: Shop) -> None:
    """RP-08, RFC 6749 §3.1: parameters must not be included more than once."""
    browser = shop.browser()
    request = shop.start_login(browser)
    shop.provider.nonce = request["nonce"]
    parameters = [("code", "c"), ("state", request["state"]), ("iss", ISSUER)]
    response = browser.get(
        "/oauth2client?" + urlencode([*parameters, *(pair for pair in parameters if pair[0] == name)])
    )
    assert_failed(shop, browser, response, "a parameter twice")


def test_iss_is_optional_unless_announced(shop: Shop) -> None:
    """RFC 9207 §2.4: providers without support send none; an iss that is sent is always compared."""
    shop.provider.metadata = {"authorization_response_iss_parameter_supported": None}
    browser = shop.browser()
    assert answer(shop, browser, iss="").status_code == 303
    assert answer(shop, shop.browser(), iss="https://other.example").status_code == 400


def test_response_is_accepted_once(shop: Shop) -> None:
    """RP-06: the state is used up by the first response, valid or not."""
    browser = shop.browser()
    request = shop.start_login(browser)
    shop.provider.nonce = request["nonce"]
    good = {"code": "c", "state": request["state"], "iss": ISSUER}
    assert shop.answer(browser, **{**good, "iss": "https://other.example"}).status_code == 400
    assert_failed(shop, browser, shop.answer(browser, **good), "already complete")


def test_response_of_another_browser_is_rejected(shop: Shop) -> None:
    """RP-06, RFC 6749 §10.12: otherwise a user could be signed in as the attacker without noticing."""
    attacker, victim = shop.browser(), shop.browser()
    request = shop.start_login(attacker)
    shop.start_login(victim)
    shop.provider.nonce = request["nonce"]
    response = shop.answer(victim, code="c", state=request["state"], iss=ISSUER)
    assert_failed(shop, victim, response, "did not start this sign-in")


def test_late_response_is_rejected(shop: Shop, clock: Clock) -> None:
    """RP-06: a login must be completed within ten minutes."""
    browser = shop.browser()
    request = shop.start_login(browser)
    clock.turn(LOGIN_SECONDS + 1)
    response = shop.answer(browser, code="c", state=request["state"], iss=ISSUER)
    assert_failed(shop, browser, response, "took too long")


def test_two_tabs_can_sign_in_at_the_same_time(shop: Shop) -> None:
    """Each response finds its own login; with very many tabs only the newest are kept."""
    browser = shop.browser()
    requests = [shop.start_login(browser, f"/{number}") for number in range(LOGINS_AT_ONCE + 1)]
    first, *others = requests
    assert shop.answer(browser, code="c", state=first["state"], iss=ISSUER).status_code == 400
    for number, request in enumerate(others, 1):
        shop.provider.nonce = request["nonce"]
        response = shop.answer(browser, code="c", state=request["state"], iss=ISSUER)
        assert (response.status_code, response.location) == (303, f"/{number}")
    assert who(browser) == "a user"
    assert len([row for row in shop.rows() if row.login]) == 1, "each login replaced the session before"


@pytest.mark.parametrize("name", ["error", "error_description", "code", "iss", "state"])
def test_error_page_does_not_repeat_the_response(name: str, shop: Shop) -> None:
    """RP-08: the page shows only our own texts, so an attacker can put neither words nor markup into it."""
    browser = shop.browser()
    response = answer(shop, browser, **{"error": "access_denied", name: "<script>alert(1)</script>Call+1-555"})
    assert response.status_code == 400
    assert "script>alert" not in response.text
    assert "Call" not in response.text


# --- the ID token and userinfo ---


@pytest.mark.parametrize(
    "id_token",
    [
        pytest.param({"iss": "https://other.example"}, id="RP-12"),
        pytest.param({"aud": "another client"}, id="RP-13"),
        pytest.param({"nonce": "another nonce"}, id="RP-17"),
        pytest.param({"key": rsa_key("never published")}, id="RP-11"),
        pytest.param({"events": {LOGOUT_EVENT: {}}}, id="BCL-67"),
    ],
)
def test_invalid_id_token_ends_the_login_before_userinfo(
    id_token: dict[str, Any], shop: Shop, network: Network
) -> None:
    """RP-20: no session and no further request before the ID token is valid."""
    shop.provider.id_token = id_token
    browser = shop.browser()
    response = answer(shop, browser)
    assert_failed(shop, browser, response, "Sign-in failed")
    assert not network.to(f"{ISSUER}/userinfo")


@pytest.mark.parametrize("userinfo", [{"sub": "somebody else"}, {"name": "Ann"}, {"sub": None}])
def test_userinfo_about_another_user_ends_the_login(userinfo: dict[str, Any], shop: Shop) -> None:
    """RP-21, Core §5.3.2: the sub must equal the ID token's."""
    shop.provider.userinfo = userinfo
    browser = shop.browser()
    assert_failed(shop, browser, answer(shop, browser), "about a different user")


def test_new_key_is_fetched_once_and_the_login_continues(shop: Shop, network: Network) -> None:
    """RP-11: the provider has just rotated its key."""
    shop.sign_in()
    looks = len(network.to(f"{ISSUER}/jwks"))
    shop.provider.keys = [rsa_key("second").public_jwk()]
    assert who(shop.sign_in(header={"kid": "second"}, key=rsa_key("second"))) == "a user"
    assert len(network.to(f"{ISSUER}/jwks")) == looks + 1


def replying(value: Any, status: int = 200) -> Callable[[Request], Response]:
    """A provider that returns this value as JSON."""
    return lambda _: json_response(value, status)


ODD_ANSWERS: dict[str, Callable[[Request], Response]] = {
    "an-error": replying({"error": "invalid_grant"}, 400),
    "an-error-with-200": replying({"error": "invalid_grant"}),
    "500": replying({}, 500),
    "html": lambda _: Response("<p>", 200),
    "list": replying([1]),
    "text": replying("x"),
    "null": replying(None),
    "empty": replying({}),
    "no-id-token": replying({"access_token": "a", "token_type": "Bearer"}),
    "redirect": lambda _: Response("", 302, {"Location": "https://evil.example/"}),
}


@pytest.mark.parametrize("odd", ODD_ANSWERS)
@pytest.mark.parametrize("endpoint", ["token", "userinfo"])
def test_malformed_provider_response_shows_a_message(endpoint: str, odd: str, shop: Shop, network: Network) -> None:
    """RP-20, RP-21: whatever the provider returns, the user gets a message and is not signed in."""
    network.replace(f"{ISSUER}/{endpoint}", ODD_ANSWERS[odd])
    browser = shop.browser()
    response = answer(shop, browser)
    assert response.status_code in (400, 503)
    assert_failed(shop, browser, response, "Sign-in failed", response.status_code)
    assert not network.to("https://evil.example")


@pytest.mark.parametrize(
    "odd",
    [
        {"access_token": None},
        {"access_token": 7},
        {"expires_in": "soon"},
        {"expires_in": [1]},
        {"expires_in": ""},
        {"expires_in": -1},
    ],
    ids=[
        "no-access-token",
        "access-token-a-number",
        "expires-in-words",
        "expires-in-a-list",
        "expires-in-nothing",
        "expired-already",
    ],
)
def test_malformed_token_response_causes_no_500(odd: dict[str, Any], shop: Shop) -> None:
    """RP-20: a message or a session, but never a 500."""
    shop.provider.tokens = odd
    assert answer(shop, shop.browser()).status_code in (303, 400, 503)


@pytest.mark.parametrize(
    ("endpoint", "revoked", "another_fault"),
    [
        ("token", replying({"error": "invalid_grant"}, 400), replying({"error": "invalid_client"}, 401)),
        ("userinfo", replying({}, 401), replying({}, 403)),
    ],
    ids=["the-code", "the-access-token"],
)
def test_session_that_ends_during_the_login_is_reported(
    endpoint: str, revoked: Fault, another_fault: Fault, shop: Shop, network: Network
) -> None:
    """RFC 6749 §5.2, RFC 6750 §3.1: the code or token was revoked. Not an outage, so no 5xx; signing in again works."""
    network.replace(f"{ISSUER}/{endpoint}", revoked)
    response = answer(shop, browser := shop.browser())
    assert_failed(shop, browser, response, "Your session at the identity provider (IdP) ended")
    assert 'href="/login"' in response.text
    network.replace(f"{ISSUER}/{endpoint}", another_fault)
    assert answer(shop, browser).status_code == 503, "control: without an ended session it is a 503"
    network.heal(f"{ISSUER}/{endpoint}")
    assert who(shop.sign_in(browser)) == "a user"


def stalls(_: object) -> Response:
    """Headers arrive, the body does not: requests reports a connection error that contains the timeout."""
    raise requests.ConnectionError(ReadTimeoutError(HTTPConnectionPool("op.example"), "/", "Read timed out."))


TOO_SLOW = "The identity provider (IdP) did not answer in time."
AWAY: dict[str, tuple[Callable[[Network, str], None], str]] = {
    "refuses": (Network.refuse, "The identity provider (IdP) cannot be reached."),
    "times out": (Network.time_out, TOO_SLOW),
    "stalls": (lambda network, url: network.replace(url, stalls), TOO_SLOW),
}


@pytest.mark.parametrize(("fault", "sentence"), AWAY.values(), ids=AWAY)
@pytest.mark.parametrize("endpoint", [".well-known/openid-configuration", "jwks", "token", "userinfo"])
def test_unreachable_provider_is_reported(
    endpoint: str, fault: Callable[[Network, str], None], sentence: str, shop: Shop, network: Network
) -> None:
    """503 and the cause; once the provider is back, signing in works."""
    fault(network, f"{ISSUER}/{endpoint}")
    browser = shop.browser()
    started = browser.get("/login")
    if started.status_code == 303:
        response = answer(shop, browser)
        assert_failed(shop, browser, response, sentence, 503)
    else:
        assert started.status_code == 503
        assert sentence in started.text
    network.heal(f"{ISSUER}/{endpoint}")
    assert who(shop.sign_in(browser)) == "a user"


@pytest.mark.parametrize("body", ["<html>down for maintenance</html>", "[]", ""])
def test_non_json_token_response_is_not_reported_as_an_outage(body: str, shop: Shop, network: Network) -> None:
    """The identity provider answered, so a message about its network would mislead the reader."""
    network.replace(f"{ISSUER}/token", lambda _: Response(body, 200, mimetype="text/html"))
    browser = shop.browser()
    browser.get("/login")
    response = answer(shop, browser)
    assert_failed(shop, browser, response, "token response cannot be read.", 503)


# --- the resulting session ---


def test_cookie_is_new_after_the_login(shop: Shop) -> None:
    """RP-25: an attacker who planted a cookie before the login cannot use the session after it."""
    browser = shop.browser()
    shop.start_login(browser)
    before = browser.get_cookie(COOKIE, "shop.example")
    shop.sign_in(browser)
    after = browser.get_cookie(COOKIE, "shop.example")
    assert before
    assert after
    assert before.value != after.value
    thief = shop.browser()
    thief.set_cookie(COOKIE, before.value, domain="shop.example")
    assert who(thief) == "anonymous"


def test_new_login_ends_the_browsers_older_session(shop: Shop) -> None:
    """RP-25: the second user gets nothing of the first user's session."""
    browser = shop.sign_in(sub="Ann")
    browser.get("/cart")
    old = browser.get_cookie(COOKIE, "shop.example")
    assert old
    shop.sign_in(browser, sub="Bob")
    assert who(browser) == "Bob"
    row = next(row for row in shop.rows() if row.id_hash == hash_of(old.value))
    assert (row.sub, row.data, row.login, row.end_reason) == (
        "Ann",
        "",
        None,
        "Someone signed in again with this browser.",
    )
    browser.delete_cookie(COOKIE, domain="shop.example")


# --- the page after the login ---

HARMLESS = ["/orders", "/orders?page=2&q=a%20b", "/a:b", "/%2F%2Fevil.example", "/"]
HARMFUL = [
    "https://evil.example/", "//evil.example/", "///evil.example", "/\\evil.example", "\\\\evil.example",
    "https:evil.example", "javascript:alert(1)", "evil.example", "/\t/evil.example", "/\n/evil.example",
    " //evil.example", "http:///evil.example", "/a\u202eb", "?next=/", "//[",
]  # fmt: skip


@pytest.mark.parametrize("path", HARMLESS)
def test_login_redirects_to_the_requested_page(path: str, shop: Shop) -> None:
    """RP-28: a path of this site, with its query."""
    browser = shop.browser()
    request = shop.start_login(browser, path)
    shop.provider.nonce = request["nonce"]
    response = shop.answer(browser, code="c", state=request["state"], iss=ISSUER)
    assert (response.status_code, response.location) == (303, path)


def test_application_without_endpoint_home_redirects_to_root(tmp_path: Path, shop: Shop, network: Network) -> None:
    """RP-28: a missing setting must not cause an error right after the login."""
    other = make_shop(tmp_path, RELYING_PARTY_HOME="no such endpoint")
    other.provider = shop.provider
    network.add(BASE_URL, other.app)
    request = other.start_login(browser := other.browser())
    other.provider.nonce = request["nonce"]
    assert other.answer(browser, code="c", state=request["state"], iss=ISSUER).location == "/"
    other.engine.dispose()


@pytest.mark.parametrize("path", HARMFUL)
def test_login_does_not_redirect_to_other_sites(path: str, shop: Shop) -> None:
    """RP-28, RFC 9700 §4.11: it never redirects to another site; the user gets to the start page."""
    assert local_path(path) == ""
    browser = shop.browser()
    request = shop.start_login(browser, path)
    shop.provider.nonce = request["nonce"]
    assert shop.answer(browser, code="c", state=request["state"], iss=ISSUER).location == "/"


def test_protected_page_redirects_to_the_login_and_back(shop: Shop) -> None:
    """Only a page navigation is redirected; any other request gets 401, because it cannot show a login page."""
    browser = shop.browser()
    response = browser.get("/orders?page=2")
    assert (response.status_code, response.location) == (303, "/login?next=/orders?page%3D2")
    shop.sign_in(browser)
    assert browser.get("/orders").text == "your orders"
    assert shop.app.test_client().get("/orders", headers={"Accept": "application/json"}).status_code == 401
    csrf = (stranger := shop.browser()).get("/form").text
    assert stranger.post("/orders", data={"csrf_token": csrf}).status_code == 401


def test_late_form_reports_that_the_session_ended(shop: Shop) -> None:
    """Not as forged: its CSRF token ended with the session. Nothing is done; the page links to the login."""
    browser = shop.sign_in()
    form = {"csrf_token": browser.get("/form").text}
    assert browser.post("/orders", data=form).text == "your orders"
    assert browser.post("/orders").status_code == 400, "control: during the session the token is required"

    shop.log_out(shop.provider.maker().logout_token(reason_user={"en": "You logged out of Hats."}))
    response = browser.post("/orders?page=2", data=form)
    assert response.status_code == 401
    assert "You logged out of Hats. Your form was not processed." in response.text
    assert "/login?next=/orders?page%3D2" in response.text
    assert 'href="/login"' in browser.post("/order", data=form).text, "also for an address that allows only POST"
    assert browser.post("/orders", data=form, headers={"Accept": "application/json"}).status_code == 401
    assert browser.post("/pay", data=form).status_code == 400, "a page without login is unaffected"


def test_login_events_contain_no_secrets(shop: Shop) -> None:
    """BCL-70: neither state, code nor token, even if the login failed."""
    browser = shop.sign_in()
    request = shop.start_login(shop.browser())
    answer(shop, shop.browser(), iss="https://other.example")
    cookie = browser.get_cookie(COOKIE, "shop.example")
    assert cookie
    told = json.dumps(shop.events)
    secrets = [request["state"], request["nonce"], "a code", "access 1", "refresh 1", cookie.value, CLIENT_SECRET]
    assert not [secret for secret in secrets if secret in told]
    assert [event["name"] for event in shop.events].count("rp.session.created") == 1


def test_session_row_matches_the_model(shop: Shop) -> None:
    """RP-26: the raw ID token and the tokens stay on the server."""
    shop.sign_in()
    row: StoredSession = shop.rows()[0]
    assert row.login is not None
    assert {"id_token", "access_token", "refresh_token", "claims", "userinfo"} <= set(row.login)


def test_profile_marks_the_applications_own_values(shop: Shop) -> None:
    """The times of our own session do not come from the provider."""
    page = words(shop.sign_in().get("/profile"))
    own = "when the session here began and ends is this application's own."
    assert f"The claims and the ID token come from the identity provider (IdP); {own}" in page
    assert "Session here began" in page
    assert "Session here ends" in page
