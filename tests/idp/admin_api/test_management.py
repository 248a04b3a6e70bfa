"""Adding, changing and removing people and clients: the rules of the console, for programs."""

from typing import Any

import pytest
from werkzeug.test import TestResponse

from idp.models import Client, SsoSession, User, hash_of
from tests.conftest import SiteClient
from tests.idp.admin_api.conftest import ACCOUNT, CAMERON, Program, add_program, problem
from tests.idp.conftest import DISPATCH, MANAGER, Provider

ACCOUNTS = "/identityStores/people/accounts"
ZOE: dict[str, Any] = {
    "id": "zoe-1",
    "username": "zoe",
    "password": "eight words are enough",
    "claims": {"name": "Zoe Abel", "email": "zoe@example.com", "email_verified": True, "groups": ["night"]},
}
SHOP: dict[str, Any] = {
    "clientId": "shop",
    "clientSecret": "a fixed secret",
    "name": "Shop",
    "redirectUris": ["https://shop.example/callback"],
    "backchannelLogoutUri": "https://shop.example/bclogout",
    "scopes": ["openid", "profile"],
    "requirePkce": False,
}


def send(program: Program, method: str, path: str, body: object) -> TestResponse:
    """A request with a JSON body."""
    return program.call(method, path, json=body)


def fields(response: TestResponse) -> dict[str, str]:
    """The sentence for each invalid member."""
    return {one["field"]: one["message"] for one in problem(response, 422, "invalidValue")["fieldErrors"]}


def row(provider: Provider, sub: str) -> User:
    """A person."""
    return next(user for user in provider.rows(User) if user.sub == sub)


def client_row(provider: Provider, client_id: str) -> Client:
    """A client."""
    return next(client for client in provider.rows(Client) if client.client_id == client_id)


# --- people ---


def test_person_with_fixed_id_and_any_claims_can_sign_in(program: Program) -> None:
    answer = send(program, "POST", ACCOUNTS, ZOE)
    assert answer.status_code == 201, answer.text
    assert answer.get_json() == {
        "id": "zoe-1", "username": "zoe", "name": "Zoe Abel", "email": "zoe@example.com", "emailVerified": True,
        "role": "user", "disabledAt": None,
    }  # fmt: skip
    assert row(program.provider, "zoe-1").claims["groups"] == ["night"]
    browser = program.provider.browser()
    page = program.provider.authorize(browser, DISPATCH)
    assert program.provider.enter_password(browser, page, "zoe", ZOE["password"]).status_code == 303


@pytest.mark.parametrize(
    ("changes", "field", "says"),
    [
        ({"username": "cameron"}, "username", "already in use"),
        ({"username": "Zoe Abel"}, "username", "letters"),
        ({"id": CAMERON}, "id", "never used twice"),
        ({"id": "zoe 1"}, "id", "ASCII"),
        ({"password": "short"}, "password", "at least 8"),
        ({"claims": {"sub": "x"}}, "claims", "sets sub"),
        ({"claims": {"email": "nowhere"}}, "email", ""),
        ({"claims": {"email": 1}}, "claims", "email must be a text"),
        ({"claims": {"a\nb": 1}}, "claims", "printable"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_person_must_meet_the_rules_of_the_console(
    changes: dict[str, Any], field: str, says: str, program: Program
) -> None:
    before = len(program.provider.rows(User))
    found = fields(send(program, "POST", ACCOUNTS, {**ZOE, **changes}))
    assert list(found) == [field]
    assert says in found[field]
    assert len(program.provider.rows(User)) == before


def test_claims_change_one_by_one(program: Program) -> None:
    answer = send(program, "PATCH", ACCOUNT, {"claims": {"name": "Cam", "nickname": None, "level": 3}})
    assert answer.status_code == 200, answer.text
    assert answer.get_json()["name"] == "Cam"
    claims = row(program.provider, CAMERON).claims
    assert (claims["name"], claims["level"], claims["email"]) == ("Cam", 3, "cameron@pickup.example")
    assert "nickname" not in claims


def test_disabled_person_loses_all_sessions_and_can_be_enabled(program: Program) -> None:
    for _ in range(2):  # the second request changes nothing
        assert send(program, "PATCH", ACCOUNT, {"disabled": True}).get_json()["disabledAt"] is not None
    assert [session.end_reason for session in program.provider.rows(SsoSession)] == ["user_disabled"]
    assert len(program.provider.logout_tokens(MANAGER)) == 1
    assert send(program, "PATCH", ACCOUNT, {"disabled": False}).get_json()["disabledAt"] is None


def test_new_password_ends_the_sessions(program: Program) -> None:
    assert fields(send(program, "PATCH", ACCOUNT, {"role": "operator", "password": "short"})) == {
        "password": "Use at least 8 characters; a few words are easy to remember."
    }
    assert row(program.provider, CAMERON).role == "user", "nothing was changed"
    assert send(program, "PATCH", ACCOUNT, {"password": "other words are fine"}).status_code == 200
    assert len(program.provider.logout_tokens(MANAGER)) == 1


def test_last_operator_stays(program: Program) -> None:
    admin = "/identityStores/people/accounts/248289761001"
    problem(send(program, "PATCH", admin, {"role": "user"}), 409, "conflict")
    problem(send(program, "PATCH", admin, {"disabled": True}), 409, "conflict")
    problem(program.delete(admin), 409, "conflict")


def test_removed_person_is_logged_out_and_gone(program: Program) -> None:
    assert program.delete(ACCOUNT).status_code == 204
    assert len(program.provider.logout_tokens(DISPATCH)) == 1
    problem(program.get(ACCOUNT), 404, "notFound")
    assert list(fields(send(program, "POST", ACCOUNTS, {**ZOE, "id": CAMERON}))) == ["id"]


# --- clients ---


def test_client_with_fixed_id_and_secret_is_registered(program: Program) -> None:
    answer = send(program, "POST", "/clients", SHOP)
    assert answer.status_code == 201, answer.text
    body = answer.get_json()
    assert (body["clientId"], body["clientSecret"], body["scopes"]) == ("shop", "a fixed secret", ["openid", "profile"])
    assert body["requirePkce"] is False
    assert client_row(program.provider, "shop").secret_hash == hash_of("a fixed secret")
    assert "clientSecret" not in program.get("/clients/shop").get_json()


def test_client_without_id_and_secret_gets_random_ones(program: Program) -> None:
    values = {name: SHOP[name] for name in ("name", "redirectUris")}
    body = send(program, "POST", "/clients", values).get_json()
    assert len(body["clientSecret"]) > 40
    assert client_row(program.provider, body["clientId"]).secret_hash == hash_of(body["clientSecret"])


@pytest.mark.parametrize(
    ("changes", "field", "says"),
    [
        ({"clientId": MANAGER}, "clientId", "never used twice"),
        ({"redirectUris": []}, "redirectUris", "at least one"),
        ({"redirectUris": "https://shop.example/"}, "redirectUris", "list"),
        ({"name": " "}, "name", "Enter a name"),
        ({"scopes": ['a"b']}, "scopes", "is not a scope"),
        ({"backchannelLogoutUri": "/bclogout"}, "backchannelLogoutUri", "address"),
        ({"readTimeout": 900.0}, "readTimeout", "or less"),
        ({"tokenEndpointAuthMethod": "none"}, "clientSecret", "has no secret"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_client_must_meet_the_rules_of_the_console(
    changes: dict[str, Any], field: str, says: str, program: Program
) -> None:
    before = len(program.provider.rows(Client))
    found = fields(send(program, "POST", "/clients", {**SHOP, **changes}))
    assert says in found[field]
    assert len(program.provider.rows(Client)) == before


def test_client_changes_only_what_the_request_names(program: Program) -> None:
    send(program, "POST", "/clients", SHOP)
    answer = send(program, "PATCH", "/clients/shop", {"claimsInIdToken": True, "backchannelLogoutUri": None})
    assert answer.status_code == 200, answer.text
    body = answer.get_json()
    assert (body["claimsInIdToken"], body["backchannelLogoutUri"], body["name"]) == (True, None, "Shop")
    assert client_row(program.provider, "shop").secret_hash == hash_of("a fixed secret")


def test_new_secret_revokes_the_tokens_of_the_client_itself(program: Program) -> None:
    other = add_program(program.provider, client_id="other")
    other.take_token()
    answer = send(program, "PATCH", "/clients/other", {"clientSecret": "another"})
    assert answer.status_code == 200, answer.text
    assert other.get("/clients").status_code == 401
    assert other.ask_for_token().status_code == 401


def test_removed_client_is_notified_and_gone(program: Program, cameron: SiteClient) -> None:
    del cameron
    assert program.delete(f"/clients/{MANAGER}").status_code == 204
    assert len(program.provider.logout_tokens(MANAGER)) == 1
    problem(program.get(f"/clients/{MANAGER}"), 404, "notFound")


# --- bodies ---


@pytest.mark.parametrize(
    ("content", "media_type", "status", "key"),
    [
        ("{", "application/json", 400, "invalidBody"),
        ("[]", "application/json", 400, "invalidBody"),
        ('{"name": "\\ud800"}', "application/json", 400, "invalidBody"),
        ('{"require_pkce": false}', "application/json", 400, "invalidBody"),
        ('{"scopes": "openid"}', "application/json", 400, "invalidBody"),
        ("name=Shop", "application/x-www-form-urlencoded", 415, "unsupportedMediaType"),
    ],
    ids=["no-json", "no-object", "half-a-character", "unknown-member", "no-list", "form"],
)
def test_unusable_body_is_rejected(content: str, media_type: str, status: int, key: str, program: Program) -> None:
    problem(program.call("PATCH", f"/clients/{MANAGER}", data=content, content_type=media_type), status, key)


@pytest.mark.parametrize(
    ("method", "path"), [("POST", ACCOUNTS), ("PATCH", ACCOUNT), ("DELETE", ACCOUNT), ("POST", "/clients")]
)
def test_scope_to_end_sessions_does_not_allow_management(method: str, path: str, provider: Provider) -> None:
    program = add_program(provider, scopes=["account:read", "account:write", "client:read", "delivery:write"])
    program.take_token()
    problem(program.call(method, path, json={}), 403, "insufficientScope")
