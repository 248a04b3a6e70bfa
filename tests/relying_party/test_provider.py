"""Requests to the provider, and the validation of its responses (Discovery 1.0, Core §10.1)."""

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import create_engine

from relying_party.config import Config
from relying_party.encryption import Encryption
from relying_party.errors import ProviderError
from relying_party.provider import METADATA_SECONDS, REFETCH_SECONDS, REFETCHES, TIMEOUT, Provider
from relying_party.registration import Registration
from tests.conftest import Clock
from tests.network import Network
from tests.relying_party.conftest import (
    BASE_URL,
    CLIENT_ID,
    CLIENT_SECRET,
    ISSUER,
    SETTINGS,
    PaperProvider,
    Shop,
    make_shop,
)
from tests.tokens import ec_key, rsa_key

DISCOVERY = f"{ISSUER}/.well-known/openid-configuration"
JWKS = f"{ISSUER}/jwks"


def known(**changes: Any) -> Provider:
    """The provider as a new process sees it."""
    config = Config(
        **{"issuer": ISSUER, "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "base_url": BASE_URL, **changes}
    )
    return Provider(config, Registration(config, create_engine("sqlite://"), Encryption(["k"]), tell=lambda: None))


# --- metadata ---


@pytest.mark.parametrize("claimed", ["https://other.example", ISSUER + "/", ISSUER.upper(), None, 7])
def test_metadata_of_another_issuer_is_rejected(claimed: object, provider: PaperProvider, network: Network) -> None:
    """RP-02, LIB-04, Discovery §4.3: otherwise one provider could impersonate another."""
    provider.metadata = {"issuer": claimed}
    with pytest.raises(ProviderError, match="names another issuer"):
        known().keys()
    with pytest.raises(ProviderError, match="names another issuer"):
        known().endpoint("authorization_endpoint")
    assert {exchange.request.url for exchange in network.exchanges} == {DISCOVERY}


def test_metadata_address_of_issuer_with_slash_has_one_slash(provider: PaperProvider, network: Network) -> None:
    """RP-01, Discovery §4.1: the trailing slash is removed for the address, but kept in the name."""
    provider.issuer = ISSUER + "/"
    assert known(issuer=ISSUER + "/").metadata()["issuer"] == ISSUER + "/"
    assert network.exchanges[0].request.url == DISCOVERY


@pytest.mark.usefixtures("provider")
def test_metadata_is_cached_for_an_hour(network: Network, clock: Clock) -> None:
    """RP-04: not for the lifetime of the process."""
    asked = known()
    asked.metadata()
    clock.turn(METADATA_SECONDS)
    asked.metadata()
    assert len(network.to(DISCOVERY)) == 1
    clock.turn(1)
    asked.metadata()
    assert len(network.to(DISCOVERY)) == 2


@pytest.mark.parametrize("value", [None, 7, ["https://op.example/authorize"]])
def test_invalid_endpoint_is_a_provider_error(value: object, provider: PaperProvider) -> None:
    """RP-01: an error message, not a guessed address."""
    provider.metadata = {"authorization_endpoint": value}
    with pytest.raises(ProviderError, match="no authorization_endpoint"):
        known().endpoint("authorization_endpoint")


def test_error_is_not_cached(provider: PaperProvider, network: Network) -> None:
    """RP-04: the next request asks again."""
    asked = known()
    network.answer(DISCOVERY, 500)
    with pytest.raises(ProviderError, match="answered 500"):
        asked.metadata()
    network.heal(DISCOVERY)
    assert asked.metadata()["issuer"] == provider.issuer


def test_malformed_response_is_rejected(network: Network) -> None:
    """RP-01: no redirect is followed, the body is limited, and only a JSON object is accepted."""
    for answer, says in {
        "<html>": "not JSON",
        "[1]": "not a JSON object",
        "[" * 5000: "not JSON",
        " " * (1024 * 1024 + 1): "too long",
    }.items():
        network.answer(DISCOVERY, 200, answer)
        with pytest.raises(ProviderError, match=says):
            known().metadata()
    network.answer(DISCOVERY, 302, "", {"Location": "https://evil.example/"})
    with pytest.raises(ProviderError, match="answered 302"):
        known().metadata()
    assert not network.to("https://evil.example")


# --- keys ---


def key_ids(asked: Provider, *, refetch: bool = False) -> list[str | None]:
    """The kids of the keys it would verify with."""
    return [key.key_id for key in asked.keys(refetch=refetch)]


UNUSABLE: list[Any] = [
    {"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA", "kid": "k"},
    {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "kid": "ed"},
    {"kty": "OKP", "crv": "X448", "x": "AA", "kid": "x"},
    {"kty": "RSA", "n": "AQAB", "kid": "without e"},
    {"kty": "RSA", "kid": "empty"},
    {"kty": "oct", "k": "c2VjcmV0", "kid": "secret"},
    {"kty": "unheard of", "kid": "new"},
    {},
    None,
    "text",
]


@pytest.mark.parametrize("unusable", UNUSABLE, ids=lambda key: str(key)[:40])
def test_unusable_key_is_skipped(unusable: Any, provider: PaperProvider) -> None:
    """LIB-09, FOP-03, RFC 7517 §5: one unusable key does not make the others unusable."""
    provider.keys = [unusable, rsa_key("first").public_jwk(), unusable]
    assert key_ids(known()) == ["first"]


def test_only_matching_keys_are_candidates(provider: PaperProvider) -> None:
    """RP-11: kty, use and alg must match the registered algorithm; a missing use or alg matches."""
    key = rsa_key("first")
    provider.keys = [
        key.public_jwk(kid="enc", use="enc"),
        key.public_jwk(kid="other alg", alg="PS256"),
        key.public_jwk(kid="sig", use="sig", alg="RS256"),
        key.public_jwk(kid="plain"),
        ec_key("elliptic").public_jwk(),
    ]
    assert key_ids(known()) == ["sig", "plain"]
    assert key_ids(known(signing_algorithm="ES256")) == ["elliptic"]


def test_rotated_key_is_fetched_without_a_delay(provider: PaperProvider, network: Network) -> None:
    """RP-11, LIB-07: keys were fetched a moment ago, and are still fetched again immediately."""
    asked = known()
    assert key_ids(asked) == ["first"]
    provider.keys = [rsa_key("second").public_jwk()]
    assert key_ids(asked) == ["first"]
    assert key_ids(asked, refetch=True) == ["second"]
    assert len(network.to(JWKS)) == 2


@pytest.mark.usefixtures("provider")
def test_key_requests_are_rate_limited(network: Network, clock: Clock) -> None:
    """BCL-71: a few at once, then one every few seconds; unused ones do not accumulate beyond the initial number."""
    asked = known()
    asked.keys()
    for _ in range(50):
        asked.keys(refetch=True)
    assert len(network.to(JWKS)) == 1 + REFETCHES
    clock.turn(REFETCH_SECONDS)
    for _ in range(50):
        asked.keys(refetch=True)
    assert len(network.to(JWKS)) == 1 + REFETCHES + 1
    clock.turn(100 * REFETCH_SECONDS)
    for _ in range(50):
        asked.keys(refetch=True)
    assert len(network.to(JWKS)) == 1 + REFETCHES + 1 + REFETCHES


@pytest.mark.usefixtures("provider")
def test_clock_set_back_does_not_lift_the_rate_limit(network: Network, clock: Clock) -> None:
    """BCL-71: forged key ids must not cause unlimited requests to the provider."""
    asked = known()
    asked.keys()
    clock.turn(-100 * REFETCH_SECONDS)
    for _ in range(50):
        asked.keys(refetch=True)
    assert len(network.to(JWKS)) == 1 + REFETCHES


@pytest.mark.usefixtures("provider")
def test_keys_are_cached_for_an_hour(network: Network, clock: Clock) -> None:
    """RP-04: a key that the provider withdrew does not stay trusted."""
    asked = known()
    asked.keys()
    clock.turn(METADATA_SECONDS + 1)
    asked.keys()
    assert len(network.to(JWKS)) == 2


# --- connections ---


@pytest.mark.usefixtures("provider")
def test_requests_have_timeouts_and_use_no_proxy(shop: Shop, network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """RP-03, LIB-15: every request has timeouts, checks certificates, and ignores the environment's proxies."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "REQUESTS_CA_BUNDLE"):
        monkeypatch.setenv(name, "http://proxy.example")
    shop.sign_in()
    paths = {exchange.request.url.rpartition("/")[2] for exchange in network.exchanges}
    assert paths == {"openid-configuration", "token", "jwks", "userinfo"}
    for exchange in network.exchanges:
        options = exchange.request.options
        assert options["timeout"] == TIMEOUT, exchange.request.url
        assert options["verify"] is True, exchange.request.url
        assert not options["proxies"], exchange.request.url


def test_private_ca_can_be_trusted(network: Network, provider: PaperProvider) -> None:  # noqa: ARG001 # answers
    """RP-03: for closed networks and for the conformance suite."""
    known(ca_bundle="/etc/our-ca.pem").keys()
    assert {exchange.request.options["verify"] for exchange in network.exchanges} == {"/etc/our-ca.pem"}


@pytest.mark.parametrize("name", ["jwks_uri", "userinfo_endpoint", "token_endpoint"])
def test_plain_http_endpoint_is_not_used(
    name: str, provider: PaperProvider, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RP-03: without the demo switch nothing is sent unencrypted, above all no secret."""
    monkeypatch.delenv("AUTHLIB_INSECURE_TRANSPORT")
    provider.metadata = {name: "http://op.example/x"}
    calls: dict[str, Callable[[], Any]] = {
        "jwks_uri": lambda: known().keys(),
        "userinfo_endpoint": lambda: known().userinfo("token"),
        "token_endpoint": lambda: known().exchange_code("code", "verifier"),
    }
    with pytest.raises(ProviderError, match="not https"):
        calls[name]()
    assert not network.to("http:")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"RELYING_PARTY_ISSUER": "http://op.example"}, "ISSUER is not https"),
        ({"RELYING_PARTY_BASE_URL": "http://shop.example"}, "BASE_URL is not https"),
        ({"RELYING_PARTY_SIGNING_ALGORITHM": "none"}, "SIGNING_ALGORITHM must be one of"),
        ({"RELYING_PARTY_SIGNING_ALGORITHM": "HS256"}, "SIGNING_ALGORITHM must be one of"),
        ({"RELYING_PARTY_SCOPES": "profile"}, "must contain openid"),
        ({"RELYING_PARTY_ISSUER": ...}, "RELYING_PARTY_ISSUER is not set"),
        ({"RELYING_PARTY_BASE_URL": ""}, "RELYING_PARTY_BASE_URL is not set"),
        ({"RELYING_PARTY_CLEINT_ID": "x"}, "RELYING_PARTY_CLEINT_ID is not a setting"),
        ({"RELYING_PARTY_CLIENT_SECRET": 123456}, "CLIENT_SECRET must be of type str, not int"),
        ({"RELYING_PARTY_LIVE_STREAMS": "3"}, "LIVE_STREAMS must be of type int, not str"),
        ({"RELYING_PARTY_LOGOUT_TOKEN_SECONDS": 86_401}, "from 1 to 86400"),
        ({"RELYING_PARTY_LOGOUT_TOKEN_SECONDS": 0}, "from 1 to 86400"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_invalid_settings_stop_the_start(settings: dict[str, Any], says: str, tmp_path: Path) -> None:
    """Plain http needs the named switch, and a misspelled setting is not ignored."""
    app = Flask("shop")
    app.config.update(SETTINGS)
    Config.from_app(app)
    app.config.update(settings)
    for name in [name for name, value in app.config.items() if value is ...]:
        del app.config[name]
    with pytest.raises(ValueError, match=says):
        Config.from_app(app)
    assert list(tmp_path.iterdir()) == []


def test_demo_switch_allows_plain_http(tmp_path: Path) -> None:
    """Control: with the switch the same addresses are accepted."""
    shop = make_shop(tmp_path, RELYING_PARTY_ALLOW_PLAIN_HTTP=True)
    assert shop.state.config.allow_plain_http
    shop.engine.dispose()


@pytest.mark.parametrize(
    ("url", "known_here", "asked"),
    [
        ("http://idp.localhost:9000", False, "http://127.0.0.1:9000"),
        ("http://idp.localhost", False, "http://127.0.0.1"),
        ("http://idp.localhost:9000", True, "http://idp.localhost:9000"),
        ("http://idp.example:9000", False, "http://idp.example:9000"),
        ("http://localhost.example", False, "http://localhost.example"),
        ("https://idp.localhost:9000", False, "https://idp.localhost:9000"),
    ],
)
def test_localhost_subdomain_is_this_machine(
    url: str, known_here: bool, asked: str, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 6761 §6.3: Python on Linux does not resolve it; the Host header still has the name."""

    def getaddrinfo(*_: object) -> list[str]:
        if not known_here:
            raise socket.gaierror
        return ["an address"]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    network.answer(asked, 200, json.dumps({"issuer": url}))
    assert known(issuer=url, allow_plain_http=True).metadata() == {"issuer": url}
    (exchange,) = network.exchanges
    assert exchange.request.url.startswith(asked)
    assert exchange.request.headers.get("Host", url.partition("//")[2]) == url.partition("//")[2]


def test_secret_is_in_no_url_and_no_body(shop: Shop, network: Network) -> None:
    """RP-09: HTTP Basic, and nowhere else."""
    shop.sign_in()
    said = json.dumps([[exchange.request.url, exchange.request.body] for exchange in network.exchanges])
    assert CLIENT_SECRET not in said
    assert "client_secret" not in said
