"""Runs the code of docs/relying-party.md, assembled as the page describes."""

import dataclasses
import importlib.util
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Connection, Engine, event

import relying_party
from relying_party.config import Config
from relying_party.state import State
from tests.network import Network, query_of
from tests.postgres import Postgres
from tests.relying_party.conftest import PaperProvider

PAGE = (Path(__file__).parents[2] / "docs/relying-party.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.M | re.S)
BASE = "https://shop.example"


def blocks(kind: str, beginning: str = "") -> list[str]:
    """The code blocks of one language that begin with the given text."""
    return [text for language, text in BLOCKS if language == kind and text.startswith(beginning)]


def from_diff(signs: str) -> str:
    """The file made of the diff's lines that begin with one of the given signs."""
    (diff,) = blocks("diff")
    return "".join(line[1:] for line in diff.splitlines(keepends=True) if line[0] in signs)


def parts() -> list[str]:
    """The blocks the page later adds to shop.py, in order."""
    return blocks("python", "# in shop.py")


def exports() -> dict[str, str]:
    """The variables the page exports, without the shell's quotes; the first value wins."""
    lines = [line for text in blocks("sh") for line in text.splitlines() if line.startswith("export FLASK_")]
    pairs = (line.removeprefix("export ").partition("=") for line in lines)
    return {name: value.strip("'") for name, _, value in reversed([*pairs])}


@pytest.fixture
def load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, provider: PaperProvider, network: Network
) -> Callable[..., Any]:
    """Loads source as a module in a new folder, with the page's settings, and puts its app on the network."""
    provider.client_id = "shop"
    for name, value in exports().items():
        if not name.endswith("DATABASE_URL"):
            monkeypatch.setenv(name, value)

    def load(name: str, source: str, **templates: str) -> ModuleType:
        path = tmp_path / f"{name}.py"
        path.write_text(source, "utf-8")
        for file, text in templates.items():
            (tmp_path / "templates").mkdir(exist_ok=True)
            (tmp_path / "templates" / f"{file}.html").write_text(text, "utf-8")
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)  # Flask finds its folder by it
        spec.loader.exec_module(module)
        if isinstance(app := getattr(module, "app", None), Flask):
            network.add(BASE, app)
        return module

    return load


@pytest.fixture(autouse=True)
def close_databases() -> Any:
    """The engines that the extension opens for itself."""
    opened: set[Engine] = set()

    def remember(connection: Connection) -> None:
        opened.add(connection.engine)

    event.listen(Engine, "engine_connect", remember)
    yield
    event.remove(Engine, "engine_connect", remember)
    for engine in opened:
        engine.dispose()


def sign_in(app: Flask, provider: PaperProvider) -> FlaskClient:
    """A user opens the application, signs in at the provider and returns."""
    browser = app.test_client()
    browser.environ_base["HTTP_ACCEPT"] = "text/html"
    options: dict[str, Any] = {"base_url": BASE}
    started = browser.get("/login", **options)
    assert started.status_code == 303, started.text
    request = query_of(started.location)
    assert request["client_id"] == "shop"
    assert request["redirect_uri"] == f"{BASE}/oauth2client"
    provider.nonce = request["nonce"]
    answer = browser.get(f"/oauth2client?code=c&state={request['state']}&iss={provider.issuer}", **options)
    assert answer.status_code == 303, answer.text
    return browser


def log_out(app: Flask, token: str) -> int:
    """The provider's server sends a logout token."""
    return app.test_client(use_cookies=False).post("/bclogout", data={"logout_token": token}, base_url=BASE).status_code


# --- ten lines ---


def test_original_application_is_the_diff_without_added_lines() -> None:
    """An existing application, and ten lines more; none of the old ones changes."""
    (before,) = blocks("python", "# shop.py")
    assert from_diff(" ") == before
    added = [line for line in blocks("diff")[0].splitlines() if line.startswith("+")]
    assert len(added) <= 10
    assert len([line for line in before.splitlines() if line.strip()]) <= 30
    assert "-" not in {line[0] for line in blocks("diff")[0].splitlines()}


def test_original_application_works(load: Callable[..., Any]) -> None:
    """It is a working application: a page, a form, and no login."""
    client = load("shop_before", from_diff(" ")).app.test_client()
    client.post("/orders", data={"order": "a hat"})
    assert "a hat" in client.get("/orders").text


def test_logout_token_ends_the_session_after_ten_added_lines(load: Callable[..., Any], provider: PaperProvider) -> None:
    """From no login to back-channel logout, as the page describes."""
    app = load("shop", from_diff(" +")).app
    stranger = app.test_client()
    assert stranger.get("/orders", headers={"Accept": "text/html"}, base_url=BASE).location == "/login?next=/orders"
    assert stranger.post("/orders", data={"order": "x"}, base_url=BASE).status_code == 401

    browser = sign_in(app, provider)
    page = browser.get("/orders", base_url=BASE)
    assert "Signed in as Ann" in page.text
    assert "live.js" in page.text
    assert browser.post("/orders", data={"order": "a hat"}, base_url=BASE).status_code == 302
    assert "a hat" in browser.get("/orders", base_url=BASE).text

    assert log_out(app, "no token") == 400
    assert browser.get("/orders", base_url=BASE).status_code == 200
    assert log_out(app, provider.maker().logout_token()) == 200
    assert browser.get("/orders", base_url=BASE).location == "/login?next=/orders"


def test_log_out_button_redirects_to_the_provider(load: Callable[..., Any], provider: PaperProvider) -> None:
    """Also in an application without CSRF tokens."""
    app = load("shop", from_diff(" +")).app
    browser = sign_in(app, provider)
    sent = query_of(browser.post("/logout", base_url=BASE).location)
    assert sent["post_logout_redirect_uri"] == f"{BASE}/logged-out"
    assert browser.get("/orders", base_url=BASE).status_code == 303
    assert "You are logged out" in browser.get("/logged-out", base_url=BASE).text


def test_documented_addresses_match_the_routes() -> None:
    """The addresses that readers register at the provider work."""
    named = set(re.findall(rf"\| [a-z -]+ URI \| `{BASE}(/[a-z0-9-]+)` \|", PAGE))
    assert named == {"/oauth2client", "/bclogout", "/logged-out"}
    assert named <= {path for _, path, _, _ in relying_party.ROUTES}
    option = set(re.findall(rf"\| `frontchannel_logout_uri` \| `{BASE}(/[a-z0-9-]+)` \|", PAGE))
    assert option == {path for _, path, _, _ in relying_party.FRONTCHANNEL}


# --- the rest of the page ---


def test_all_additions_of_the_page_work_together(load: Callable[..., Any], provider: PaperProvider) -> None:
    """Clean-up, CSRF set up after the extension, a rule for all pages, logging: in one application."""
    app = load("shop", from_diff(" +") + "\n\n" + "\n\n".join(parts()))
    shop, client_of = app.app, app.app.test_client()
    assert client_of.post("/cart", data={"item": "x"}, base_url=BASE).status_code == 401

    browser = sign_in(shop, provider)
    assert browser.post("/cart", data={"item": "x"}, base_url=BASE).status_code == 400, "CSRF protection is on"
    shop.config["WTF_CSRF_METHODS"] = []
    browser.post("/cart", data={"item": "a hat"}, base_url=BASE)
    assert list(app.carts.values()) == [["a hat"]]
    shop.config["WTF_CSRF_METHODS"] = ["POST"]
    assert log_out(shop, provider.maker().logout_token()) == 200, "no CSRF token is needed"
    assert app.carts == {}


@pytest.mark.parametrize("first", ["protection", "extension"])
def test_csrf_protection_exempts_the_provider_in_either_order(
    first: str, load: Callable[..., Any], provider: PaperProvider
) -> None:
    """BCL-37. Most applications fail here."""
    (protection,) = [part for part in parts() if "CSRFProtect" in part]
    source = from_diff(" +")
    if first == "extension":
        source += protection
    else:
        source = source.replace("RelyingParty().init_app(app)\n", f"{protection}RelyingParty().init_app(app)\n")
    shop = load("shop", source).app
    assert sign_in(shop, provider).post("/logout", base_url=BASE).status_code == 400
    assert log_out(shop, provider.maker().logout_token()) == 200


def test_factory_makes_independent_applications(
    load: Callable[..., Any], provider: PaperProvider, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The init_app pattern."""
    (source,) = blocks("python", "# factory.py")
    module = load("factory", source)
    one = module.create_app()
    monkeypatch.setenv("FLASK_RELYING_PARTY_DATABASE_URL", f"sqlite:///{tmp_path}/other.db")
    other = module.create_app()
    assert sign_in(one, provider).get("/", base_url=BASE).text == "Hello Ann"
    states: list[State] = [app.extensions["relying_party"] for app in (one, other)]
    assert states[0].provider is not states[1].provider
    assert log_out(other, provider.maker().logout_token()) == 200
    assert log_out(one, provider.maker().logout_token()) == 200


def test_custom_layout_works(
    load: Callable[..., Any], provider: PaperProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The extension's pages in the application's clothes."""
    monkeypatch.setenv("FLASK_RELYING_PARTY_LAYOUT", "base.html")
    (layout,) = blocks("html", "<!-- templates/base.html -->")
    page = sign_in(load("shop", from_diff(" +"), base=layout).app, provider).get("/profile", base_url=BASE).text
    assert "<title>Profile · The shop</title>" in page
    assert "Ann</a>" in page
    assert 'id="session-sid"' in page
    assert "live.js" in page


def test_postgresql_url_works(
    load: Callable[..., Any], provider: PaperProvider, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page's setting, and two replicas that act as one application."""
    assert exports()["FLASK_RELYING_PARTY_DATABASE_URL"].startswith("postgresql+psycopg://")
    monkeypatch.setenv("FLASK_RELYING_PARTY_DATABASE_URL", postgres.new_database().render_as_string(False))
    one, other = (load(name, from_diff(" +")).app for name in ("replica_one", "replica_two"))
    browser = sign_in(one, provider)
    assert browser.get("/orders", base_url=BASE).status_code == 200
    assert log_out(other, provider.maker().logout_token()) == 200
    assert browser.get("/orders", base_url=BASE).status_code == 303


def test_every_python_block_is_run_by_a_test() -> None:
    """A block that no test runs would become outdated."""
    used = [*parts(), *blocks("python", "# shop.py"), *blocks("python", "# factory.py")]
    assert sorted(blocks("python")) == sorted(used)
    assert {language for language, _ in BLOCKS} == {"sh", "python", "diff", "html"}


# --- the tables ---


def rows(beginning: str) -> dict[str, list[str]]:
    """The table rows whose first cell is code with this beginning: the other cells by that name."""
    found = {}
    for line in PAGE.splitlines():
        if line.startswith(f"| `{beginning}"):
            first, *others = [cell.strip() for cell in line.strip("|").split("|")]
            found[first.strip("`")] = others
    return found


def test_documented_settings_match_the_code() -> None:
    """Every setting and its default, and no others."""
    documented = {name: cells[0].strip("`") for name, cells in rows("RELYING_PARTY_").items()}

    def default(field: "dataclasses.Field[Any]") -> str:
        if field.default is dataclasses.MISSING:
            return "required"
        return "empty" if field.default in ("", None) else str(field.default)

    assert documented == {f"RELYING_PARTY_{field.name.upper()}": default(field) for field in dataclasses.fields(Config)}


def test_documented_names_match_the_exports() -> None:
    """Every name that can be imported is documented."""
    table = PAGE.partition("## What you can import")[2].partition("### ")[0]
    named = set(re.findall(r"`([A-Za-z_]+)(?:\(\))?`", "\n".join(re.findall(r"^\| (`.+?) \|", table, re.M))))
    assert named == set(relying_party.__all__) - {"TokenUnavailable"}
    assert "`TokenUnavailable`" in table


@pytest.mark.parametrize("sentence", sorted(name for name in rows("") if re.match("(The|This|aud|iss) ", name)))
def test_documented_error_messages_match_the_code(sentence: str) -> None:
    """Readers search this page for the message in their log."""
    source = "".join(path.read_text("utf-8") for path in Path(relying_party.__file__).parent.glob("*.py"))
    assert sentence in source


# --- the table of requirements ---

TABLE = (Path(__file__).parents[2] / "docs/protocol-relying-party.md").read_text("utf-8")
REQUIREMENTS = [
    f"{name}-{number:02}"
    for name, first, last in [("BCL", 37, 73), ("RPL", 34, 39), ("RP", 1, 31), ("LIB", 1, 15)]
    for number in range(first, last + 1)
]


def test_every_requirement_has_one_row_with_a_test() -> None:
    """tests/test_docs.py checks that the named tests exist."""
    found = re.findall(r"^\| ([A-Z]+-\d+) \| (met|chosen otherwise) \| .+ \| (`(?:tests|e2e)/.+`) \|$", TABLE, re.M)
    assert [name for name, _, _ in found] == REQUIREMENTS
