"""The token endpoint, userinfo, introspection and revocation."""

import hashlib
import re
import threading
from base64 import b64encode
from typing import Any
from zoneinfo import available_timezones

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from idp.models import AuthorizationCode, Participation, Token, User
from idp.tokens import refresh_grant
from idp.tokens.code_grant import CODE_SECONDS
from idp.tokens.id_token import SCOPE_CLAIMS
from idp.tokens.refresh_grant import GRACE_SECONDS
from idp.tokens.signing_keys import SigningKeys
from idp.tokens.token_store import ACCESS_SECONDS, REFRESH_SECONDS
from tests.conftest import START, Clock, SiteClient
from tests.idp.conftest import CHALLENGE, DISPATCH, MANAGER, VERIFIER, Provider, hidden
from tests.network import query_of
from tests.tokens import b64, read


def assert_refused(response: Any, error: str, status: int = 400) -> None:
    """TOK-01, TOK-02: JSON with the error code, not cacheable."""
    assert (response.status_code, response.get_json()["error"]) == (status, error)
    assert response.headers["Cache-Control"] == "no-store"


# --- the token response ---


def test_token_response_is_complete_and_not_cacheable(provider: Provider, cameron: SiteClient) -> None:
    """TOK-01, TOK-03, TOK-09."""
    response = provider.redeem(provider.code(cameron))
    tokens = response.get_json()
    assert set(tokens) == {"access_token", "token_type", "expires_in", "refresh_token", "scope", "id_token"}
    assert (tokens["token_type"], tokens["expires_in"]) == ("Bearer", ACCESS_SECONDS)
    assert (len(tokens["access_token"]), len(tokens["refresh_token"])) == (43, 43)
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Pragma"] == "no-cache"


def test_id_token_has_exactly_the_sample_claims(provider: Provider, cameron: SiteClient, clock: Clock) -> None:
    """IDT-01 … IDT-03, IDT-05, BCL-03: each claim and its value, and no other."""
    clock.turn(300)
    code = provider.code(cameron)
    tokens = provider.redeem(code).get_json()
    header, claims = read(tokens["id_token"])
    session = next(iter(provider.rows(Participation)))

    def half_hash(value: str) -> str:
        return b64(hashlib.sha256(value.encode()).digest()[:16])

    assert claims == {
        "iss": provider.issuer,
        "sub": session.sub,
        "aud": DISPATCH,
        "azp": DISPATCH,
        "exp": START + 300 + 3600,
        "iat": START + 300,
        "nbf": START + 300,
        "auth_time": START,
        "nonce": "a nonce",
        "at_hash": half_hash(tokens["access_token"]),
        "c_hash": half_hash(code),
        "amr": ["pwd"],
        "sid": session.sid,
    }
    assert header == {"alg": "RS256", "kid": header["kid"], "typ": "JWT"}


def test_id_token_is_signed_with_a_published_key(provider: Provider, cameron: SiteClient) -> None:
    """JWK-03, IDT-07: one changed character makes it invalid."""
    raw = provider.tokens(cameron)["id_token"]
    published = KeySet.import_key_set(provider.browser().get("/oauth2/jwks").get_json())
    assert jwt.decode(raw, published, algorithms=["RS256"]).claims["aud"] == DISPATCH
    head, payload, signature = raw.split(".")
    with pytest.raises(Exception, match="bad_signature"):
        jwt.decode(f"{head}.{payload}.{signature[:100]}AAAA{signature[104:]}", published, algorithms=["RS256"])


def test_id_token_has_no_nonce_if_none_was_sent(provider: Provider, cameron: SiteClient) -> None:
    """IDT-02: not as null either."""
    assert "nonce" not in read(provider.tokens(cameron, nonce=None)["id_token"])[1]


def test_scope_claims_are_only_at_userinfo(provider: Provider, cameron: SiteClient) -> None:
    """IDT-09."""
    assert not {"name", "email"} & set(read(provider.tokens(cameron)["id_token"])[1])


def test_client_can_be_set_to_get_the_claims_of_its_scopes_in_the_id_token_too(
    provider: Provider, cameron: SiteClient
) -> None:
    """Core §5.4: of the granted scopes only; a refreshed ID token has them too (Core §12.2)."""
    provider.change_client(DISPATCH, claims_in_id_token=True)
    tokens = provider.tokens(cameron, scope="openid email")
    refreshed = provider.refresh(tokens["refresh_token"]).get_json()
    for each in (tokens, refreshed):
        claims = read(each["id_token"])[1]
        assert (claims["email"], claims["email_verified"]) == ("cameron@pickup.example", True)
        assert "name" not in claims
        assert claims["aud"] == DISPATCH


def test_redeeming_a_code_records_the_participation(provider: Provider, cameron: SiteClient) -> None:
    """BCL-24: recorded when the ID token is issued, once per app, however often it signs in."""
    provider.tokens(cameron)
    taking_part = provider.rows(Participation)
    assert sorted(row.client_id for row in taking_part) == [DISPATCH, MANAGER]
    assert {row.sub for row in taking_part} == {"248289761002"}


def test_plain_oauth_records_no_participation(provider: Provider) -> None:
    """Without openid there is no ID token, so the app has no session to end."""
    browser = provider.sign_in(scope="fleet.read")
    tokens = provider.tokens(browser, scope="fleet.read")
    assert "id_token" not in tokens
    assert tokens["scope"] == "fleet.read"
    assert provider.rows(Participation) == []


# --- the code ---


def test_second_use_of_a_code_revokes_its_tokens(provider: Provider, cameron: SiteClient) -> None:
    """CODE-04: the code was copied, so its tokens are revoked; other tokens of the session stay."""
    code = provider.code(cameron)
    tokens, others = provider.redeem(code).get_json(), provider.tokens(cameron, MANAGER)
    renewed = provider.refresh(tokens["refresh_token"]).get_json()
    assert_refused(provider.redeem(code), "invalid_grant")
    assert not provider.works(tokens["access_token"])
    assert not provider.works(renewed["access_token"])
    assert_refused(provider.refresh(renewed["refresh_token"]), "invalid_grant")
    assert provider.works(others["access_token"])
    assert provider.events("op.tokens.revoked")


@pytest.mark.parametrize("seconds", [CODE_SECONDS + 1, 3600, REFRESH_SECONDS - 1])
def test_late_reuse_of_a_code_revokes_its_tokens(
    seconds: int, provider: Provider, cameron: SiteClient, clock: Clock
) -> None:
    """CODE-04, RFC 6749 §4.1.2: the one-minute limit is for the first use; later reuse also means a copy."""
    code = provider.code(cameron)
    tokens = provider.redeem(code).get_json()
    clock.turn(ACCESS_SECONDS - 1)
    tokens = provider.refresh(tokens["refresh_token"]).get_json()
    clock.turn(max(0, seconds - ACCESS_SECONDS))
    assert_refused(provider.redeem(code), "invalid_grant")
    assert not provider.works(tokens["access_token"])
    assert_refused(provider.refresh(tokens["refresh_token"]), "invalid_grant")
    assert len(provider.events("op.tokens.revoked")) == 1


def test_one_of_two_simultaneous_redemptions_gets_the_tokens(provider: Provider, cameron: SiteClient) -> None:
    """CODE-04: marked as used by one conditional update, for all workers."""
    code, tokens_before = provider.code(cameron), len(provider.rows(Token))
    together, statuses = threading.Barrier(3), []

    def redeem() -> None:
        together.wait()
        statuses.append(provider.redeem(code).status_code)

    threads = [threading.Thread(target=redeem) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200, 400, 400]
    assert len(provider.rows(Token)) == tokens_before + 1


WRONG: list[tuple[str, dict[str, str | None], str]] = [
    ("CODE-05-other-address", {"redirect_uri": "https://elsewhere.example/"}, "invalid_grant"),
    ("CODE-05-no-address", {"redirect_uri": None}, "invalid_grant"),
    ("PKCE-03-wrong-verifier", {"code_verifier": VERIFIER[::-1]}, "invalid_grant"),
    ("PKCE-03-no-verifier", {"code_verifier": None}, "invalid_grant"),
    ("PKCE-03-verifier-empty", {"code_verifier": ""}, "invalid_grant"),
    ("PKCE-01-verifier-too-short", {"code_verifier": "abc"}, "invalid_grant"),
    ("PKCE-01-verifier-too-long", {"code_verifier": "a" * 129}, "invalid_grant"),
    ("PKCE-01-verifier-odd", {"code_verifier": VERIFIER[:-1] + "+"}, "invalid_grant"),
    ("PKCE-06-the-challenge-itself", {"code_verifier": CHALLENGE}, "invalid_grant"),
    ("CODE-05-made-up", {"code": "made up"}, "invalid_grant"),
    ("CODE-05-none", {"code": None}, "invalid_request"),
    ("BCP-05-password-grant", {"grant_type": "password", "username": "cameron"}, "unsupported_grant_type"),
    ("TOK-02-client-credentials", {"grant_type": "client_credentials"}, "unauthorized_client"),
    ("TOK-02-no-grant-type", {"grant_type": None}, "unsupported_grant_type"),
]


@pytest.mark.parametrize(("changes", "error"), [pytest.param(*row[1:], id=row[0]) for row in WRONG])
def test_invalid_token_request_changes_nothing(changes: dict[str, Any], error: str, provider: Provider) -> None:
    """CODE-05, PKCE-03: no tokens, no participation; the valid request still works afterwards."""
    browser = provider.sign_in()
    code = provider.code(browser)
    assert_refused(provider.redeem(code, **changes), error)
    assert provider.rows(Token) == []
    assert provider.rows(Participation) == []
    assert provider.redeem(code).status_code == 200


def test_code_of_another_client_is_rejected(provider: Provider, cameron: SiteClient) -> None:
    """CODE-05: another client that obtained it gets nothing."""
    code = provider.code(cameron, DISPATCH)
    uri = f"{provider.url(DISPATCH)}/oauth2client"
    assert_refused(provider.redeem(code, MANAGER, redirect_uri=uri), "invalid_grant")
    assert provider.redeem(code).status_code == 200


def test_code_is_valid_for_a_minute(provider: Provider, cameron: SiteClient, clock: Clock) -> None:
    """CODE-02."""
    young, old = provider.code(cameron), provider.code(cameron)
    clock.turn(CODE_SECONDS - 1)
    assert provider.redeem(young).status_code == 200
    clock.turn(1)
    assert_refused(provider.redeem(old), "invalid_grant")


def test_verifier_for_a_code_without_challenge_is_rejected(provider: Provider, cameron: SiteClient) -> None:
    """PKCE-04, PKCE-05: the operator can allow a client to omit PKCE; a downgrade is detected."""
    provider.change_client(DISPATCH, require_pkce=False)
    none: dict[str, Any] = {"code_challenge": None, "code_challenge_method": None}
    assert provider.redeem(provider.code(cameron, **none), code_verifier=None).status_code == 200
    assert_refused(provider.redeem(provider.code(cameron, **none)), "invalid_grant")


@pytest.mark.parametrize("verifier", ["a" * 43, "z" * 128, "-._~" * 11, "0123456789" * 5])
def test_every_valid_verifier_is_accepted(verifier: str, provider: Provider, cameron: SiteClient) -> None:
    """PKCE-01, PKCE-06: 43 to 128 characters; the challenge has no padding."""
    challenge = b64(hashlib.sha256(verifier.encode()).digest())
    assert provider.redeem(provider.code(cameron, code_challenge=challenge), code_verifier=verifier).status_code == 200


def test_ended_session_gets_no_tokens(provider: Provider, cameron: SiteClient) -> None:
    """BCL-36, BCL-58: for a code and for a refresh token; nothing is written."""
    tokens, code = provider.tokens(cameron), provider.code(cameron)
    provider.end_session(cameron, id_token_hint=tokens["id_token"])
    before = len(provider.rows(Token))
    assert_refused(provider.redeem(code), "invalid_grant")
    assert_refused(provider.refresh(tokens["refresh_token"]), "invalid_grant")
    assert not provider.works(tokens["access_token"])
    assert len(provider.rows(Token)) == before


def test_error_during_the_exchange_changes_nothing(
    provider: Provider, cameron: SiteClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CODE-04: using the code, storing the token and recording the participation are atomic; the app's retry works."""
    code, before = provider.code(cameron), len(provider.rows(Token))
    with monkeypatch.context() as broken:
        broken.setattr(SigningKeys, "sign", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            provider.redeem(code)
    assert len(provider.rows(Token)) == before
    assert [row.used_at for row in provider.rows(AuthorizationCode)].count(None) == 2  # this one, and the sign-in's
    assert provider.redeem(code).status_code == 200


# --- client authentication ---


@pytest.mark.parametrize("path", ["/oauth2/token", "/oauth2/introspect", "/oauth2/revoke"])
@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "Basic",
        "Basic !!!",
        "Basic " + b64encode(b"pickup-dispatch").decode(),
        "Basic " + b64encode(b"pickup-dispatch:wrong").decode(),
        "Basic " + b64encode(b"unknown:secret").decode(),
        "Basic " + b64encode(b"\xff:\xff").decode(),
        "Bearer x",
    ],
    ids=["none", "empty", "not-base64", "no-colon", "wrong-secret", "unknown", "not-utf-8", "bearer"],
)
def test_unauthenticated_client_is_rejected(authorization: str | None, path: str, provider: Provider) -> None:
    """TOK-02, INT-01, REV-01: 401 invalid_client, with the supported method."""
    headers = {"Authorization": authorization} if authorization else {}
    data = {"grant_type": "refresh_token", "refresh_token": "x", "token": "x"}
    response = provider.app.test_client().post(path, data=data, headers=headers)
    assert_refused(response, "invalid_client", 401)
    if authorization:
        assert response.headers["WWW-Authenticate"].startswith("Basic")


def test_client_id_and_secret_are_decoded(provider: Provider, cameron: SiteClient) -> None:
    """TOK-05, LIB-01: form-encoded in Basic, so a colon, a percent sign or a space is allowed."""
    assert "%" in provider.secret(DISPATCH)
    code = provider.code(cameron)
    assert provider.redeem(code).status_code == 200


@pytest.mark.parametrize("where", ["body", "query"])
def test_client_can_only_use_its_registered_method(where: str, provider: Provider, cameron: SiteClient) -> None:
    """TOK-04, TOK-06: a secret in the body of a basic client, or in any URL, does not authenticate."""
    credentials = {"client_id": DISPATCH, "client_secret": provider.secret(DISPATCH)}
    data = {
        "grant_type": "authorization_code",
        "code": provider.code(cameron),
        "redirect_uri": f"{provider.url(DISPATCH)}/oauth2client",
        "code_verifier": VERIFIER,
    }
    client = provider.app.test_client()

    def ask() -> Any:
        if where == "body":
            return client.post("/oauth2/token", data={**data, **credentials})
        return client.post("/oauth2/token", data=data, query_string=credentials)

    assert_refused(ask(), "invalid_client", 401)
    provider.change_client(DISPATCH, token_endpoint_auth_method="client_secret_post")
    assert ask().status_code == (200 if where == "body" else 401)


@pytest.mark.parametrize(
    "in_query",
    [
        {"grant_type": "client_credentials"},
        {"redirect_uri": "https://elsewhere.example/"},
        {"client_id": MANAGER},
        {"code": "made up"},
        {"code_verifier": VERIFIER[::-1]},
        {"scope": "none at all"},
    ],
    ids=lambda given: next(iter(given)),
)
def test_url_parameter_does_not_replace_a_form_parameter(
    in_query: dict[str, str], provider: Provider, cameron: SiteClient
) -> None:
    """TOK-01, RFC 6749 §4.1.3: parameters are sent in the body, because URLs end up in logs."""
    form = {
        "grant_type": "authorization_code",
        "code": provider.code(cameron),
        "redirect_uri": f"{provider.url(DISPATCH)}/oauth2client",
        "code_verifier": VERIFIER,
    }
    client, headers = provider.app.test_client(), provider.basic(DISPATCH)
    response = client.post("/oauth2/token", data=form, query_string=in_query, headers=headers)
    assert response.status_code == 200, response.text


def test_parameter_only_in_the_url_is_missing(provider: Provider, cameron: SiteClient) -> None:
    """TOK-01, RFC 6749 §2.3.1, §3.2: neither the grant nor a public client's id is read from the URL."""
    form = {
        "grant_type": "authorization_code",
        "code": provider.code(cameron),
        "redirect_uri": f"{provider.url(DISPATCH)}/oauth2client",
        "code_verifier": VERIFIER,
    }
    client, headers = provider.app.test_client(), provider.basic(DISPATCH)
    without_grant = {name: value for name, value in form.items() if name != "grant_type"}
    query = {"grant_type": "authorization_code"}
    response = client.post("/oauth2/token", data=without_grant, query_string=query, headers=headers)
    assert_refused(response, "unsupported_grant_type")
    provider.change_client(DISPATCH, token_endpoint_auth_method="none")
    assert_refused(client.post("/oauth2/token", data=form, query_string={"client_id": DISPATCH}), "invalid_client", 401)
    assert client.post("/oauth2/token", data={**form, "client_id": DISPATCH}).status_code == 200


@pytest.mark.parametrize("path", ["/oauth2/token", "/oauth2/introspect", "/oauth2/revoke"])
def test_token_endpoints_accept_only_post(path: str, provider: Provider) -> None:
    """TOK-01, INT-01, REV-01: URLs end up in logs."""
    assert provider.browser().get(path).status_code == 405


# --- refresh ---


def test_refresh_returns_new_tokens_of_the_same_session(provider: Provider, cameron: SiteClient, clock: Clock) -> None:
    """TOK-12, Core §12.2: the login's auth_time and sid, a new iat, no nonce."""
    old = provider.tokens(cameron)
    clock.turn(300)
    new = provider.refresh(old["refresh_token"]).get_json()
    before, after = read(old["id_token"])[1], read(new["id_token"])[1]
    for claim in ("iss", "sub", "aud", "azp", "auth_time", "amr", "sid"):
        assert after[claim] == before[claim]
    assert (before["iat"], after["iat"]) == (START, START + 300)
    assert not {"nonce", "c_hash"} & set(after)
    assert after["at_hash"] == b64(hashlib.sha256(new["access_token"].encode()).digest()[:16])
    assert provider.works(new["access_token"])
    assert len({old["access_token"], new["access_token"], old["refresh_token"], new["refresh_token"]}) == 4


def test_replaced_token_works_within_the_grace_period(provider: Provider, cameron: SiteClient, clock: Clock) -> None:
    """TOK-13: the replaced token works for a few more seconds."""
    old = provider.tokens(cameron)["refresh_token"]
    assert provider.refresh(old).status_code == 200
    clock.turn(GRACE_SECONDS)
    assert provider.refresh(old).status_code == 200


@pytest.mark.parametrize("offline", [False, True], ids=["session", "offline"])
def test_second_refresh_within_the_grace_revokes_the_first(
    offline: bool, provider: Provider, cameron: SiteClient
) -> None:
    """TOK-13, RFC 9700 §4.14.2: the first response was lost or the token was copied; one chain continues either way."""
    old = grant(provider, cameron, offline=offline)["refresh_token"]
    answers = [provider.refresh(old).get_json() for _ in range(3)]
    assert [provider.works(answer["access_token"]) for answer in answers] == [False, False, True]
    assert provider.refresh(answers[-1]["refresh_token"]).status_code == 200


@pytest.mark.parametrize("offline", [False, True], ids=["session", "offline"])
def test_reuse_after_the_successor_was_used_revokes_all(offline: bool, provider: Provider, cameron: SiteClient) -> None:
    """TOK-13, RFC 9700 §4.14.2: the first response was not lost, so the token was copied."""
    old = grant(provider, cameron, offline=offline)["refresh_token"]
    first = provider.refresh(old).get_json()
    second = provider.refresh(first["refresh_token"]).get_json()
    assert_refused(provider.refresh(old), "invalid_grant")
    assert not provider.works(second["access_token"])
    assert_refused(provider.refresh(second["refresh_token"]), "invalid_grant")


def test_use_of_a_revoked_successor_revokes_all(provider: Provider, cameron: SiteClient) -> None:
    """TOK-13, RFC 9700 §4.14.2: both responses arrived, at two parties; the faster one does not keep its chain."""
    old = provider.tokens(cameron)["refresh_token"]
    first, second = (provider.refresh(old).get_json() for _ in range(2))
    assert_refused(provider.refresh(first["refresh_token"]), "invalid_grant")
    assert not provider.works(second["access_token"])
    assert_refused(provider.refresh(second["refresh_token"]), "invalid_grant")


def test_replaced_token_is_rejected_after_its_successor_was_revoked(provider: Provider, cameron: SiteClient) -> None:
    """TOK-13, RFC 7009 §2.1: the app revoked its tokens; the grace period does not restore them."""
    old = provider.tokens(cameron)["refresh_token"]
    provider.post("/oauth2/revoke", token=provider.refresh(old).get_json()["refresh_token"])
    assert_refused(provider.refresh(old), "invalid_grant")


def test_second_use_with_an_invalid_scope_revokes_nothing(provider: Provider, cameron: SiteClient) -> None:
    """TOK-11, TOK-13: an invalid request changes nothing."""
    old = provider.tokens(cameron, scope="openid email")["refresh_token"]
    first = provider.refresh(old).get_json()
    assert_refused(provider.refresh(old, scope="openid email fleet.read"), "invalid_scope")
    assert provider.works(first["access_token"])
    assert provider.refresh(first["refresh_token"]).status_code == 200


def grant(provider: Provider, browser: SiteClient, *, offline: bool) -> dict[str, Any]:
    """Tokens that end with the session, or are valid longer."""
    if not offline:
        return provider.tokens(browser)
    provider.change_client(DISPATCH, scopes=["openid", "offline_access"])
    page = provider.authorize(browser, scope="openid offline_access", prompt="consent")
    response = browser.submit("/consent", request=hidden(page, "request"), answer="allow")
    tokens = provider.redeem(query_of(browser.get(response.location).location)["code"]).get_json()
    assert "offline_access" in tokens["scope"]
    return dict(tokens)


def test_late_reuse_of_a_refresh_token_revokes_all(provider: Provider, cameron: SiteClient, clock: Clock) -> None:
    """TOK-13, RFC 9700 §4.14.2: one of its two users stole it, and the IdP cannot tell which."""
    old, others = provider.tokens(cameron), provider.tokens(cameron, MANAGER)
    new = provider.refresh(old["refresh_token"]).get_json()
    clock.turn(GRACE_SECONDS + 1)
    assert provider.works(new["access_token"])
    assert_refused(provider.refresh(old["refresh_token"]), "invalid_grant")
    assert not provider.works(new["access_token"])
    assert_refused(provider.refresh(new["refresh_token"]), "invalid_grant")
    assert provider.works(others["access_token"])


def test_reuse_does_not_extend_the_grace_period(provider: Provider, cameron: SiteClient, clock: Clock) -> None:
    """TOK-13: the grace period starts with the first use."""
    old = provider.tokens(cameron)["refresh_token"]
    provider.refresh(old)
    clock.turn(GRACE_SECONDS - 1)
    provider.refresh(old)
    clock.turn(2)
    assert_refused(provider.refresh(old), "invalid_grant")


def test_second_of_two_simultaneous_refreshes_counts_as_reuse(
    provider: Provider, cameron: SiteClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TOK-13: rotated by one conditional update, for all workers; without the grace period reuse is theft."""
    monkeypatch.setattr(refresh_grant, "GRACE_SECONDS", -1)
    old, together, answers = provider.tokens(cameron)["refresh_token"], threading.Barrier(3), []

    def refresh() -> None:
        together.wait()
        answers.append(provider.refresh(old))

    threads = [threading.Thread(target=refresh) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first, *others = sorted(answers, key=lambda answer: answer.status_code)
    assert first.status_code == 200
    for other in others:
        assert_refused(other, "invalid_grant")
    assert not provider.works(first.get_json()["access_token"])


def test_three_simultaneous_refreshes_leave_one_chain(provider: Provider, cameron: SiteClient) -> None:
    """TOK-13: three threads of one app; each gets a response, and one of them stays valid."""
    old, together, answers = provider.tokens(cameron)["refresh_token"], threading.Barrier(3), []

    def refresh() -> None:
        together.wait()
        answers.append(provider.refresh(old).get_json())

    threads = [threading.Thread(target=refresh) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([answer for answer in answers if provider.works(answer["access_token"])]) == 1


def test_refresh_token_of_another_client_is_rejected(provider: Provider, cameron: SiteClient) -> None:
    """TOK-11: a made-up one belongs to no client."""
    token = provider.tokens(cameron)["refresh_token"]
    assert_refused(provider.refresh(token, MANAGER), "invalid_grant")
    assert_refused(provider.refresh("made up"), "invalid_grant")
    assert provider.refresh(token).status_code == 200


def test_refresh_can_reduce_but_not_extend_the_scope(provider: Provider, cameron: SiteClient) -> None:
    """TOK-11."""
    token = provider.tokens(cameron, scope="openid email")["refresh_token"]
    assert_refused(provider.refresh(token, scope="openid email fleet.read"), "invalid_scope")
    narrower = provider.refresh(token, scope="openid").get_json()
    assert narrower["scope"] == "openid"
    assert set(provider.userinfo(narrower["access_token"]).get_json()) == {"sub"}


def test_refresh_token_expires_with_the_longest_session(provider: Provider, cameron: SiteClient, clock: Clock) -> None:
    """TOK-14: ten hours."""
    token = provider.tokens(cameron)["refresh_token"]
    clock.turn(REFRESH_SECONDS)
    assert_refused(provider.refresh(token), "invalid_grant")


# --- userinfo ---


def test_userinfo_returns_the_claims_of_the_granted_scopes(provider: Provider, cameron: SiteClient) -> None:
    """UI-03, UI-06, UI-09: sub always; profile, email and phone only if granted."""
    everything = provider.userinfo(provider.tokens(cameron)["access_token"])
    assert everything.headers["Cache-Control"] == "no-store"
    assert set(everything.get_json()) == {
        "sub", "name", "family_name", "given_name", "middle_name", "nickname", "preferred_username", "profile",
        "picture", "website", "gender", "birthdate", "zoneinfo", "locale", "updated_at", "email", "email_verified",
        "phone_number", "phone_number_verified",
    }  # fmt: skip
    provider.change_client(DISPATCH, scopes=["openid", "address"])
    address = provider.userinfo(provider.tokens(cameron, scope="openid address")["access_token"]).get_json()
    assert set(address) == {"sub", "address"}
    provider.change_client(DISPATCH, scopes=["openid", "email"])
    email_only = provider.userinfo(provider.tokens(cameron, scope="openid email")["access_token"]).get_json()
    assert email_only == {"sub": "248289761002", "email": "cameron@pickup.example", "email_verified": True}


@pytest.mark.parametrize("how", ["get", "post-header", "post-body"])
def test_userinfo_accepts_the_token_in_header_or_body(how: str, provider: Provider, cameron: SiteClient) -> None:
    """UI-01."""
    token = provider.tokens(cameron)["access_token"]
    client, headers = provider.app.test_client(), {"Authorization": f"bearer {token}"}
    response = {
        "get": lambda: client.get("/oauth2/userinfo", headers=headers),
        "post-header": lambda: client.post("/oauth2/userinfo", headers=headers),
        "post-body": lambda: client.post("/oauth2/userinfo", data={"access_token": token}),
    }[how]()
    assert response.get_json()["sub"] == "248289761002"


def test_userinfo_ignores_a_token_in_the_url(provider: Provider, cameron: SiteClient) -> None:
    """UI-01, UI-05: it counts as no token: 401, without an error code."""
    token = provider.tokens(cameron)["access_token"]
    response = provider.app.test_client().get("/oauth2/userinfo", query_string={"access_token": token})
    assert (response.status_code, response.headers["WWW-Authenticate"]) == (401, "Bearer")


def test_token_in_two_places_is_an_error(provider: Provider, cameron: SiteClient) -> None:
    """UI-02, RFC 6750 §2: 400 invalid_request."""
    token = provider.tokens(cameron)["access_token"]
    response = provider.app.test_client().post(
        "/oauth2/userinfo", data={"access_token": token}, headers={"Authorization": f"Bearer {token}"}
    )
    assert response.status_code == 400
    assert 'error="invalid_request"' in response.headers["WWW-Authenticate"]


@pytest.mark.parametrize("why", ["made-up", "refresh-token", "expired", "revoked", "session-ended"])
def test_invalid_token_is_reported_as_invalid(why: str, provider: Provider, cameron: SiteClient, clock: Clock) -> None:
    """UI-05, UI-12: 401 with invalid_token, for any reason."""
    tokens = provider.tokens(cameron)
    if why == "expired":
        clock.turn(ACCESS_SECONDS)
    elif why == "revoked":
        provider.post("/oauth2/revoke", token=tokens["access_token"])
    elif why == "session-ended":
        provider.end_session(cameron, id_token_hint=tokens["id_token"])
    value = {"made-up": "made up", "refresh-token": tokens["refresh_token"]}.get(why, tokens["access_token"])
    response = provider.userinfo(value)
    assert response.status_code == 401
    assert 'error="invalid_token"' in response.headers["WWW-Authenticate"]


def test_userinfo_requires_the_openid_scope(provider: Provider) -> None:
    """UI-05: 403 insufficient_scope; userinfo is for OpenID Connect requests."""
    browser = provider.sign_in(scope="fleet.read")
    response = provider.userinfo(provider.tokens(browser, scope="fleet.read")["access_token"])
    assert response.status_code == 403
    assert 'error="insufficient_scope"' in response.headers["WWW-Authenticate"]


def test_demo_users_have_every_standard_claim(provider: Provider) -> None:
    """UI-07, UI-08: non-empty, of the right type."""
    every_name = set(" ".join(SCOPE_CLAIMS.values()).split())
    for user in provider.rows(User):
        claims = user.claims
        assert set(claims) == every_name
        assert all(isinstance(value, bool) or value for value in [*claims.values(), *claims["address"].values()])
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", claims["birthdate"])
        assert re.fullmatch(r"[a-z]{2}-[A-Z]{2}", claims["locale"])
        assert claims["zoneinfo"] in available_timezones()
        assert isinstance(claims["email_verified"], bool)
        assert isinstance(claims["phone_number_verified"], bool)
        assert isinstance(claims["updated_at"], int)
        assert isinstance(claims["address"], dict)


# --- introspection ---


def test_api_can_introspect_any_token(provider: Provider, cameron: SiteClient) -> None:
    """INT-01: the token's properties, not cacheable."""
    token = provider.tokens(cameron)["access_token"]
    response = provider.post("/oauth2/introspect", MANAGER, token=token, token_type_hint="access_token")
    assert response.headers["Cache-Control"] == "no-store"
    assert response.get_json() == {
        "active": True,
        "scope": "openid profile email phone fleet.read",
        "client_id": DISPATCH,
        "token_type": "Bearer",
        "exp": START + ACCESS_SECONDS,
        "iat": START,
        "sub": "248289761002",
        "iss": provider.issuer,
    }


def test_other_client_can_introspect_only_its_own_tokens(provider: Provider, cameron: SiteClient) -> None:
    """INT-02: another client's token is inactive for it, without further information."""
    own, others = (provider.tokens(cameron, client_id)["access_token"] for client_id in (DISPATCH, MANAGER))
    assert provider.post("/oauth2/introspect", DISPATCH, token=own).get_json()["active"] is True
    assert provider.post("/oauth2/introspect", DISPATCH, token=others).get_json() == {"active": False}


@pytest.mark.parametrize("why", ["made-up", "refresh-token", "expired", "revoked", "session-ended"])
def test_invalid_token_is_reported_only_as_inactive(
    why: str, provider: Provider, cameron: SiteClient, clock: Clock
) -> None:
    """INT-01: {"active": false}, without a reason; so a logout applies immediately at an API."""
    tokens = provider.tokens(cameron)
    if why == "expired":
        clock.turn(ACCESS_SECONDS)
    elif why == "revoked":
        provider.post("/oauth2/revoke", token=tokens["access_token"])
    elif why == "session-ended":
        provider.end_session(cameron, id_token_hint=tokens["id_token"])
    value = {"made-up": "made up", "refresh-token": tokens["refresh_token"]}.get(why, tokens["access_token"])
    response = provider.post("/oauth2/introspect", MANAGER, token=value)
    assert (response.status_code, response.get_json()) == (200, {"active": False})


# --- revocation ---


@pytest.mark.parametrize("which", ["access_token", "refresh_token"])
@pytest.mark.parametrize("hint", [None, "access_token", "refresh_token"])
def test_revoking_either_token_revokes_the_pair(
    which: str, hint: str | None, provider: Provider, cameron: SiteClient
) -> None:
    """REV-01, REV-02: a wrong hint does not matter."""
    tokens = provider.tokens(cameron)
    assert provider.post("/oauth2/revoke", token=tokens[which], token_type_hint=hint).status_code == 200
    assert not provider.works(tokens["access_token"])
    assert_refused(provider.refresh(tokens["refresh_token"]), "invalid_grant")


def test_revoking_an_unknown_or_foreign_token_changes_nothing(provider: Provider, cameron: SiteClient) -> None:
    """REV-01, RFC 7009 §2.2: 200; the other client's token stays valid."""
    token = provider.tokens(cameron)["access_token"]
    assert provider.post("/oauth2/revoke", DISPATCH, token="made up").status_code == 200
    assert provider.post("/oauth2/revoke", MANAGER, token=token).status_code == 200
    assert provider.works(token)


@pytest.mark.parametrize("path", ["/oauth2/introspect", "/oauth2/revoke"])
def test_request_without_a_token_is_an_error(path: str, provider: Provider) -> None:
    """REV-01, INT-01: invalid_request."""
    assert_refused(provider.post(path), "invalid_request")


def test_secrets_codes_and_tokens_are_stored_as_hashes(provider: Provider, cameron: SiteClient) -> None:
    """TOK-08, counterpart of RP-25: read access to the IdP's database does not give usable tokens."""
    code = provider.code(cameron)
    tokens = provider.redeem(code).get_json()
    cookie = cameron.get_cookie("pickup_idp_session", "idp.localhost")
    assert cookie
    with provider.database() as db:
        dump = "\n".join(db.connection().connection.driver_connection.iterdump())  # type: ignore[union-attr] # sqlite3's
    for secret in (code, cookie.value, tokens["access_token"], tokens["refresh_token"], provider.secret(DISPATCH)):
        assert secret not in dump
    assert tokens["id_token"].rpartition(".")[2] not in dump
