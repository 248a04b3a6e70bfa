"""The token endpoint, userinfo, introspection and revocation."""

import hashlib
import threading
from base64 import b64encode
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from idp.models import AuthorizationCode, Participation, Token
from idp.tokens.code_grant import CODE_SECONDS
from idp.tokens.signing_keys import SigningKeys
from idp.tokens.token_store import ACCESS_SECONDS, REFRESH_SECONDS
from tests.conftest import START, Clock, SiteClient
from tests.idp.conftest import CHALLENGE, DISPATCH, MANAGER, VERIFIER, Provider
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
