"""The response types and response modes of the authorization endpoint.

Multiple Response Types 1.0, Form Post Response Mode 1.0, Core §3.2 and §3.3.
"""

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet
from sqlalchemy.orm import Session

from idp.flow.session_ending import end_session
from idp.models import AuthorizationCode, Participation, Token
from idp.outbox.reasons import Reason
from idp.tokens.token_store import ACCESS_SECONDS
from pickup_web.database import engine_of
from tests.conftest import SiteClient
from tests.idp.conftest import CHALLENGE, VERIFIER, Provider, TakeAct
from tests.idp.parties import ALL_TYPES, HYBRID, IMPLICIT, SHOP, Party, Registrar, answer_of
from tests.network import origin_of
from tests.tokens import b64, read

MODES = ["query", "fragment", "form_post"]
ENVELOPE = {"state", "iss"}
GIVEN = {"code": {"code"}, "id_token": {"id_token"}, "token": {"access_token", "token_type", "expires_in"}}
COMBINATIONS = [
    pytest.param(response_type, mode, id=f"{response_type}-{mode}")
    for response_type in ALL_TYPES
    for mode in [None, *MODES]
    if response_type == "code" or mode != "query"
]


def place_of(response_type: str, mode: str | None) -> str:
    """ERR-03, Multiple Response Types §5: as asked for; else the query for a code alone, the fragment for all else."""
    return mode or ("query" if response_type == "code" else "fragment")


# --- the response and its place ---


@pytest.mark.parametrize(("response_type", "mode"), COMBINATIONS)
def test_each_response_type_returns_its_members_in_each_mode(
    response_type: str, mode: str | None, shop: Party, cameron: SiteClient, provider: Provider
) -> None:
    """DISC-06, DISC-07, FP-05, ISS-01, ISS-02: exactly these members, with state and iss, in one place only."""
    answer = shop.answer(cameron, response_type=response_type, response_mode=mode)
    assert (answer.place, answer.address) == (place_of(response_type, mode), f"{SHOP}/cb")
    wanted = set().union(*(GIVEN[word] for word in response_type.split()))
    assert set(answer.parameters) == wanted | ENVELOPE
    assert (answer["state"], answer["iss"]) == ("a state", provider.issuer)
    if "access_token" in wanted:
        assert (answer["token_type"], answer["expires_in"]) == ("Bearer", str(ACCESS_SECONDS))
        assert provider.userinfo(answer["access_token"]).get_json()["name"] == "Cameron Reyes"
    if "code" in wanted:
        assert shop.redeem(answer["code"]).status_code == 200
    if "id_token" in wanted:
        assert read(answer["id_token"])[1]["iss"] == answer["iss"], "RFC 9207 §2.4"


@pytest.mark.parametrize(("response_type", "mode"), COMBINATIONS)
def test_errors_are_returned_in_the_same_way(
    response_type: str, mode: str | None, shop: Party, cameron: SiteClient, provider: Provider
) -> None:
    """ERR-01, ERR-03, FP-02, ISS-01: the error is where the response would be, with state and iss."""
    answer = shop.answer(cameron, response_type=response_type, response_mode=mode, prompt="none login")
    assert (answer.place, answer.address) == (place_of(response_type, mode), f"{SHOP}/cb")
    assert set(answer.parameters) == {"error", "error_description"} | ENVELOPE
    assert (answer["error"], answer["state"], answer["iss"]) == ("invalid_request", "a state", provider.issuer)


@pytest.mark.parametrize("response_type", [*HYBRID, *IMPLICIT])
def test_login_required_is_returned_in_the_fragment_too(response_type: str, shop: Party, provider: Provider) -> None:
    """ERR-03, AUTH-12: prompt=none without a session."""
    answer = shop.answer(provider.browser(), response_type=response_type, prompt="none")
    assert (answer.place, answer["error"]) == ("fragment", "login_required")


@pytest.mark.parametrize("mode", [None, "form_post"])
def test_without_a_response_type_the_error_is_in_the_query_or_the_form(
    mode: str | None, shop: Party, cameron: SiteClient
) -> None:
    """AUTH-06, ERR-03: no type is known, so the rules for a code apply."""
    answer = shop.answer(cameron, response_type=None, response_mode=mode)
    assert (answer.place, answer["error"]) == (mode or "query", "invalid_request")


@pytest.mark.parametrize("response_type", [*HYBRID, *IMPLICIT])
def test_tokens_are_never_in_a_query(response_type: str, shop: Party, cameron: SiteClient) -> None:
    """ERR-05: response_mode=query is rejected, and the error is not in the query either."""
    answer = shop.answer(cameron, response_type=response_type, response_mode="query")
    assert (answer.place, answer["error"]) == ("fragment", "invalid_request")


@pytest.mark.parametrize("mode", ["web_message", "jwt", "QUERY", "query "])
def test_unsupported_mode_gets_an_error_page(mode: str, shop: Party, cameron: SiteClient) -> None:
    """ERR-04: the requested mode is impossible; 400, and no redirect."""
    response = shop.ask(cameron, response_mode=mode)
    assert response.status_code == 400
    assert "Location" not in response.headers
    assert "response_mode" in response.text


@pytest.mark.parametrize("response_type", ["id_token code", "token id_token code", " code  id_token "])
def test_response_type_order_does_not_matter(response_type: str, register: Registrar, cameron: SiteClient) -> None:
    """REG-09: neither in the registration nor in the request."""
    party = register.of_type("id_token token code", "id_token code")
    answer = party.answer(cameron, response_type=response_type)
    assert {"code", "id_token"} <= set(answer.parameters)


@pytest.mark.parametrize(
    ("response_type", "error"),
    [
        pytest.param("token", "unsupported_response_type", id="DISC-22-token-alone"),
        pytest.param("none", "unsupported_response_type", id="AUTH-06-none"),
        pytest.param("code code_", "unsupported_response_type", id="AUTH-06-unknown-word"),
        pytest.param("id_token", "unauthorized_client", id="REG-08-not-registered"),
        pytest.param("code token", "unauthorized_client", id="BCP-04-not-registered"),
    ],
)
def test_unsupported_or_unregistered_type_is_rejected(
    response_type: str, error: str, register: Registrar, cameron: SiteClient, provider: Provider
) -> None:
    """REG-08, BCP-04: a client can only use its registered types; nothing is written."""
    party, codes = register.of_type("code id_token"), len(provider.rows(AuthorizationCode))
    answer = party.answer(cameron, response_type=response_type)
    assert (answer.place, answer["error"]) == ("fragment", error)
    assert len(provider.rows(AuthorizationCode)) == codes


@pytest.mark.parametrize("response_type", [*HYBRID, *IMPLICIT])
def test_own_apps_get_no_front_channel_tokens(response_type: str, provider: Provider, cameron: SiteClient) -> None:
    """BCP-04: allowed per client, and not for the two apps."""
    answer = answer_of(provider.authorize(cameron, response_type=response_type))
    assert (answer.place, answer["error"]) == ("fragment", "unauthorized_client")


def test_pkce_works_with_every_code(shop: Party, cameron: SiteClient) -> None:
    """PKCE-01, PKCE-03: the challenge is bound to the hybrid code as well."""
    asked = {"code_challenge": CHALLENGE, "code_challenge_method": "S256"}
    code = shop.answer(cameron, response_type="code id_token", **asked)["code"]
    assert shop.redeem(code).get_json()["error"] in ("invalid_grant", "invalid_request")
    assert shop.redeem(code, code_verifier=VERIFIER).status_code == 200


# --- state, in each place ---


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("state", ["-._~" * 32, "a b&c=d%20+/?#", '"><script>', "ümläut ✓"])
def test_state_comes_back_unchanged_in_each_mode(state: str, mode: str, shop: Party, cameron: SiteClient) -> None:
    """AUTH-08, FP-01: encoded for its place, and decoded to the same value."""
    response = shop.ask(cameron, response_mode=mode, state=state)
    assert answer_of(response)["state"] == state
    assert "<script>" not in response.text.replace("<script src=", "")


@pytest.mark.parametrize("mode", MODES)
def test_registered_query_is_unchanged_in_each_mode(mode: str, register: Registrar, cameron: SiteClient) -> None:
    """AUTH-05: character by character; not decoded and encoded again."""
    uri = f"{SHOP}/cb?a=%2f%20x&b&c=~1+2"
    party = register(redirect_uris=[uri])
    response = party.ask(cameron, response_mode=mode)
    if mode == "form_post":
        assert answer_of(response).address == uri
    else:
        assert response.location.startswith(uri + ("#code=" if mode == "fragment" else "&code="))


# --- form_post ---


def test_form_post_page_only_submits_its_form(shop: Party, cameron: SiteClient) -> None:
    """FP-01 … FP-04: not cacheable; its script is our own file; it can only be sent to the app."""
    response = shop.ask(cameron, response_mode="form_post")
    assert "Location" not in response.headers
    assert response.headers["Cache-Control"] == "no-store"
    policy = response.headers["Content-Security-Policy"]
    assert f"form-action 'self' {origin_of(SHOP)}" in policy
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert "<noscript>" in response.text
    script = cameron.get("/static/form_post.js")
    assert (script.status_code, "document.forms[0].submit();" in script.get_data(as_text=True)) == (200, True)
    script.close()


def test_form_post_works_after_the_login_page(shop: Party, provider: Provider) -> None:
    """FP-05, FP-04: the login page's policy allows the form's redirect."""
    browser = provider.browser()
    page = shop.ask(browser, response_mode="form_post", response_type="code id_token")
    assert f"form-action 'self' {origin_of(SHOP)}" in page.headers["Content-Security-Policy"]
    answer = answer_of(provider.enter_password(browser, page))
    assert (answer.place, answer.address) == ("form_post", f"{SHOP}/cb")
    assert {"code", "id_token"} <= set(answer.parameters)


# --- nonce ---


@pytest.mark.parametrize("response_type", ALL_TYPES)
@pytest.mark.parametrize("nonce", [None, ""])
def test_nonce_is_required_for_front_channel_id_tokens(
    nonce: str | None, response_type: str, shop: Party, cameron: SiteClient
) -> None:
    """AUTH-11: optional for code and code token; required if an ID token is in the front channel."""
    answer = shop.answer(cameron, response_type=response_type, nonce=nonce)
    if "id_token" not in response_type:
        assert "code" in answer.parameters
        assert "nonce" not in read(shop.redeem(answer["code"]).get_json()["id_token"])[1]
    else:
        assert (answer.place, answer["error"]) == ("fragment", "invalid_request")


@pytest.mark.parametrize("response_type", [*HYBRID, *IMPLICIT])
def test_nonce_is_in_every_id_token(response_type: str, shop: Party, cameron: SiteClient) -> None:
    """IDT-02, IDT-06."""
    answer = shop.answer(cameron, response_type=response_type, nonce="n-0S6_WzA2Mj")
    tokens = [answer["id_token"]] if "id_token" in answer.parameters else []
    if "code" in answer.parameters:
        tokens.append(shop.redeem(answer["code"]).get_json()["id_token"])
    assert tokens
    assert {read(token)[1]["nonce"] for token in tokens} == {"n-0S6_WzA2Mj"}


# --- the ID token at the front ---

HASHES: dict[str, Callable[[bytes], Any]] = {
    "RS256": hashlib.sha256,
    "ES256": hashlib.sha256,
    "EdDSA": hashlib.sha512,
}


def half(value: str, alg: str) -> str:
    """Core §3.3.2.11: left half, base64url, no padding."""
    digest = HASHES[alg](value.encode()).digest()
    return b64(digest[: len(digest) // 2])


@pytest.mark.parametrize("alg", HASHES)
@pytest.mark.parametrize("response_type", [*HYBRID, *IMPLICIT])
def test_hashes_bind_the_id_token_to_code_and_access_token(
    response_type: str, alg: str, register: Registrar, cameron: SiteClient, provider: Provider
) -> None:
    """IDT-05, IDT-07, JWK-03: c_hash and at_hash by the client's registered signing algorithm."""
    party = register.of_type(response_type, id_token_signed_response_alg=alg)
    answer = party.answer(cameron, response_type=response_type)
    published = KeySet.import_key_set(provider.browser().get("/oauth2/jwks").get_json())
    if "id_token" in answer.parameters:
        header, claims = read(answer["id_token"])
        assert header["alg"] == alg
        jwt.decode(answer["id_token"], published, algorithms=[alg])
        assert ("c_hash" in claims, "at_hash" in claims) == (
            "code" in response_type,
            "access_token" in answer.parameters,
        )
        for name, of in (("c_hash", "code"), ("at_hash", "access_token")):
            assert name not in claims or claims[name] == half(answer[of], alg)
    if "code" in response_type:
        tokens = party.redeem(answer["code"]).get_json()
        assert read(tokens["id_token"])[1]["at_hash"] == half(tokens["access_token"], alg), "of this response's token"


@pytest.mark.parametrize("response_type", ["code id_token", "code id_token token"])
def test_both_id_tokens_of_a_hybrid_flow_agree(response_type: str, shop: Party, cameron: SiteClient) -> None:
    """IDT-06, SUI-11, BCL-03: user, issuer, time of sign-in, and session."""
    answer = shop.answer(cameron, response_type=response_type)
    front, back = read(answer["id_token"])[1], read(shop.redeem(answer["code"]).get_json()["id_token"])[1]
    for claim in ("iss", "sub", "aud", "auth_time", "sid", "nonce", "amr"):
        assert front[claim] == back[claim], claim


NAMES = {"name", "email", "given_name", "email_verified", "picture"}


@pytest.mark.parametrize("response_type", ALL_TYPES)
def test_scope_claims_are_in_the_id_token_only_without_userinfo(
    response_type: str, shop: Party, cameron: SiteClient
) -> None:
    """IDT-09, Core §5.4: with response_type id_token there is no userinfo; otherwise they are not included."""
    answer = shop.answer(cameron, response_type=response_type)
    tokens = [answer["id_token"]] if "id_token" in answer.parameters else []
    if "code" in answer.parameters:
        tokens.append(shop.redeem(answer["code"]).get_json()["id_token"])
    for token in tokens:
        assert (set(read(token)[1]) >= NAMES) is (response_type == "id_token")
        assert bool(set(read(token)[1]) & NAMES) is (response_type == "id_token")


def test_no_claim_is_null_or_empty(shop: Party, cameron: SiteClient) -> None:
    """IDT-04: in any ID token."""
    answer = shop.answer(cameron, response_type="code id_token token")
    back = shop.redeem(answer["code"]).get_json()["id_token"]
    alone = shop.answer(cameron, response_type="id_token")["id_token"]
    for token in (answer["id_token"], back, alone):
        assert all(value not in (None, "", [], {}) for value in read(token)[1].values())


# --- what is bound to what ---


def test_second_use_of_a_code_revokes_the_front_channel_token(
    shop: Party, cameron: SiteClient, provider: Provider
) -> None:
    """CODE-04: hybrid: both came from one request."""
    answer = shop.answer(cameron, response_type="code token")
    assert shop.redeem(answer["code"]).status_code == 200
    assert provider.works(answer["access_token"])
    assert shop.redeem(answer["code"]).get_json()["error"] == "invalid_grant"
    assert not provider.works(answer["access_token"])


def test_logout_revokes_the_front_channel_token(shop: Party, cameron: SiteClient, provider: Provider) -> None:
    """TOK-14, BCL-58."""
    answer = shop.answer(cameron, response_type="id_token token")
    provider.end_session(cameron, id_token_hint=answer["id_token"])
    assert not provider.works(answer["access_token"])


def test_front_channel_token_has_no_offline_access(shop: Party, cameron: SiteClient, provider: Provider) -> None:
    """TOK-10, Core §11: offline access needs a code."""
    provider.change_client(shop.id, scopes=["openid", "offline_access"])
    answer = shop.answer(cameron, response_type="id_token token", scope="openid offline_access")
    assert "offline_access" not in next(row.scope for row in provider.rows(Token) if row.client_id == shop.id)
    assert provider.works(answer["access_token"])


# --- who will hear of the logout ---


@pytest.mark.parametrize("response_type", ["code id_token", "code id_token token"])
def test_front_channel_id_token_records_the_participation(
    response_type: str, shop: Party, cameron: SiteClient, provider: Provider, register: Registrar
) -> None:
    """BCL-24: even before the code is redeemed; its logout token has the same sub and sid (BCL-18)."""
    answer = shop.answer(cameron, response_type=response_type)
    claims = read(answer["id_token"])[1]
    assert shop.id in {row.client_id for row in provider.rows(Participation)}
    provider.end_session(cameron, id_token_hint=answer["id_token"])
    (told,) = register.logout_tokens()
    assert (told["sub"], told["sid"], told["aud"]) == (claims["sub"], claims["sid"], shop.id)


def test_code_token_participates_at_redemption(shop: Party, cameron: SiteClient, provider: Provider) -> None:
    """BCL-24: only the token endpoint returns an ID token."""
    answer = shop.answer(cameron, response_type="code token")
    assert shop.id not in {row.client_id for row in provider.rows(Participation)}
    shop.redeem(answer["code"])
    assert shop.id in {row.client_id for row in provider.rows(Participation)}


@pytest.mark.parametrize("response_type", ALL_TYPES)
def test_concurrent_logout_wins(
    response_type: str, shop: Party, cameron: SiteClient, provider: Provider, after_session_check: TakeAct
) -> None:
    """BCL-24, BCL-36: the session ends between the check and the response: no token stays valid unnoticed."""
    sid = provider.session().sid

    def end() -> None:
        with Session(engine_of(provider.app)) as other:
            end_session(other, sid, Reason.LOGOUT, "session")

    after_session_check(end)
    answer = shop.answer(cameron, response_type=response_type, prompt="none")
    if response_type == "code":  # the code is invalid
        assert shop.redeem(answer["code"]).get_json()["error"] == "invalid_grant"
    else:
        assert answer["error"] == "login_required"
    assert shop.id not in {row.client_id for row in provider.rows(Participation)}
    assert shop.id not in {row.client_id for row in provider.rows(Token)}
