"""RFC 6749 §4.4: access tokens for programs. No person, no session, nothing to renew, and nothing to be told."""

from typing import Any

import pytest
from pydantic import SecretStr

import idp as idp_service
from idp.models import Client, Participation, Token, hash_of
from idp.tokens.client_credentials import ADMIN_SCOPES
from tests.conftest import Clock, SiteClient, close, eventually
from tests.idp.admin_api.conftest import SECRET, SESSIONS, Program, add_program
from tests.idp.conftest import DISPATCH, MANAGER, Provider
from tests.idp.parties import Registrar
from tests.network import query_of


def test_a_program_gets_an_access_token_and_nothing_else(provider: Provider) -> None:
    """RFC 6749 §4.4.3, §5.1: no refresh token; no ID token, for nobody signed in; not stored on the way."""
    response = add_program(provider).ask_for_token(scope="account:read client:read")
    assert response.status_code == 200
    assert response.headers["Cache-Control"] == "no-store"
    tokens = response.get_json()
    assert set(tokens) == {"access_token", "token_type", "expires_in", "scope"}
    assert (tokens["token_type"], tokens["expires_in"], tokens["scope"]) == ("Bearer", 600, "account:read client:read")
    (row,) = provider.rows(Token)
    assert (row.access_hash, row.sid, row.refresh_hash) == (hash_of(tokens["access_token"]), None, None)
    (event,) = provider.events("op.token.issued")
    assert (event.client_id, event.outcome) == ("scripts", "account:read client:read")


@pytest.mark.parametrize(
    ("asked", "granted"),
    [
        (None, "account:read delivery:read"),
        ("delivery:read", "delivery:read"),
        ("account:write delivery:read", "delivery:read"),
    ],
)
def test_it_gets_what_it_may_have_and_is_told_what_that_is(asked: str | None, granted: str, provider: Provider) -> None:
    """RFC 6749 §3.3: all of it, if it asks for nothing; never more than the operator allowed."""
    program = add_program(provider, scopes=["delivery:read", "account:read"])
    answer = program.ask_for_token(**({"scope": asked} if asked else {}))
    assert answer.get_json()["scope"] == granted


@pytest.mark.parametrize("scope", ["account:write", "openid profile", "fleet.read", "", "nonsense"])
def test_a_scope_it_may_not_have_is_refused(scope: str, provider: Provider) -> None:
    """RFC 6749 §5.2; a person's scopes mean nothing without a person, even where the operator has registered them."""
    program = add_program(provider, scopes=["account:read", "openid", "profile"])
    answer = program.ask_for_token(scope=scope)
    assert (answer.status_code, answer.get_json()["error"]) == (400, "invalid_scope")
    assert provider.rows(Token) == []


def test_a_client_that_cannot_keep_a_secret_gets_none(provider: Provider) -> None:
    """RFC 6749 §4.4: confidential clients only, whatever is registered."""
    add_program(provider, token_endpoint_auth_method="none", secret_hash=None)
    data = {"grant_type": "client_credentials", "client_id": "scripts", "scope": "account:read"}
    answer = provider.app.test_client().post("/oauth2/token", data=data)
    assert (answer.status_code, answer.get_json()["error"]) in [(401, "invalid_client"), (400, "invalid_client")]


def test_a_wrong_secret_gets_none(provider: Provider) -> None:
    """RFC 6749 §5.2."""
    answer = add_program(provider, secret_hash=hash_of("another one")).ask_for_token()
    assert (answer.status_code, answer.get_json()["error"]) == (401, "invalid_client")


def test_a_client_that_was_removed_gets_none(provider: Provider) -> None:
    """Whatever it still knows; the control is the token that it got before."""
    program = add_program(provider)
    assert program.ask_for_token().status_code == 200
    provider.change_client("scripts", removed_at=1)
    answer = program.ask_for_token()
    assert (answer.status_code, answer.get_json()["error"]) == (401, "invalid_client")


def test_an_app_that_signs_people_in_gets_none(provider: Provider) -> None:
    """RFC 6749 §5.2: only clients that are registered with this grant; the apps are not."""
    answer = provider.post("/oauth2/token", DISPATCH, grant_type="client_credentials", scope="account:read")
    assert (answer.status_code, answer.get_json()["error"]) == (400, "unauthorized_client")


def test_a_program_never_hears_of_a_logout(provider: Provider, program: Program) -> None:
    """BCL §2.3: its tokens make it no part of a session; the control is the apps, which are told."""
    provider.change_client("scripts", backchannel_logout_uri=f"{provider.url(MANAGER)}/for-scripts")
    assert "scripts" not in {row.client_id for row in provider.rows(Participation)}
    assert program.delete(SESSIONS).status_code == 204
    eventually(lambda: {event.client_id for event in provider.events("op.logout.delivered")} == {DISPATCH, MANAGER})
    assert provider.network.logout_tokens(f"{provider.url(MANAGER)}/for-scripts") == []
    assert program.get("/clients").status_code == 200, "and its token belongs to no session"


@pytest.mark.parametrize("scope", ADMIN_SCOPES)
def test_no_persons_token_ever_holds_a_scope_of_this_kind(scope: str, provider: Provider, cameron: SiteClient) -> None:
    """Not even where the operator gave one client both grants: at the authorization endpoint it counts as unknown."""
    clients = {client.client_id: client for client in provider.rows(Client)}
    provider.change_client(DISPATCH, scopes=[*clients[DISPATCH].scopes, scope])
    tokens = provider.tokens(cameron, scope=f"openid {scope}")
    assert tokens["scope"] == "openid"
    answer = provider.authorize(cameron, scope=scope)
    assert query_of(answer.location)["error"] == "invalid_scope"


@pytest.mark.parametrize("grant", ["client_credentials", ["authorization_code", "client_credentials"]])
def test_software_cannot_register_itself_as_a_program(grant: Any, register: Registrar) -> None:
    """Registration §2: what an operator decides is not for the taking."""
    answer = register.post(grant_types=[grant] if isinstance(grant, str) else grant)
    assert (answer.status_code, answer.get_json()["error"]) == (400, "invalid_client_metadata")


def test_software_cannot_register_the_scopes_of_a_program(register: Registrar) -> None:
    """RFC 7591 §2: they are left out of what is registered."""
    answer = register.post(scope="openid account:read account:write delivery:write")
    assert answer.get_json()["scope"] == "openid"


def test_a_token_can_be_given_back(program: Program, provider: Provider) -> None:
    """RFC 7009: also one without a refresh token beside it."""
    answer = provider.app.test_client().post(
        "/oauth2/revoke", data={"token": program.token}, headers=provider.basic("scripts", SECRET)
    )
    assert answer.status_code == 200
    assert program.get("/clients").status_code == 401


def test_a_token_of_a_program_opens_nothing_of_a_persons(program: Program, provider: Provider) -> None:
    """Core §5.3: there are no claims about a program."""
    assert program.token
    assert provider.userinfo(program.token).status_code == 403


def test_introspection_knows_it(program: Program, provider: Provider) -> None:
    """RFC 7662 §2.2: for an API that asks; ``sub`` is the client itself."""
    answer = provider.post("/oauth2/introspect", MANAGER, token=program.token).get_json()
    assert (answer["active"], answer["client_id"], answer["sub"]) == (True, "scripts", "scripts")


def test_dead_tokens_of_programs_go(program: Program, clock: Clock) -> None:
    """They have no refresh token to wait for."""
    provider = program.provider
    clock.turn(601)
    provider.state.background.run_maintenance()
    assert "scripts" not in {token.client_id for token in provider.rows(Token)}


@pytest.mark.usefixtures("cameron")
def test_the_settings_bring_a_program_and_take_it_away(provider: Provider) -> None:
    """``pickup-admin`` is there while PICKUP_ADMIN_CLIENT_SECRET is; without it no secret opens anything."""
    assert "pickup-admin" not in {client.client_id for client in provider.rows(Client)}
    for secret, status in [(SecretStr("s3"), 200), (SecretStr("another"), 401), (None, 401)]:
        again = idp_service.create_app(provider.settings.model_copy(update={"admin_client_secret": secret}))
        answer = again.test_client().post(
            "/oauth2/token",
            data={"grant_type": "client_credentials"},
            headers=provider.basic("pickup-admin", "s3"),
        )
        assert answer.status_code == status
        close(again)
    (client,) = (row for row in provider.rows(Client) if row.client_id == "pickup-admin")
    assert (client.scopes, client.grant_types) == (list(ADMIN_SCOPES), ["client_credentials"])
    assert provider.session().ended_at is None, "nobody is signed out by a change of the settings"
