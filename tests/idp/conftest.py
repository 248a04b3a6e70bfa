"""The IdP with its real routes and tables; the apps are simulated and record the requests they receive."""

import hashlib
import re
import socket
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from html import unescape
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar
from urllib.parse import quote_plus, urlencode

import pytest
from argon2 import PasswordHasher
from flask import Flask
from sqlalchemy import URL, Engine, select
from sqlalchemy.orm import Session
from werkzeug import Response
from werkzeug.test import TestResponse

from idp import create_app
from idp.background.loop import Background
from idp.flow import delivery
from idp.models import Base, Client, Delivery, DeliveryAttempt, SsoSession
from idp.outbox.http import WAITING_THREADS, GuardedHttpClient, place_to_wait
from idp.outbox.sender import Outbox
from idp.prepared import ALIVE_BY_COOKIE
from idp.provider import Provider as State
from idp.sign_in.sso_session import COOKIE
from idp.tokens.signing_keys import SigningKeys
from pickup_web import Settings
from pickup_web.database import engine_of
from pickup_web.events import Event
from pickup_web.statements import Statement
from tests.conftest import (
    PASSWORD,
    START,
    Built,
    SiteClient,
    as_built,
    client_of,
    close,
    make_settings,
    only_addresses,
    prepared,
)
from tests.network import Network, query_of
from tests.postgres import Postgres
from tests.tokens import b64, read

if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    from tests.idp.parties import Party, Registrar

DISPATCH, MANAGER = "pickup-dispatch", "pickup-manager"
VERIFIER = "a-code-verifier-of-at-least-forty-three-characters"
CHALLENGE = b64(hashlib.sha256(VERIFIER.encode()).digest())
Row = TypeVar("Row", bound=Base)
TakeAct: TypeAlias = Callable[[Callable[[], object]], None]


@dataclass
class PaperApp:
    """An app that answers its logout requests as a test configures."""

    status: int = 200
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> "Iterable[bytes]":
        return Response(self.body, self.status, self.headers)(environ, start_response)


def another_worker(engine: Engine, http: GuardedHttpClient, issuer: str, *, per_host: int = 9) -> Background:
    """The outbox and the background loop of another process: only the tables are shared."""
    deliver = partial(delivery.deliver, issuer=issuer, http=http)
    outbox = Outbox(engine, deliver, SigningKeys(engine, ["RS256"]), redirect_wait=10, per_host=per_host)
    return Background(engine, outbox, "session")


@dataclass
class Provider:
    """The IdP, as users, apps and an operator use it."""

    app: Flask
    settings: Settings
    network: Network
    apps: dict[str, PaperApp]

    @property
    def state(self) -> State:
        """Its keys, outbox and settings."""
        state: State = self.app.extensions["idp"]
        return state

    @property
    def issuer(self) -> str:
        """Its issuer."""
        return self.settings.idp_url

    def url(self, client_id: str) -> str:
        """An app's base URL."""
        return self.settings.dispatch_url if client_id == DISPATCH else self.settings.manager_url

    def secret(self, client_id: str) -> str:
        """An app's secret."""
        name = "dispatch_client_secret" if client_id == DISPATCH else "manager_client_secret"
        return str(getattr(self.settings, name).get_secret_value())

    def browser(self) -> SiteClient:
        """A browser at the provider."""
        return client_of(self.app)

    # --- actions of a user ---

    def parameters(self, client_id: str = DISPATCH, **changes: str | None) -> dict[str, str]:
        """A valid authorization request; a parameter changed to None is omitted."""
        good = {
            "response_type": "code",
            "client_id": client_id,
            "redirect_uri": f"{self.url(client_id)}/oauth2client",
            "scope": "openid profile email phone fleet.read",
            "state": "a state",
            "nonce": "a nonce",
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
        }
        return {name: value for name, value in {**good, **changes}.items() if value is not None}

    def authorize(self, browser: SiteClient, client_id: str = DISPATCH, **changes: str | None) -> TestResponse:
        """An app redirects the browser to the IdP."""
        return browser.get("/oauth2/authorize", query_string=self.parameters(client_id, **changes))

    def enter_password(
        self, browser: SiteClient, page: TestResponse, username: str = "cameron", password: str = PASSWORD
    ) -> TestResponse:
        """Fill in the login page; a valid password redirects to the app's address in two steps."""
        response = browser.submit("/login", request=hidden(page, "request"), username=username, password=password)
        return browser.get(response.location) if response.status_code == 303 else response

    def sign_in(
        self, browser: SiteClient | None = None, client_id: str = DISPATCH, username: str = "cameron", **changes: str
    ) -> SiteClient:
        """Sign in through an app; its code is not redeemed."""
        browser = browser or self.browser()
        page = self.authorize(browser, client_id, **changes)
        assert page.status_code == 200, f"no login page, but {page.location}"
        response = self.enter_password(browser, page, username)
        assert "code" in query_of(response.location)
        return browser

    def code(self, browser: SiteClient, client_id: str = DISPATCH, **changes: str | None) -> str:
        """A code for an app, without a page."""
        response = self.authorize(browser, client_id, **changes)
        assert response.status_code == 303, response.text
        return query_of(response.location)["code"]

    # --- actions of an app ---

    def basic(self, client_id: str, secret: str | None = None) -> dict[str, str]:
        """RFC 6749 §2.3.1."""
        pair = f"{quote_plus(client_id)}:{quote_plus(self.secret(client_id) if secret is None else secret)}"
        return {"Authorization": "Basic " + b64encode(pair.encode()).decode()}

    def post(self, path: str, client_id: str = DISPATCH, **parameters: str | None) -> TestResponse:
        """A request of an app's server."""
        data = {name: value for name, value in parameters.items() if value is not None}
        return self.app.test_client(use_cookies=False).post(path, data=data, headers=self.basic(client_id))

    def redeem(self, code: str, client_id: str = DISPATCH, /, **changes: str | None) -> TestResponse:
        """Exchange a code."""
        good = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": f"{self.url(client_id)}/oauth2client",
            "code_verifier": VERIFIER,
        }
        return self.post("/oauth2/token", client_id, **{**good, **changes})

    def tokens(self, browser: SiteClient, client_id: str = DISPATCH, **changes: str | None) -> dict[str, Any]:
        """A whole login of an app in a signed-in browser."""
        response = self.redeem(self.code(browser, client_id, **changes), client_id)
        assert response.status_code == 200, response.text
        return dict(response.get_json())

    def refresh(self, refresh_token: str, client_id: str = DISPATCH, **parameters: str) -> TestResponse:
        """Refresh tokens."""
        return self.post(
            "/oauth2/token", client_id, grant_type="refresh_token", refresh_token=refresh_token, **parameters
        )

    def userinfo(self, access_token: str) -> TestResponse:
        """Request userinfo."""
        return self.app.test_client().get("/oauth2/userinfo", headers={"Authorization": f"Bearer {access_token}"})

    def works(self, access_token: str) -> bool:
        """Whether an access token is valid."""
        return self.userinfo(access_token).status_code == 200

    # --- the operator's view ---

    @contextmanager
    def database(self) -> Iterator[Session]:
        """A transaction."""
        with Session(engine_of(self.app), expire_on_commit=False) as db, db.begin():
            yield db

    def rows(self, kind: type[Row]) -> list[Row]:
        """All rows of a table."""
        with self.database() as db:
            return list(db.scalars(select(kind)))

    def session(self) -> SsoSession:
        """The only session."""
        (session,) = self.rows(SsoSession)
        return session

    def delivery(self, client_id: str) -> Delivery:
        """The only delivery to this client."""
        (delivery,) = (row for row in self.rows(Delivery) if row.client_id == client_id)
        return delivery

    def attempts(self) -> list[DeliveryAttempt]:
        """All attempts, in order."""
        return sorted(self.rows(DeliveryAttempt), key=lambda attempt: attempt.at)

    def change_client(self, client_id: str, **values: Any) -> None:
        """The operator changes a client."""
        with self.database() as db:
            client = db.get_one(Client, client_id)
            for name, value in values.items():
                setattr(client, name, value)

    def events(self, name: str = "") -> list[Event]:
        """The events of this name, or all events."""
        with self.database() as db:
            return [event for event in db.scalars(select(Event).order_by(Event.id)) if name in ("", event.name)]

    def logout_tokens(self, client_id: str) -> list[dict[str, Any]]:
        """The claims of the logout tokens that were sent to an app."""
        return [read(token)[1] for token in self.network.logout_tokens(f"{self.url(client_id)}/bclogout")]

    def end_session(self, browser: SiteClient, **parameters: str) -> TestResponse:
        """An app redirects the browser to the logout endpoint."""
        return browser.get("/oidc/logout?" + urlencode(parameters))


def hidden(page: TestResponse, name: str) -> str:
    """The value of a page's hidden field."""
    found = re.search(rf'name="{name}" value="([^"]*)"', page.text)
    assert found, f"the page has no hidden field {name}"
    return unescape(found[1])


@pytest.fixture
def no_names(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """No name is in DNS. Otherwise ``*.localhost``, where our apps are, would be a private address."""
    del network
    monkeypatch.setattr(socket, "getaddrinfo", only_addresses)


@pytest.fixture
def register(
    provider: Provider,
    cameron: SiteClient,
    no_names: None,  # noqa: ARG001 # for the registration
    monkeypatch: pytest.MonkeyPatch,
) -> "Registrar":
    """The registration endpoint, open to all; its site is simulated. Cameron first: she may replace the database."""
    from tests.idp.parties import SHOP, Registrar  # it imports this module

    del cameron
    monkeypatch.setattr(provider.settings, "demo_open_registration", True)
    app = PaperApp()
    provider.network.add(SHOP, app)
    return Registrar(provider, app)


@pytest.fixture
def no_place_to_wait() -> Iterator[None]:
    """As many threads wait for other sites as may wait."""
    with ExitStack() as waiting:
        for _ in range(WAITING_THREADS):
            waiting.enter_context(place_to_wait())
        yield


@pytest.fixture
def during_password_check(monkeypatch: pytest.MonkeyPatch) -> TakeAct:
    """Takes what happens while a password is being checked, in a hashing thread."""

    def take(act: Callable[[], object]) -> None:
        verify = PasswordHasher.verify

        def act_and_verify(hasher: PasswordHasher, password_hash: str, password: str) -> bool:
            act()
            return verify(hasher, password_hash, password)

        monkeypatch.setattr(PasswordHasher, "verify", act_and_verify)

    return take


@pytest.fixture
def after_session_check(monkeypatch: pytest.MonkeyPatch) -> TakeAct:
    """Takes what happens after the next request has read the browser's session, and before it uses it."""

    def take(act: Callable[[], object]) -> None:
        really, acts = Statement.first, [act]

        def read_and_act(statement: Statement, session: Session, values: Mapping[str, Any]) -> Any:
            row = really(statement, session, values)
            if statement is ALIVE_BY_COOKIE and acts:
                acts.pop()()
            return row

        monkeypatch.setattr(Statement, "first", read_and_act)

    return take


@pytest.fixture
def shop(register: "Registrar") -> "Party":
    """A client for every response type, with a secret and a key."""
    from tests.idp.parties import ALL_TYPES, key

    return register.of_type(*ALL_TYPES, jwks={"keys": [key.public_jwk()]})


@pytest.fixture
def provider(idp: Flask, settings: Settings, network: Network) -> Provider:
    """The IdP, with two simulated apps on the network."""
    apps = {DISPATCH: PaperApp(), MANAGER: PaperApp()}
    network.add(settings.dispatch_url, apps[DISPATCH])
    network.add(settings.manager_url, apps[MANAGER])
    return Provider(idp, settings, network, apps)


@dataclass
class BuiltOnPostgres:
    """The IdP with PostgreSQL, built once for all tests; its seeded database is kept as a template."""

    app: Flask
    settings: Settings
    server: Postgres
    database: URL


@pytest.fixture(scope="session")
def built_on_postgres(
    postgres: Postgres,
    tmp_path_factory: pytest.TempPathFactory,
    cheap_cryptography: None,  # noqa: ARG001 # before the first password
) -> Iterator[BuiltOnPostgres]:
    """See :class:`BuiltOnPostgres`."""
    database = postgres.new_database()
    url = database.render_as_string(hide_password=False)
    settings = make_settings(tmp_path_factory.mktemp("postgres"), idp_database_url=url)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", lambda: START)
        app = prepared(create_app(settings), settings.idp_url)
    close(app)
    postgres.keep(database)
    yield BuiltOnPostgres(app, settings, postgres, database)
    close(app)


def with_apps(app: Flask, settings: Settings, network: Network) -> Iterator[Provider]:
    """The IdP with two simulated apps on the network, until the test ends."""
    apps = {DISPATCH: PaperApp(), MANAGER: PaperApp()}
    network.add(settings.idp_url, as_built(app))
    network.add(settings.dispatch_url, apps[DISPATCH])
    network.add(settings.manager_url, apps[MANAGER])
    yield Provider(app, settings, network, apps)
    network.release_all()
    close(app)


@pytest.fixture
def provider_on_postgres(built_on_postgres: BuiltOnPostgres, network: Network) -> Iterator[Provider]:
    """The IdP with PostgreSQL, with two simulated apps on the network."""
    built_on_postgres.server.restore(built_on_postgres.database)
    yield from with_apps(built_on_postgres.app, built_on_postgres.settings, network)


@pytest.fixture(params=["sqlite", "postgresql"])
def either(request: pytest.FixtureRequest) -> Provider:
    """The IdP, on each of the two databases."""
    provider: Provider = request.getfixturevalue("provider" if request.param == "sqlite" else "provider_on_postgres")
    return provider


@pytest.fixture(scope="session")
def cameron_once() -> dict[str, str]:
    """Cameron's cookies, from the first sign-in on: see :func:`cameron`."""
    return {}


@pytest.fixture
def cameron(provider: Provider, built: Built, cameron_once: dict[str, str]) -> SiteClient:
    """The browser of a user who is signed in at both apps.

    The sign-in is done once for all tests; the others find its cookies, and the database as it was after it.
    """
    browser = provider.browser()
    names = (COOKIE, provider.app.config["SESSION_COOKIE_NAME"])
    if not cameron_once:
        provider.sign_in(browser)
        provider.tokens(browser, DISPATCH)
        provider.tokens(browser, MANAGER)
        for name in names:
            cookie = browser.get_cookie(name, "idp.localhost")
            assert cookie
            cameron_once[name] = cookie.value
        built.keep("idp", "cameron")
    else:
        built.restore("idp", "cameron")
        for name in names:
            browser.set_cookie(name, cameron_once[name], domain="idp.localhost")
    browser.csrf_token = None
    return browser
