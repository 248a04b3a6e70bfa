"""The IdP's part of the token workbench: what it signs, for whom, and everything that it refuses."""

import json
import secrets
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

import idp
from idp.flow.logout_token import LOGOUT_EVENT, logout_token_claims
from pickup_web.clock import now
from tests.conftest import SiteClient, close, make_settings, prepared
from tests.idp.conftest import DISPATCH, MANAGER, Provider
from tests.idp.console.conftest import operator
from tests.reading import words
from tests.tokens import read

HERE = "/console/logout-token"


@pytest.fixture
def admin(provider: Provider, cameron: SiteClient) -> SiteClient:
    """An operator's browser, while a user is signed in at both apps."""
    del cameron
    return operator(provider)


def claims(provider: Provider, **changes: Any) -> dict[str, Any]:
    """Those of a valid token for Manager; a claim changed to ... is left out."""
    good = logout_token_claims(issuer=provider.issuer, client_id=MANAGER, sub="cameron", sid="a sid", now=now())
    return {name: value for name, value in {**good, **changes}.items() if value is not ...}


def address(claims: dict[str, Any] | str, app: str = MANAGER, typ: str = "logout+jwt") -> str:
    text = claims if isinstance(claims, str) else json.dumps(claims)
    return f"{HERE}?{urlencode({'app': app, 'typ': typ, 'claims': text})}"


def tokens_sent(provider: Provider) -> list[str]:
    """To both apps."""
    return [
        token
        for app in (DISPATCH, MANAGER)
        for token in provider.network.logout_tokens(f"{provider.url(app)}/bclogout")
    ]


def test_operator_is_asked_before_the_idp_signs_and_sends_the_token(provider: Provider, admin: SiteClient) -> None:
    asked = claims(provider)
    page = admin.get(address(asked))
    assert page.status_code == 200
    assert "a sid" in words(page)
    assert tokens_sent(provider) == []
    page = admin.submit(address(asked))
    assert page.status_code == 200
    assert "Pickup Manager accepted the token" in words(page)
    (token,) = tokens_sent(provider)
    header, sent = read(token)
    assert sent == asked
    assert (header["typ"], header["alg"]) == ("logout+jwt", "RS256")
    assert header["kid"] in {key["kid"] for key in provider.state.keys.jwks()["keys"]}
    assert token not in page.text, "the token is for the app only"
    (event,) = provider.events("op.workbench.sent")
    assert (event.outcome, event.client_id, event.detail) == ("delivered", MANAGER, {"by": "admin"})


def test_page_says_why_the_app_refused_the_token(provider: Provider, admin: SiteClient) -> None:
    provider.apps[MANAGER].status, provider.apps[MANAGER].body = (
        400,
        json.dumps({"error_description": "jti is missing."}),
    )
    admin.get(address(claims(provider, jti=...)))
    page = words(admin.submit(address(claims(provider, jti=...))))
    assert "Pickup Manager did not accept the token" in page
    assert "400: jti is missing." in page


def test_token_for_one_app_can_be_sent_to_the_other(provider: Provider, admin: SiteClient) -> None:
    wrong = claims(provider, aud=DISPATCH, event={LOGOUT_EVENT: {}}, events=...)
    admin.get(address(wrong))
    assert admin.submit(address(wrong, typ="secevent+jwt")).status_code == 200
    (token,) = provider.network.logout_tokens(f"{provider.url(MANAGER)}/bclogout")
    assert read(token)[1]["aud"] == DISPATCH


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"aud": "https://radio.example"}, "The audience is one of the apps of this demo."),
        ({"aud": [MANAGER]}, "The audience is one of the apps of this demo."),
        ({"aud": ...}, "The audience is one of the apps of this demo."),
        ({"exp": 10**6}, "The token is valid for at most 120 seconds."),
        ({"exp": 10**6, "iat": 10**6}, "The token is valid for at most 120 seconds."),
        ({"iat": -10}, "The token is valid for at most 120 seconds."),
        ({"exp": ...}, "iat and exp are whole numbers."),
        ({"iat": "now"}, "iat and exp are whole numbers."),
        ({"iat": True}, "iat and exp are whole numbers."),
        ({"events": ..., "nonce": "n"}, "A token with a nonce and without the logout event could pass as an ID token."),
        ({"events": [LOGOUT_EVENT], "nonce": "n"}, "could pass as an ID token."),
        ({"scope": "fleet.read"}, "A logout token of the workbench has no claim scope."),
        ({"client_id": MANAGER}, "A logout token of the workbench has no claim client_id."),
        ({"at_hash": "x"}, "A logout token of the workbench has no claim at_hash."),
    ],
    ids=str,
)  # fmt: skip
def test_idp_signs_nothing_that_is_of_use_elsewhere_or_later(
    changes: dict[str, Any], why: str, provider: Provider, admin: SiteClient
) -> None:
    times = {name: now() + value for name, value in changes.items() if name in ("iat", "exp") and type(value) is int}
    expect_refused(provider, admin, address(claims(provider, **{**changes, **times})), why)


@pytest.mark.parametrize("typ", ["JWT", "at+jwt", "application/at+jwt", "dpop+jwt", ""])
def test_idp_signs_no_other_type_of_token(typ: str, provider: Provider, admin: SiteClient) -> None:
    expect_refused(provider, admin, address(claims(provider), typ=typ), "The type of the token is")


@pytest.mark.parametrize("app", ["", "pickup-admin", "radio", "\0"])
def test_token_is_sent_to_apps_of_the_demo_only(app: str, provider: Provider, admin: SiteClient) -> None:
    expect_refused(provider, admin, address(claims(provider), app=app), "to the apps of this demo only.")


def test_token_is_not_sent_to_an_app_without_a_logout_url(provider: Provider, admin: SiteClient) -> None:
    provider.change_client(MANAGER, backchannel_logout_uri=None)
    expect_refused(provider, admin, address(claims(provider)), "to the apps of this demo only.")


@pytest.mark.parametrize(
    "text", ["", "[]", "7", "{", "[" * 4000, '{"sub": "\\ud800"}', '{"sub": "' + "x" * 5000 + '"}', "{" + "9" * 4090]
)
def test_claims_that_are_no_json_object_are_refused(text: str, provider: Provider, admin: SiteClient) -> None:
    expect_refused(provider, admin, address(text), "The claims are not a JSON object.")


def expect_refused(provider: Provider, browser: SiteClient, where: str, why: str) -> None:
    """With GET and with POST; nothing is sent."""
    browser.get("/console/keys/rotate")  # a form of this session: its CSRF token
    for answer in (browser.get(where), browser.submit(where)):
        assert answer.status_code == 400
        assert why in words(answer)
    assert tokens_sent(provider) == []


@pytest.mark.parametrize(("who", "status"), [("stranger", 401), ("cameron", 403), ("no CSRF token", 400)])
def test_only_an_operator_who_saw_the_page_can_have_a_token_signed(
    who: str, status: int, provider: Provider, cameron: SiteClient
) -> None:
    browser = {"stranger": provider.browser(), "cameron": cameron}.get(who) or operator(provider)
    where = address(claims(provider))
    shown = browser.get(where)
    assert shown.status_code == {"stranger": 302, "cameron": 403, "no CSRF token": 200}[who]
    assert browser.post(where, data={"csrf_token": secrets.token_hex()}).status_code == status
    assert tokens_sent(provider) == []


def test_another_sites_page_cannot_have_a_token_signed(provider: Provider, admin: SiteClient) -> None:
    where = address(claims(provider))
    admin.get(where)
    answer = admin.post(where, data={"csrf_token": admin.csrf_token}, headers={"Sec-Fetch-Site": "same-site"})
    assert answer.status_code == 400
    assert tokens_sent(provider) == []


def test_sign_in_leads_back_to_the_token(provider: Provider) -> None:
    browser = provider.browser()
    answer = browser.get(address(claims(provider)))
    assert answer.location.startswith("/login?next=/console/logout-token")


def test_without_the_demo_switch_the_page_does_not_exist(tmp_path: Path) -> None:
    settings = make_settings(tmp_path, demo_events=False)
    app = prepared(idp.create_app(settings), settings.idp_url)
    assert HERE not in {rule.rule for rule in app.url_map.iter_rules()}
    assert app.test_client().get(HERE, base_url=settings.idp_url).status_code == 404
    close(app)
