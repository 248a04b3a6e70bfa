"""The consent page, for the scopes an app requests and for access beyond the session."""

import re
from typing import Any

import pytest
from werkzeug.test import TestResponse

from idp.authorization.pending import PENDING_SECONDS
from idp.models import Consent, Token
from idp.tokens.token_store import ACCESS_SECONDS, OFFLINE_SECONDS
from tests.conftest import Clock, SiteClient
from tests.idp.conftest import DISPATCH, Provider, hidden
from tests.idp.parties import GRANTS, SHOP, Answer, Party, Registrar, answer_of
from tests.reading import words

OFFLINE = {"prompt": "consent", "scope": "openid email offline_access"}


def answer(browser: SiteClient, page: TestResponse, choice: str) -> TestResponse:
    """Press one of the page's two buttons; a yes leads on in two steps."""
    response = browser.submit("/consent", request=hidden(page, "request"), answer=choice)
    is_ours = response.status_code == 303 and response.location.startswith("/oauth2/authorize")
    return browser.get(response.location) if is_ours else response


def allow(browser: SiteClient, page: TestResponse) -> Answer:
    """Consent."""
    return answer_of(answer(browser, page, "allow"))


# --- the page ---


def test_consent_page_names_the_app_and_the_scopes(shop: Party, cameron: SiteClient) -> None:
    """AUTH-15, AUTH-23, REG-12: in words, for the person who decides; with fixed ids for automation (DEC-06)."""
    page = shop.ask(cameron, prompt="consent", scope="openid profile email unheard_of")
    text = words(page)
    assert "Allow The shop?" in text
    assert "Cameron Reyes" in text
    assert "your email address" in text
    assert "phone" not in text
    assert "unheard_of" not in page.text
    for element in ('id="allow"', 'id="deny"'):
        assert element in page.text


def test_consent_page_has_security_headers(shop: Party, cameron: SiteClient) -> None:
    """AUTH-22, BCP-06, BCP-08: not framed, not stored; its form may lead to this client only."""
    page = shop.ask(cameron, prompt="consent")
    assert page.headers["X-Frame-Options"] == "DENY"
    assert page.headers["Cache-Control"] == "no-store"
    assert f"form-action 'self' {SHOP}" in page.headers["Content-Security-Policy"]
    assert "dispatch" not in page.headers["Content-Security-Policy"]


def test_name_with_markup_is_escaped(register: Registrar, cameron: SiteClient, provider: Provider) -> None:
    """REG-12: a client chooses its name; neither page shows it as markup."""
    party = register(client_name="<script>alert(1)</script>", policy_uri=f"{SHOP}/p?<b>", tos_uri=f'{SHOP}/"onclick="x')
    for page in (party.ask(cameron, prompt="consent"), party.ask(provider.browser())):
        assert "<script>alert" not in page.text
        assert "<b>" not in page.text
        assert '"onclick="' not in page.text
        assert "&lt;script&gt;" in page.text


def test_both_pages_show_the_clients_logo_and_links(
    register: Registrar, cameron: SiteClient, provider: Provider
) -> None:
    """REG-12: its picture, which the page's policy lets in, and its policies."""
    about = {name: f"{SHOP}/{name}" for name in ("logo_uri", "policy_uri", "tos_uri", "client_uri")}
    party = register(**about)
    login, consent = party.ask(provider.browser()), party.ask(cameron, prompt="consent")
    for page in (login, consent):
        for name in ("policy_uri", "tos_uri", "client_uri"):
            assert f'href="{about[name]}"' in page.text
    assert f'<img src="{about["logo_uri"]}"' in login.text
    assert f"img-src 'self' data: {SHOP}" in login.headers["Content-Security-Policy"]


@pytest.mark.parametrize("token", ["", "made up"])
def test_other_site_cannot_consent(token: str, shop: Party, cameron: SiteClient, provider: Provider) -> None:
    """AUTH-22: the form needs its own token."""
    page = shop.ask(cameron, prompt="consent")
    data = {"request": hidden(page, "request"), "answer": "allow", "csrf_token": token}
    assert cameron.post("/consent", data=data).status_code == 400
    assert provider.rows(Consent) == []


# --- the decision ---


def test_consent_redirects_to_the_app_and_is_stored(shop: Party, cameron: SiteClient, provider: Provider) -> None:
    """AUTH-23: one page per request, no loop."""
    page = shop.ask(cameron, prompt="consent", state="the same")
    back = allow(cameron, page)
    assert back["state"] == "the same"
    assert shop.redeem(back["code"]).status_code == 200
    (row,) = provider.rows(Consent)
    assert (row.client_id, row.scopes) == (shop.id, ["openid", "profile", "email"])
    assert [event.outcome for event in provider.events("op.consent.answered")] == ["allowed"]


def test_prompt_none_succeeds_after_consent(shop: Party, cameron: SiteClient) -> None:
    """AUTH-12, AUTH-23: the session stores the consent."""
    allow(cameron, shop.ask(cameron, prompt="consent"))
    assert "code" in shop.answer(cameron, prompt="none").parameters


@pytest.mark.parametrize(
    ("response_type", "mode", "place"),
    [("code", None, "query"), ("code id_token", None, "fragment"), ("code", "form_post", "form_post")],
)
@pytest.mark.parametrize("choice", ["deny", "", "ALLOW", "whatever"])
def test_refusal_returns_access_denied_to_the_app(
    choice: str, response_type: str, mode: str | None, place: str, shop: Party, cameron: SiteClient, provider: Provider
) -> None:
    """AUTH-23, ERR-03: access_denied, where the response would be; nothing is issued."""
    page = shop.ask(cameron, prompt="consent", response_type=response_type, response_mode=mode)
    back = answer_of(answer(cameron, page, choice))
    assert (back.place, back["error"], back["state"]) == (place, "access_denied", "a state")
    assert back["iss"] == provider.issuer
    assert not {"code", "id_token"} & set(back.parameters)
    assert provider.rows(Consent) == []


def test_prompt_consent_always_asks(shop: Party, cameron: SiteClient, clock: Clock) -> None:
    """AUTH-15: prompt=consent asks even if the user consented before."""
    allow(cameron, shop.ask(cameron, prompt="consent"))
    clock.turn(1)
    assert 'id="allow"' in shop.ask(cameron, prompt="consent").text


def test_prompt_login_consent_shows_both_pages_once(
    shop: Party, cameron: SiteClient, clock: Clock, provider: Provider
) -> None:
    """AUTH-14, AUTH-15: prompt=login consent; a slow user is not asked again."""
    clock.turn(60)
    page = shop.ask(cameron, prompt="login consent", max_age="1")
    assert 'id="password"' in page.text
    clock.turn(60)
    question = provider.enter_password(cameron, page)
    assert 'id="allow"' in question.text
    clock.turn(60)
    assert "code" in allow(cameron, question).parameters


def test_resume_url_does_not_skip_consent(shop: Party, cameron: SiteClient) -> None:
    """AUTH-15: typing the resume URL shows the page again."""
    page = shop.ask(cameron, prompt="consent")
    again = cameron.get("/oauth2/authorize", query_string={"resume": hidden(page, "request")})
    assert 'id="allow"' in again.text


def test_consent_to_fewer_scopes_does_not_cover_more(shop: Party, cameron: SiteClient) -> None:
    """AUTH-23: two tabs of one app; consent in one does not cover the longer list of the other."""
    wide = shop.ask(cameron, prompt="consent", scope="openid email profile")
    allow(cameron, shop.ask(cameron, prompt="consent", scope="openid"))
    again = cameron.get("/oauth2/authorize", query_string={"resume": hidden(wide, "request")})
    assert 'id="allow"' in again.text


def test_consent_of_another_user_does_not_count(
    shop: Party, cameron: SiteClient, provider: Provider, clock: Clock
) -> None:
    """Like RPL-16: Cameron was asked, but now Alex is signed in, so Alex is asked."""
    page = shop.ask(cameron, prompt="consent")
    clock.turn(60)
    provider.sign_in(cameron, username="alex", prompt="login")
    response = answer(cameron, page, "allow")
    assert "Alex Okafor" in response.text
    assert provider.rows(Consent) == []


@pytest.mark.parametrize("spoil", ["", "a.b.c", "{}x"])
def test_tampered_consent_form_is_rejected(spoil: str, shop: Party, cameron: SiteClient, provider: Provider) -> None:
    """AUTH-02: the checked parameters cannot be replaced."""
    page = shop.ask(cameron, prompt="consent")
    response = cameron.submit("/consent", request=spoil.format(hidden(page, "request")), answer="allow")
    assert response.status_code == 400
    assert "Location" not in response.headers
    assert provider.rows(Consent) == []


def test_login_page_open_for_too_long_says_so(shop: Party, cameron: SiteClient, clock: Clock) -> None:
    """After an hour, the app must start again."""
    page = shop.ask(cameron, prompt="consent")
    clock.turn(PENDING_SECONDS + 1)
    response = cameron.submit("/consent", request=hidden(page, "request"), answer="allow")
    assert (response.status_code, "open for too long" in response.text) == (400, True)


def test_refusal_does_not_redirect_to_a_removed_uri(shop: Party, cameron: SiteClient) -> None:
    """AUTH-03: the client changed its addresses while the page was open."""
    page = shop.ask(cameron, prompt="consent")
    changed = shop.information | {"redirect_uris": [f"{SHOP}/new"]}
    assert shop.manage("PUT", json=changed).status_code == 200
    for choice in ("deny", "allow"):
        response = answer(cameron, page, choice)
        assert response.status_code == 400
        assert "Location" not in response.headers


# --- prompt=none never shows a page ---


@pytest.mark.parametrize("prompt", ["none consent", "none login", "consent none"])
def test_prompt_none_cannot_be_combined_with_another_prompt(prompt: str, shop: Party, cameron: SiteClient) -> None:
    """AUTH-13."""
    assert shop.answer(cameron, prompt=prompt)["error"] == "invalid_request"


# --- offline access ---


@pytest.fixture
def offline_shop(register: Registrar) -> Party:
    """A client that may renew tokens."""
    return register(grant_types=GRANTS, response_types=["code", "code id_token", "id_token token"])


def offline_tokens(party: Party, browser: SiteClient, **changes: str) -> dict[str, Any]:
    """A login with the user's consent to offline access."""
    code = allow(browser, party.ask(browser, **{**OFFLINE, **changes}))["code"]
    response = party.redeem(code)
    assert response.status_code == 200, response.text
    return dict(response.get_json())


def test_offline_access_continues_after_the_session(
    offline_shop: Party, cameron: SiteClient, provider: Provider, clock: Clock
) -> None:
    """TOK-10, TOK-14, BCL-58: the logout revokes the session's own tokens only."""
    tokens = offline_tokens(offline_shop, cameron)
    assert "offline_access" in tokens["scope"].split()
    provider.end_session(cameron, id_token_hint=tokens["id_token"])
    clock.turn(ACCESS_SECONDS + 1)
    renewed = offline_shop.refresh(tokens["refresh_token"]).get_json()
    assert provider.works(renewed["access_token"])
    clock.turn(OFFLINE_SECONDS)
    assert offline_shop.refresh(renewed["refresh_token"]).get_json()["error"] == "invalid_grant"


@pytest.mark.parametrize("changes", [{"prompt": None}, {"prompt": "login"}, {"prompt": "none"}])
def test_offline_access_is_ignored_without_consent(
    changes: dict[str, str | None], offline_shop: Party, cameron: SiteClient, provider: Provider
) -> None:
    """TOK-10, Core §11: ignored, not an error; the refresh token ends with the session."""
    page = offline_shop.ask(cameron, scope="openid offline_access", **changes)
    back = answer_of(page if page.status_code == 303 else provider.enter_password(cameron, page))
    tokens = offline_shop.redeem(back["code"]).get_json()
    assert "offline_access" not in tokens["scope"].split()
    provider.end_session(cameron, id_token_hint=tokens["id_token"])
    assert offline_shop.refresh(tokens["refresh_token"]).get_json()["error"] == "invalid_grant"


def test_client_without_refresh_grant_gets_no_refresh_token(register: Registrar, cameron: SiteClient) -> None:
    """TOK-10, REG-07: the default is the code grant alone."""
    assert "refresh_token" not in offline_tokens(register(), cameron)


def test_offline_refresh_keeps_the_id_tokens_login_claims(
    offline_shop: Party, cameron: SiteClient, provider: Provider, clock: Clock
) -> None:
    """TOK-12: also after the logout; the refresh records no participation."""
    tokens = offline_tokens(offline_shop, cameron)
    provider.end_session(cameron, id_token_hint=tokens["id_token"])
    clock.turn(3600)
    renewed = offline_shop.refresh(tokens["refresh_token"])
    assert renewed.status_code == 200
    assert [row.revoked_at for row in provider.rows(Token) if row.client_id == DISPATCH]
    assert re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+", renewed.get_json()["id_token"])
