"""An application without a client id registers itself: Dynamic Client Registration 1.0, RP-30."""

import json
import threading
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

import pytest
from sqlalchemy import URL

from relying_party.registration import Registration
from tests.conftest import START, Clock
from tests.network import Network
from tests.relying_party.conftest import (
    BASE_URL,
    COOKIE,
    ISSUER,
    PaperProvider,
    Shop,
    each_database,
    json_response,
    make_shop,
    who,
)

pytestmark = each_database

REGISTER = f"{ISSUER}/register"
# FOP-05: the conformance suite's ids and secrets have punctuation.
CLIENT = {"client_id": "id: 100% + @more", "client_secret": "s3cret:/+ %&=@€", "client_secret_expires_at": 0}


@pytest.fixture(autouse=True)
def registering(provider: PaperProvider) -> PaperProvider:
    """The identity provider allows open registration."""
    provider.metadata = {"registration_endpoint": REGISTER}
    provider.registration = json_response(CLIENT, 201)
    provider.client_id = CLIENT["client_id"]  # type: ignore[assignment] # it is a str
    return provider


@pytest.fixture
def worker(database: Path | URL, network: Network, provider: PaperProvider) -> Iterator[Any]:
    """Starts workers: separate applications with a shared database, without a client id."""
    started: list[Shop] = []

    def start(**settings: Any) -> Shop:
        shop = make_shop(database, RELYING_PARTY_CLIENT_ID="", RELYING_PARTY_CLIENT_SECRET="", **settings)
        shop.provider = provider
        network.add(BASE_URL, shop.app)
        started.append(shop)
        return shop

    yield start
    for shop in started:
        shop.engine.dispose()


def failed_login(shop: Shop) -> str:
    """The page shown when a login cannot start."""
    response = shop.browser().get("/login")
    assert response.status_code == 503
    assert shop.rows() == []
    return response.text


def test_first_login_registers_the_application(worker: Any, network: Network) -> None:
    """RP-30: sign in, and a logout token for the assigned client id ends the session."""
    shop = worker()
    assert not network.exchanges, "nothing is requested before a user signs in, so the provider may start later"
    browser = shop.sign_in()
    assert who(browser) == "a user"
    assert shop.log_out(shop.provider.maker().logout_token()).status_code == 200
    assert who(browser) == "anonymous"
    assert len(network.to(REGISTER)) == 1
    (told,) = [event for event in shop.events if event["name"] == "rp.client.registered"]
    assert told["client_id"] == CLIENT["client_id"]
    assert str(CLIENT["client_secret"]) not in str(shop.events)


def test_registration_request_is_consistent(worker: Any, network: Network) -> None:
    """RP-30, BCL-07 … BCL-10: with the logout addresses; without a key set of ours, by value or by URL."""
    shop = worker(RELYING_PARTY_CLIENT_NAME="The shop", RELYING_PARTY_SIGNING_ALGORITHM="ES256")
    shop.start_login(shop.browser())
    (exchange,) = network.to(REGISTER)
    assert exchange.request.method == "POST"
    assert exchange.request.headers["Content-Type"] == "application/json"
    assert "Authorization" not in exchange.request.headers
    assert json.loads(exchange.request.body) == {
        "client_name": "The shop",
        "application_type": "web",
        "redirect_uris": [f"{BASE_URL}/oauth2client"],
        "response_types": ["code"],
        "grant_types": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_method": "client_secret_basic",
        "scope": "openid profile email",
        "id_token_signed_response_alg": "ES256",
        "post_logout_redirect_uris": [f"{BASE_URL}/logged-out"],
        "backchannel_logout_uri": f"{BASE_URL}/bclogout",
        "backchannel_logout_session_required": True,
    }


def test_punctuation_in_id_and_secret_is_preserved(worker: Any, network: Network) -> None:
    """RP-30, LIB-01, FOP-05: unchanged in the request, form-encoded in Basic."""
    shop = worker()
    assert shop.start_login(shop.browser())["client_id"] == CLIENT["client_id"]
    shop.sign_in()
    header = network.to(f"{ISSUER}/token")[0].request.headers["Authorization"]
    client_id, _, secret = b64decode(header.removeprefix("Basic ")).decode("ascii").partition(":")
    assert (unquote_plus(client_id), unquote_plus(secret)) == (CLIENT["client_id"], CLIENT["client_secret"])


def test_registration_survives_a_restart(worker: Any, network: Network) -> None:
    """RP-30: it is in the database; a new process accepts a logout token before any user signs in there."""
    browser = worker().sign_in()
    cookie = browser.get_cookie(COOKIE, "shop.example")
    assert cookie
    restarted = worker()
    assert restarted.log_out(restarted.provider.maker().logout_token()).status_code == 200
    again = restarted.browser()
    again.set_cookie(COOKIE, cookie.value, domain="shop.example")
    assert who(again) == "anonymous"
    assert who(restarted.sign_in(sid="another session")) == "a user"
    assert len(network.to(REGISTER)) == 1


def test_two_workers_register_once(worker: Any, network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """RP-30: the second one waits for the first one's response and uses it; the provider has one client."""
    shops, gate = [worker(), worker()], network.hold(REGISTER)
    at_it = threading.Semaphore(0)
    really = Registration.register_once

    def register_once(self: Registration, ask: Any) -> Any:
        at_it.release()
        return really(self, ask)

    monkeypatch.setattr(Registration, "register_once", register_once)
    ids: list[str] = []
    threads = [
        threading.Thread(target=lambda s=shop: ids.append(s.start_login(s.browser())["client_id"])) for shop in shops
    ]
    threads[0].start()
    gate.wait_for_request()
    threads[1].start()
    for _ in threads:
        assert at_it.acquire(timeout=5)
    gate.open()
    for thread in threads:
        thread.join()
    assert ids == [CLIENT["client_id"]] * 2
    assert len(network.to(REGISTER)) == 1


def test_worker_retries_after_another_workers_failure(worker: Any, network: Network) -> None:
    """RP-30: a rejection leaves nothing behind."""
    first, second = worker(), worker()
    network.answer(REGISTER, 500)
    failed_login(first)
    network.heal(REGISTER)
    assert who(second.sign_in()) == "a user"
    assert who(first.sign_in()) == "a user"
    assert len(network.to(REGISTER)) == 2


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (json_response({"error": "invalid_redirect_uri"}, 400), "refused to register this app (400)"),
        (json_response({"error": "x"}, 500), "refused to register this app (500)"),
        (json_response({"error": "invalid_token"}, 401), "only with an initial access token"),
        (json_response({}, 403), "only with an initial access token"),
        (json_response({}, 201), "has no client_id or no client_secret"),
        (json_response({"client_id": "c"}, 201), "has no client_id or no client_secret"),
        (json_response({"client_id": 7, "client_secret": "s"}, 201), "has no client_id or no client_secret"),
        (json_response([1], 201), "not a JSON object"),
    ],
)
def test_rejected_registration_is_reported(answer: Any, says: str, worker: Any, provider: PaperProvider) -> None:
    """RP-30: shown on the page and in the event; the database has no partial registration."""
    provider.registration = answer
    shop = worker()
    assert says in failed_login(shop)
    assert shop.state.registration.known() is None


def test_initial_access_token_is_sent_only_to_the_registration(worker: Any, network: Network) -> None:
    """RP-30, Registration §3: for providers with protected registration."""
    shop = worker(RELYING_PARTY_REGISTRATION_TOKEN="initial")
    shop.sign_in()
    bearers = {exchange.request.url: exchange.request.headers.get("Authorization") for exchange in network.exchanges}
    assert bearers[REGISTER] == "Bearer initial"
    assert [url for url, value in bearers.items() if value and "initial" in value] == [REGISTER]


def test_rejected_initial_access_token_is_reported(worker: Any, provider: PaperProvider) -> None:
    """RP-30: if a token was sent, the message does not ask for one."""
    provider.registration = json_response({"error": "invalid_token"}, 401)
    assert "refused to register this app (401)" in failed_login(worker(RELYING_PARTY_REGISTRATION_TOKEN="x"))


def test_expired_secret_is_replaced_by_a_new_registration(
    worker: Any, network: Network, provider: PaperProvider, clock: Clock
) -> None:
    """Registration §3.2: client_secret_expires_at; a new registration by another worker is used too."""
    provider.registration = json_response({**CLIENT, "client_secret_expires_at": START + 3600}, 201)
    first, second = worker(), worker()
    first.sign_in()
    second.sign_in()
    clock.turn(3600)
    provider.registration, provider.client_id = json_response({**CLIENT, "client_id": "another"}, 201), "another"
    assert first.start_login(first.browser())["client_id"] == "another"
    assert second.start_login(second.browser())["client_id"] == "another"
    assert len(network.to(REGISTER)) == 2


def test_reset_registers_again_with_the_provider(worker: Any, network: Network) -> None:
    """RP-04: the conformance suite creates a new client for each module."""
    shop = worker()
    shop.sign_in()
    shop.state.registration.forget()
    shop.sign_in()
    assert len(network.to(REGISTER)) == 2


def test_logout_token_before_any_registration_is_rejected(worker: Any, provider: PaperProvider) -> None:
    """BCL-53: no token can name us yet."""
    response = worker().log_out(provider.maker().logout_token())
    assert response.status_code == 400
    assert "not registered at the identity provider yet" in response.text


def test_configured_client_id_is_never_registered(worker: Any, network: Network) -> None:
    """Control: an application with a client id does not register."""
    shop = worker()
    settled = make_shop(shop.engine.url)
    settled.provider = shop.provider
    settled.start_login(settled.browser())
    assert not network.to(REGISTER)
    settled.engine.dispose()
