"""PICKUP_SEED: a developer's own people and clients, as docs/running.md describes them."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from flask import Flask

import idp as idp_service
from idp.flow.login import authenticate
from idp.models import Client, User
from idp.operations import people
from idp.operations.applications import remove_application
from idp.seed_file import read_seed_file
from pickup_web.database import db, engine_of
from pickup_web.settings import load_settings
from tests.conftest import PASSWORD, close
from tests.idp.conftest import DISPATCH, Provider
from tests.tokens import read

DOCUMENTED = re.findall(r"```toml\n(.*?)```", Path("docs/running.md").read_text("utf-8"), re.DOTALL)[0]
REDIRECT = "http://my-app.localhost:5000/callback"
ON_THIS_MACHINE = {"demo_private_addresses": True}  # as in .env.example
Start: TypeAlias = Callable[[str], Flask]


@pytest.fixture
def start(provider: Provider, tmp_path: Path) -> Iterator[Start]:
    """Starts the IdP on the provider's data, with this file."""
    started: list[Flask] = []

    def start(content: str) -> Flask:
        file = tmp_path / "people.toml"
        file.write_text(content, "utf-8")
        started.append(idp_service.create_app(provider.settings.model_copy(update={**ON_THIS_MACHINE, "seed": file})))
        return started[-1]

    yield start
    for app in started:
        close(app)


def reset(app: Flask) -> None:
    """``make reset``."""
    assert app.test_cli_runner().invoke(args=["reset"]).exit_code == 0


def row(provider: Provider, kind: type[Any], name: str) -> Any:
    """The client with this id, or the person with this username."""
    return next(
        one for one in provider.rows(kind) if name in (getattr(one, "client_id", ""), getattr(one, "username", ""))
    )


def test_documented_file_adds_its_person_and_client(start: Start, provider: Provider) -> None:
    app = start(DOCUMENTED)
    zoe, client = row(provider, User, "zoe"), row(provider, Client, "my-app")
    assert (zoe.sub, zoe.role, zoe.claims["preferred_username"]) == ("zoe-1", "user", "zoe")
    assert (zoe.claims["email_verified"], zoe.claims["groups"]) == (True, ["drivers", "night"])
    assert client.check_client_secret("my-app-secret")
    assert (client.name, client.redirect_uris) == ("My App", [REDIRECT])
    assert (client.require_pkce, client.claims_in_id_token, client.notify_initiator) == (False, True, False)
    with app.app_context():
        assert authenticate("zoe", "any words")
        assert authenticate("cameron", PASSWORD), "the demo's people exist too"


def test_client_of_the_file_signs_a_person_of_the_file_in(start: Start, provider: Provider) -> None:
    """With the fixed secret, without PKCE, and with claims that no scope of the specification has."""
    start(DOCUMENTED)
    browser, asked = provider.browser(), {"client_id": "my-app", "redirect_uri": REDIRECT, "response_type": "code"}
    browser.get("/login", query_string={"next": "/account"})
    assert browser.submit("/login", next="/account", username="zoe", password="any words").status_code == 303
    answer = browser.get("/oauth2/authorize", query_string={**asked, "scope": "openid profile email"})
    code = re.search(r"code=([^&]+)", answer.location)
    assert code
    form = {"grant_type": "authorization_code", "code": code[1], "redirect_uri": REDIRECT}
    tokens = browser.post("/oauth2/token", data=form, auth=("my-app", "my-app-secret")).get_json()
    claims = read(tokens["id_token"])[1]
    assert (claims["sub"], claims["email"], claims["groups"]) == ("zoe-1", "zoe@example.com", ["drivers", "night"])


def test_reset_restores_the_file(start: Start, provider: Provider) -> None:
    app = start(DOCUMENTED)
    provider.change_client("my-app", name="Changed", redirect_uris=[])
    with app.app_context():
        db.session.get_one(User, "zoe-1").claims = {}
        db.session.commit()
    reset(app)
    assert row(provider, Client, "my-app").redirect_uris == [REDIRECT]
    assert row(provider, User, "zoe").claims["groups"] == ["drivers", "night"]


def test_restart_keeps_changes_and_removals_and_adds_what_is_new(start: Start, provider: Provider) -> None:
    app = start(DOCUMENTED)
    provider.change_client("my-app", name="Changed")
    with app.test_request_context():
        people.remove_person(db.session, "zoe-1", "248289761001")
    start(
        DOCUMENTED
        + '[[clients]]\nclient_id = "second"\ntoken_endpoint_auth_method = "none"\nredirect_uris = ["https://s.example/cb"]'
    )
    assert row(provider, Client, "my-app").name == "Changed"
    assert row(provider, Client, "second").require_pkce, "RFC 9700 §2.1.1: a public client MUST use PKCE"
    assert "zoe" not in {user.username for user in provider.rows(User)}


def test_removed_client_stays_removed_after_its_row_is_deleted(start: Start, provider: Provider) -> None:
    app = start(DOCUMENTED)
    with app.test_request_context():
        remove_application(db.session, "my-app", "admin")
        db.session.delete(db.session.get_one(Client, "my-app"))
        db.session.commit()
    start(DOCUMENTED)
    assert "my-app" not in {client.client_id for client in provider.rows(Client)}


def test_entries_of_the_demo_are_not_replaced(start: Start, provider: Provider) -> None:
    start(
        f'[[people]]\nusername = "cameron"\n[[clients]]\nclient_id = "{DISPATCH}"\nclient_secret = "x"\nredirect_uris = ["https://x.example/"]'
    )
    assert row(provider, User, "cameron").claims["name"] == "Cameron Reyes"
    assert row(provider, Client, DISPATCH).check_client_secret(provider.secret(DISPATCH))


def test_person_needs_only_a_username(start: Start, provider: Provider) -> None:
    app = start('[[people]]\nusername = "yan"')
    yan = row(provider, User, "yan")
    assert (yan.sub, yan.claims) == ("yan", {"name": "yan", "preferred_username": "yan"})
    with app.app_context():
        assert authenticate("yan", PASSWORD), "the demo password"


PERSON, CLIENT = (
    '[[people]]\nusername = "yan"\n',
    '[[clients]]\nclient_id = "app"\nredirect_uris = ["https://app.example/cb"]\n',
)
WRONG = {
    "no-toml": ("[[people", "Expected"),
    "table": ("[[person]]", "person is unknown; the file has [[people]] and [[clients]]"),
    "one-bracket": ('[people]\nusername = "yan"', "write [[people]], in double brackets, before each entry"),
    "no-username": ('[[people]]\nrole = "user"', "person None: username: "),
    "misspelt": (PERSON + 'pasword = "x"', "person 'yan': pasword: "),
    "role": (PERSON + 'role = "admin"', "person 'yan': role: Choose one of 'user' or 'operator'."),
    "protocol-claim": (PERSON + 'claims = {sub = "x"}', "person 'yan': claims: The IdP itself sets sub."),
    "date": (PERSON + "claims = {birthdate = 1990-04-01}", "JSON has no dates, nan or inf"),
    "verified": (PERSON + 'claims = {email_verified = "yes"}', "email_verified must be true or false"),
    "twice": (PERSON + PERSON, "username 'yan' is there twice"),
    "no-secret": (CLIENT, "client 'app': client_secret: client_secret_basic needs a text"),
    "secret-of-a-public-client": (
        CLIENT + 'client_secret = "x"\ntoken_endpoint_auth_method = "none"',
        "client 'app': client_secret: none has none",
    ),
    "address": (
        CLIENT.replace("https:", "ftp:") + 'client_secret = "x"',
        "client 'app': redirect_uris: Number 1: The address",
    ),
    "unknown-setting": (
        CLIENT + 'client_secret = "x"\nredirect_url = "x"',
        "client 'app': redirect_url: There is no such setting.",
    ),
    "no-id": ('[[clients]]\nclient_secret = "x"', "client None: "),
}


@pytest.mark.parametrize("name", WRONG)
def test_invalid_file_stops_the_start_and_the_entry_is_named(name: str, provider: Provider, tmp_path: Path) -> None:
    """It is read before the database is changed."""
    content, sentence = WRONG[name]
    file = tmp_path / "people.toml"
    file.write_text(content, "utf-8")
    with provider.app.app_context(), pytest.raises(SystemExit) as stopped:
        read_seed_file(file)
    assert f"PICKUP_SEED: {file}: " in str(stopped.value)
    assert sentence in str(stopped.value)


def test_missing_file_stops_the_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PICKUP_SEED", str(tmp_path / "none.toml"))
    monkeypatch.setenv("PICKUP_SECRET_KEY", "x")
    monkeypatch.setenv("PICKUP_DEMO_PLAIN_HTTP", "true")
    with pytest.raises(SystemExit, match=r"PICKUP_SEED is .* there is no such file"):
        load_settings("idp")


def test_file_works_with_a_new_database(provider: Provider, tmp_path: Path) -> None:
    """The first start loads it in the same transaction as the demo's data."""
    file = tmp_path / "people.toml"
    file.write_text(DOCUMENTED, "utf-8")
    url = f"sqlite:///{tmp_path}/new.db"
    app = idp_service.create_app(
        provider.settings.model_copy(update={**ON_THIS_MACHINE, "seed": file, "idp_database_url": url})
    )
    with app.app_context():
        assert str(engine_of(app).url) == url
        assert db.session.get_one(Client, "my-app").name == "My App"
    close(app)
