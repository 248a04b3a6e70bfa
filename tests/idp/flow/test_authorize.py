"""The authorization endpoint: validation, the session, and a code for the app."""

import re
from typing import Any
from urllib.parse import urlencode

import pytest
from werkzeug.test import TestResponse

from idp.models import AuthorizationCode, Client, Participation, SsoSession, Token
from tests.conftest import START, Clock, SiteClient
from tests.idp.conftest import CHALLENGE, DISPATCH, MANAGER, VERIFIER, Provider, hidden
from tests.network import query_of
from tests.reading import words
from tests.tokens import read


def answer_of(response: TestResponse, provider: Provider, client_id: str = DISPATCH) -> dict[str, str]:
    """The parameters of a redirect to the app. Each must have RFC 9207's iss."""
    assert response.status_code == 303, response.text
    address, _, _ = response.location.partition("?")
    assert address == f"{provider.url(client_id)}/oauth2client"
    parameters = query_of(response.location)
    assert parameters.pop("iss") == provider.issuer, "RFC 9207 §2"
    return parameters


def asks_for_password(response: TestResponse) -> bool:
    """Whether this is the login page."""
    return response.status_code == 200 and 'id="password"' in response.text


# --- 1. an unverified client or address: a page, never a redirect ---


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"client_id": "unknown"}, id="AUTH-03-client-unknown"),
        pytest.param({"client_id": None}, id="AUTH-03-no-client"),
        pytest.param({"client_id": ""}, id="AUTH-03-client-empty"),
        pytest.param({"redirect_uri": None}, id="AUTH-03-no-redirect-uri"),
        pytest.param({"redirect_uri": "https://evil.example/"}, id="AUTH-03-uri-unknown"),
        pytest.param({"redirect_uri": "{uri}/"}, id="AUTH-04-slash-added"),
        pytest.param({"redirect_uri": "{uri}?a=b"}, id="AUTH-04-query-added"),
        pytest.param({"redirect_uri": "{uri}#f"}, id="AUTH-04-fragment-added"),
        pytest.param({"redirect_uri": "{uri}/../x"}, id="AUTH-04-path-added"),
        pytest.param({"redirect_uri": "{URI}"}, id="AUTH-04-other-case"),
        pytest.param({"redirect_uri": "{other}"}, id="AUTH-04-another-clients"),
        pytest.param({"client_id": "unknown", "response_type": "token", "prompt": "none"}, id="AUTH-02-order"),
        pytest.param({"redirect_uri": "https://evil.example/", "prompt": "none"}, id="AUTH-02-order-uri"),
    ],
)
def test_unknown_client_or_redirect_uri_gets_an_error_page_not_a_redirect(
    changes: dict[str, Any], provider: Provider, cameron: SiteClient
) -> None:
    """AUTH-02 … AUTH-04: with and without a session, and before any other check."""
    uri = f"{provider.url(DISPATCH)}/oauth2client"
    names = {"uri": uri, "URI": uri.replace("dispatch", "Dispatch"), "other": f"{provider.url(MANAGER)}/oauth2client"}
    filled = {name: value and value.format(**names) for name, value in changes.items()}
    for browser in (provider.browser(), cameron):
        response = provider.authorize(browser, **filled)
        assert response.status_code == 400
        assert "Location" not in response.headers
        assert "code=" not in response.text


def test_error_page_shows_the_escaped_value(provider: Provider) -> None:
    """Like RPL-21: developers see the value that was sent, and it is escaped."""
    response = provider.authorize(provider.browser(), redirect_uri="https://evil.example/<script>")
    assert "https://evil.example/<script>" in words(response)
    assert "<script>" not in response.text


# --- 2. is the request supported ---

REFUSED = [
    ("AUTH-06-no-response-type", {"response_type": None}, "invalid_request"),
    ("AUTH-07-no-scope", {"scope": None}, "invalid_scope"),
    ("AUTH-07-unknown-scopes-only", {"scope": "unheard of"}, "invalid_scope"),
    ("PKCE-05-no-challenge", {"code_challenge": None, "code_challenge_method": None}, "invalid_request"),
    ("PKCE-05-challenge-empty", {"code_challenge": ""}, "invalid_request"),
    ("PKCE-02-plain", {"code_challenge_method": "plain"}, "invalid_request"),
    ("PKCE-02-method-missing", {"code_challenge_method": None}, "invalid_request"),
    ("PKCE-01-method-in-small-letters", {"code_challenge_method": "s256"}, "invalid_request"),
    ("AUTH-13-none-and-login", {"prompt": "none login"}, "invalid_request"),
    ("AUTH-16-max-age-words", {"max_age": "soon"}, "invalid_request"),
    ("AUTH-16-max-age-negative", {"max_age": "-1"}, "invalid_request"),
    ("AUTH-16-max-age-fraction", {"max_age": "1.5"}, "invalid_request"),
]


@pytest.mark.parametrize(("changes", "error"), [pytest.param(*row[1:], id=row[0]) for row in REFUSED])
def test_unsupported_request_returns_an_error_to_the_app(
    changes: dict[str, Any], error: str, provider: Provider, cameron: SiteClient
) -> None:
    """AUTH-06 … AUTH-16, PKCE: an error code and a message, state and iss; no code; ERR-01, ERR-02."""
    codes = len(provider.rows(AuthorizationCode))
    for browser in (cameron, provider.browser()):
        answer = answer_of(provider.authorize(browser, **changes), provider)
        assert answer["error"] == error
        assert answer["state"] == "a state"
        assert set(answer) <= {"error", "error_description", "state"}
        assert re.fullmatch(r"[\x20-\x21\x23-\x5B\x5D-\x7E]*", answer.get("error_description", "")), "RFC 6749 §4.1.2.1"
    assert len(provider.rows(AuthorizationCode)) == codes


def test_invalid_challenge_gets_no_code(provider: Provider, cameron: SiteClient) -> None:
    """PKCE-01: 43 characters at least."""
    assert answer_of(provider.authorize(cameron, code_challenge="abc"), provider)["error"] == "invalid_request"


@pytest.mark.parametrize("name", ["scope", "state", "prompt", "nonce", "response_type", "unheard_of"])
def test_repeated_parameter_is_an_error(name: str, provider: Provider, cameron: SiteClient) -> None:
    """AUTH-09, RFC 6749 §3.1: any of them."""
    pairs = [*provider.parameters(prompt="", unheard_of="1").items(), (name, "x"), (name, "y")]
    answer = answer_of(cameron.get("/oauth2/authorize?" + urlencode(pairs)), provider)
    assert answer["error"] == "invalid_request"


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"unheard_of": "1"}, id="AUTH-09-unknown-parameter"),
        pytest.param({"scope": "openid unheard of"}, id="AUTH-07-unknown-scope"),
        pytest.param({"scope": "email openid profile"}, id="AUTH-10-order-of-scopes"),
        pytest.param({"prompt": "unheard_of"}, id="AUTH-15-unknown-prompt"),
        pytest.param({"display": "popup"}, id="AUTH-19-display"),
        pytest.param({"ui_locales": "se", "claims_locales": "se"}, id="AUTH-20-locales"),
        pytest.param({"acr_values": "1 2"}, id="AUTH-21-acr-values"),
        pytest.param({"login_hint": "alex"}, id="AUTH-18-login-hint"),
        pytest.param({"max_age": "10000"}, id="AUTH-16-max-age-not-reached"),
        pytest.param({"nonce": None}, id="AUTH-11-no-nonce"),
        pytest.param({"prompt": "none"}, id="AUTH-12-prompt-none"),
        pytest.param(
            {"prompt": "", "max_age": "", "response_mode": "", "nonce": "", "request": "", "display": ""},
            id="AUTH-09-empty-is-omitted",
        ),
        pytest.param({"response_mode": "query"}, id="DISC-07-query"),
    ],
)
def test_harmless_parameters_still_get_a_code(changes: dict[str, Any], provider: Provider, cameron: SiteClient) -> None:
    """AUTH-07 … AUTH-21: with a session, none of these causes a page or an error."""
    answer = answer_of(provider.authorize(cameron, **changes), provider)
    assert set(answer) == {"code", "state"}


# --- state ---

CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~" * 2


@pytest.mark.parametrize(
    "state", [CHARACTERS[:128], "a b&c=d%20+/?#", "ümläut ✓", "x" * 2000], ids=["128", "odd", "words", "long"]
)
@pytest.mark.parametrize("changes", [{}, {"max_age": "soon"}], ids=["success", "error"])
def test_state_comes_back_unchanged(
    changes: dict[str, str], state: str, provider: Provider, cameron: SiteClient
) -> None:
    """AUTH-08: any length, any characters, in success and in error."""
    assert answer_of(provider.authorize(cameron, state=state, **changes), provider)["state"] == state


def test_state_survives_the_login_page(provider: Provider) -> None:
    """AUTH-08: it is kept while the user signs in."""
    browser = provider.browser()
    page = provider.authorize(browser, state=CHARACTERS[:128])
    assert answer_of(provider.enter_password(browser, page), provider)["state"] == CHARACTERS[:128]


@pytest.mark.parametrize("changes", [{}, {"max_age": "soon"}], ids=["success", "error"])
def test_no_state_is_returned_if_none_was_sent(
    changes: dict[str, str], provider: Provider, cameron: SiteClient
) -> None:
    """AUTH-08: not as an empty value either."""
    assert "state" not in answer_of(provider.authorize(cameron, state=None, **changes), provider)


def test_registered_query_is_kept(provider: Provider, cameron: SiteClient) -> None:
    """AUTH-05, LIB-13: character by character, followed by our parameters."""
    uri = "https://app.example/cb?b=%2F~&a=1+2"
    provider.change_client(DISPATCH, redirect_uris=[uri])
    location = provider.authorize(cameron, redirect_uri=uri).location
    assert location.startswith(uri + "&code=")


# --- 3. is the user signed in, recently enough ---


def test_without_a_session_the_login_page_is_shown(provider: Provider) -> None:
    """AUTH-12: the login page; with prompt=none, an error."""
    browser = provider.browser()
    assert asks_for_password(provider.authorize(browser))
    answer = answer_of(provider.authorize(browser, prompt="none"), provider)
    assert set(answer) == {"error", "error_description", "state"}
    assert (answer["error"], answer["state"]) == ("login_required", "a state")


def test_second_app_gets_a_code_without_a_page(provider: Provider) -> None:
    """RP-27, BCL-05: single sign-on: no page, the same sid."""
    browser = provider.sign_in(client_id=DISPATCH)
    id_tokens = [provider.tokens(browser, client_id)["id_token"] for client_id in (DISPATCH, MANAGER)]
    assert {read(token)[1]["sid"] for token in id_tokens} == {provider.session().sid}


@pytest.mark.parametrize("prompt", ["login", "select_account", "login select_account"])
def test_prompt_login_asks_for_the_password_once_despite_a_session(
    prompt: str, provider: Provider, clock: Clock
) -> None:
    """AUTH-14, AUTH-15: the resumed request does not ask again; auth_time is new."""
    browser = provider.sign_in()
    clock.turn(60)
    page = provider.authorize(browser, prompt=prompt)
    assert asks_for_password(page)
    clock.turn(5)
    answer = answer_of(provider.enter_password(browser, page), provider)
    assert set(answer) == {"code", "state"}
    tokens = provider.redeem(answer["code"]).get_json()
    assert read(tokens["id_token"])[1]["auth_time"] == START + 65


def test_prompt_login_cannot_be_skipped_by_opening_the_resume_url(provider: Provider, clock: Clock) -> None:
    """AUTH-14: the resume URL, typed into the address bar, still asks for the password."""
    browser = provider.sign_in()
    clock.turn(60)
    page = provider.authorize(browser, prompt="login")
    assert asks_for_password(browser.get("/oauth2/authorize", query_string={"resume": hidden(page, "request")}))
    wrong = provider.enter_password(browser, page, password="wrong")
    assert asks_for_password(browser.get("/oauth2/authorize", query_string={"resume": hidden(wrong, "request")}))


@pytest.mark.parametrize(
    ("max_age", "asks"), [("60", False), ("59", True), ("0", True), ("10000", False), (None, False)]
)
def test_max_age_is_the_age_of_the_password(max_age: str | None, asks: bool, provider: Provider, clock: Clock) -> None:
    """AUTH-16: an older sign-in must be repeated, one of exactly that age not; 0 always asks."""
    browser = provider.sign_in()
    clock.turn(60)
    assert asks_for_password(provider.authorize(browser, max_age=max_age)) is asks


def test_max_age_does_not_loop_for_a_slow_user(provider: Provider, clock: Clock) -> None:
    """AUTH-16: the age is measured when the request arrives."""
    browser = provider.sign_in()
    clock.turn(60)
    page = provider.authorize(browser, max_age="1")
    clock.turn(30)
    response = browser.submit("/login", request=hidden(page, "request"), username="cameron", password="correct horse")
    clock.turn(30)
    assert set(answer_of(browser.get(response.location), provider)) == {"code", "state"}


def test_prompt_none_with_an_exceeded_max_age_is_an_error(provider: Provider, clock: Clock) -> None:
    """AUTH-16."""
    browser = provider.sign_in()
    clock.turn(60)
    answer = answer_of(provider.authorize(browser, prompt="none", max_age="10"), provider)
    assert answer["error"] == "login_required"


def test_ended_session_gets_no_code(provider: Provider, cameron: SiteClient) -> None:
    """RPL-32: its cookie is treated as unknown."""
    cookie = cameron.get_cookie("pickup_idp_session", "idp.localhost")
    assert cookie
    provider.end_session(cameron, id_token_hint=provider.tokens(cameron)["id_token"])
    thief = provider.browser()
    thief.set_cookie("pickup_idp_session", cookie.value, domain="idp.localhost")
    assert answer_of(provider.authorize(thief, prompt="none"), provider)["error"] == "login_required"
    assert asks_for_password(provider.authorize(thief))


@pytest.mark.parametrize("resume", ["", "made up", "a.b.c"])
def test_forged_resume_url_gets_an_error_page(resume: str, cameron: SiteClient) -> None:
    """AUTH-26: the pending request is signed."""
    response = cameron.get("/oauth2/authorize", query_string={"resume": resume})
    assert response.status_code == 400
    assert "Location" not in response.headers


def test_resume_url_is_valid_for_an_hour(provider: Provider, clock: Clock) -> None:
    """AUTH-26: after that, the app must start again."""
    browser = provider.browser()
    page = provider.authorize(browser)
    clock.turn(3601)
    assert browser.get("/oauth2/authorize", query_string={"resume": hidden(page, "request")}).status_code == 400


def test_two_apps_can_sign_in_at_once_in_one_browser(provider: Provider) -> None:
    """AUTH-26: each page continues its own request."""
    browser = provider.browser()
    dispatch, manager = (
        provider.authorize(browser, DISPATCH, state="d"),
        provider.authorize(browser, MANAGER, state="m"),
    )
    assert answer_of(provider.enter_password(browser, manager), provider, MANAGER)["state"] == "m"
    assert answer_of(provider.enter_password(browser, dispatch), provider, DISPATCH)["state"] == "d"
    assert len(provider.rows(SsoSession)) == 1


# --- 4. a code ---


def test_request_can_be_a_post_from_another_site(provider: Provider, cameron: SiteClient) -> None:
    """AUTH-01: a form post without a token of ours."""
    response = cameron.post("/oauth2/authorize", data=provider.parameters())
    assert set(answer_of(response, provider)) == {"code", "state"}


def test_code_is_random_and_stored_as_a_hash_with_its_bindings(provider: Provider, cameron: SiteClient) -> None:
    """CODE-01, CODE-03: 256 bits; client, address, nonce, scope, session and challenge."""
    codes = {provider.code(cameron) for _ in range(3)}
    assert {len(code) for code in codes} == {43}
    assert len(codes) == 3
    row = provider.rows(AuthorizationCode)[-1]
    assert row.code_hash not in codes
    assert (row.client_id, row.nonce, row.code_challenge, row.code_challenge_method) == (
        DISPATCH, "a nonce", CHALLENGE, "S256",
    )  # fmt: skip
    assert row.redirect_uri == f"{provider.url(DISPATCH)}/oauth2client"
    assert row.sid == next(session.sid for session in provider.rows(SsoSession))
    assert VERIFIER not in str(vars(row))


def test_unredeemed_code_creates_no_participant(provider: Provider) -> None:
    """BCL-24: a client that never redeems its code has no session to end, so it is not notified."""
    browser = provider.sign_in()
    provider.code(browser, MANAGER)
    assert provider.rows(Participation) == []
    assert provider.rows(Token) == []


def test_change_of_a_client_applies_immediately(provider: Provider, cameron: SiteClient) -> None:
    """Also if another process made it: a cached client is never older than its row."""
    assert provider.authorize(cameron).status_code == 303
    with provider.database() as db:
        db.get_one(Client, DISPATCH).redirect_uris = []
    assert provider.authorize(cameron).status_code == 400
    with provider.database() as db:
        db.get_one(Client, DISPATCH).redirect_uris = [f"{provider.url(DISPATCH)}/oauth2client"]
    assert provider.authorize(cameron).status_code == 303
