"""The demo users, the two apps and the first key: loaded once, and again by a reset."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from pydantic import SecretStr
from sqlalchemy import delete, text

import idp as idp_service
from idp.flow.login import authenticate
from idp.models import AppliedSetting, Base, Client, SigningKey, SsoSession, User
from idp.operations import people
from idp.seed import PRACTICE, fill_in
from idp.tokens.signing_keys import SigningKeys
from pickup_web.database import db, engine_of
from tests.conftest import ALGORITHMS, PASSWORD, START, SiteClient, close, make_settings
from tests.idp.conftest import DISPATCH, MANAGER, Provider

Restart: TypeAlias = Callable[..., None]


def dump(provider: Provider) -> dict[str, list[dict[str, Any]]]:
    """Every row of the IdP's own tables, except password hashes, which are salted."""
    with provider.database() as db:
        return {
            table.name: [
                {name: value for name, value in row.items() if name != "password_hash"}
                for row in db.execute(table.select()).mappings()
            ]
            for table in Base.metadata.sorted_tables
        }


def test_seed_has_the_demo_users(provider: Provider) -> None:
    """Admin, an operator, cameron and alex; each with a different subject."""
    people = {user.username: user.role for user in provider.rows(User)}
    assert people == {"admin": "operator", "cameron": "user", "alex": "user"}
    assert len({user.sub for user in provider.rows(User)}) == 3


@pytest.mark.parametrize("client_id", [DISPATCH, MANAGER])
def test_seed_registers_the_apps_with_their_addresses(client_id: str, provider: Provider) -> None:
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


def test_seed_registers_the_app_of_the_labs_as_a_public_client(provider: Provider) -> None:
    """It has no secret, must use PKCE, and is notified by sid."""
    client = next(row for row in provider.rows(Client) if row.client_id == PRACTICE)
    url = f"{provider.settings.learn_url}/practice"
    assert (client.is_public, client.secret_hash, client.require_pkce) == (True, None, True)
    assert client.redirect_uris == [f"{url}/oauth2client"]
    assert client.backchannel_logout_uri == f"{url}/bclogout"
    assert client.backchannel_logout_session_required


def test_app_of_the_labs_exists_only_in_a_demonstration(tmp_path: Path) -> None:
    """Without the record there are no labs."""
    app = idp_service.create_app(make_settings(tmp_path, demo_events=False))
    with app.app_context():
        assert db.session.get(Client, PRACTICE) is None
    close(app)
    close(again := idp_service.create_app(make_settings(tmp_path)))
    with again.app_context():
        assert db.session.get(Client, PRACTICE), "the switch was turned on later"


def test_app_of_the_labs_stays_removed_and_follows_its_address(provider: Provider, restart: "Restart") -> None:
    """An operator's removal survives a restart, and a new address of Pickup Learn applies."""
    restart(learn_url="https://l.example/x")
    client = next(row for row in provider.rows(Client) if row.client_id == PRACTICE)
    assert client.backchannel_logout_uri == "https://l.example/x/practice/bclogout"
    with provider.database() as session:
        session.delete(session.get_one(Client, PRACTICE))
    restart()
    assert PRACTICE not in [row.client_id for row in provider.rows(Client)]


def test_second_load_changes_nothing(provider: Provider) -> None:
    """A second start changes nothing."""
    before = dump(provider)
    again = idp_service.create_app(provider.settings)
    assert dump(provider) == before
    close(again)


def test_start_keeps_an_operators_changes(provider: Provider) -> None:
    """Data survives a restart."""
    provider.change_client(MANAGER, backchannel_logout_uri=None, name="Fleet")
    before = dump(provider)
    close(idp_service.create_app(provider.settings))
    assert dump(provider) == before


def test_changed_settings_are_applied_and_sessions_continue(provider: Provider, cameron: SiteClient) -> None:
    """A new address or password in the settings applies after the next start; all users stay signed in."""
    provider.change_client(MANAGER, delete_tokens_on_logout="all")
    settings = provider.settings.model_copy(
        update={"manager_url": "https://m.example/x", "demo_password": SecretStr("another one")}
    )
    again = idp_service.create_app(settings)
    with again.app_context():
        manager = db.session.get_one(Client, MANAGER)
        assert manager.backchannel_logout_uri == "https://m.example/x/bclogout"
        assert manager.delete_tokens_on_logout == "all", "other changes of an operator are kept"
        assert authenticate("cameron", "another one")
        assert authenticate("cameron", PASSWORD) is None
    close(again)
    assert provider.authorize(cameron).status_code == 303


# --- changes by an operator or a user survive any change of settings ---

CHANGES: dict[str, Any] = {
    "dispatch_url": "https://d.example/x",
    "manager_url": "https://m.example/x",
    "dispatch_client_secret": SecretStr("another secret of Dispatch"),
    "manager_client_secret": SecretStr("another secret of Manager"),
    "admin_client_secret": SecretStr("a secret for scripts"),
    "demo_password": SecretStr("another one"),
}
CHOSEN = "chosen by cameron"  # a password
NEW_URIS = ["https://m.example/x/oauth2client", "https://elsewhere.example/cb"]


@pytest.fixture
def restart(provider: Provider) -> Restart:
    """Restarts the service on the same data, with other settings."""

    def restart(**changes: Any) -> None:
        close(idp_service.create_app(provider.settings.model_copy(update=changes)))

    return restart


def person(provider: Provider, username: str) -> User:
    """The user who has this username now."""
    return next(user for user in provider.rows(User) if user.username == username)


@pytest.mark.parametrize("setting", CHANGES)
def test_changed_setting_does_not_restore_a_role(provider: Provider, restart: Restart, setting: str) -> None:
    """A demoted operator stays a user, and a promoted user stays an operator."""
    admin, cameron = person(provider, "admin").sub, person(provider, "cameron").sub
    with provider.app.test_request_context():
        people.set_role(db.session, cameron, "operator", "admin")
        people.set_role(db.session, admin, "user", "cameron")
    restart(**{setting: CHANGES[setting]})
    assert (person(provider, "admin").role, person(provider, "cameron").role) == ("user", "operator")


@pytest.mark.thorough
@pytest.mark.parametrize("setting", CHANGES)
def test_changed_setting_does_not_restore_a_changed_password(
    provider: Provider, restart: Restart, setting: str
) -> None:
    """Only accounts that still have the demo password get the new one."""
    with provider.app.test_request_context():
        people.reset_password(db.session, person(provider, "cameron").sub, "admin", CHOSEN)
    restart(**{setting: CHANGES[setting]})
    with provider.app.test_request_context():
        assert authenticate("cameron", CHOSEN)
        assert authenticate("alex", "another one" if setting == "demo_password" else PASSWORD)


def test_demo_password_chosen_by_a_user_is_not_replaced(provider: Provider, restart: Restart) -> None:
    """The user chose it, so no setting replaces it."""
    with provider.app.test_request_context():
        people.reset_password(db.session, person(provider, "cameron").sub, "admin", PASSWORD)
    restart(demo_password=SecretStr("another one"))
    with provider.app.test_request_context():
        assert authenticate("cameron", PASSWORD)


@pytest.mark.parametrize("setting", CHANGES)
def test_removed_user_stays_removed_and_the_username_keeps_its_new_owner(
    provider: Provider, restart: Restart, setting: str
) -> None:
    """A username that is in use does not stop the start."""
    removed = person(provider, "cameron").sub
    with provider.app.test_request_context():
        people.remove_person(db.session, removed, "admin")
        people.add_person(db.session, "cameron", "Cameron Diaz", "", "a new password", "user", "admin")
    before = person(provider, "cameron")
    restart(**{setting: CHANGES[setting]})
    after, row = person(provider, "cameron"), next(user for user in provider.rows(User) if user.sub == removed)
    assert (after.sub, after.claims) == (before.sub, before.claims)
    assert (row.claims, row.password_hash) == ({}, "")
    assert row.removed_at


def test_disabled_user_stays_disabled(provider: Provider, restart: Restart) -> None:
    """A new demo password does not enable a disabled account."""
    with provider.app.test_request_context():
        people.disable_person(db.session, person(provider, "alex").sub, "admin")
    restart(**CHANGES)
    assert person(provider, "alex").disabled_at


def test_address_changed_by_an_operator_ignores_the_settings(provider: Provider, restart: Restart) -> None:
    """Only the addresses that came from the old setting are replaced, one by one."""
    uris = [f"{provider.url(MANAGER)}/oauth2client", NEW_URIS[1]]
    provider.change_client(MANAGER, redirect_uris=uris, backchannel_logout_uri="https://relay.example/bclogout")
    restart(manager_url="https://m.example/x")
    manager = next(row for row in provider.rows(Client) if row.client_id == MANAGER)
    assert manager.redirect_uris == NEW_URIS
    assert manager.backchannel_logout_uri == "https://relay.example/bclogout"
    assert manager.post_logout_redirect_uris == ["https://m.example/x/logged-out"]


@pytest.mark.parametrize("setting", [name for name in CHANGES if name != "manager_url"])
def test_address_of_one_app_is_independent_of_other_settings(
    provider: Provider, restart: Restart, setting: str
) -> None:
    """An operator's changes to Manager survive every change except that of its own address."""
    provider.change_client(MANAGER, redirect_uris=NEW_URIS, name="Fleet", may_introspect=False, scopes=["openid"])
    restart(**{setting: CHANGES[setting]})
    manager = next(row for row in provider.rows(Client) if row.client_id == MANAGER)
    assert (manager.redirect_uris, manager.name) == (NEW_URIS, "Fleet")
    assert (manager.may_introspect, manager.scopes) == (False, ["openid"])


@pytest.mark.thorough
@pytest.mark.parametrize("setting", CHANGES)
def test_removed_app_stays_removed(provider: Provider, restart: Restart, setting: str) -> None:
    """Its secret stays invalid, and nothing is recreated after its row is deleted."""
    provider.change_client(MANAGER, removed_at=START, secret_hash=None)
    restart(**{setting: CHANGES[setting]})
    manager = next(row for row in provider.rows(Client) if row.client_id == MANAGER)
    assert (manager.removed_at, manager.secret_hash) == (START, None)
    with provider.database() as session:
        session.delete(session.get_one(Client, MANAGER))
    restart(**{**CHANGES, "manager_url": "https://again.example", "manager_client_secret": SecretStr("again")})
    assert MANAGER not in [row.client_id for row in provider.rows(Client)]


def test_new_secret_is_applied_and_a_removed_one_is_rejected(provider: Provider, restart: Restart) -> None:
    """The client for scripts exists only while the settings have its secret."""

    def is_good(client_id: str, secret: str) -> bool:
        return next(row for row in provider.rows(Client) if row.client_id == client_id).check_client_secret(secret)

    restart(manager_client_secret=SecretStr("new"), admin_client_secret=SecretStr("for scripts"))
    assert (is_good(MANAGER, "new"), is_good("pickup-admin", "for scripts")) == (True, True)
    restart()
    assert (is_good(MANAGER, "new"), is_good(MANAGER, provider.secret(MANAGER))) == (False, True)
    assert not is_good("pickup-admin", "for scripts")
    restart(admin_client_secret=SecretStr("for scripts"))
    assert is_good("pickup-admin", "for scripts")


def test_data_of_an_earlier_version_counts_as_unchanged(provider: Provider, restart: Restart) -> None:
    """It has no record of applied settings: addresses, roles and passwords are kept; later changes apply."""
    with provider.database() as session:
        session.execute(delete(AppliedSetting))
    provider.change_client(MANAGER, redirect_uris=NEW_URIS)
    before = dump(provider)["user_account"]
    restart()
    assert dump(provider)["user_account"] == before
    assert next(row for row in provider.rows(Client) if row.client_id == MANAGER).redirect_uris == NEW_URIS
    restart(demo_password=SecretStr("another one"))
    with provider.app.test_request_context():
        assert authenticate("alex", "another one")


def test_database_of_an_earlier_version_gets_the_new_columns(provider: Provider, restart: Restart) -> None:
    """Its clients keep their data, and have no front-channel logout."""
    with provider.database() as session:
        for column in ("frontchannel_logout_uri", "frontchannel_logout_session_required"):
            session.execute(text(f"ALTER TABLE client DROP COLUMN {column}"))
        idp_service.SCHEMA.version_table.drop(session.connection())
    restart()
    client = next(row for row in provider.rows(Client) if row.client_id == MANAGER)
    assert client.redirect_uris == [f"{provider.url(MANAGER)}/oauth2client"]
    assert (client.frontchannel_logout_uri, client.frontchannel_logout_session_required) == (None, False)


def test_reset_restores_the_seed_and_keeps_the_key(provider: Provider, cameron: SiteClient) -> None:
    """Also while the service runs; existing tokens stay verifiable, the sessions are deleted."""
    kids = [row.kid for row in provider.rows(SigningKey)]
    provider.change_client(MANAGER, backchannel_logout_uri=None)
    result = provider.app.test_cli_runner().invoke(args=["reset"])
    assert (result.exit_code, result.output) == (0, "idp: the data is back at the seed.\n")
    assert [row.kid for row in provider.rows(SigningKey)] == kids
    assert provider.rows(SsoSession) == []
    assert provider.events() == []
    client = next(row for row in provider.rows(Client) if row.client_id == MANAGER)
    assert client.backchannel_logout_uri == f"{provider.url(MANAGER)}/bclogout"
    assert provider.authorize(cameron).status_code == 200, "the old cookie is invalid"
    provider.sign_in(cameron)


@pytest.mark.usefixtures("clock")
def test_seed_takes_addresses_and_passwords_from_settings(tmp_path: Path) -> None:
    """Each base URL is one setting; passwords and secrets come from settings too."""
    settings = make_settings(tmp_path, dispatch_url="https://d.example/x", demo_password=SecretStr("another one"))
    app = idp_service.create_app(settings)
    with app.app_context():
        assert db.session.get_one(Client, DISPATCH).redirect_uris == ["https://d.example/x/oauth2client"]
        assert authenticate("alex", "another one")
        assert authenticate("alex", PASSWORD) is None
    assert SigningKeys(engine_of(app), ALGORITHMS).algorithms() == ["RS256", "ES256", "EdDSA"]
    close(app)


def test_only_setting_names_are_replaced() -> None:
    """Other braces are kept, in lists and tables."""
    addresses = {"dispatch_url": "https://d.example"}
    value = {"a": ["{dispatch_url}/x", "{other}"], "b": 1, "c": {"d": "{dispatch_url}"}}
    filled = {"a": ["https://d.example/x", "{other}"], "b": 1, "c": {"d": "https://d.example"}}
    assert fill_in(value, addresses) == filled
