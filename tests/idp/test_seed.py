"""The demo people, the two apps and the first key: loaded once, and again by a reset."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

import idp as idp_service
from idp.keys import KeyRing
from idp.login import authenticate
from idp.models import Base, Client, SigningKey, SsoSession, User
from idp.seed import fill_in
from pickup_web.database import db, engine_of
from tests.conftest import ALGORITHMS, PASSWORD, SiteClient, close, make_settings
from tests.idp.conftest import DISPATCH, MANAGER, Provider


def dump(provider: Provider) -> dict[str, list[dict[str, Any]]]:
    """Every row of the provider's own tables, without the hashes of passwords, which are salted."""
    with provider.database() as db:
        return {
            table.name: [
                {name: value for name, value in row.items() if name != "password_hash"}
                for row in db.execute(table.select()).mappings()
            ]
            for table in Base.metadata.sorted_tables
        }


def test_the_people_of_the_issue_are_there(provider: Provider) -> None:
    """Admin, an operator, cameron and alex; each with a subject of their own."""
    people = {user.username: user.role for user in provider.rows(User)}
    assert people == {"admin": "operator", "cameron": "user", "alex": "user"}
    assert len({user.sub for user in provider.rows(User)}) == 3


@pytest.mark.parametrize("client_id", [DISPATCH, MANAGER])
def test_the_apps_are_registered_with_their_addresses(client_id: str, provider: Provider) -> None:
    """Callback, back-channel and post-logout addresses; PKCE required; sid required (BCL-09)."""
    client = next(row for row in provider.rows(Client) if row.client_id == client_id)
    url = provider.url(client_id)
    assert client.redirect_uris == [f"{url}/oauth2client"]
    assert client.backchannel_logout_uri == f"{url}/bclogout"
    assert client.post_logout_redirect_uris == [f"{url}/logged-out"]
    assert client.require_pkce
    assert client.backchannel_logout_session_required
    assert client.may_introspect is (client_id == MANAGER)
    assert client.secret_hash != provider.secret(client_id)


def test_loading_twice_is_loading_once(provider: Provider) -> None:
    """A second start finds everything there and changes nothing."""
    before = dump(provider)
    again = idp_service.create_app(provider.settings)
    assert dump(provider) == before
    close(again)


def test_a_start_does_not_bring_back_what_an_operator_changed(provider: Provider) -> None:
    """Data survives down and up."""
    provider.change_client(MANAGER, backchannel_logout_uri=None, name="Fleet")
    before = dump(provider)
    close(idp_service.create_app(provider.settings))
    assert dump(provider) == before


def test_changed_settings_are_followed_and_the_sessions_go_on(provider: Provider, cameron: SiteClient) -> None:
    """A new address or password in the settings holds after the next start; nobody is signed out."""
    provider.change_client(MANAGER, delete_tokens_on_logout="all")
    settings = provider.settings.model_copy(
        update={"manager_url": "https://m.example/x", "demo_password": SecretStr("another one")}
    )
    again = idp_service.create_app(settings)
    with again.app_context():
        manager = db.session.get_one(Client, MANAGER)
        assert manager.backchannel_logout_uri == "https://m.example/x/bclogout"
        assert manager.delete_tokens_on_logout == "all", "what an operator changed otherwise stays"
        assert authenticate("cameron", "another one")
        assert authenticate("cameron", PASSWORD) is None
    close(again)
    assert provider.authorize(cameron).status_code == 303


def test_a_reset_brings_back_the_seed_and_keeps_the_key(provider: Provider, cameron: SiteClient) -> None:
    """Also while it runs; tokens out there stay verifiable, the sessions are gone."""
    kids = [row.kid for row in provider.rows(SigningKey)]
    provider.change_client(MANAGER, backchannel_logout_uri=None)
    result = provider.app.test_cli_runner().invoke(args=["reset"])
    assert (result.exit_code, result.output) == (0, "idp: the data is back at the seed.\n")
    assert [row.kid for row in provider.rows(SigningKey)] == kids
    assert provider.rows(SsoSession) == []
    assert provider.events() == []
    client = next(row for row in provider.rows(Client) if row.client_id == MANAGER)
    assert client.backchannel_logout_uri == f"{provider.url(MANAGER)}/bclogout"
    assert provider.authorize(cameron).status_code == 200, "the old cookie is nobody's"
    provider.sign_in(cameron)


@pytest.mark.usefixtures("clock")
def test_settings_fill_in_addresses_and_passwords(tmp_path: Path) -> None:
    """Each base URL is one setting; passwords and secrets come from settings, too."""
    settings = make_settings(tmp_path, dispatch_url="https://d.example/x", demo_password=SecretStr("another one"))
    app = idp_service.create_app(settings)
    with app.app_context():
        assert db.session.get_one(Client, DISPATCH).redirect_uris == ["https://d.example/x/oauth2client"]
        assert authenticate("alex", "another one")
        assert authenticate("alex", PASSWORD) is None
    assert KeyRing(engine_of(app), ALGORITHMS).algorithms() == ["RS256", "ES256", "EdDSA"]
    close(app)


def test_only_names_of_settings_are_filled_in() -> None:
    """Other braces stay as they are, in lists and tables alike."""
    addresses = {"dispatch_url": "https://d.example"}
    value = {"a": ["{dispatch_url}/x", "{other}"], "b": 1, "c": {"d": "{dispatch_url}"}}
    filled = {"a": ["https://d.example/x", "{other}"], "b": 1, "c": {"d": "https://d.example"}}
    assert fill_in(value, addresses) == filled
