"""A small shop that signs customers in at a simulated provider: the extension alone, without Pickup's apps."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlencode, urlsplit

import pytest
from flask import Flask, session
from flask.testing import FlaskClient
from flask_wtf.csrf import CSRFProtect, generate_csrf
from sqlalchemy import URL, Engine, create_engine, event, select
from sqlalchemy.orm import Session
from werkzeug import Response
from werkzeug.test import TestResponse

from relying_party import RelyingParty, login_required, protocol_event, session_user
from relying_party.encryption import Encryption
from relying_party.models import Base, StoredSession
from relying_party.sessions import SessionStore
from relying_party.state import State
from tests.conftest import START, Clock
from tests.network import Network, query_of
from tests.postgres import Postgres
from tests.tokens import TokenMaker, rsa_key

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

ISSUER = "https://op.example"
CLIENT_ID = "the shop: 100% + more"  # FOP-05: has characters that must be encoded
CLIENT_SECRET = "s3cret:/+ %&="
BASE_URL = "https://shop.example"
COOKIE = "__Host-session"
END_SESSION = "UPDATE rp_session SET .*ended_at="  # the statement, for tests/statements.py
SETTINGS: dict[str, Any] = {
    "RELYING_PARTY_ISSUER": ISSUER,
    "RELYING_PARTY_CLIENT_ID": CLIENT_ID,
    "RELYING_PARTY_CLIENT_SECRET": CLIENT_SECRET,
    "RELYING_PARTY_BASE_URL": BASE_URL,
}


@dataclass
class PaperProvider:
    """A provider that returns what a test configures. It keeps no sessions and checks nothing."""

    now: Clock
    issuer: str = ISSUER
    keys: list[dict[str, Any]] = field(default_factory=lambda: [rsa_key("first").public_jwk()])
    metadata: dict[str, Any] = field(default_factory=dict)  # members to replace; None omits one
    id_token: dict[str, Any] = field(default_factory=dict)  # arguments for TokenMaker.id_token
    tokens: dict[str, Any] = field(default_factory=dict)  # members of the token response to replace
    userinfo: dict[str, Any] = field(default_factory=lambda: {"sub": "a user", "name": "Ann"})
    nonce: str = "a nonce"
    client_id: str = CLIENT_ID
    registration: Any = None  # the registration endpoint's response

    def maker(self) -> TokenMaker:
        """Makes tokens of this provider for the shop, now."""
        return TokenMaker(self.issuer, self.client_id, rsa_key("first"), int(self.now()))

    def document(self) -> dict[str, Any]:
        """The metadata document."""
        whole = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{ISSUER}/authorize?tenant=1",
            "token_endpoint": f"{ISSUER}/token",
            "jwks_uri": f"{ISSUER}/jwks",
            "userinfo_endpoint": f"{ISSUER}/userinfo",
            "end_session_endpoint": f"{ISSUER}/logout",
            "authorization_response_iss_parameter_supported": True,
            "id_token_signing_alg_values_supported": ["none", "HS256", "RS256", "ES256"],
            **self.metadata,
        }
        return {name: value for name, value in whole.items() if value is not None}

    def token_response(self) -> dict[str, Any]:
        """The token endpoint's response."""
        id_token = self.maker().id_token(**{"nonce": self.nonce, **self.id_token})
        good = {"access_token": "access 1", "refresh_token": "refresh 1", "token_type": "Bearer", "expires_in": 600}
        whole = {**good, "id_token": id_token, **self.tokens}
        return {name: value for name, value in whole.items() if value is not None}

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """The provider as a WSGI application."""
        answers: dict[str, Callable[[], Any]] = {
            urlsplit(self.issuer).path.rstrip("/") + "/.well-known/openid-configuration": self.document,
            "/jwks": lambda: {"keys": self.keys},
            "/token": self.token_response,
            "/userinfo": lambda: self.userinfo,
            "/register": lambda: self.registration,
        }
        answer = answers[environ["PATH_INFO"]]()
        return (answer if isinstance(answer, Response) else json_response(answer))(environ, start_response)


def json_response(value: Any, status: int = 200) -> Response:
    """``value`` as JSON."""
    return Response(json.dumps(value), status, mimetype="application/json")


@dataclass
class Shop:
    """The application, its database, the protocol events it recorded, and its provider."""

    app: Flask
    engine: Engine
    provider: PaperProvider = field(init=False)
    events: list[dict[str, Any]] = field(default_factory=list)

    @property
    def state(self) -> State:
        """The extension's state."""
        return cast(State, self.app.extensions["relying_party"])

    def browser(self) -> FlaskClient:
        """A customer's browser."""
        client = self.app.test_client()
        client.environ_base["HTTP_ACCEPT"] = "text/html"
        return client

    def start_login(self, browser: FlaskClient, next_page: str = "") -> dict[str, str]:
        """Click on "sign in"; returns the parameters of the authorization request."""
        response = browser.get("/login", query_string={"next": next_page} if next_page else None)
        assert response.status_code == 303, response.text
        return query_of(response.location)

    def answer(self, browser: FlaskClient, **parameters: str) -> TestResponse:
        """The provider redirects the browser back."""
        return browser.get("/oauth2client?" + urlencode(parameters))

    def sign_in(self, browser: FlaskClient | None = None, *, next_page: str = "", **claims: Any) -> FlaskClient:
        """A whole login. ``claims`` replace claims of the ID token."""
        browser = browser or self.browser()
        request = self.start_login(browser, next_page)
        self.provider.nonce, self.provider.id_token = request["nonce"], claims
        self.provider.userinfo = {**self.provider.userinfo, "sub": claims.get("sub", "a user")}
        response = self.answer(browser, code="a code", state=request["state"], iss=self.provider.issuer)
        assert response.status_code == 303, response.text
        return browser

    def log_out(self, token: str, **options: Any) -> TestResponse:
        """The provider's server sends a logout token."""
        return self.app.test_client(use_cookies=False).post("/bclogout", data={"logout_token": token}, **options)

    def rows(self) -> list[StoredSession]:
        """The table of sessions; signed-in ones only, with their logins decrypted."""
        with Session(self.engine) as db:
            found = list(db.scalars(select(StoredSession).where(StoredSession.sub.is_not(None))))
            db.expunge_all()
        encryption = Encryption.from_app(self.app)
        for row in found:
            row.login = encryption.decrypt(row.login)
        return found

    def another_store(self) -> SessionStore:
        """The sessions, as another worker of the shop sees them."""
        return SessionStore(self.engine, Encryption.from_app(self.app))

    def everything(self) -> dict[str, list[tuple[Any, ...]]]:
        """Every row of every table, to detect any change."""
        with self.engine.connect() as connection:
            return {
                table: sorted((tuple(row) for row in connection.exec_driver_sql(f"SELECT * FROM {table}")), key=str)  # noqa: S608 # our own two tables
                for table in ("rp_session", "rp_logout")
            }

    def outcomes(self, name: str) -> list[str]:
        """The outcomes of the events with that name."""
        return [event["outcome"] for event in self.events if event["name"] == name]


def who(browser: FlaskClient) -> str:
    """The subject the shop reports for the browser's session."""
    return browser.get("/who").text


def make_shop(database: Path | URL, **config: Any) -> Shop:
    """A new shop; ``database`` is its URL, or a folder for a file; ``config`` replaces settings."""
    app = Flask("shop")
    app.config.update(
        TESTING=True,
        SECRET_KEY="k",
        WTF_CSRF_SSL_STRICT=False,
        SERVER_NAME="shop.example",
        PREFERRED_URL_SCHEME="https",
    )
    app.config.update(**SETTINGS)
    app.config.update(**config)
    CSRFProtect(app)
    engine = create_engine(f"sqlite:///{database}/shop.db" if isinstance(database, Path) else database)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous = OFF"))
    RelyingParty().init_app(app, engine)

    app.add_url_rule("/", "home", lambda: "the shop")
    app.add_url_rule("/who", "who", lambda: (session_user() or {}).get("sub", "anonymous"))
    app.add_url_rule("/orders", "orders", login_required(lambda: "your orders"), methods=["GET", "POST"])
    app.add_url_rule("/order", "order", login_required(lambda: "ordered"), methods=["POST"])
    app.add_url_rule("/form", "form", lambda: generate_csrf())
    app.add_url_rule("/cart", "cart", lambda: session.setdefault("cart", "a hat"))
    app.add_url_rule("/pay", "pay", lambda: "paid", methods=["POST"])
    shop = Shop(app, engine)
    protocol_event.connect(lambda _, **values: shop.events.append(values), app, weak=False)
    return shop


@pytest.fixture
def provider(network: Network, clock: Clock) -> PaperProvider:
    """The provider, at its address on the network."""
    made = PaperProvider(clock)
    network.add(ISSUER, made)
    return made


# For a module or a test: runs everything in it with both kinds of database.
each_database = pytest.mark.parametrize("database_kind", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture(scope="session")
def database_kind(request: pytest.FixtureRequest) -> str:
    """Which database the shops use; SQLite unless a test says otherwise."""
    return getattr(request, "param", "sqlite")


@pytest.fixture
def database(database_kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Path | URL:
    """An empty database."""
    return tmp_path if database_kind == "sqlite" else new_postgres_database(request)


def new_postgres_database(request: pytest.FixtureRequest) -> URL:
    """Starts the server at first use."""
    server: Postgres = request.getfixturevalue("postgres")
    return server.new_database()


@pytest.fixture(scope="session")
def built_shop(
    database_kind: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Shop]:
    """The shop, built once for all tests with the same kind of database."""
    is_file = database_kind == "sqlite"
    made = make_shop(tmp_path_factory.mktemp("shop") if is_file else new_postgres_database(request))
    yield made
    made.engine.dispose()


@pytest.fixture
def shop(built_shop: Shop, network: Network, provider: PaperProvider) -> Shop:
    """The shop at its address on the network, with empty tables and nothing cached about the provider."""
    with built_shop.engine.begin() as connection:
        for table in Base.metadata.sorted_tables:
            connection.execute(table.delete())
    built_shop.events.clear()
    built_shop.state.provider.reset()
    built_shop.provider = provider
    network.add(BASE_URL, built_shop.app)
    return built_shop


@pytest.fixture
def make() -> TokenMaker:
    """Makes the provider's tokens for the shop."""
    return TokenMaker(ISSUER, CLIENT_ID, rsa_key("first"), START)
