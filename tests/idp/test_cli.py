"""``flask --app idp client`` and ``person``: what the operator changes from the command line."""

import json

import pytest
from click.testing import Result

from idp.models import Client, SsoSession, User, hash_of
from tests.conftest import SiteClient
from tests.idp.conftest import DISPATCH, MANAGER, Provider


def run(provider: Provider, *arguments: str) -> Result:
    """The command."""
    return provider.app.test_cli_runner().invoke(args=["client", "set", *arguments])


def client(provider: Provider, client_id: str) -> Client:
    """A registered client."""
    return next(row for row in provider.rows(Client) if row.client_id == client_id)


def test_new_value_applies_to_the_next_logout(provider: Provider, cameron: SiteClient) -> None:
    """With the back-channel URI removed, Manager is not notified; with the URI restored, it is."""
    uri = f"{provider.url(MANAGER)}/bclogout"
    assert run(provider, MANAGER, "backchannel_logout_uri", "").exit_code == 0
    provider.end_session(cameron, id_token_hint=provider.tokens(cameron)["id_token"])
    assert provider.logout_tokens(MANAGER) == []
    result = run(provider, MANAGER, "backchannel_logout_uri", uri)
    assert result.exit_code == 0
    assert result.output.endswith(f"{MANAGER}: backchannel_logout_uri = {uri}\n")
    again = provider.sign_in()
    provider.tokens(again, MANAGER)
    provider.end_session(again, id_token_hint=provider.tokens(again)["id_token"])
    assert len(provider.logout_tokens(MANAGER)) == 1


@pytest.mark.parametrize("value", ["none", "session", "all"])
def test_only_three_policies_are_accepted(value: str, provider: Provider) -> None:
    """An empty value restores the default."""
    assert run(provider, DISPATCH, "delete_tokens_on_logout", value).exit_code == 0
    assert client(provider, DISPATCH).delete_tokens_on_logout == value
    assert run(provider, DISPATCH, "delete_tokens_on_logout", "").exit_code == 0
    assert client(provider, DISPATCH).delete_tokens_on_logout is None


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("unknown", "delete_tokens_on_logout", "all"), "No client 'unknown' is registered."),
        ((MANAGER, "delete_tokens_on_logout", "some"), "none, session or all"),
        ((MANAGER, "secret_hash", "x"), "is not one of"),
        ((MANAGER, "backchannel_logout_uri", "/bclogout"), "absolute"),
        ((MANAGER, "backchannel_logout_uri", "http://manager.localhost/x#part"), "fragment"),
    ],
    ids=["unknown-client", "unknown-policy", "unknown-name", "BCL-07-not-absolute", "BCL-07-fragment"],
)
def test_invalid_value_is_rejected_with_a_message(arguments: tuple[str, ...], says: str, provider: Provider) -> None:
    """BCL-07: an absolute address without a fragment; nothing is changed otherwise."""
    before = vars(client(provider, MANAGER))["backchannel_logout_uri"]
    result = run(provider, *arguments)
    assert result.exit_code != 0
    assert says in result.output
    assert client(provider, MANAGER).backchannel_logout_uri == before


def test_change_records_an_event(provider: Provider) -> None:
    """The timeline shows why the app was not notified."""
    run(provider, MANAGER, "backchannel_logout_uri", "")
    (event,) = provider.events("op.client.changed")
    assert (event.client_id, event.outcome) == (MANAGER, "backchannel_logout_uri = (none)")


@pytest.mark.parametrize(
    ("name", "value", "becomes"),
    [
        ("require_pkce", "false", False),
        ("read_timeout", "2.5", 2.5),
        ("redirect_uris", '["https://shop.example/callback"]', ["https://shop.example/callback"]),
        ("post_logout_redirect_uris", "", []),
        ("retry_seconds", "", None),
    ],
)
def test_every_kind_of_setting_can_be_set(name: str, value: str, becomes: object, provider: Provider) -> None:
    command(provider, "add", "shop", json.dumps(CONFIDENTIAL), lines="a fixed secret\n")
    result = run(provider, "shop", name, value)
    assert result.exit_code == 0, result.output
    assert getattr(client(provider, "shop"), name) == becomes


def test_value_of_the_wrong_kind_is_rejected(provider: Provider) -> None:
    assert "redirect_uris needs JSON" in run(provider, DISPATCH, "redirect_uris", "https://shop.example/").output
    assert "require_pkce" in run(provider, DISPATCH, "require_pkce", "1").output


# --- client add, list, remove ---

CONFIDENTIAL = {
    "redirect_uris": ["https://shop.example/callback"],
    "backchannel_logout_uri": "https://shop.example/bclogout",
}


def command(provider: Provider, *arguments: str, lines: str = "") -> Result:
    """``flask client …``."""
    return provider.app.test_cli_runner().invoke(args=["client", *arguments], input=lines)


def test_client_is_added_listed_and_removed(provider: Provider) -> None:
    """The secret comes from standard input, so it is not in the list of processes."""
    result = command(provider, "add", "shop", json.dumps(CONFIDENTIAL), lines="a fixed secret\n")
    assert result.exit_code == 0, result.output
    assert "a fixed secret" not in result.output
    made = client(provider, "shop")
    assert (made.name, made.secret_hash, made.require_pkce) == ("shop", hash_of("a fixed secret"), True)
    assert "shop client_secret_basic https://shop.example/bclogout" in command(provider, "list").output.splitlines()
    assert command(provider, "remove", "shop").output.endswith("shop is removed; it is notified of 0 logouts.\n")
    assert "shop" not in command(provider, "list").output
    assert "No client 'shop'" in command(provider, "remove", "shop").output


def test_removed_client_is_notified_of_each_session(provider: Provider, cameron: SiteClient) -> None:
    provider.tokens(cameron, MANAGER)
    assert "it is notified of 1 logout." in command(provider, "remove", MANAGER).output
    assert len(provider.logout_tokens(MANAGER)) == 1


@pytest.mark.parametrize(
    ("values", "secret", "says"),
    [
        ({}, "a secret", "redirect_uris"),
        (CONFIDENTIAL, "", "standard input"),
        ({**CONFIDENTIAL, "require_pcke": False}, "a secret", "require_pcke: There is no such setting."),
    ],
    ids=["no-redirect-uri", "no-secret", "unknown-setting"],
)
def test_invalid_client_is_not_added(values: dict[str, object], secret: str, says: str, provider: Provider) -> None:
    result = command(provider, "add", "shop", json.dumps(values), lines=f"{secret}\n")
    assert result.exit_code != 0
    assert says in result.output
    assert "shop" not in {row.client_id for row in provider.rows(Client)}


# --- person ---


def person(provider: Provider, *arguments: str, lines: str = "") -> Result:
    """``flask person …`` with these lines as standard input."""
    return provider.app.test_cli_runner().invoke(args=["person", *arguments], input=lines)


def sign_in(provider: Provider, username: str, password: str) -> SiteClient:
    """A browser in which this person has signed in."""
    browser = provider.browser()
    answer = provider.enter_password(browser, provider.authorize(browser, DISPATCH), username, password)
    assert answer.status_code == 303
    return browser


def added(result: Result) -> list[str]:
    """The usernames in the output, which also has the log."""
    return [line for line in result.output.splitlines() if line.startswith("seat")]


def test_people_are_added_once_and_keep_their_password(provider: Provider) -> None:
    assert added(person(provider, "add", lines="seat01 amber-apple-0001\nseat02 amber-apple-0002\n")) == [
        "seat01",
        "seat02",
    ]
    before = {user.username: user.password_hash for user in provider.rows(User)}
    assert added(person(provider, "add", lines="seat01 another-9999\nseat03 amber-apple-0003\n")) == ["seat03"]
    after = {user.username: (user.password_hash, user.role) for user in provider.rows(User)}
    assert after["seat01"] == (before["seat01"], "user")
    assert {"seat01", "seat02", "seat03"} <= after.keys()
    sign_in(provider, "seat01", "amber-apple-0001")
    assert [event.detail["by"] for event in provider.events("op.user.added")] == ["command line"] * 3


def test_invalid_password_is_refused_and_no_password_is_printed(provider: Provider) -> None:
    result = person(provider, "add", lines="seat01 amber-apple-0001\nseat02 short\n")
    assert result.exit_code != 0
    assert added(result) == ["seat01"]
    assert "Use at least 8 characters" in result.output
    assert "amber-apple-0001" not in result.output


def test_sessions_of_one_person_end_and_no_others(provider: Provider) -> None:
    provider.sign_in(username="cameron")
    person(provider, "add", lines="seat01 amber-apple-0001")
    seat = sign_in(provider, "seat01", "amber-apple-0001")
    provider.tokens(seat, MANAGER)
    result = person(provider, "end-sessions", "seat01")
    assert result.output.splitlines()[-1] == "seat01: 1 session ended"
    assert len(provider.logout_tokens(MANAGER)) == 1
    active = [row.sub for row in provider.rows(SsoSession) if row.ended_at is None]
    assert active == ["248289761002"], "Cameron's"
    assert "There is no person 'seat99'." in person(provider, "end-sessions", "seat99").output


# --- client register ---

PUBLIC = {
    "client_name": "My receiver",
    "redirect_uris": ["https://receiver.example/callback"],
    "token_endpoint_auth_method": "none",
    "backchannel_logout_uri": "https://receiver.example/bclogout",
}


def register(provider: Provider, metadata: str) -> Result:
    """The command."""
    return provider.app.test_cli_runner().invoke(args=["client", "register", "my-receiver", metadata])


def test_client_without_a_secret_is_registered_and_changed(provider: Provider) -> None:
    result = register(provider, json.dumps(PUBLIC))
    assert result.exit_code == 0, result.output
    made = client(provider, "my-receiver")
    assert (made.name, made.secret_hash, made.require_pkce) == ("My receiver", None, True)
    elsewhere = "https://receiver.example/logout"
    assert register(provider, json.dumps({**PUBLIC, "backchannel_logout_uri": elsewhere})).exit_code == 0
    assert client(provider, "my-receiver").backchannel_logout_uri == elsewhere


@pytest.mark.parametrize(
    ("metadata", "says"),
    [
        ("{", "not JSON"),
        ("[]", "only"),
        (json.dumps({**PUBLIC, "token_endpoint_auth_method": "client_secret_basic"}), "only"),
        (json.dumps({**PUBLIC, "redirect_uris": []}), "redirect_uris"),
        (json.dumps({**PUBLIC, "backchannel_logout_uri": "http://shop.example/bclogout"}), "https"),
    ],
    ids=["no-json", "no-object", "confidential", "no-redirect-uri", "BCL-07-http"],
)
def test_invalid_registration_is_rejected_with_a_message(provider: Provider, metadata: str, says: str) -> None:
    result = register(provider, metadata)
    assert result.exit_code != 0
    assert says in result.output
    assert "my-receiver" not in {row.client_id for row in provider.rows(Client)}
