"""A server closes an idle connection just as the client sends again: that request must not be lost.

The servers here are real ones on the loopback interface, because the race is between sockets.
"""

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import monotonic
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import create_engine

from pickup_dispatch import drivers
from pickup_manager import resource_server
from relying_party import connections
from relying_party.config import Config
from relying_party.encryption import Encryption
from relying_party.provider import Provider
from relying_party.registration import Registration
from tests.thorough import examples

IDLE_SECONDS = 0.05  # the server then closes the connection
TIMES, AT_ONCE = examples(100, 500), 25


@pytest.fixture(autouse=True)
def network() -> None:
    """Replaces the network without sockets."""


class Site(BaseHTTPRequestHandler):
    """Answers as the IdP and as Manager's API. ``ports`` holds the client's port of each request."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    ports: list[int]
    idle_seconds: float | None

    def do_GET(self) -> None:
        url = f"http://{self.headers['Host']}"
        endpoints = {f"{name}_endpoint": f"{url}/{name}" for name in ("token", "userinfo", "introspection")}
        self.answer({"issuer": url, **endpoints, "sub": "a user", "drivers": [{"id": "1", "name": "Ann"}]})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer({"access_token": "t", "token_type": "Bearer", "expires_in": 60, "active": True})

    def answer(self, body: dict[str, Any]) -> None:
        self.ports.append(self.client_address[1])
        text = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.connection.settimeout(self.idle_seconds)  # not before, because the first request may be late
        self.wfile.write(text)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@contextmanager
def site(idle_seconds: float | None) -> Iterator[tuple[str, list[int]]]:
    """A running server: its address, and the client's port of each request it has answered."""
    ports: list[int] = []
    handler = type("Handler", (Site,), {"idle_seconds": idle_seconds, "ports": ports})
    server = type("Server", (ThreadingHTTPServer,), {"request_queue_size": 128})(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", ports
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def provider_at(url: str) -> Provider:
    """The provider as an app knows it."""
    config = Config(issuer=url, base_url=url, client_id="x", client_secret="y", allow_plain_http=True)
    return Provider(config, Registration(config, create_engine("sqlite://"), Encryption(["key"]), tell=lambda: None))


def app_at(url: str) -> Flask:
    """An app that asks Manager's introspection and Dispatch's list of drivers."""
    app = Flask("an app")
    app.config.update(
        DRIVERS_SCOPE="fleet.read",
        MANAGER_DRIVERS_URL=f"{url}/drivers",
        RELYING_PARTY_CLIENT_ID="x",
        RELYING_PARTY_CLIENT_SECRET="y",
        RELYING_PARTY_CA_BUNDLE=None,
    )
    app.extensions["relying_party"] = SimpleNamespace(provider=provider_at(url))
    drivers.init_app(app, lambda: "a token")
    return app


# --- the requests ---


def userinfo(url: str) -> Callable[[], object]:
    """Claims about the user, at each sign-in."""
    provider = provider_at(url)
    return lambda: provider.userinfo("a token")


def introspection(url: str) -> Callable[[], object]:
    """Manager asks about an access token."""
    app = app_at(url)

    def ask() -> object:
        with app.app_context():
            return resource_server.introspect("a token")

    return ask


def list_of_drivers(url: str) -> Callable[[], object]:
    """Dispatch asks Manager."""
    app = app_at(url)

    def ask() -> object:
        with app.app_context():
            found = drivers.fetch()
            assert found.problem is None, found.problem
            return found

    return ask


@pytest.mark.parametrize("asking", [userinfo, introspection, list_of_drivers])
def test_connection_idle_for_a_second_is_not_reused(
    asking: Callable[[str], Callable[[], object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No server that we know of closes a connection sooner. Reuse within a second saves a handshake."""
    time = [monotonic()]
    monkeypatch.setattr(connections, "monotonic", lambda: time[0])
    with site(idle_seconds=None) as (url, ports):
        ask = asking(url)
        ask()
        time[0] += connections.REUSE_SECONDS
        for _ in range(3):
            ask()
        first = ports[-1]
        assert ports[-3:] == [first] * 3, "control: within the second it is used again"
        time[0] += connections.REUSE_SECONDS
        ask()
        assert ports[-1] != first


@pytest.mark.parametrize("grant", ["exchange_code", "refresh"])
def test_single_use_grant_is_sent_on_a_new_connection(grant: str) -> None:
    """A code or refresh token whose request is lost cannot be sent again."""
    with site(idle_seconds=None) as (url, ports):
        provider = provider_at(url)
        for number in range(3):
            getattr(provider, grant)(*["a grant"] * (2 if grant == "exchange_code" else 1))
            provider.userinfo(f"token {number}")
        tokens = ports[1::2]  # the metadata request came first
        assert len(set(tokens)) == 3
        assert not set(tokens) & set(ports[::2])


def test_sign_ins_survive_connections_closed_by_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Code and userinfo, each sent when the connection has been idle for exactly the server's limit."""
    monkeypatch.setattr(connections, "REUSE_SECONDS", IDLE_SECONDS / 5)
    pause = threading.Event()

    def sign_in_again_and_again(url: str) -> None:
        provider = provider_at(url)
        for number in range(TIMES // AT_ONCE):
            provider.exchange_code("a code", "a verifier")
            provider.userinfo("a token")
            pause.wait(IDLE_SECONDS + (number % 5 - 2) / 5000)

    with site(IDLE_SECONDS) as (url, ports), ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(sign_in_again_and_again, [url] * AT_ONCE))
        assert len(ports) == AT_ONCE + 2 * TIMES
