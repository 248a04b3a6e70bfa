"""RFC 6749 §4.4: access tokens for service clients, without a user, a session, a refresh token or logout tokens."""

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


def test_service_client_gets_only_an_access_token(provider: Provider) -> None:
    """RFC 6749 §4.4.3, §5.1: no refresh token and no ID token; not cacheable."""
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
def test_response_names_the_granted_scopes(asked: str | None, granted: str, provider: Provider) -> None:
    """RFC 6749 §3.3: all of them by default; never more than the operator allowed."""
    program = add_program(provider, scopes=["delivery:read", "account:read"])
    answer = program.ask_for_token(**({"scope": asked} if asked else {}))
    assert answer.get_json()["scope"] == granted


@pytest.mark.parametrize("scope", ["account:write", "openid profile", "fleet.read", "", "nonsense"])
def test_unregistered_scope_is_rejected(scope: str, provider: Provider) -> None:
    """RFC 6749 §5.2; scopes about users need a user, even if the operator registered them."""
    program = add_program(provider, scopes=["account:read", "openid", "profile"])
    answer = program.ask_for_token(scope=scope)
    assert (answer.status_code, answer.get_json()["error"]) == (400, "invalid_scope")
    assert provider.rows(Token) == []


def test_public_client_gets_no_token(provider: Provider) -> None:
    """RFC 6749 §4.4: confidential clients only."""
    add_program(provider, token_endpoint_auth_method="none", secret_hash=None)
    data = {"grant_type": "client_credentials", "client_id": "scripts", "scope": "account:read"}
    answer = provider.app.test_client().post("/oauth2/token", data=data)
    assert (answer.status_code, answer.get_json()["error"]) in [(401, "invalid_client"), (400, "invalid_client")]


def test_wrong_secret_gets_no_token(provider: Provider) -> None:
    """RFC 6749 §5.2."""
    answer = add_program(provider, secret_hash=hash_of("another one")).ask_for_token()
    assert (answer.status_code, answer.get_json()["error"]) == (401, "invalid_client")


def test_removed_client_gets_no_token(provider: Provider) -> None:
    """The control is the token that it got before."""
    program = add_program(provider)
    assert program.ask_for_token().status_code == 200
    provider.change_client("scripts", removed_at=1)
    answer = program.ask_for_token()
    assert (answer.status_code, answer.get_json()["error"]) == (401, "invalid_client")


def test_app_without_the_grant_gets_no_token(provider: Provider) -> None:
    """RFC 6749 §5.2: only clients registered for this grant; the apps are not."""
    answer = provider.post("/oauth2/token", DISPATCH, grant_type="client_credentials", scope="account:read")
    assert (answer.status_code, answer.get_json()["error"]) == (400, "unauthorized_client")


def test_service_client_is_not_notified_of_logouts(provider: Provider, program: Program) -> None:
    """BCL §2.3: its tokens belong to no session; the control is the apps, which are notified."""
    provider.change_client("scripts", backchannel_logout_uri=f"{provider.url(MANAGER)}/for-scripts")
    assert "scripts" not in {row.client_id for row in provider.rows(Participation)}
    assert program.delete(SESSIONS).status_code == 204
    eventually(lambda: {event.client_id for event in provider.events("op.logout.delivered")} == {DISPATCH, MANAGER})
    assert provider.network.logout_tokens(f"{provider.url(MANAGER)}/for-scripts") == []
    assert program.get("/clients").status_code == 200, "and its token belongs to no session"


@pytest.mark.parametrize("scope", ADMIN_SCOPES)
def test_users_token_never_has_an_admin_scope(scope: str, provider: Provider, cameron: SiteClient) -> None:
    """Even if the operator gave a client both grants, the authorization endpoint treats the scope as unknown."""
    clients = {client.client_id: client for client in provider.rows(Client)}
    provider.change_client(DISPATCH, scopes=[*clients[DISPATCH].scopes, scope])
    tokens = provider.tokens(cameron, scope=f"openid {scope}")
    assert tokens["scope"] == "openid"
    answer = provider.authorize(cameron, scope=scope)
    assert query_of(answer.location)["error"] == "invalid_scope"


@pytest.mark.parametrize("grant", ["client_credentials", ["authorization_code", "client_credentials"]])
def test_software_cannot_register_itself_as_a_service_client(grant: Any, register: Registrar) -> None:
    """Registration §2: only the operator can grant it."""
    answer = register.post(grant_types=[grant] if isinstance(grant, str) else grant)
    assert (answer.status_code, answer.get_json()["error"]) == (400, "invalid_client_metadata")


def test_software_cannot_register_admin_scopes(register: Registrar) -> None:
    """RFC 7592 §2: they are omitted from the registration."""
    answer = register.post(scope="openid account:read account:write delivery:write")
    assert answer.get_json()["scope"] == "openid"


def test_service_token_can_be_revoked(program: Program, provider: Provider) -> None:
    """RFC 7009: without a refresh token too."""
    answer = provider.app.test_client().post(
        "/oauth2/revoke", data={"token": program.token}, headers=provider.basic("scripts", SECRET)
    )
    assert answer.status_code == 200
    assert program.get("/clients").status_code == 401


def test_service_token_gives_no_access_to_userinfo(program: Program, provider: Provider) -> None:
    """Core §5.3: there are no claims about a program."""
    assert program.token
    assert provider.userinfo(program.token).status_code == 403


def test_introspection_returns_the_service_token(program: Program, provider: Provider) -> None:
    """RFC 7662 §2.2: for an API that asks; ``sub`` is the client itself."""
    answer = provider.post("/oauth2/introspect", MANAGER, token=program.token).get_json()
    assert (answer["active"], answer["client_id"], answer["sub"]) == (True, "scripts", "scripts")


def test_expired_service_tokens_are_deleted(program: Program, clock: Clock) -> None:
    """They have no refresh token to wait for."""
    provider = program.provider
    clock.turn(601)
    provider.state.background.run_maintenance()
    assert "scripts" not in {token.client_id for token in provider.rows(Token)}


@pytest.mark.usefixtures("cameron")
def test_settings_create_and_remove_the_service_client(provider: Provider) -> None:
    """``pickup-admin`` exists only while PICKUP_ADMIN_CLIENT_SECRET is set; otherwise every secret is rejected."""
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
