"""``flask --app idp client set``: the operator changes a client, also while the service runs."""

import pytest
from click.testing import Result

from idp.models import Client
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
