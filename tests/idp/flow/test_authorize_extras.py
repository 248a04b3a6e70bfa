"""Optional parameters: a hint about the user, claims by name, an authentication level; posts from other sites."""

import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest

from idp.authorization.request import ACR
from idp.models import Consent
from tests.conftest import START, Clock, SiteClient
from tests.idp.conftest import DISPATCH, MANAGER, Provider
from tests.idp.parties import NO_PKCE, SHOP, Party, Registrar, answer_of
from tests.network import Browser
from tests.tokens import jws, read, rsa_key

CAMERON, ALEX = "248289761002", "248289761003"


def id_token_of(provider: Provider, username: str, **claims: Any) -> str:
    """An ID token about this user, signed by us, with the given claims."""
    browser = provider.sign_in(username=username)
    raw = provider.tokens(browser)["id_token"]
    header, known = read(raw)
    return provider.state.keys.sign({**known, **claims}, alg="RS256", typ=header["typ"]) if claims else str(raw)


def asks_for_password(text: str) -> bool:
    """Whether this is the login page."""
    return 'id="password"' in text


# --- id_token_hint ---


def test_prompt_none_with_a_hint_for_the_signed_in_user_succeeds(shop: Party, cameron: SiteClient) -> None:
    """AUTH-17: the hint has the sub of the signed-in user."""
    hint = shop.tokens(cameron)["id_token"]
    answer = shop.answer(cameron, prompt="none", id_token_hint=hint)
    assert read(shop.redeem(answer["code"]).get_json()["id_token"])[1]["sub"] == read(hint)[1]["sub"]


def test_hint_can_be_expired_or_another_clients(
    shop: Party, cameron: SiteClient, provider: Provider, clock: Clock
) -> None:
    """AUTH-17: exp and aud are not checked, because only sub counts."""
    hint = provider.tokens(cameron, MANAGER)["id_token"]
    clock.turn(5000)
    cameron.get("/")
    clock.turn(3000)
    assert "code" in shop.answer(cameron, prompt="none", id_token_hint=hint).parameters


def test_prompt_none_with_a_hint_for_another_user_is_an_error(
    shop: Party, cameron: SiteClient, provider: Provider
) -> None:
    """AUTH-17, Core §3.1.2.2 (4): never a response about another user."""
    hint = id_token_of(provider, "alex")
    assert shop.answer(cameron, prompt="none", id_token_hint=hint)["error"] == "login_required"


def test_prompt_for_other_user_rejects_any_third_user(
    shop: Party, cameron: SiteClient, provider: Provider, clock: Clock
) -> None:
    """AUTH-17: the hint names Alex. If Cameron signs in, the app gets an error; if Alex does, a code."""
    hint = id_token_of(provider, "alex")
    clock.turn(60)
    page = shop.ask(cameron, id_token_hint=hint)
    assert asks_for_password(page.text)
    assert answer_of(provider.enter_password(cameron, page, "cameron"))["error"] == "login_required"
    clock.turn(60)
    page = shop.ask(cameron, id_token_hint=hint)
    assert "code" in answer_of(provider.enter_password(cameron, page, "alex")).parameters


@pytest.mark.parametrize("kind", ["forged", "none", "logout-token", "userinfo", "other-issuer", "garbage", "hole"])
@pytest.mark.parametrize("prompt", [None, "none"])
def test_hint_that_is_not_our_id_token_is_rejected(
    prompt: str | None, kind: str, shop: Party, cameron: SiteClient, provider: Provider
) -> None:
    """AUTH-17, BCL-68: it is rejected, not ignored."""
    raw = shop.tokens(cameron)["id_token"]
    header, claims = read(raw)
    sign = provider.state.keys.sign
    hints: dict[str, Callable[[], str]] = {
        "forged": lambda: jws(header, claims, rsa_key("a thief's key")),
        "none": lambda: jws({"alg": "none"}, claims, None),
        "logout-token": lambda: sign({**claims, "events": {}}, alg="RS256", typ="logout+jwt"),
        "userinfo": lambda: sign({"sub": CAMERON, "iss": provider.issuer}, alg="RS256", typ="userinfo+jwt"),
        "other-issuer": lambda: sign({**claims, "iss": "https://other.example"}, alg="RS256", typ="JWT"),
        "garbage": lambda: "a.b.c",
        "hole": lambda: "W1tbW1tbW1tbW1tb" * 1000 + ".e30.x",
    }
    assert shop.answer(cameron, id_token_hint=hints[kind](), prompt=prompt)["error"] == "invalid_request"


# --- claims ---


def claims(**places: Any) -> str:
    """The claims parameter."""
    return json.dumps(places)


def test_claim_requested_by_name_is_returned_where_requested(
    shop: Party, cameron: SiteClient, provider: Provider
) -> None:
    """UI-10, IDT-09: name without the profile scope is returned by userinfo, not in the ID token."""
    asked = claims(userinfo={"name": {"essential": True}, "unheard_of": None}, id_token={"email": None})
    tokens = shop.tokens(cameron, scope="openid", claims=asked)
    assert provider.userinfo(tokens["access_token"]).get_json() == {"sub": CAMERON, "name": "Cameron Reyes"}
    id_token = read(tokens["id_token"])[1]
    assert id_token["email"] == "cameron@pickup.example"
    assert "name" not in id_token


def test_requested_claims_survive_login_and_refresh(register: Registrar, provider: Provider, clock: Clock) -> None:
    """UI-10: bound to the code and to the tokens issued for it."""
    party = register(grant_types=["authorization_code", "refresh_token"])
    browser = provider.browser()
    asked = claims(userinfo={"nickname": None}, id_token={"locale": None})
    answer = answer_of(provider.enter_password(browser, party.ask(browser, scope="openid", claims=asked)))
    tokens = party.redeem(answer["code"]).get_json()
    clock.turn(60)
    for given in (tokens, party.refresh(tokens["refresh_token"]).get_json()):
        assert provider.userinfo(given["access_token"]).get_json()["nickname"] == "Cam"
        assert read(given["id_token"])[1]["locale"] == "en-US"


@pytest.mark.parametrize("response_type", ["code id_token token", "id_token token", "id_token"])
def test_requested_claims_apply_to_the_front_channel(
    response_type: str, shop: Party, cameron: SiteClient, provider: Provider
) -> None:
    """UI-10."""
    asked = claims(userinfo={"nickname": None}, id_token={"locale": None})
    answer = shop.answer(cameron, response_type=response_type, scope="openid", claims=asked)
    assert read(answer["id_token"])[1]["locale"] == "en-US"
    if "access_token" in answer.parameters:
        assert provider.userinfo(answer["access_token"]).get_json()["nickname"] == "Cam"


def test_requested_claims_cannot_override_protocol_claims(shop: Party, cameron: SiteClient) -> None:
    """UI-10: the IdP sets the protocol claims, whatever the client requests."""
    asked = claims(id_token={name: {"value": "x"} for name in ("iss", "aud", "exp", "sid", "nonce", "auth_time")})
    plain, wished = shop.tokens(cameron)["id_token"], shop.tokens(cameron, claims=asked)["id_token"]
    for name in ("iss", "aud", "exp", "sid", "nonce", "auth_time"):
        assert read(wished)[1][name] == read(plain)[1][name]


@pytest.mark.parametrize(
    "value",
    ["x", "[]", "7", "true", '"x"', '{"userinfo": []x}', '{"id_token": "x"}', '{"userinfo": [1]}', "[" * 5000, "{"],
)
def test_claims_must_be_a_json_object(value: str, shop: Party, cameron: SiteClient) -> None:
    """UI-10: invalid_request."""
    assert shop.answer(cameron, claims=value)["error"] == "invalid_request"


@pytest.mark.parametrize(
    "value",
    [
        '{"id_token": {"acr": {"values": 7}}}',
        '{"id_token": {"acr": {"values": "urn"}}}',
        '{"id_token": {"acr": {"value": {"a": 1}}}}',
        '{"id_token": {"acr": []}}',
        '{"id_token": {"sub": {"value": 7}}}',
        '{"id_token": {"sub": []}}',
        '{"id_token": {"\\ud800": null, "\\u0000": null}}',
        '{"id_token": {"acr": {"value": NaN}}}',
        '{"userinfo": {"a": 1e999}}',
        '{"userinfo": null, "id_token": null, "other": 7}',
        "{}",
        "null",
    ],
)
def test_odd_claims_cause_no_server_error(value: str, shop: Party, cameron: SiteClient) -> None:
    """UI-10: the response is an error or has valid tokens."""
    answer = shop.answer(cameron, claims=value)
    if "error" not in answer.parameters:
        assert shop.redeem(answer["code"]).status_code == 200
    else:
        assert answer["error"] == "invalid_request"


def test_request_for_a_sub_is_answered_only_for_that_user(
    shop: Party, cameron: SiteClient, provider: Provider, clock: Clock
) -> None:
    """UI-11: claims with a value for sub."""
    clock.turn(60)
    mine, others = (claims(id_token={"sub": {"value": sub}}) for sub in (CAMERON, ALEX))
    assert "code" in shop.answer(cameron, claims=mine, prompt="none").parameters
    assert shop.answer(cameron, claims=others, prompt="none")["error"] == "login_required"
    assert asks_for_password(shop.ask(cameron, claims=others).text)
    hint = id_token_of(provider, "alex")
    assert shop.answer(cameron, claims=mine, id_token_hint=hint)["error"] == "invalid_request"


# --- acr ---


@pytest.mark.parametrize(
    ("changes", "acr"),
    [
        pytest.param({}, None, id="IDT-04-not-asked-for"),
        pytest.param({"acr_values": ACR}, ACR, id="AUTH-21-asked-for"),
        pytest.param({"acr_values": f"1 2 {ACR}"}, ACR, id="AUTH-21-among-others"),
        pytest.param({"acr_values": "1 2"}, None, id="AUTH-21-others-only"),
        pytest.param({"claims": claims(id_token={"acr": None})}, ACR, id="UI-11-by-name"),
        pytest.param({"claims": claims(id_token={"acr": {"essential": True}})}, ACR, id="UI-11-essential"),
        pytest.param({"claims": claims(id_token={"acr": {"value": ACR}})}, ACR, id="UI-11-value"),
        pytest.param({"claims": claims(id_token={"acr": {"essential": True, "values": ["1", ACR]}})}, ACR, id="UI-11"),
        pytest.param({"claims": claims(id_token={"acr": {"values": ["1"]}})}, ACR, id="UI-11-voluntary-other"),
    ],
)
def test_acr_is_returned_when_requested(
    changes: dict[str, str], acr: str | None, shop: Party, cameron: SiteClient
) -> None:
    """AUTH-21, UI-11, IDT-04: the level of a password; in both ID tokens of a hybrid flow (IDT-06)."""
    answer = shop.answer(cameron, response_type="code id_token", **changes)
    back = shop.redeem(answer["code"]).get_json()["id_token"]
    assert {read(token)[1].get("acr") for token in (answer["id_token"], back)} == {acr}


@pytest.mark.parametrize("request_for", [{"essential": True, "value": "1"}, {"essential": True, "values": ["1", "2"]}])
def test_unsupported_essential_acr_is_an_error(request_for: dict[str, Any], shop: Party, cameron: SiteClient) -> None:
    """UI-11, Core §5.5.1.1: the authentication fails."""
    answer = shop.answer(cameron, claims=claims(id_token={"acr": request_for}))
    assert answer["error"] == "access_denied"


# --- max_age and auth_time ---


def test_auth_time_is_the_time_of_the_password(shop: Party, cameron: SiteClient, clock: Clock) -> None:
    """IDT-03, AUTH-16: with max_age and without; in whole seconds."""
    clock.turn(600)
    for changes in ({}, {"max_age": "10000"}, {"max_age": "15000"}):
        assert read(shop.tokens(cameron, **changes)["id_token"])[1]["auth_time"] == START


# --- hints that only prefill ---


@pytest.mark.parametrize("hint", ['"><script>x', "cameron@pickup.example", "' onfocus=alert(1) '", "ü" * 300])
def test_login_hint_prefills_the_username_as_text(hint: str, shop: Party, provider: Provider) -> None:
    """AUTH-18: any value works, and none becomes markup."""
    browser = provider.browser()
    page = shop.ask(browser, login_hint=hint)
    field = re.search(r'<input id="username" name="username" value="([^"]*)"', page.text)
    assert field
    assert not set("<>'\"") & set(
        field[1].replace("&#39;", "").replace("&#34;", "").replace("&lt;", "").replace("&gt;", "")
    )
    assert "code" in answer_of(provider.enter_password(browser, page)).parameters


# --- posts ---


def test_post_from_another_site_uses_the_session(browser: Browser, provider: Provider, shop: Party) -> None:
    """AUTH-01: without the SameSite=Lax cookie; our redirect to ourselves has it, so no second login."""
    browser.open(f"{provider.issuer}/oauth2/authorize?{urlencode(provider.parameters())}")
    browser.submit("/login", username="cameron", password="correct horse")
    assert "code=" in browser.page.url
    fields = shop.parameters(state="by post", response_mode="form_post")
    page = browser.post_from_elsewhere(f"{provider.issuer}/oauth2/authorize", **fields)
    form = page.form(SHOP)
    assert (form.fields["state"], bool(form.fields["code"])) == ("by post", True)


def test_post_needs_no_csrf_token_and_changes_nothing(shop: Party, provider: Provider, cameron: SiteClient) -> None:
    """AUTH-01, BCP-02: another site can make a browser post only an authorization request, like any link."""
    response = cameron.post("/oauth2/authorize", data=shop.parameters(prompt="consent"))
    assert 'id="allow"' in response.text
    assert provider.rows(Consent) == []


# --- error descriptions ---

WRONG: list[dict[str, Any]] = [
    {"response_type": 'a"b\\'},
    {"scope": '"\\\n'},
    {"prompt": "none login"},
    {"max_age": '"'},
    {"code_challenge": '"', "code_challenge_method": "S256"},
    {"code_challenge": "x" * 43, "code_challenge_method": "\\"},
    {"code_challenge": "=" * 43, "code_challenge_method": "S256"},
    {"claims": '"\n'},
    {"request": '"\\'},
    {"request_uri": '"\\'},
    {"registration": '"\\'},
    {"id_token_hint": '"\\'},
    {"nonce": "\x00"},
    {"claims": claims(id_token={"acr": {"essential": True, "value": '"'}})},
]


@pytest.mark.parametrize("changes", WRONG, ids=str)
def test_error_description_repeats_nothing_of_the_request(
    changes: dict[str, Any], shop: Party, cameron: SiteClient
) -> None:
    """ERR-01, ERR-02: no quote, backslash or line end; RFC 6749 §4.1.2.1."""
    answer = shop.answer(cameron, **{**NO_PKCE, **changes})
    assert set(answer.parameters) == {"error", "error_description", "state", "iss"}
    assert re.fullmatch(r"[a-z_]+", answer["error"])
    assert re.fullmatch(r"[\x20-\x21\x23-\x5B\x5D-\x7E]+", answer["error_description"])


@pytest.mark.parametrize("name", ["client_id", "redirect_uri"])
def test_repeated_redirect_parameter_uses_no_unregistered_uri(
    name: str, provider: Provider, cameron: SiteClient
) -> None:
    """AUTH-03, AUTH-09: first or second, an unregistered URI is never used for a redirect."""
    for first, second in (("x", None), (None, "https://evil.example/")):
        pairs = list(provider.parameters().items())
        pairs = [(name, first), *pairs] if first else [*pairs, (name, str(second))]
        response = cameron.get("/oauth2/authorize?" + urlencode(pairs))
        if response.status_code == 303:
            assert response.location.startswith(f"{provider.url(DISPATCH)}/oauth2client?error=invalid_request")
        else:
            assert response.status_code == 400
