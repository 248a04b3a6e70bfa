"""Shared fixtures: a controllable clock, a network without sockets, the three services.

    def test_…(dispatch, dispatch_client, sign_in):
        sign_in(dispatch_client, name="Cameron Reyes")
        dispatch_client.get("/bookings")                         # paths below the app's base URL
        dispatch_client.submit("/bookings", passenger="…")       # a POST with the page's CSRF token

Nothing here sleeps or opens a socket: a test waits for a condition (``eventually``) or turns the ``clock``.
"""

import gc
import os
import re
import shutil
import socket
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import hypothesis
import pytest
from argon2 import PasswordHasher
from flask import Flask
from flask.testing import FlaskClient
from jinja2 import BytecodeCache
from jinja2.bccache import Bucket
from joserfc.jwk import RSAKey
from pydantic import SecretStr
from requests.adapters import HTTPAdapter
from sqlalchemy import event
from werkzeug.test import TestResponse

import idp as idp_service
import pickup_dispatch
import pickup_manager
from idp.disposable import IN_MEMORY
from idp.outbox.http import GuardedHttpClient
from idp.outbox.sender import Outbox
from pickup_web import Settings
from pickup_web.database import engine_of
from pickup_web.localhost import is_localhost_name
from relying_party.sessions import AppSession
from relying_party.state import State
from tests.network import Browser, Network, origin_of
from tests.postgres import postgres
from tests.thorough import THOROUGH

__all__ = ["postgres"]  # a fixture, in a file of its own

START = 1_800_000_000  # the time at which every test starts: 15 January 2027, 08:00 UTC
PASSWORD = "correct horse"
ROOM = 2**30  # bytes that must be free in memory, before the databases are put there; a run needs a fifth of it

# A busy machine must not fail a property test, and a failure is the same on every machine.
hypothesis.settings.register_profile(
    "pickup", deadline=None, derandomize=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("pickup")

really_getaddrinfo, really_hash = socket.getaddrinfo, PasswordHasher.hash
_really_import_key = RSAKey.import_key
_imported: dict[str, Any] = {}


def pytest_configure() -> None:
    """Keep the databases in memory, where a commit does not wait for the disk, if there is room for them."""
    usable = "TMPDIR" not in os.environ and os.access(IN_MEMORY, os.W_OK)
    if usable and shutil.disk_usage(IN_MEMORY).free > ROOM:
        os.environ["TMPDIR"] = tempfile.tempdir = str(IN_MEMORY)


def pytest_collection_finish() -> None:
    """The garbage collector need not look at all modules and tests again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)  # a request makes thousands of objects; the default is to look after 700


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The tests that take seconds are for a thorough run. So are those on PostgreSQL."""
    if not THOROUGH:
        config.hook.pytest_deselected(items=[item for item in items if is_thorough(item)])
        items[:] = [item for item in items if not is_thorough(item)]


def is_thorough(item: pytest.Item) -> bool:
    """Marked as such, or on PostgreSQL."""
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    return (
        item.get_closest_marker("thorough") is not None
        or "postgresql" in parameters.values()
        or "postgres" in getattr(item, "fixturenames", ())
    )


class Clock:
    """The current time. It stays the same until a test changes it."""

    def __init__(self) -> None:
        self.now: float = START

    def __call__(self) -> float:
        return self.now

    def turn(self, seconds: float) -> None:
        """Let ``seconds`` pass."""
        self.now += seconds


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Replaces ``time.time`` for our code, Flask and Authlib."""
    turned = Clock()
    monkeypatch.setattr(time, "time", turned)
    return turned


@pytest.fixture(autouse=True)
def network(monkeypatch: pytest.MonkeyPatch) -> Iterator[Network]:
    """Every request of the services ends here; opening a socket fails the test. No name server is asked."""

    def no_sockets(_socket: socket.socket, address: Any) -> None:
        raise AssertionError(f"a test connected a socket to {address}")

    ours = Network()
    monkeypatch.setattr(socket, "getaddrinfo", only_this_machine)
    monkeypatch.setattr(HTTPAdapter, "send", lambda adapter, request, **options: ours.send(adapter, request, **options))
    monkeypatch.setattr(GuardedHttpClient, "ask", lambda door, request: ours.ask(door, request))
    monkeypatch.setattr(socket.socket, "connect", no_sockets)
    yield ours
    ours.release_all()


def only_addresses(host: Any, *args: Any, **options: Any) -> Any:
    """In place of ``socket.getaddrinfo``: knows no name, and asks no name server."""
    if host is not None:
        options["flags"] = options.get("flags", 0) | socket.AI_NUMERICHOST
    return really_getaddrinfo(host, *args, **options)


def only_this_machine(host: Any, *args: Any, **options: Any) -> Any:
    """The same, but knows ``*.localhost``."""
    return only_addresses("127.0.0.1" if is_localhost_name(host) else host, *args, **options)


@pytest.fixture(scope="session", autouse=True)
def cheap_cryptography() -> Iterator[None]:
    """Argon2 with the smallest parameters, and each RSA key imported once for all tests."""
    cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)

    def import_key(value: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(value, dict) or "d" not in value:
            return _really_import_key(value, *args, **kwargs)
        if value["d"] not in _imported:
            _imported[value["d"]] = _really_import_key(value, *args, **kwargs)
        return _imported[value["d"]]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PasswordHasher, "hash", lambda _hasher, password: really_hash(cheap, password))
        patch.setattr(RSAKey, "import_key", import_key)
        yield


class CompiledTemplates(BytecodeCache):
    """The templates' bytecode, in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        """Jinja checks that the bytecode belongs to the same source."""
        if bucket.key in self.kept:
            bucket.bytecode_from_string(self.kept[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Keep it for the next app."""
        self.kept[bucket.key] = bucket.bytecode_to_string()


@pytest.fixture(scope="session", autouse=True)
def compiled_templates() -> Iterator[None]:
    """Each template is compiled once for all apps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(Flask.jinja_options, "bytecode_cache", CompiledTemplates())
        yield


@pytest.fixture(scope="session", autouse=True)
def no_settings_from_outside() -> Iterator[None]:
    """The environment of the user who runs the tests must not affect them."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith("PICKUP_"):
                patch.delenv(name)
        patch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")  # create_app() sets it; here it is put back
        yield


ALGORITHMS = ("RS256", "ES256", "EdDSA")  # all that can be offered


def make_settings(folder: Path, **values: Any) -> Settings:
    """Settings of a demonstration, with the databases in ``folder``."""
    known: dict[str, Any] = {
        "data_dir": folder,
        "secret_key": SecretStr("signs the forms"),
        "dispatch_client_secret": SecretStr("dispatch: 100% + secret"),
        "manager_client_secret": SecretStr("manager/secret&more"),
        "demo_password": SecretStr(PASSWORD),
        "demo_plain_http": True,
        "signing_algorithms": ALGORITHMS,
        "demo_events": True,
        "logout_wait": 10,  # a busy machine must not fail the tests
    }
    return Settings(**{**known, **values})


@dataclass(frozen=True)
class Built:
    """The three services, built once for all tests, and snapshots of their databases."""

    settings: Settings
    apps: dict[str, Flask]
    snapshots: dict[str, sqlite3.Connection]

    def start(self, name: str) -> Flask:
        """The service as if it had just been built: initial data and settings, empty caches."""
        self.restore(name)
        return as_built(self.apps[name])

    def keep(self, name: str, snapshot: str) -> None:
        """Take a snapshot of the service's database."""
        self.snapshots[snapshot] = sqlite3.connect(":memory:")
        with self.connection(name) as connection:
            connection.backup(self.snapshots[snapshot])

    def restore(self, name: str, snapshot: str = "") -> None:
        """Restore a snapshot of the service's database; by default the seed. Its connections stay open."""
        with self.connection(name) as connection:
            self.snapshots[snapshot or name].backup(connection)

    @contextmanager
    def connection(self, name: str) -> Iterator[sqlite3.Connection]:
        """One of the service's connections to its database."""
        pooled = engine_of(self.apps[name]).raw_connection()
        assert isinstance(pooled.driver_connection, sqlite3.Connection)
        try:
            yield pooled.driver_connection
        finally:
            pooled.close()

    def stop(self, name: str) -> None:
        """Wait for running work, so that it does not write into the next test's database."""
        if provider := self.apps[name].extensions.get("idp"):
            settle(provider.outbox)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory, cheap_cryptography: None) -> Iterator[Built]:  # noqa: ARG001 # before the first password
    """See :class:`Built`."""
    settings = make_settings(tmp_path_factory.mktemp("services"))
    made = Built(settings, {}, {})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", lambda: START)
        made.apps["idp"] = prepared(idp_service.create_app(settings), settings.idp_url)
        made.apps["dispatch"] = prepared(pickup_dispatch.create_app(settings), settings.dispatch_url)
        made.apps["manager"] = prepared(pickup_manager.create_app(settings), settings.manager_url)
    for name in made.apps:
        made.keep(name, name)
    yield made
    for snapshot in made.snapshots.values():
        snapshot.close()
    for app in made.apps.values():
        close(app)


@pytest.fixture
def settings(built: Built) -> Settings:
    """The settings of the three services."""
    return built.settings


@pytest.fixture
def own_settings(built: Built, tmp_path: Path) -> Settings:
    """Settings for services that a test builds itself, with copies of the seeded databases."""
    for name in built.apps:
        with closing(sqlite3.connect(tmp_path / f"{name}.db")) as copy:
            built.snapshots[name].backup(copy)
    return make_settings(tmp_path)


class SiteClient(FlaskClient):
    """Flask's test client for a service that lives below the path of its base URL.

    A path is meant below the base URL, unless it begins with it. ``submit`` posts like a form of the
    last page that had one.
    """

    csrf_token: str | None = None

    @property
    def base_url(self) -> str:
        """The service's public address, without a trailing slash."""
        return str(self.application.config["TEST_BASE_URL"])

    def open(self, *args: Any, **kwargs: Any) -> TestResponse:
        """A request; ``args[0]`` is the path."""
        if args and isinstance(args[0], str):
            path, prefix = args[0], urlsplit(self.base_url).path
            path = path.removeprefix(origin_of(self.base_url))
            is_complete = not prefix or path == prefix or path.startswith((prefix + "/", "/healthz"))
            args = (path if is_complete else prefix + path, *args[1:])
            kwargs.setdefault("base_url", origin_of(self.base_url))
        response = super().open(*args, **kwargs)
        if response.mimetype == "text/html":
            found = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', response.text)
            self.csrf_token = found[1] if found else self.csrf_token
        return response

    def submit(self, path: str, /, **fields: Any) -> TestResponse:
        """POST the fields with the CSRF token of the last page; opens the start page if there was none."""
        if self.csrf_token is None:
            self.get("/")
        assert self.csrf_token, "no page with a form was opened"
        return self.post(path, data={"csrf_token": self.csrf_token, **fields})


def prepared(app: Flask, base_url: str) -> Flask:
    """``app`` with a test client that knows its address; commits do not wait for the disk."""
    app.config.update(TESTING=True, TEST_BASE_URL=base_url)
    app.test_client_class = SiteClient
    app.extensions["first config"] = dict(app.config)
    engine = engine_of(app)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous = OFF"))
    return app


def as_built(app: Flask) -> Flask:
    """``app`` with its initial settings and empty caches."""
    app.extensions["messages"].queue.clear()
    app.extensions["messages"].is_failing = False
    app.config.clear()
    app.config.update(app.extensions["first config"])
    app.extensions["health"].checked_at = 0
    if rp := app.extensions.get("relying_party"):
        rp.provider.reset()
    if provider := app.extensions.get("idp"):
        provider.keys.loaded.clear()
        provider.client_keys.fetched.clear()
    return app


def settle(outbox: Outbox) -> None:
    """Wait until every claimed delivery was attempted and recorded."""
    eventually(lambda: not outbox._in_hand.total(), "a delivery is still under way")


def close(app: Flask) -> None:
    """Close the connections and threads of an app that a test built."""
    if provider := app.extensions.get("idp"):
        settle(provider.outbox)
    engine_of(app).dispose()


@pytest.fixture
def idp(built: Built, network: Network) -> Iterator[Flask]:
    """The OpenID Provider, at its address on the network."""
    network.add(built.settings.idp_url, built.start("idp"))
    yield built.apps["idp"]
    network.release_all()
    built.stop("idp")


@pytest.fixture
def dispatch(built: Built, network: Network) -> Flask:
    """Pickup Dispatch, at its address on the network."""
    network.add(built.settings.dispatch_url, built.start("dispatch"))
    return built.apps["dispatch"]


@pytest.fixture
def manager(built: Built, network: Network) -> Flask:
    """Pickup Manager, at its address on the network."""
    network.add(built.settings.manager_url, built.start("manager"))
    return built.apps["manager"]


@pytest.fixture
def idp_client(idp: Flask) -> SiteClient:
    """A browser that visits only the IdP."""
    return client_of(idp)


@pytest.fixture
def dispatch_client(dispatch: Flask) -> SiteClient:
    """A browser that visits only Dispatch."""
    return client_of(dispatch)


@pytest.fixture
def manager_client(manager: Flask) -> SiteClient:
    """A browser that visits only Manager."""
    return client_of(manager)


def client_of(app: Flask) -> SiteClient:
    """Another browser at ``app``, with its own cookies."""
    client = app.test_client()
    assert isinstance(client, SiteClient)
    return client


@pytest.fixture
def browser(network: Network) -> Browser:
    """A browser that can visit every service."""
    return Browser(network)


class SignIn(Protocol):
    """See :func:`sign_in`."""

    def __call__(self, client: SiteClient, /, *, access_token: str = ..., **claims: Any) -> str: ...


@pytest.fixture
def sign_in(clock: Clock) -> SignIn:
    """Sign ``client`` in at its app, without an IdP, as if the login had just completed.

    ``claims`` replace those of the demo user; ``access_token`` is the token the app would send to an API.
    Returns the cookie.
    """

    def sign_in(client: SiteClient, /, *, access_token: str = "an access token", **claims: Any) -> str:
        app = client.application
        state: State = app.extensions["relying_party"]
        at = int(clock())
        about_token = {
            "iss": state.config.issuer,
            "aud": state.config.client_id,
            "sub": "248289761002",
            "sid": "a session",
            "iat": at,
            "exp": at + 3600,
        }
        person = {"name": "Cameron Reyes", "preferred_username": "cameron", "email": "cameron@pickup.example"}
        id_token_claims = {**about_token, **{name: claims[name] for name in about_token if name in claims}}
        session = AppSession()
        state.sessions.sign_in(
            session,
            {
                "claims": id_token_claims,
                "id_token_header": {"alg": "RS256", "typ": "JWT"},
                "userinfo": {**person, **claims, "sub": id_token_claims["sub"]},
                "id_token": "an.id.token",
                "access_token": access_token,
                "access_token_expires_at": at + 600,
                "refresh_token": None,
                "started_at": at,
            },
        )
        assert session.new_cookie
        parts = urlsplit(client.base_url)
        client.set_cookie(
            app.config["SESSION_COOKIE_NAME"],
            session.new_cookie,
            domain=parts.hostname or "",
            path=app.config["SESSION_COOKIE_PATH"] or app.config["APPLICATION_ROOT"],
        )
        client.csrf_token = None
        return session.new_cookie

    return sign_in


def eventually(condition: Callable[[], Any], what: str = "it never happened") -> Any:
    """Wait for work in another thread; returns the result of ``condition``."""
    end, pause = time.monotonic() + 5, threading.Event()
    while not (value := condition()):
        assert time.monotonic() < end, what
        pause.wait(0.002)
    return value
