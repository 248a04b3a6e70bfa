"""Request objects, by value and by reference: Core §6."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from werkzeug.test import TestResponse

from idp.clients.jwks import LEEWAY
from tests.conftest import START, SiteClient
from tests.idp.conftest import DISPATCH, Provider
from tests.idp.parties import GRANTS, SHOP, Party, Registrar, answer_of
from tests.idp.parties import key as shop_key
from tests.tokens import SigningKey, b64, ec_key, jws, read, rsa_key

REQUEST_URI = f"{SHOP}/request.jwt#abc"


def ask(party: Party, browser: SiteClient, request: str, **outside: str | None) -> TestResponse:
    """A request with an object, and the minimum that Core §6.1 requires outside, or the given parameters."""
    least = {"client_id": party.id, "response_type": "code", "scope": "openid", "redirect_uri": party.uri}
    sent = {name: value for name, value in {**least, **outside, "request": request}.items() if value is not None}
    return browser.get("/oauth2/authorize", query_string=sent)


# --- its parameters apply ---


def test_parameters_in_the_object_override_those_outside(shop: Party, cameron: SiteClient) -> None:
    """ROB-03: state, nonce and scope of the object; other parameters apply from outside."""
    request = shop.request_object(state="inner", nonce="inner nonce", scope="openid email", max_age=9999)
    answer = answer_of(ask(shop, cameron, request, state="outer", nonce="outer nonce", prompt="none"))
    assert answer["state"] == "inner"
    tokens = shop.redeem(answer["code"]).get_json()
    assert read(tokens["id_token"])[1]["nonce"] == "inner nonce"
    assert tokens["scope"] == "openid email"


def test_state_and_nonce_can_be_only_inside(shop: Party, cameron: SiteClient) -> None:
    """ROB-01, ROB-03: the object is never ignored."""
    answer = answer_of(ask(shop, cameron, shop.request_object(state="inner")))
    assert answer["state"] == "inner"


def test_claims_can_be_an_object_and_max_age_a_number(shop: Party, cameron: SiteClient) -> None:
    """ROB-03, UI-10: JSON in JSON."""
    request = shop.request_object(claims={"id_token": {"nickname": {"essential": True}}}, max_age=3600)
    answer = answer_of(ask(shop, cameron, request))
    assert read(shop.redeem(answer["code"]).get_json()["id_token"])[1]["nickname"] == "Cam"


@pytest.mark.parametrize("inside", [{"response_type": "code id_token"}, {"client_id": DISPATCH}])
def test_client_and_response_type_must_be_the_same_inside_and_outside(
    inside: dict[str, str], shop: Party, cameron: SiteClient
) -> None:
    """ROB-03, Core §6.1."""
    answer = answer_of(ask(shop, cameron, shop.request_object(**inside)))
    assert answer["error"] == "invalid_request_object"


def test_response_type_is_required_outside(shop: Party, cameron: SiteClient) -> None:
    """ROB-03: RFC 6749 requires it there."""
    answer = answer_of(ask(shop, cameron, shop.request_object(), response_type=None))
    assert answer["error"] == "invalid_request_object"


def test_client_id_is_required_outside(shop: Party, cameron: SiteClient) -> None:
    """AUTH-03: without it the signing key is unknown; an error page."""
    response = ask(shop, cameron, shop.request_object(), client_id=None)
    assert (response.status_code, "Location" in response.headers) == (400, False)


def test_response_mode_can_be_inside(shop: Party, cameron: SiteClient) -> None:
    """FP-05: response_mode=form_post in the object."""
    answer = answer_of(ask(shop, cameron, shop.request_object(response_mode="form_post")))
    assert answer.place == "form_post"
    assert "code" in answer.parameters


def test_pkce_can_be_inside(register: Registrar, cameron: SiteClient, provider: Provider) -> None:
    """PKCE-05: if the client must use it."""
    party = register(token_endpoint_auth_method="none", jwks={"keys": [shop_key.public_jwk()]})
    challenge = provider.parameters()["code_challenge"]
    inside = party.request_object(code_challenge=challenge, code_challenge_method="S256")
    assert "code" in answer_of(ask(party, cameron, inside)).parameters


# --- redirect_uri: the outer one, the inner one, and neither ---


def test_valid_inner_uri_overrides_an_invalid_outer_one(shop: Party, cameron: SiteClient) -> None:
    """ROB-04."""
    answer = answer_of(ask(shop, cameron, shop.request_object(), redirect_uri="https://evil.example/"))
    assert answer.address == shop.uri
    assert "code" in answer.parameters


def test_invalid_inner_uri_gets_an_error_page(shop: Party, cameron: SiteClient) -> None:
    """ROB-04, AUTH-03: the object's value has priority, and it is not registered."""
    response = ask(shop, cameron, shop.request_object(redirect_uri="https://evil.example/"))
    assert (response.status_code, "Location" in response.headers) == (400, False)


@pytest.mark.parametrize("outside", [{"redirect_uri": "https://evil.example/"}, {"redirect_uri": None}])
def test_rejected_object_never_redirects_to_its_own_uri(
    outside: dict[str, str | None], shop: Party, cameron: SiteClient
) -> None:
    """ROB-04: the inner URI is not trusted, and the outer one is not registered: an error page."""
    forged = shop.request_object(rsa_key("a thief's key"))
    response = ask(shop, cameron, forged, **outside)
    assert (response.status_code, "Location" in response.headers) == (400, False)


# --- rejected objects ---


def hmac_with_public_key(party: Party) -> str:
    """The public key used as a shared secret."""
    return jws({"alg": "HS256", "kid": shop_key.kid}, read(party.request_object())[1], shop_key.public_pem())


def typed(party: Party, typ: Any) -> str:
    """A valid object, with this type in its header."""
    claims = read(party.request_object())[1]
    return jws({"alg": "RS256", "kid": party.key.kid, "typ": typ}, claims, party.key)


BAD: dict[str, Callable[[Party], str]] = {
    "ROB-05-wrong-key": lambda party: party.request_object(rsa_key("a thief's key")),
    "ROB-05-wrong-key-same-kid": lambda p: p.request_object(SigningKey(rsa_key("a thief's key").private, shop_key.kid)),
    "ROB-05-changed": lambda party: party.request_object()[:-8] + "AAAAAAAA",
    "ROB-05-other-iss": lambda party: party.request_object(iss=DISPATCH),
    "ROB-05-iss-odd": lambda party: party.request_object(iss=["x"]),
    "ROB-05-other-aud": lambda party: party.request_object(aud="https://other.example"),
    "ROB-05-aud-empty": lambda party: party.request_object(aud=[]),
    "ROB-05-aud-null": lambda party: party.request_object(aud=None),
    "ROB-05-expired": lambda party: party.request_object(exp=START - LEEWAY),
    "ROB-05-exp-a-word": lambda party: party.request_object(exp="never"),
    "ROB-05-not-yet": lambda party: party.request_object(nbf=START + LEEWAY + 1),
    "ROB-06-none": lambda party: jws({"alg": "none"}, read(party.request_object())[1], None),
    "BCP-09-hmac": hmac_with_public_key,
    "BCP-09-client-secret": lambda p: jws({"alg": "HS256"}, read(p.request_object())[1], p.secret.encode()),
    "ROB-07-request-inside": lambda party: party.request_object(request="x"),
    "ROB-07-request-uri-inside": lambda party: party.request_object(request_uri=REQUEST_URI),
    "BCL-68-events-inside": lambda party: party.request_object(events={}),
    "ROB-05-a-client-assertion": lambda party: party.assertion(aud=party.provider.issuer),
    "ROB-05-sub-is-the-client": lambda party: party.request_object(sub=party.id),
    "ROB-05-type-of-an-assertion": lambda party: typed(party, "client-authentication+jwt"),
    "ROB-05-type-of-an-access-token": lambda party: typed(party, "at+jwt"),
    "ROB-05-type-no-text": lambda party: typed(party, ["JWT"]),
    "ROB-05-no-jwt": lambda _: "x",
    "ROB-05-dots": lambda _: "...",
    "ROB-05-encrypted": lambda _: "a.b.c.d.e",
    "ROB-05-header-a-list": lambda _: f"{b64(b'[1]')}.{b64(b'{}')}.x",
    "ROB-05-header-a-list-with-alg": lambda _: f'{b64(b"""["alg"]""")}.{b64(b"{}")}.x',
    "ROB-05-header-a-hole": lambda _: f"{b64(b'[' * 20_000)}.{b64(b'{}')}.x",
    "ROB-05-payload-a-hole": lambda _: jws({"alg": "RS256", "kid": shop_key.kid}, b"[" * 20_000, shop_key),
    "ROB-05-payload-a-list": lambda _: jws({"alg": "RS256", "kid": shop_key.kid}, b"[]", shop_key),
    "ROB-05-not-ascii": lambda _: "ü.ü.ü",
    "ROB-05-nul-inside": lambda party: party.request_object(nonce="\x00"),
    "ROB-05-half-a-character-inside": lambda party: party.request_object(state="\ud800"),
    "ROB-05-half-a-character-as-a-name": lambda party: party.request_object(**{"\ud800": "x"}),
}


@pytest.mark.parametrize("make", BAD.values(), ids=BAD)
@pytest.mark.parametrize("how", ["GET", "POST"])
def test_untrusted_object_is_rejected(how: str, make: Callable[[Party], str], shop: Party, cameron: SiteClient) -> None:
    """ROB-05 … ROB-07: invalid_request_object, to the registered outer URI, with the outer state."""
    outside = {"client_id": shop.id, "response_type": "code", "redirect_uri": shop.uri, "scope": "openid", "state": "s"}
    sent = {**outside, "request": make(shop)}
    if how == "GET":
        response = cameron.get("/oauth2/authorize", query_string=sent)
    else:
        response = cameron.post("/oauth2/authorize", data=sent)
    answer = answer_of(response)
    assert (answer.address, answer["error"], answer["state"]) == (shop.uri, "invalid_request_object", "s")


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"exp": ...}, id="ROB-05-no-exp"),
        pytest.param({"iss": ..., "aud": ...}, id="ROB-05-neither-iss-nor-aud"),
        pytest.param({"aud": ["https://other.example", "http://idp.localhost:9000"]}, id="ROB-05-aud-list"),
        pytest.param({"exp": START + 60, "nbf": START, "iat": START, "jti": "1"}, id="ROB-05-about-itself"),
        pytest.param({"unheard_of": "x"}, id="AUTH-09-unknown"),
    ],
)
def test_optional_or_extra_claims_are_accepted(changes: dict[str, Any], shop: Party, cameron: SiteClient) -> None:
    """ROB-05."""
    assert "code" in answer_of(ask(shop, cameron, shop.request_object(**changes))).parameters


@pytest.mark.parametrize(
    "typ", ["JWT", "oauth-authz-req+jwt", "application/oauth-authz-req+jwt", "OAuth-Authz-Req+JWT"]
)
def test_object_can_have_a_type(typ: str, shop: Party, cameron: SiteClient) -> None:
    """ROB-05, RFC 9101 §10.8, RFC 7515 §4.1.9: older clients send none, or JWT."""
    assert "code" in answer_of(ask(shop, cameron, typed(shop, typ))).parameters


def test_registered_algorithm_excludes_the_others(register: Registrar, cameron: SiteClient) -> None:
    """ROB-05, BCP-09: request_object_signing_alg."""
    keys = {"keys": [shop_key.public_jwk(), ec_key("ec").public_jwk()]}
    party = register(jwks=keys, request_object_signing_alg="ES256")
    assert answer_of(ask(party, cameron, party.request_object()))["error"] == "invalid_request_object"
    assert "code" in answer_of(ask(party, cameron, party.request_object(ec_key("ec"), "ES256"))).parameters


def test_client_without_keys_cannot_sign_an_object(register: Registrar, cameron: SiteClient) -> None:
    """ROB-05."""
    party = register()
    assert answer_of(ask(party, cameron, party.request_object()))["error"] == "invalid_request_object"


def test_object_by_value_and_by_reference_is_an_error(shop: Party, cameron: SiteClient) -> None:
    """ROB-07."""
    answer = answer_of(ask(shop, cameron, shop.request_object(), request_uri=REQUEST_URI))
    assert answer["error"] == "invalid_request"


def test_object_applies_after_the_login_page(shop: Party, provider: Provider) -> None:
    """ROB-03, AUTH-26: it is not fetched again afterwards."""
    browser = provider.browser()
    page = ask(shop, browser, shop.request_object(state="inner"))
    answer = answer_of(provider.enter_password(browser, page))
    assert answer["state"] == "inner"


# --- by reference ---


@pytest.fixture
def referrer(register: Registrar) -> Party:
    """A client whose request object is at a URL."""
    keys = {"keys": [shop_key.public_jwk()]}
    return register(jwks=keys, request_uris=[REQUEST_URI], grant_types=GRANTS, response_types=["code", "code id_token"])


def refer(party: Party, browser: SiteClient, uri: str = REQUEST_URI, **outside: str | None) -> TestResponse:
    """A request by reference."""
    least = {"client_id": party.id, "response_type": "code", "scope": "openid", "redirect_uri": party.uri}
    sent = {name: value for name, value in {**least, **outside, "request_uri": uri}.items() if value is not None}
    return browser.get("/oauth2/authorize", query_string=sent)


def put(party: Party, body: str, status: int = 200, headers: dict[str, str] | None = None) -> None:
    """The content at the URL."""
    party.provider.network.answer(f"{SHOP}/request.jwt", status, body, headers)


@pytest.mark.parametrize("content_type", ["application/jwt", "application/oauth-authz-req+jwt", "text/plain"])
def test_object_is_fetched_from_its_registered_uri(content_type: str, referrer: Party, cameron: SiteClient) -> None:
    """ROB-02, ROB-08: with GET, without the fragment; its content type does not matter."""
    put(referrer, referrer.request_object(state="far away") + "\n", headers={"Content-Type": content_type})
    answer = answer_of(refer(referrer, cameron, redirect_uri="https://evil.example/"))
    assert (answer["state"], answer.address) == ("far away", referrer.uri)
    (exchange,) = referrer.provider.network.to(f"{SHOP}/request.jwt")
    assert (exchange.request.method, exchange.request.url) == ("GET", f"{SHOP}/request.jwt")


def test_each_request_fetches_the_object_again(referrer: Party, cameron: SiteClient) -> None:
    """ROB-08: objects are not cached."""
    for state in ("one", "two"):
        put(referrer, referrer.request_object(state=state))
        assert answer_of(refer(referrer, cameron))["state"] == state


@pytest.mark.parametrize(
    "uri",
    [
        f"{SHOP}/request.jwt",
        f"{SHOP}/request.jwt#other",
        f"{SHOP}/request.jwt?x#abc",
        "https://evil.example/request.jwt",
        "http://169.254.169.254/latest/meta-data",
        "file:///etc/passwd",
        "urn:ietf:params:oauth:request_uri:x",
        "x",
    ],
)
def test_unregistered_uri_is_not_requested(uri: str, referrer: Party, cameron: SiteClient) -> None:
    """ROB-08, ROB-09: the whole value, the fragment included."""
    put(referrer, referrer.request_object())
    before = len(referrer.provider.network.exchanges)
    answer = answer_of(refer(referrer, cameron, uri))
    assert answer["error"] == "invalid_request_uri"
    assert len(referrer.provider.network.exchanges) == before


@pytest.mark.parametrize(
    ("status", "body"),
    [(404, "{}"), (302, "{}"), (500, ""), (200, "x" * 100_000), (200, "\xff")],
    ids=["not-there", "redirect", "broken", "too-large", "not-ascii"],
)
def test_unavailable_object_is_reported_to_the_client(
    status: int, body: str, referrer: Party, cameron: SiteClient
) -> None:
    """ROB-05, ROB-08: invalid_request_uri; no redirect is followed."""
    put(referrer, body, status, {"Location": "https://evil.example/"})
    answer = answer_of(refer(referrer, cameron))
    assert (answer["error"], answer.address) == ("invalid_request_uri", referrer.uri)
    assert not referrer.provider.network.to("https://evil.example")


@pytest.mark.parametrize("fault", ["refuse", "time_out"])
def test_unreachable_site_is_reported_to_the_client(fault: str, referrer: Party, cameron: SiteClient) -> None:
    """ROB-08."""
    getattr(referrer.provider.network, fault)(SHOP)
    assert answer_of(refer(referrer, cameron))["error"] == "invalid_request_uri"


@pytest.mark.usefixtures("no_place_to_wait")
def test_request_above_the_fetch_limit_is_rejected_immediately(referrer: Party, cameron: SiteClient) -> None:
    """ROB-08: neither for the object nor for the client's keys; the address is not called."""
    put(referrer, referrer.request_object())
    assert answer_of(refer(referrer, cameron))["error"] == "temporarily_unavailable"
    assert not referrer.provider.network.to(f"{SHOP}/request.jwt")
    referrer.provider.change_client(referrer.id, registered={"jwks_uri": f"{SHOP}/jwks.json"})
    assert answer_of(ask(referrer, cameron, referrer.request_object()))["error"] == "temporarily_unavailable"


def test_fetched_object_must_be_signed(referrer: Party, cameron: SiteClient) -> None:
    """ROB-05."""
    put(referrer, referrer.request_object(rsa_key("a thief's key")))
    assert answer_of(refer(referrer, cameron))["error"] == "invalid_request_object"
    put(referrer, json.dumps(referrer.parameters()))
    assert answer_of(refer(referrer, cameron))["error"] == "invalid_request_object"


def test_error_in_the_object_uses_the_objects_response_mode(referrer: Party, cameron: SiteClient) -> None:
    """ERR-03: hybrid: the fragment; the state of the object."""
    put(referrer, referrer.request_object(state="inner", prompt="none login", response_type="code id_token"))
    answer = answer_of(refer(referrer, cameron, response_type="code id_token", state="outer"))
    assert (answer.place, answer["error"], answer["state"]) == ("fragment", "invalid_request", "inner")
