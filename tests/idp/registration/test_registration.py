"""Dynamic registration: software registers itself, manages its entry, and gets the same treatment as other clients.

Registration 1.0, RFC 7591, RFC 7592.
"""

import json
from typing import Any

import pytest
from pydantic import SecretStr

from idp.models import AuthorizationCode, Client, Consent, Participation, Token
from tests.conftest import Clock, SiteClient, eventually
from tests.idp.conftest import DISPATCH, Provider
from tests.idp.parties import SHOP, Party, Registrar
from tests.idp.parties import key as shop_key
from tests.tokens import read

# --- the response ---


def test_response_has_all_metadata_including_defaults(register: Registrar, provider: Provider) -> None:
    """REG-01, REG-02, REG-03, REG-07, REG-15: 201, JSON, not cacheable; the secret never expires and has 256 bits."""
    response = register.post()
    assert (response.status_code, response.mimetype) == (201, "application/json")
    assert response.headers["Cache-Control"] == "no-store"
    information = response.get_json()
    assert (
        information.items()
        >= {
            "redirect_uris": [f"{SHOP}/cb"],
            "response_types": ["code"],
            "grant_types": ["authorization_code"],
            "application_type": "web",
            "token_endpoint_auth_method": "client_secret_basic",
            "id_token_signed_response_alg": "RS256",
            "post_logout_redirect_uris": [f"{SHOP}/bye"],
            "backchannel_logout_uri": f"{SHOP}/bclogout",
            "backchannel_logout_session_required": False,
            "client_name": "The shop",
            "client_secret_expires_at": 0,
            "require_auth_time": False,
        }.items()
    )
    assert len(information["client_secret"]) >= 43
    assert information["registration_client_uri"] == f"{provider.issuer}/oauth2/register/{information['client_id']}"
    assert len(information["registration_access_token"]) >= 43
    assert isinstance(information["client_id_issued_at"], int)
    assert None not in information.values()


EVERYTHING: dict[str, Any] = {
    "contacts": ["ops@shop.example"],
    "client_uri": f"{SHOP}/",
    "logo_uri": f"{SHOP}/logo.png",
    "policy_uri": f"{SHOP}/policy",
    "tos_uri": f"{SHOP}/tos",
    "default_max_age": 3600,
    "require_auth_time": True,
    "default_acr_values": ["urn:pickup:acr:password"],
    "userinfo_signed_response_alg": "RS256",
    "id_token_signed_response_alg": "ES256",
    "request_uris": [f"{SHOP}/request.jwt#abc"],
    "request_object_signing_alg": "RS256",
    "initiate_login_uri": f"{SHOP}/login",
    "post_logout_redirect_uris": [f"{SHOP}/bye", f"{SHOP}/bye?again=1"],
    "backchannel_logout_uri": f"{SHOP}/bclogout?tenant=1",
    "backchannel_logout_session_required": True,
    "jwks": {"keys": [shop_key.public_jwk()]},
    "subject_type": "public",
    "software_id": "shop",
    "software_version": "1.0",
    "scope": "openid email",
}


@pytest.mark.parametrize("name", EVERYTHING)
def test_registered_metadata_are_stored_and_returned(name: str, register: Registrar) -> None:
    """REG-13, RPL-10, BCL-07, BCL-09, BCL-10: each member, now and in later reads."""
    party = register(**{name: EVERYTHING[name]})
    assert party.information[name] == EVERYTHING[name]
    assert party.manage("GET").get_json()[name] == EVERYTHING[name]


@pytest.mark.parametrize("extra", [{"unheard_of": {"a": [1]}}, {"client_name#de": "Der Laden"}, {"tls_client_auth": 1}])
def test_unknown_metadata_are_ignored(extra: dict[str, Any], register: Registrar) -> None:
    """REG-14: it is not returned either."""
    assert not set(extra) & set(register(**extra).information)


def test_client_cannot_register_the_operators_settings(register: Registrar, provider: Provider) -> None:
    """REG-14, BCL-23: introspection, the logout reason, omitting PKCE, the token policy."""
    wishes = {"may_introspect": True, "tell_logout_reason": True, "require_pkce": False, "read_timeout": 999}
    party = register(**wishes, delete_tokens_on_logout="none", client_id="pickup-dispatch", secret_hash="x")
    (row,) = (row for row in provider.rows(Client) if row.client_id == party.id)
    assert (row.may_introspect, row.tell_logout_reason, row.delete_tokens_on_logout) == (False, False, None)
    assert row.read_timeout == 5.0
    assert party.id != DISPATCH


def test_secret_and_registration_token_are_stored_as_hashes(register: Registrar, provider: Provider) -> None:
    """TOK-08."""
    party = register()
    with provider.database() as db:
        dump = "\n".join(db.connection().connection.driver_connection.iterdump())  # type: ignore[union-attr] # sqlite3's
    assert party.id in dump
    assert party.secret not in dump
    assert party.information["registration_access_token"] not in dump


# --- what is refused ---


@pytest.mark.parametrize(
    "body", [b"", b"x", b"[]", b"null", b'"x"', b"7", b"\xff\xfe", b"[" * 100_000, b'{"redirect_uris": NaN}', b"{" * 9]
)
@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "application/x-www-form-urlencoded", ""])
def test_body_must_be_a_json_object(body: bytes, content_type: str, register: Registrar) -> None:
    """REG-05: the error is in JSON."""
    client = register.provider.app.test_client()
    response = client.post("/oauth2/register", data=body, content_type=content_type)
    assert response.status_code == 400
    assert response.get_json()["error"] in ("invalid_client_metadata", "invalid_redirect_uri")


# --- who may register ---


@pytest.mark.parametrize("authorization", [None, "Bearer", "Bearer wrong", "Basic c2VjcmV0", "Bearer ", "Bearer \xfc"])
@pytest.mark.parametrize("configured", [SecretStr("the initial token"), None])
def test_registration_is_closed_unless_the_operator_opens_it(
    configured: SecretStr | None, authorization: str | None, register: Registrar, monkeypatch: pytest.MonkeyPatch
) -> None:
    """REG-16, RFC 7591 §1.2: 401 without the initial access token; nothing is registered."""
    settings, before = register.provider.settings, len(register.provider.rows(Client))
    monkeypatch.setattr(settings, "demo_open_registration", False)
    monkeypatch.setattr(settings, "registration_token", configured)
    environ = {"HTTP_AUTHORIZATION": authorization} if authorization is not None else {}
    client = register.provider.app.test_client()
    response = client.post("/oauth2/register", json=register.good(), environ_overrides=environ)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"].startswith("Bearer")
    assert len(register.provider.rows(Client)) == before


def test_initial_access_token_allows_registration(register: Registrar, monkeypatch: pytest.MonkeyPatch) -> None:
    """REG-16: with the demo switch off."""
    monkeypatch.setattr(register.provider.settings, "demo_open_registration", False)
    monkeypatch.setattr(register.provider.settings, "registration_token", SecretStr("the initial token"))
    headers = {"Authorization": "Bearer the initial token"}
    response = register.provider.app.test_client().post("/oauth2/register", json=register.good(), headers=headers)
    assert response.status_code == 201


def test_registration_is_closed_by_default(provider: Provider) -> None:
    """REG-16, DEC-07: only the operator can open it."""
    assert provider.settings.demo_open_registration is False
    assert provider.browser().post("/oauth2/register", json={}).status_code == 401


# --- managing the registration: RFC 7592 ---


def test_client_can_read_its_registration(shop: Party) -> None:
    """REG-04: the same information without the secret, of which only a hash is stored."""
    response = shop.manage("GET")
    assert (response.status_code, response.headers["Cache-Control"]) == (200, "no-store")
    known = {name: value for name, value in shop.information.items() if not name.startswith("client_secret")}
    assert response.get_json() == known


def test_client_can_replace_its_registration(shop: Party, provider: Provider, cameron: SiteClient) -> None:
    """REG-04, RFC 7592 §2.2: omitted members are deleted; the secret is kept; the change applies immediately."""
    body = {"redirect_uris": [f"{SHOP}/new"], "client_id": shop.id}
    response = shop.manage("PUT", json=body)
    assert response.status_code == 200
    information = response.get_json()
    assert information["redirect_uris"] == [f"{SHOP}/new"]
    assert "backchannel_logout_uri" not in information
    assert (information["response_types"], information["post_logout_redirect_uris"]) == (["code"], [])
    assert shop.ask(cameron).status_code == 400, "the old address is no longer valid"
    shop.information["redirect_uris"] = [f"{SHOP}/new"]
    assert shop.tokens(cameron)
    assert [event.outcome for event in provider.events("op.client.changed")] == ["by itself"]


def test_change_to_a_secret_method_creates_a_secret(register: Registrar, cameron: SiteClient) -> None:
    """RFC 7592 §2.2: from a key to a secret."""
    party = register.with_key()
    assert "client_secret" not in party.information
    body = party.information | {"token_endpoint_auth_method": "client_secret_post"}
    party.information = party.manage("PUT", json=body).get_json()
    assert party.information["client_secret_expires_at"] == 0
    assert party.tokens(cameron)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"redirect_uris": []}, "invalid_redirect_uri"),
        ({"response_types": ["token"]}, "invalid_client_metadata"),
        ({"client_id": DISPATCH}, "invalid_client_metadata"),
        ({"client_secret": "one I like better"}, "invalid_client_metadata"),
    ],
)
def test_invalid_replacement_changes_nothing(
    changes: dict[str, Any], error: str, shop: Party, provider: Provider
) -> None:
    """REG-05, RFC 7592 §2.2: it can choose neither its secret nor another client id."""
    before = shop.manage("GET").get_json()
    response = shop.manage("PUT", json={**before, **changes})
    assert (response.status_code, response.get_json()["error"]) == (400, error)
    assert shop.manage("GET").get_json() == before
    assert provider.events("op.client.changed") == []


def test_client_can_remove_itself_and_its_tokens(
    shop: Party, provider: Provider, cameron: SiteClient, register: Registrar
) -> None:
    """REG-04, RFC 7592 §2.3: 204; tokens and codes are invalid, the client id is unknown; the user stays signed in.

    BCL §2.3: it is notified that its participation in their sessions has ended.
    """
    tokens, code = shop.tokens(cameron), shop.answer(cameron)["code"]
    assert shop.manage("DELETE").status_code == 204
    assert not provider.works(tokens["access_token"])
    assert shop.redeem(code).get_json()["error"] == "invalid_client"
    assert shop.ask(cameron).status_code == 400
    assert shop.manage("GET").status_code == 401
    assert all(token.revoked_at for token in provider.rows(Token) if token.client_id == shop.id)
    kept: list[AuthorizationCode | Participation | Consent] = []
    for kind in (AuthorizationCode, Participation, Consent):
        kept += provider.rows(kind)
    assert shop.id not in {row.client_id for row in kept}
    assert provider.delivery(shop.id).state == "delivered"
    assert provider.session().ended_at is None
    assert "code" in register().answer(cameron, prompt="none").parameters


def test_pending_logout_of_a_removed_client_is_still_delivered(
    shop: Party, provider: Provider, cameron: SiteClient, clock: Clock
) -> None:
    """BCL-34: it was down and then removed itself; its users were logged out anyway, and it is notified."""
    provider.network.refuse(SHOP)
    provider.end_session(cameron, id_token_hint=shop.tokens(cameron)["id_token"])
    shop.manage("DELETE")
    provider.network.heal(SHOP)
    clock.turn(10)
    provider.state.background.poll()
    eventually(lambda: provider.delivery(shop.id).state == "delivered")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize("token", ["", "made up", "another's"])
def test_registration_can_be_managed_only_with_its_token(
    method: str, token: str, shop: Party, register: Registrar
) -> None:
    """REG-04: 401, as for an unknown client; nothing changes."""
    if token == "another's":
        token = register().information["registration_access_token"]
    client = shop.provider.app.test_client()
    for client_id in (shop.id, DISPATCH, "unknown", "%00", "%F0%9F%9A%95"):
        headers = {"Authorization": f"Bearer {token}"}
        response = client.open(f"/oauth2/register/{client_id}", method=method, headers=headers, json={})
        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
    assert shop.manage("GET").status_code == 200


# --- the same treatment as other clients ---


@pytest.mark.parametrize("alg", ["RS256", "ES256", "EdDSA"])
@pytest.mark.parametrize("required", [True, False])
def test_self_registered_client_is_notified_of_the_logout(
    required: bool, alg: str, register: Registrar, provider: Provider, cameron: SiteClient
) -> None:
    """BCL-10, BCL-11, BCL-25, end to end: registered, signed in, notified, with its own algorithm."""
    party = register(id_token_signed_response_alg=alg, backchannel_logout_session_required=required)
    id_token = party.tokens(cameron)["id_token"]
    about = {"id_token_hint": id_token, "post_logout_redirect_uri": f"{SHOP}/bye", "state": "s"}
    response = provider.end_session(cameron, **about)
    assert response.location == f"{SHOP}/bye?state=s"
    (raw,) = provider.network.logout_tokens(f"{SHOP}/bclogout")
    header, claims = read(raw)
    assert (header["alg"], header["typ"]) == (alg, "logout+jwt")
    assert (claims["aud"], claims["sid"], claims["sub"]) == (
        party.id,
        *(read(id_token)[1][name] for name in ("sid", "sub")),
    )
    assert "reason_user" not in claims, "it does not learn which app the user left"
    for client_id in ("pickup-dispatch", "pickup-manager"):
        assert provider.delivery(client_id).state == "delivered"


def test_client_without_logout_uri_is_no_longer_notified(
    shop: Party, provider: Provider, cameron: SiteClient, register: Registrar
) -> None:
    """BCL-25, REG-04."""
    hint = shop.tokens(cameron)["id_token"]
    body = {name: value for name, value in shop.information.items() if name != "backchannel_logout_uri"}
    body = {name: value for name, value in body.items() if not name.startswith("client_secret")}
    assert shop.manage("PUT", json=body).status_code == 200
    provider.end_session(cameron, id_token_hint=hint)
    assert register.logout_tokens() == []


def test_client_gets_user_scopes_but_no_company_scopes(register: Registrar, cameron: SiteClient) -> None:
    """AUTH-07: only the operator can grant fleet.read."""
    party = register(scope="openid email fleet.read")
    assert party.information["scope"] == "openid email"
    assert party.tokens(cameron, scope="openid email fleet.read")["scope"] == "openid email"


def test_id_token_has_the_registered_algorithm(register: Registrar, cameron: SiteClient) -> None:
    """IDT-07, IDT-01."""
    for alg in ("RS256", "ES256", "EdDSA"):
        party = register(id_token_signed_response_alg=alg)
        assert read(party.tokens(cameron)["id_token"])[0]["alg"] == alg


@pytest.mark.parametrize("alg", ["RS256", "ES256", "EdDSA"])
def test_userinfo_is_signed_if_registered(
    alg: str, register: Registrar, provider: Provider, cameron: SiteClient
) -> None:
    """UI-04: application/jwt with iss and aud; its type differs from an ID token's (RFC 8725 §3.11); no nonce."""
    party = register(userinfo_signed_response_alg=alg)
    tokens = party.tokens(cameron)
    response = provider.userinfo(tokens["access_token"])
    assert (response.status_code, response.mimetype) == (200, "application/jwt")
    header, claims = read(response.text)
    assert header["alg"] == alg
    assert header["kid"] in {key["kid"] for key in provider.browser().get("/oauth2/jwks").get_json()["keys"]}
    assert (claims["iss"], claims["aud"]) == (provider.issuer, party.id)
    assert claims["sub"] == read(tokens["id_token"])[1]["sub"]
    assert claims["name"] == "Cameron Reyes"
    assert "nonce" not in claims
    assert provider.end_session(cameron, id_token_hint=response.text).status_code == 400, "RPL-17: it is not a hint"


def test_default_max_age_applies_unless_requested(register: Registrar, cameron: SiteClient, clock: Clock) -> None:
    """REG-13, AUTH-16: max_age in the request has priority."""
    party = register(default_max_age=60)
    clock.turn(61)
    assert 'id="password"' in party.ask(cameron).text
    assert "code" in party.answer(cameron, max_age="600").parameters


def test_auth_time_and_acr_are_returned_if_registered(register: Registrar, cameron: SiteClient) -> None:
    """REG-13, IDT-03, AUTH-21: require_auth_time, default_acr_values."""
    party = register(require_auth_time=True, default_acr_values=["urn:pickup:acr:password"])
    claims = read(party.tokens(cameron)["id_token"])[1]
    assert isinstance(claims["auth_time"], int)
    assert claims["acr"] == "urn:pickup:acr:password"


def test_registration_event_contains_no_secrets(register: Registrar, provider: Provider) -> None:
    """BCL-70."""
    party = register()
    (event,) = provider.events("op.client.registered")
    assert event.client_id == party.id
    assert party.secret not in json.dumps(event.as_dict())


def test_client_cannot_undo_the_operators_settings(register: Registrar, provider: Provider) -> None:
    """RFC 7592 §2.2 lets the server set its own values: PKCE stays required, scopes stay as the operator set them."""
    party = register(scope="openid profile email")
    provider.change_client(party.id, require_pkce=True, scopes=["openid", "profile", "fleet.read"])
    for scope, left in [({}, "profile fleet.read"), ({"scope": "openid email"}, "fleet.read")]:
        answer = party.manage("PUT", json={"redirect_uris": [party.uri], **scope})
        assert answer.get_json()["scope"] == f"openid {left}"
    (client,) = (row for row in provider.rows(Client) if row.client_id == party.id)
    assert client.require_pkce
