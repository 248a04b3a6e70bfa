"""Client authentication at the token endpoint, introspection and revocation: Core §9, RFC 7523."""

import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from joserfc.jwk import OKPKey
from werkzeug.test import TestResponse

from idp.clients import jwks
from idp.clients.authentication import MAX_ASSERTION_SECONDS
from idp.clients.jwks import KEEP_SECONDS, LEEWAY, REFETCH_SECONDS
from idp.models import UsedAssertion
from idp.outbox.http import WAITING_THREADS
from tests.conftest import START, Clock, SiteClient, eventually
from tests.idp.conftest import CHALLENGE, DISPATCH, VERIFIER, Provider
from tests.idp.parties import ASSERTION_TYPE, GRANTS, SHOP, Party, Registrar
from tests.idp.parties import key as shop_key
from tests.network import Gate
from tests.tokens import SigningKey, b64, ec_key, jws, read, rsa_key

METHODS = ["client_secret_basic", "client_secret_post", "private_key_jwt"]
WITH_CHALLENGE = {"code_challenge": CHALLENGE, "code_challenge_method": "S256"}


@pytest.fixture
def signer(register: Registrar) -> Party:
    """A client with a key."""
    return register.with_key(grant_types=GRANTS)


def assert_invalid_client(response: Any) -> None:
    """TOK-02: 401 or 400 with the error code, not cacheable."""
    assert response.get_json()["error"] == "invalid_client", response.text
    assert response.status_code in (400, 401)
    assert response.headers["Cache-Control"] == "no-store"


# --- each method, at each endpoint ---


@pytest.mark.parametrize("method", METHODS)
def test_each_method_works_at_each_endpoint(
    method: str, register: Registrar, cameron: SiteClient, provider: Provider
) -> None:
    """DISC-14, TOK-04 … TOK-07, INT-01, REV-01: at token (code and refresh), introspection and revocation."""
    party = register.with_key(token_endpoint_auth_method=method, grant_types=GRANTS)
    tokens = party.tokens(cameron)
    renewed = party.refresh(tokens["refresh_token"]).get_json()
    token = renewed["access_token"]
    assert party.post("/oauth2/introspect", token=token).get_json()["active"] is True
    assert party.post("/oauth2/revoke", token=token).status_code == 200
    assert not provider.works(token)


@pytest.mark.parametrize("used", [*METHODS, "none"])
@pytest.mark.parametrize("registered", [*METHODS, "none"])
def test_client_must_use_its_registered_method(
    registered: str, used: str, register: Registrar, cameron: SiteClient
) -> None:
    """TOK-04: all 16 combinations; only the registered method authenticates."""
    party = register.with_key(token_endpoint_auth_method=registered)
    code = party.answer(cameron, **WITH_CHALLENGE)["code"]
    party.information |= {
        "token_endpoint_auth_method": used,
        "client_secret": party.information.get("client_secret", "x"),
    }
    response = party.redeem(code, code_verifier=VERIFIER)
    if used == registered:
        assert response.status_code == 200, response.text
    else:
        assert_invalid_client(response)


@pytest.mark.parametrize(
    "extra",
    [
        pytest.param({"client_secret": "x"}, id="basic-and-post"),
        pytest.param({"client_assertion": "x", "client_assertion_type": ASSERTION_TYPE}, id="basic-and-assertion"),
    ],
)
def test_two_methods_at_once_are_an_error(extra: dict[str, str], shop: Party, cameron: SiteClient) -> None:
    """TOK-04, RFC 6749 §2.3: even if one of them is valid."""
    response = shop.redeem(shop.answer(cameron)["code"], client_id=shop.id, **extra)
    assert (response.status_code, response.get_json()["error"]) == (400, "invalid_request")


def test_secret_and_assertion_in_one_form_are_an_error(signer: Party, cameron: SiteClient) -> None:
    """TOK-04."""
    response = signer.redeem(signer.answer(cameron)["code"], client_id=signer.id, client_secret="x")
    assert (response.status_code, response.get_json()["error"]) == (400, "invalid_request")


@pytest.mark.parametrize(
    "authorization",
    [
        "Basic \xfc\xfc\xfc",
        "Basic " + b64encode(b"a:\x00b").decode(),
        "Basic " + b64encode(b"%00:%ff%fe").decode(),
        "Basic " + b64encode(b":").decode(),
        "Basic " + "A" * 20000,
        "basic",
        "Digest x",
        "\xff",
    ],
)
def test_malformed_header_fails_client_authentication(authorization: str, provider: Provider) -> None:
    """TOK-02: 401, never a server error."""
    for path in ("/oauth2/token", "/oauth2/introspect", "/oauth2/revoke"):
        client = provider.app.test_client()
        environ = {"HTTP_AUTHORIZATION": authorization}
        response = client.post(path, data={"grant_type": "refresh_token"}, environ_overrides=environ)
        assert_invalid_client(response)


@pytest.mark.parametrize("name", ["code", "grant_type", "redirect_uri", "client_id", "client_secret", "unheard_of"])
def test_repeated_parameter_is_an_error(name: str, register: Registrar, cameron: SiteClient) -> None:
    """RFC 6749 §3.2: parameters must not be sent more than once."""
    party = register(token_endpoint_auth_method="client_secret_post")
    form = {
        "grant_type": "authorization_code",
        "code": party.answer(cameron)["code"],
        "redirect_uri": party.uri,
        "client_id": party.id,
        "client_secret": party.secret,
        "unheard_of": "x",
    }
    twice: dict[str, Any] = {**form, name: [form[name], form[name]]}
    client = party.provider.app.test_client()
    response = client.post("/oauth2/token", data=twice)
    assert (response.status_code, response.get_json()["error"]) == (400, "invalid_request")
    assert client.post("/oauth2/token", data=form).status_code == 200


# --- private_key_jwt: RFC 7523 §3 ---


@pytest.mark.parametrize(
    "audience",
    [
        pytest.param("{issuer}/oauth2/token", id="TOK-07-token-endpoint"),
        pytest.param("{issuer}", id="TOK-07-issuer"),
        pytest.param(["{issuer}"], id="TOK-07-list-of-one"),
        pytest.param(["{issuer}", "{issuer}/oauth2/token"], id="TOK-07-both"),
    ],
)
def test_assertion_audience_is_the_issuer_or_the_token_endpoint(
    audience: Any, signer: Party, cameron: SiteClient
) -> None:
    """TOK-07: newer specifications require the issuer, older clients send the token endpoint."""
    assertion = signer.assertion(aud=filled(audience, signer))
    response = signer.redeem(signer.answer(cameron)["code"], client_assertion=assertion)
    assert response.status_code == 200, response.text


def filled(value: Any, party: Party) -> Any:
    """``value`` with the placeholders filled in."""
    if isinstance(value, list):
        return [filled(item, party) for item in value]
    return value.format(issuer=party.provider.issuer, id=party.id) if isinstance(value, str) else value


BAD_CLAIMS: dict[str, dict[str, Any]] = {
    "TOK-07-other-audience": {"aud": "https://other.example"},
    "TOK-07-audience-and-a-stranger": {"aud": ["{issuer}", "https://other.example"]},
    "TOK-07-audience-with-slash": {"aud": "{issuer}/"},
    "TOK-07-audience-other-endpoint": {"aud": "{issuer}/oauth2/introspect"},
    "TOK-07-no-audience": {"aud": ...},
    "TOK-07-empty-audience": {"aud": []},
    "TOK-07-audience-object": {"aud": {"{issuer}": 1}},
    "TOK-07-audience-odd-list": {"aud": [["x"]]},
    "TOK-07-other-iss": {"iss": "somebody"},
    "TOK-07-no-iss": {"iss": ...},
    "TOK-07-no-sub": {"sub": ...},
    "TOK-07-other-sub": {"sub": DISPATCH},
    "TOK-07-sub-no-string": {"sub": ["{id}"]},
    "TOK-07-sub-odd": {"sub": "\x00"},
    "TOK-07-sub-half-a-character": {"sub": "\ud800"},
    "TOK-07-expired": {"exp": START - LEEWAY - 1},
    "TOK-07-far-ahead": {"exp": START + MAX_ASSERTION_SECONDS + 1},
    "TOK-07-no-exp": {"exp": ...},
    "TOK-07-exp-a-word": {"exp": "1800000060"},
    "TOK-07-exp-true": {"exp": True},
    "TOK-07-exp-infinite": {"exp": float("inf")},
    "TOK-07-exp-no-number": {"exp": float("nan")},
    "TOK-07-not-yet": {"nbf": START + LEEWAY + 1},
    "TOK-07-nbf-a-word": {"nbf": "soon"},
    "TOK-07-no-jti": {"jti": ...},
    "TOK-07-jti-empty": {"jti": ""},
    "TOK-07-jti-number": {"jti": 7},
    "BCL-68-events": {"events": {"http://schemas.openid.net/event/backchannel-logout": {}}},
}


@pytest.mark.parametrize("changes", BAD_CLAIMS.values(), ids=BAD_CLAIMS)
def test_assertion_with_a_wrong_claim_is_rejected(
    changes: dict[str, Any], signer: Party, cameron: SiteClient, provider: Provider
) -> None:
    """TOK-07: the rejected assertion does not use up its jti."""
    changes = {name: filled(value, signer) for name, value in changes.items()}
    code = signer.answer(cameron)["code"]
    assert_invalid_client(signer.redeem(code, client_assertion=signer.assertion(**changes)))
    assert provider.rows(UsedAssertion) == []
    assert signer.redeem(code).status_code == 200, "the valid one still works"


def hmac_with_public_key(party: Party) -> str:
    """The public key used as a shared secret."""
    claims = read(party.assertion())[1]
    return jws({"alg": "HS256", "kid": shop_key.kid}, claims, shop_key.public_pem())


BAD_SIGNATURES: dict[str, Callable[[Party], str]] = {
    "TOK-07-wrong-key": lambda party: party.assertion(rsa_key("a thief's key")),
    "TOK-07-wrong-key-same-kid": lambda party: party.assertion(SigningKey(rsa_key("thief").private, shop_key.kid)),
    "BCP-09-none": lambda party: jws({"alg": "none"}, read(party.assertion())[1], None),
    "BCP-09-no-signature": lambda party: party.assertion().rpartition(".")[0] + ".",
    "BCP-09-hmac": hmac_with_public_key,
    "JWK-08-key-in-the-header": lambda party: jws(
        {"alg": "RS256", "jwk": rsa_key("thief").public_jwk()}, read(party.assertion())[1], rsa_key("thief")
    ),
    "JWK-08-key-by-address": lambda party: jws(
        {"alg": "RS256", "jku": f"{SHOP}/thief.json"}, read(party.assertion())[1], rsa_key("thief")
    ),
    "TOK-07-changed": lambda party: party.assertion()[:-8] + "AAAAAAAA",
    "TOK-07-not-a-jwt": lambda _: "x",
    "TOK-07-three-dots": lambda _: "a.b.c.d",
    "TOK-07-encrypted": lambda _: "a.b.c.d.e",
    "TOK-07-header-a-list": lambda party: b64(b'["alg"]') + party.assertion()[party.assertion().index(".") :],
    "TOK-07-header-a-word": lambda _: f"{b64(b'alg')}.{b64(b'{}')}.x",
    "TOK-07-payload-a-list": lambda _: jws({"alg": "RS256"}, b"[1]", shop_key),
    "TOK-07-payload-a-hole": lambda _: jws({"alg": "RS256"}, b"[" * 50_000, shop_key),
    "TOK-07-header-a-hole": lambda _: f"{b64(b'[' * 50_000)}.{b64(b'{}')}.x",
    "TOK-07-kid-odd": lambda party: jws({"alg": "RS256", "kid": {"a": 1}}, read(party.assertion())[1], shop_key),
    "TOK-07-crit": lambda party: jws({"alg": "RS256", "crit": ["x"], "x": 1}, read(party.assertion())[1], shop_key),
    "TOK-07-not-ascii": lambda _: "ü.ü.ü",
}


@pytest.mark.parametrize("forge", BAD_SIGNATURES.values(), ids=BAD_SIGNATURES)
def test_assertion_not_signed_by_the_client_is_rejected(
    forge: Callable[[Party], str], signer: Party, cameron: SiteClient
) -> None:
    """TOK-07, BCP-09, JWK-08: keys come from the registration, algorithms from our list."""
    code = signer.answer(cameron)["code"]
    assert_invalid_client(signer.redeem(code, client_assertion=forge(signer)))
    assert signer.redeem(code).status_code == 200


def test_assertion_is_accepted_once(signer: Party, cameron: SiteClient) -> None:
    """TOK-07: a copy is rejected, also for another request; a new assertion is accepted."""
    assertion = signer.assertion()
    assert signer.post("/oauth2/introspect", token="x", client_assertion=assertion).status_code == 200
    response = signer.redeem(signer.answer(cameron)["code"], client_assertion=assertion)
    assert_invalid_client(response)
    assert "used before" in response.get_json()["error_description"]
    assert signer.tokens(cameron)


def test_two_clients_can_use_the_same_jti(register: Registrar) -> None:
    """TOK-07: a jti is unique per issuer."""
    for party in (register.with_key(), register.with_key()):
        assertion = party.assertion(jti="1")
        assert party.post("/oauth2/introspect", token="x", client_assertion=assertion).status_code == 200


def test_used_assertions_are_deleted_after_they_expire(signer: Party, provider: Provider, clock: Clock) -> None:
    """TOK-07: they are stored only until they expire."""
    signer.post("/oauth2/introspect", token="x")
    clock.turn(60 + LEEWAY)
    signer.post("/oauth2/introspect", token="x")
    assert len(provider.rows(UsedAssertion)) == 2
    clock.turn(1)
    signer.post("/oauth2/introspect", token="x")
    assert len(provider.rows(UsedAssertion)) == 2


@pytest.mark.parametrize("changes", [{"client_assertion_type": "x"}, {"client_assertion_type": None}])
def test_assertion_type_is_required(changes: dict[str, Any], signer: Party, cameron: SiteClient) -> None:
    """TOK-07, RFC 7523 §2.2."""
    assert_invalid_client(signer.redeem(signer.answer(cameron)["code"], **changes))


def test_client_id_must_match_the_assertion(signer: Party, cameron: SiteClient) -> None:
    """TOK-07, RFC 7521 §4.2."""
    code = signer.answer(cameron)["code"]
    assert_invalid_client(signer.redeem(code, client_id=DISPATCH))
    assert signer.redeem(code, client_id=signer.id).status_code == 200


def test_registered_algorithm_excludes_the_others(register: Registrar, cameron: SiteClient) -> None:
    """BCP-09, Registration §2: token_endpoint_auth_signing_alg."""
    keys = {"keys": [shop_key.public_jwk(), ec_key("ec").public_jwk()]}
    party = register.with_key(jwks=keys, token_endpoint_auth_signing_alg="ES256")
    assert_invalid_client(party.redeem(party.answer(cameron)["code"], client_assertion=party.assertion()))
    es256 = party.assertion(ec_key("ec"), "ES256")
    assert party.redeem(party.answer(cameron)["code"], client_assertion=es256).status_code == 200


@pytest.mark.parametrize("alg", ["RS256", "PS256", "ES256"])
def test_each_announced_algorithm_works(alg: str, register: Registrar, cameron: SiteClient) -> None:
    """DISC-14."""
    key = ec_key("ec") if alg == "ES256" else shop_key
    party = register.with_key(jwks={"keys": [key.public_jwk()]})
    response = party.redeem(party.answer(cameron)["code"], client_assertion=party.assertion(key, alg))
    assert response.status_code == 200, response.text


def test_logout_token_is_rejected_as_an_assertion(register: Registrar, cameron: SiteClient, provider: Provider) -> None:
    """BCL-68: not even for a client whose registered keys are ours."""
    ours = provider.browser().get("/oauth2/jwks").get_json()
    party = register.with_key(jwks=ours, grant_types=GRANTS)
    logout_token = provider.state.keys.sign(
        {**read(party.assertion())[1], "events": {"http://schemas.openid.net/event/backchannel-logout": {}}},
        alg="RS256",
        typ="logout+jwt",
    )
    assert_invalid_client(party.redeem(party.answer(cameron)["code"], client_assertion=logout_token))


def typed(party: Party, typ: Any, **claims: Any) -> str:
    """A good assertion, with this type in its header."""
    payload = {**read(party.assertion())[1], **claims}
    return jws({"alg": "RS256", "kid": party.key.kid, "typ": typ}, payload, party.key)


@pytest.mark.parametrize("typ", ["JWT", "jwt", "client-authentication+jwt", "application/client-authentication+jwt"])
def test_assertion_can_have_a_type(typ: str, signer: Party, cameron: SiteClient) -> None:
    """TOK-07, RFC 7515 §4.1.9, RFC 8725 §3.11: in either case; older clients send no type, or JWT."""
    response = signer.redeem(signer.answer(cameron)["code"], client_assertion=typed(signer, typ))
    assert response.status_code == 200, response.text


@pytest.mark.parametrize("typ", ["oauth-authz-req+jwt", "logout+jwt", "at+jwt", "dpop+jwt", "", 7, None])
def test_token_of_another_type_is_rejected_as_an_assertion(typ: Any, signer: Party, cameron: SiteClient) -> None:
    """TOK-07, RFC 8725 §3.11, RFC 9101 §10.8."""
    code = signer.answer(cameron)["code"]
    assert_invalid_client(signer.redeem(code, client_assertion=typed(signer, typ)))
    assert signer.redeem(code).status_code == 200


@pytest.mark.parametrize("name", ["client_id", "redirect_uri", "response_type", "scope"])
def test_request_object_is_rejected_as_an_assertion(name: str, signer: Party, cameron: SiteClient) -> None:
    """TOK-07, RFC 9101 §10.8: it passes through the browser, where others can read it; even if it has every claim."""
    request_object = typed(signer, "JWT", **{name: signer.parameters()[name]})
    assert_invalid_client(signer.redeem(signer.answer(cameron)["code"], client_assertion=request_object))


# --- keys by reference ---

KEYS = f"{SHOP}/jwks.json"


@pytest.fixture
def far_signer(register: Registrar, provider: Provider) -> Party:
    """A client with a jwks_uri."""
    provider.network.replace(KEYS, lambda _: jwks_response(shop_key))
    return register.with_key(jwks=..., jwks_uri=KEYS, grant_types=GRANTS)


def jwks_response(*keys: SigningKey) -> Any:
    """A key set as a response."""
    import json

    from werkzeug import Response

    return Response(json.dumps({"keys": [key.public_jwk() for key in keys]}), mimetype="application/json")


def fetches(party: Party) -> int:
    """How often the keys were requested."""
    return len(party.provider.network.to(KEYS))


def test_keys_are_cached(far_signer: Party, clock: Clock) -> None:
    """REG-10."""
    for _ in range(3):
        assert far_signer.post("/oauth2/introspect", token="x").status_code == 200
    assert fetches(far_signer) == 1
    clock.turn(KEEP_SECONDS + 1)
    far_signer.post("/oauth2/introspect", token="x")
    assert fetches(far_signer) == 2


def test_new_key_is_fetched_immediately(far_signer: Party, provider: Provider, clock: Clock) -> None:
    """REG-10, Core §10.1.1: the client rotated its key; its next assertion works."""
    far_signer.post("/oauth2/introspect", token="x")
    new = rsa_key("the shop's next key")
    provider.network.replace(KEYS, lambda _: jwks_response(new))
    clock.turn(REFETCH_SECONDS)
    far_signer.key = new
    assert far_signer.post("/oauth2/introspect", token="x").status_code == 200


def test_forged_key_ids_do_not_flood_the_clients_site(far_signer: Party, clock: Clock) -> None:
    """Like BCL-71: forged key ids cause a fetch every few seconds at most."""
    far_signer.key = rsa_key("a thief's key")
    for _ in range(5):
        assert_invalid_client(far_signer.post("/oauth2/introspect", token="x"))
    assert fetches(far_signer) == 1
    clock.turn(REFETCH_SECONDS)
    assert_invalid_client(far_signer.post("/oauth2/introspect", token="x"))
    assert fetches(far_signer) == 2


@pytest.mark.parametrize("body", ["", "[]", "null", '{"keys": 7}', '{"keys": [7, null, {"kty": "oct"}]}', "[" * 60_000])
def test_invalid_keys_cause_no_server_error(body: str, far_signer: Party, provider: Provider) -> None:
    """REG-10: the client gets an error, and its keys are not fetched for each request."""
    provider.network.answer(KEYS, 200, body)
    for _ in range(3):
        assert_invalid_client(far_signer.post("/oauth2/introspect", token="x"))
    assert fetches(far_signer) == 1


def test_unavailable_keys_are_not_fetched_for_each_request(far_signer: Party, provider: Provider, clock: Clock) -> None:
    """REG-10: anyone can name a client; if its site is down, it is requested every few seconds; then it works again."""
    provider.network.time_out(KEYS)
    for _ in range(3):
        assert_invalid_client(far_signer.post("/oauth2/introspect", token="x"))
    assert fetches(far_signer) == 1
    provider.network.replace(KEYS, lambda _: jwks_response(shop_key))
    clock.turn(REFETCH_SECONDS)
    assert far_signer.post("/oauth2/introspect", token="x").status_code == 200


def test_cached_keys_are_used_while_their_site_is_down(far_signer: Party, provider: Provider, clock: Clock) -> None:
    """REG-10: for as long as they are cached."""
    far_signer.post("/oauth2/introspect", token="x")
    provider.network.refuse(KEYS)
    clock.turn(KEEP_SECONDS)
    assert far_signer.post("/oauth2/introspect", token="x").status_code == 200


@pytest.fixture
def slow_site(far_signer: Party, register: Registrar, provider: Provider) -> Gate:  # noqa: ARG001 # held after it is there
    """The client's site hangs until the gate is opened; then it answers with the keys."""
    register.app.body = jwks_response(shop_key).get_data(as_text=True)
    return provider.network.hold(KEYS)


def test_one_clients_slow_site_does_not_delay_other_clients(
    slow_site: Gate, far_signer: Party, register: Registrar, provider: Provider
) -> None:
    """REG-10: only requests of that client wait."""
    other = register.with_key(jwks=..., jwks_uri=f"{SHOP}/other.json")
    provider.network.replace(f"{SHOP}/other.json", lambda _: jwks_response(shop_key))
    with asking(far_signer, times=1):
        slow_site.wait_for_request()
        assert other.post("/oauth2/introspect", token="x").status_code == 200
        assert not slow_site.opened.is_set()
        slow_site.open()


@contextmanager
def asking(party: Party, times: int) -> Iterator[list[TestResponse]]:
    """Sends so many requests of the client at once; returns the responses so far. At the end waits for all of them."""
    answers: list[TestResponse] = []

    def ask() -> None:
        answers.append(party.post("/oauth2/introspect", token="x"))

    threads = [threading.Thread(target=ask) for _ in range(times)]
    for thread in threads:
        thread.start()
    yield answers
    for thread in threads:
        thread.join()


def test_all_requests_waiting_for_a_site_share_one_fetch(
    slow_site: Gate, register: Registrar, far_signer: Party, clock: Clock
) -> None:
    """REG-10: if it fails, none of them fetches again: the pause begins when the fetch ends."""
    register.app.status = 500
    with asking(far_signer, times=WAITING_THREADS) as answers:
        slow_site.wait_for_request()
        clock.turn(REFETCH_SECONDS)
        slow_site.open()
    assert [answer.get_json()["error"] for answer in answers] == ["invalid_client"] * WAITING_THREADS
    assert fetches(far_signer) == 1


def test_number_of_threads_waiting_for_sites_is_limited(
    slow_site: Gate, far_signer: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    """REG-10: a hanging jwks_uri leaves threads for other requests; a refused request gets Retry-After."""
    monkeypatch.setattr(jwks, "WAIT_SECONDS", 60)
    with asking(far_signer, times=WAITING_THREADS + 3) as answers:
        eventually(lambda: len(answers) == 3)
        for answer in answers:
            assert (answer.status_code, answer.get_json()["error"]) == (503, "temporarily_unavailable")
            assert (answer.headers["Retry-After"], answer.headers["Cache-Control"]) == ("1", "no-store")
        slow_site.open()
    assert [answer.status_code for answer in answers] == [503] * 3 + [200] * WAITING_THREADS


@pytest.mark.usefixtures("no_place_to_wait")
def test_rejected_request_still_starts_a_fetch(far_signer: Party) -> None:
    """REG-10: hanging sites occupy every place, but the client's next attempt still works."""
    assert far_signer.post("/oauth2/introspect", token="x").status_code == 503
    eventually(lambda: far_signer.post("/oauth2/introspect", token="x").status_code == 200)
    assert fetches(far_signer) == 1


def test_waiting_for_a_site_has_a_timeout(slow_site: Gate, far_signer: Party, monkeypatch: pytest.MonkeyPatch) -> None:
    """REG-10: the client gets an error; the fetch continues, and its result serves the next request."""
    monkeypatch.setattr(jwks, "WAIT_SECONDS", 0)
    response = far_signer.post("/oauth2/introspect", token="x")
    assert_invalid_client(response)
    assert "timeout" in response.get_json()["error_description"]
    slow_site.open()
    eventually(lambda: far_signer.post("/oauth2/introspect", token="x").status_code == 200)
    assert fetches(far_signer) == 1


def test_clock_set_back_neither_extends_the_cache_nor_stops_fetches(far_signer: Party, clock: Clock) -> None:
    """REG-10: a time in the future was written with a wrong clock."""
    far_signer.post("/oauth2/introspect", token="x")
    clock.turn(-24 * 3600)
    assert far_signer.post("/oauth2/introspect", token="x").status_code == 200
    assert fetches(far_signer) == 2


def test_ed25519_key_works(register: Registrar, cameron: SiteClient) -> None:
    """DISC-14: EdDSA."""
    from joserfc import jwt

    private = OKPKey.generate_key("Ed25519", private=True)
    party = register.with_key(jwks={"keys": [private.as_dict(private=False)]})
    assertion = jwt.encode({"alg": "EdDSA"}, read(party.assertion())[1], private, ["EdDSA"])
    assert party.redeem(party.answer(cameron)["code"], client_assertion=assertion).status_code == 200


# --- public clients ---


@pytest.fixture
def public_party(register: Registrar) -> Party:
    """A client that cannot keep a secret."""
    return register(token_endpoint_auth_method="none", grant_types=GRANTS)


def test_public_client_has_no_secret_and_must_use_pkce(public_party: Party, cameron: SiteClient) -> None:
    """PKCE-05, REG-02."""
    assert "client_secret" not in public_party.information
    assert public_party.answer(cameron)["error"] == "invalid_request"
    code = public_party.answer(cameron, **WITH_CHALLENGE)["code"]
    for verifier in (None, VERIFIER[::-1], ""):
        assert public_party.redeem(code, code_verifier=verifier).status_code == 400
    tokens = public_party.redeem(code, code_verifier=VERIFIER).get_json()
    assert public_party.refresh(tokens["refresh_token"]).status_code == 200


def test_public_client_can_revoke_its_tokens(
    public_party: Party, cameron: SiteClient, provider: Provider, shop: Party
) -> None:
    """REV-01, DISC-14: only its own tokens."""
    mine, others = public_party.tokens(cameron, **WITH_CHALLENGE), shop.tokens(cameron)
    for tokens in (mine, others):
        assert public_party.post("/oauth2/revoke", token=tokens["access_token"]).status_code == 200
    assert not provider.works(mine["access_token"])
    assert provider.works(others["access_token"])


def test_public_client_cannot_introspect(public_party: Party, cameron: SiteClient) -> None:
    """INT-01: introspection requires client authentication."""
    token = public_party.tokens(cameron, **WITH_CHALLENGE)["access_token"]
    assert_invalid_client(public_party.post("/oauth2/introspect", token=token))


def test_client_that_becomes_public_must_use_pkce(shop: Party, cameron: SiteClient) -> None:
    """PKCE-05: by changing its own registration."""
    changed = shop.information | {"token_endpoint_auth_method": "none"}
    assert shop.manage("PUT", json=changed).status_code == 200
    assert shop.answer(cameron)["error"] == "invalid_request"
