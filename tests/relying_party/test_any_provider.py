"""Any provider by settings alone: named habits of real providers.

Each case signs in and ends the session with a logout token made the way that provider does. Where the
specification forbids the habit, the test requires the rejection.
"""

from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from relying_party.errors import ProviderError
from tests.conftest import START, Clock
from tests.network import Network, query_of
from tests.relying_party.conftest import (
    CLIENT_ID,
    CLIENT_SECRET,
    ISSUER,
    PaperProvider,
    Shop,
    json_response,
    make_shop,
    who,
)
from tests.tokens import LOGOUT_EVENT, SigningKey, b64, ec_key, ed_key, rsa_key

HOUR = 3600


@dataclass(frozen=True)
class Habit:
    """A provider's peculiarity. Whatever it omits is as in the specification's examples."""

    id: str
    settings: dict[str, Any] = field(default_factory=dict)  # of the application
    provider: dict[str, Any] = field(default_factory=dict)  # attributes of the PaperProvider
    signed: dict[str, Any] = field(default_factory=dict)  # arguments for both kinds of token
    id_token: dict[str, Any] = field(default_factory=dict)
    logout_token: dict[str, Any] = field(default_factory=dict)
    delivered_after: int = 0  # seconds from making the logout token to its arrival
    refused: str = ""  # the expected error, if the logout token must be rejected


def metadata(**members: Any) -> dict[str, Any]:
    """Replaces metadata members; None omits one."""
    return {"metadata": members}


def key_set(*keys: Any) -> dict[str, Any]:
    """Another key set."""
    return {"keys": list(keys)}


def algorithm(name: str, key: SigningKey) -> dict[str, Any]:
    """Signs everything with another registered algorithm."""
    return {
        "settings": {"RELYING_PARTY_SIGNING_ALGORITHM": name},
        "provider": key_set(rsa_key("first").public_jwk(kid="rsa"), key.public_jwk()),
        "signed": {"header": {"alg": name, "kid": key.kid}, "key": key},
    }


def at_hash(access_token: str) -> str:
    """Core §3.1.3.6, for RS256."""
    return b64(sha256(access_token.encode()).digest()[:16])


FIRST = rsa_key("first").public_jwk()
WITHOUT_KID = {name: value for name, value in FIRST.items() if name != "kid"}
# FOP-03: the other keys that the conformance suite's provider publishes.
MIXED_KEYS = [
    {"kty": "EC", "crv": "secp256k1", "use": "sig", "kid": "k1", "x": b64(b"x" * 32), "y": b64(b"y" * 32)},
    {"kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": "ed", "x": b64(b"e" * 32)},
    {"kty": "OKP", "crv": "Ed448", "use": "sig", "kid": "448", "x": b64(b"e" * 57)},
    rsa_key("second").public_jwk(kid="for encryption", use="enc", alg="RSA-OAEP"),
    ec_key("elliptic").public_jwk(use="sig"),
    {"kty": "AKP", "alg": "ML-DSA-44", "kid": "post-quantum", "pub": "AA"},
    {**FIRST, "use": "sig", "x5c": ["not read"], "x5t": "nor this", "key_ops": ["verify"]},
]
PUNCTUATION = "a b:c@d%e+f/g?h=i&j#k\"l'm\\n"

HABITS = [
    # session identification
    Habit("says-sid-only", logout_token={"without": ["sub"]}),
    Habit("says-sub-only", logout_token={"without": ["sid"]}),
    Habit("knows-no-sid", id_token={"without": ["sid"]}, logout_token={"without": ["sid"]}),
    Habit("sid-with-punctuation", signed={"sid": PUNCTUATION}),
    Habit("sub-with-punctuation", signed={"sub": PUNCTUATION}),
    Habit("sub-as-long-as-allowed", signed={"sub": "u" * 255}),
    # times
    Habit("sid-only-and-no-exp", logout_token={"without": ["sub", "exp"]}, refused="exp is missing"),  # TRAP-04
    Habit("exp-of-24-hours", logout_token={"exp": START + 24 * HOUR}),
    Habit("exp-of-24-hours-late", logout_token={"exp": START + 24 * HOUR}, delivered_after=20 * 60),
    Habit(
        "exp-of-24-hours-where-we-want-five-minutes",
        settings={"RELYING_PARTY_LOGOUT_TOKEN_SECONDS": 300},
        logout_token={"exp": START + 24 * HOUR},
        delivered_after=20 * 60,
        refused="iat lies too far in the past",
    ),
    Habit("exp-of-ten-years", logout_token={"exp": START + 10 * 365 * 24 * HOUR}),
    Habit("clock-half-a-minute-ahead", logout_token={"iat": START + 30, "exp": START + 150}),
    Habit("times-with-fractions", logout_token={"iat": START + 0.25, "exp": START + 120.75}),
    Habit("times-in-milliseconds", logout_token={"iat": START * 1000, "exp": START * 1000}, refused="in the future"),
    # the type, the event, other members
    Habit("typ-JWT", logout_token={"header": {"typ": "JWT"}}),
    Habit("typ-missing", logout_token={"header": {"typ": ...}}),
    Habit("typ-logout+jwt", logout_token={"header": {"typ": "logout+jwt"}}),
    Habit("typ-as-a-media-type", logout_token={"header": {"typ": "application/logout+jwt"}}),
    Habit("typ-of-a-security-event", logout_token={"header": {"typ": "secevent+jwt"}}, refused="typ is not"),
    Habit("one-more-event", logout_token={"events": {LOGOUT_EVENT: {}, "https://op.example/ended": {"by": "admin"}}}),
    Habit("an-event-with-content", logout_token={"events": {LOGOUT_EVENT: {"sid": "a session"}}}),
    Habit("event-for-events", logout_token={"without": ["events"], "event": {LOGOUT_EVENT: {}}}, refused="events is"),
    Habit("claims-of-its-own", logout_token={"tenant": "t", "auth_time": START, "sub_id": {"format": "opaque"}}),
    Habit("aud-as-an-array", logout_token={"aud": [CLIENT_ID]}, id_token={"aud": [CLIENT_ID], "azp": CLIENT_ID}),
    # the issuer
    Habit("issuer-with-a-slash", {"RELYING_PARTY_ISSUER": f"{ISSUER}/"}, {"issuer": f"{ISSUER}/"}),
    Habit("issuer-with-a-path", {"RELYING_PARTY_ISSUER": f"{ISSUER}/t/7"}, {"issuer": f"{ISSUER}/t/7"}),
    Habit("issuer-with-both", {"RELYING_PARTY_ISSUER": f"{ISSUER}/t/7/"}, {"issuer": f"{ISSUER}/t/7/"}),
    # keys and algorithms
    Habit("no-kid-anywhere", provider=key_set(*MIXED_KEYS[:-1], WITHOUT_KID), signed={"header": {"kid": ...}}),
    Habit(
        "no-kid-and-three-keys",
        provider=key_set(rsa_key("second").public_jwk(), rsa_key("third").public_jwk(), WITHOUT_KID),
        signed={"header": {"kid": ...}},
    ),
    Habit("keys-nobody-here-can-use", provider=key_set(*MIXED_KEYS)),
    Habit("keys-without-use-and-alg", provider=key_set(FIRST)),
    Habit("ES256", **algorithm("ES256", ec_key("elliptic"))),
    Habit("PS256", **algorithm("PS256", rsa_key("second"))),
    Habit("RS512", **algorithm("RS512", rsa_key("second"))),
    Habit("EdDSA", **algorithm("EdDSA", ed_key("edwards"))),
    Habit("at_hash", id_token={"at_hash": at_hash("access 1")}),
    # endpoints and answers
    Habit("no-end_session_endpoint", provider=metadata(end_session_endpoint=None)),
    Habit("no-userinfo_endpoint", provider=metadata(userinfo_endpoint=None)),
    Habit("no-iss-in-the-answer", provider=metadata(authorization_response_iss_parameter_supported=None)),
    Habit("metadata-with-nulls", provider=metadata(extra=None, another={"a": [None]})),
    Habit("takes-a-form", provider=metadata(token_endpoint_auth_methods_supported=["client_secret_post"])),
    Habit("wants-no-secret", settings={"RELYING_PARTY_CLIENT_SECRET": ""}),
    Habit("no-refresh-token", provider={"tokens": {"refresh_token": None}}),
    Habit("token_type-in-small-letters", provider={"tokens": {"token_type": "bearer"}}),
    Habit("expires_in-missing", provider={"tokens": {"expires_in": None}}),
    Habit("expires_in-as-text", provider={"tokens": {"expires_in": "3600"}}),
]  # fmt: skip


@pytest.fixture
def open_shop(tmp_path: Path, network: Network, provider: PaperProvider) -> Iterator[Callable[..., Shop]]:
    """Opens shops with other settings, all with the same database."""
    opened: list[Shop] = []

    def make(**settings: Any) -> Shop:
        shop = make_shop(tmp_path, **settings)
        shop.provider = provider
        network.add(shop.state.config.base_url, shop.app)
        opened.append(shop)
        return shop

    yield make
    for shop in opened:
        shop.engine.dispose()


@pytest.mark.parametrize("habit", [pytest.param(habit, id=habit.id) for habit in HABITS])
def test_provider_habit_works_with_login_and_logout(
    habit: Habit, open_shop: Callable[..., Shop], provider: PaperProvider, clock: Clock
) -> None:
    """RP-01, RP-04, RP-11, BCL-41 … BCL-55: providers differ by settings, not by code."""
    for name, value in habit.provider.items():
        setattr(provider, name, value)
    shop = open_shop(**habit.settings)
    browser = shop.sign_in(**{**habit.signed, **habit.id_token})
    assert who(browser) == habit.signed.get("sub", "a user")
    token = provider.maker().logout_token(**{**habit.signed, **habit.logout_token})
    clock.turn(habit.delivered_after)
    response = shop.log_out(token)
    if habit.refused:
        assert response.status_code == 400
        assert habit.refused in response.text
        assert who(browser) != "anonymous"
    else:
        assert response.status_code == 200, response.text
        assert who(browser) == "anonymous"


def test_logout_token_is_accepted_for_the_configured_day(
    open_shop: Callable[..., Shop], provider: PaperProvider, clock: Clock
) -> None:
    """BCL-44: but no longer than that plus the leeway, even if exp is later."""
    shop = open_shop()
    first, second = (provider.maker().logout_token(exp=START + 400 * HOUR) for _ in range(2))
    clock.turn(24 * HOUR + 60)
    assert shop.log_out(first).status_code == 200
    clock.turn(1)
    assert shop.log_out(second).status_code == 400


def test_jti_of_long_lived_token_is_deleted_after_a_day(
    open_shop: Callable[..., Shop], provider: PaperProvider, clock: Clock
) -> None:
    """BCL-72: its iat makes it invalid after a day, so its jti is stored until then and deleted afterwards."""
    shop = open_shop()
    assert shop.log_out(provider.maker().logout_token(exp=START + 10 * 365 * 24 * HOUR)).status_code == 200
    clock.turn(23 * HOUR)
    shop.state.sessions.clean_up()
    assert len(shop.everything()["rp_logout"]) == 1
    clock.turn(3 * HOUR)
    shop.state.sessions.clean_up()
    assert shop.everything()["rp_logout"] == []


# --- keys that change ---


def test_keys_without_kid_can_be_rotated(
    open_shop: Callable[..., Shop], provider: PaperProvider, network: Network
) -> None:
    """RP-11: without a kid a new key cannot be recognised, so an unverifiable signature triggers one fetch."""
    provider.keys = [WITHOUT_KID]
    shop = open_shop()
    browser = shop.sign_in(header={"kid": ...})
    looks = len(network.to(f"{ISSUER}/jwks"))
    second = {name: value for name, value in rsa_key("second").public_jwk().items() if name != "kid"}
    provider.keys = [second]
    token = provider.maker().logout_token(header={"kid": ...}, key=rsa_key("second"))
    assert shop.log_out(token).status_code == 200
    assert who(browser) == "anonymous"
    assert len(network.to(f"{ISSUER}/jwks")) == looks + 1


def test_key_rotation_during_a_login_succeeds(open_shop: Callable[..., Shop], provider: PaperProvider) -> None:
    """RP-04, RP-11: keys rotate after they were read and before the ID token is signed; the old key is rejected."""
    shop = open_shop()
    old = shop.sign_in()
    request = shop.start_login(browser := shop.browser())
    provider.keys, provider.nonce = [rsa_key("second").public_jwk()], request["nonce"]
    provider.id_token = {"header": {"kid": "second"}, "key": rsa_key("second")}
    assert shop.answer(browser, code="c", state=request["state"], iss=ISSUER).status_code == 303
    assert who(browser) == "a user"
    assert shop.log_out(provider.maker().logout_token()).status_code == 400, "the withdrawn key"
    assert who(old) == "a user"


def test_reset_clears_metadata_and_keys(
    open_shop: Callable[..., Shop], provider: PaperProvider, network: Network
) -> None:
    """RP-04, LIB-06: for a provider that was rebuilt at the same address."""
    shop = open_shop()
    shop.sign_in()
    provider.metadata = {"jwks_uri": f"{ISSUER}/new-keys"}
    network.replace(f"{ISSUER}/new-keys", lambda _: json_keys(rsa_key("second")))
    token = provider.maker().logout_token(header={"kid": "second"}, key=rsa_key("second"))
    assert shop.log_out(token).status_code == 400
    shop.state.provider.reset()
    assert shop.log_out(token).status_code == 200


def json_keys(*keys: SigningKey) -> Any:
    """A key set."""
    return json_response({"keys": [key.public_jwk() for key in keys]})


# --- client authentication at the token endpoint ---


def token_request(shop: Shop, network: Network) -> tuple[str | None, dict[str, list[str]]]:
    """The header and the form of a login's token request."""
    shop.sign_in()
    sent = network.to(f"{ISSUER}/token")[-1].request
    return sent.headers.get("Authorization"), sent.form


@pytest.mark.parametrize(
    "supported",
    [None, ["client_secret_basic"], ["private_key_jwt", "client_secret_post", "client_secret_basic"], "odd"],
)
def test_client_secret_basic_is_preferred(
    supported: Any, open_shop: Callable[..., Shop], provider: PaperProvider, network: Network
) -> None:
    """RP-09, Discovery §3: client_secret_basic is the default if the provider announces no method."""
    provider.metadata = {"token_endpoint_auth_methods_supported": supported}
    header, form = token_request(open_shop(), network)
    assert header
    assert header.startswith("Basic ")
    assert "client_secret" not in form


def test_client_secret_post_is_used_only_if_basic_is_unsupported(
    open_shop: Callable[..., Shop], provider: PaperProvider, network: Network
) -> None:
    """RP-09: for providers that accept the secret only in the form."""
    provider.metadata = {"token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"]}
    header, form = token_request(open_shop(), network)
    assert header is None
    assert (form["client_id"], form["client_secret"]) == ([CLIENT_ID], [CLIENT_SECRET])


def test_public_client_sends_only_its_client_id(open_shop: Callable[..., Shop], network: Network) -> None:
    """RP-07, RP-09: without a secret, only PKCE protects the code."""
    header, form = token_request(open_shop(RELYING_PARTY_CLIENT_SECRET=""), network)
    assert header is None
    assert form["client_id"] == [CLIENT_ID]
    assert form["code_verifier"]
    assert "client_secret" not in form


# --- the access token's hash ---


@pytest.mark.parametrize(
    "odd", [at_hash("another token"), "", 7, None, "ümläut", urlsafe_b64encode(b"x" * 16).decode()]
)
def test_wrong_at_hash_ends_the_login(
    odd: Any, open_shop: Callable[..., Shop], provider: PaperProvider, network: Network
) -> None:
    """RP-18, Core §3.1.3.8: the access token was replaced in transit."""
    shop = open_shop()
    request = shop.start_login(browser := shop.browser())
    provider.nonce, provider.id_token = request["nonce"], {"at_hash": odd}
    response = shop.answer(browser, code="c", state=request["state"], iss=ISSUER)
    assert response.status_code == 400
    assert "at_hash does not match" in response.text
    assert not network.to(f"{ISSUER}/userinfo")


def test_unrequested_claims_are_not_checked(open_shop: Callable[..., Shop]) -> None:
    """RP-19: we send neither max_age nor acr_values, so auth_time and acr are not checked."""
    shop = open_shop()
    request = shop.start_login(shop.browser())
    assert not {"max_age", "acr_values", "claims", "request", "request_uri"} & set(request)
    assert who(shop.sign_in(without=["auth_time"], acr="anything")) == "a user"


def test_application_addresses_come_from_the_setting(open_shop: Callable[..., Shop]) -> None:
    """RP-31: with or without a trailing slash; plain http only with the demo switch."""
    shop = open_shop(RELYING_PARTY_BASE_URL="http://shop.example/below/", RELYING_PARTY_ALLOW_PLAIN_HTTP=True)
    location = shop.browser().get("/login").location
    assert query_of(location)["redirect_uri"] == "http://shop.example/below/oauth2client"


def test_missing_registration_endpoint_is_reported(open_shop: Callable[..., Shop], provider: PaperProvider) -> None:
    """RP-30: one message says that there is neither a client id nor a registration endpoint."""
    provider.metadata = {"registration_endpoint": None}
    shop = open_shop(RELYING_PARTY_CLIENT_ID="")
    with pytest.raises(ProviderError, match="no client id, and the identity provider has no registration endpoint"):
        shop.state.provider.client()
