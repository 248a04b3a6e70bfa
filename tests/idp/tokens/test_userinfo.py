"""The UserInfo endpoint (Core §5.3)."""

import re
from zoneinfo import available_timezones

import pytest

from idp.models import User
from idp.tokens.id_token import SCOPE_CLAIMS
from tests.conftest import SiteClient
from tests.idp.conftest import DISPATCH, Provider


def test_userinfo_returns_the_claims_of_the_granted_scopes(provider: Provider, cameron: SiteClient) -> None:
    """UI-03, UI-06, UI-09: sub always; profile, email and phone only if granted."""
    everything = provider.userinfo(provider.tokens(cameron)["access_token"])
    assert everything.headers["Cache-Control"] == "no-store"
    assert set(everything.get_json()) == {
        "sub", "name", "family_name", "given_name", "middle_name", "nickname", "preferred_username", "profile",
        "picture", "website", "gender", "birthdate", "zoneinfo", "locale", "updated_at", "email", "email_verified",
        "phone_number", "phone_number_verified",
    }  # fmt: skip
    provider.change_client(DISPATCH, scopes=["openid", "address"])
    address = provider.userinfo(provider.tokens(cameron, scope="openid address")["access_token"]).get_json()
    assert set(address) == {"sub", "address"}
    provider.change_client(DISPATCH, scopes=["openid", "email"])
    email_only = provider.userinfo(provider.tokens(cameron, scope="openid email")["access_token"]).get_json()
    assert email_only == {"sub": "248289761002", "email": "cameron@pickup.example", "email_verified": True}


@pytest.mark.parametrize("how", ["get", "post-header", "post-body"])
def test_userinfo_accepts_the_token_in_header_or_body(how: str, provider: Provider, cameron: SiteClient) -> None:
    """UI-01."""
    token = provider.tokens(cameron)["access_token"]
    client, headers = provider.app.test_client(), {"Authorization": f"bearer {token}"}
    response = {
        "get": lambda: client.get("/oauth2/userinfo", headers=headers),
        "post-header": lambda: client.post("/oauth2/userinfo", headers=headers),
        "post-body": lambda: client.post("/oauth2/userinfo", data={"access_token": token}),
    }[how]()
    assert response.get_json()["sub"] == "248289761002"


def test_userinfo_ignores_a_token_in_the_url(provider: Provider, cameron: SiteClient) -> None:
    """UI-01, UI-05: it counts as no token: 401, without an error code."""
    token = provider.tokens(cameron)["access_token"]
    response = provider.app.test_client().get("/oauth2/userinfo", query_string={"access_token": token})
    assert (response.status_code, response.headers["WWW-Authenticate"]) == (401, "Bearer")


def test_token_in_two_places_is_an_error(provider: Provider, cameron: SiteClient) -> None:
    """UI-02, RFC 6750 §2: 400 invalid_request."""
    token = provider.tokens(cameron)["access_token"]
    response = provider.app.test_client().post(
        "/oauth2/userinfo", data={"access_token": token}, headers={"Authorization": f"Bearer {token}"}
    )
    assert response.status_code == 400
    assert 'error="invalid_request"' in response.headers["WWW-Authenticate"]


def test_invalid_token_is_reported_as_invalid(invalid_token: str, provider: Provider) -> None:
    """UI-05, UI-12: 401 with invalid_token, for any reason."""
    response = provider.userinfo(invalid_token)
    assert response.status_code == 401
    assert 'error="invalid_token"' in response.headers["WWW-Authenticate"]


def test_userinfo_requires_the_openid_scope(provider: Provider) -> None:
    """UI-05: 403 insufficient_scope; userinfo is for OpenID Connect requests."""
    browser = provider.sign_in(scope="fleet.read")
    response = provider.userinfo(provider.tokens(browser, scope="fleet.read")["access_token"])
    assert response.status_code == 403
    assert 'error="insufficient_scope"' in response.headers["WWW-Authenticate"]


def test_demo_users_have_every_standard_claim(provider: Provider) -> None:
    """UI-07, UI-08: non-empty, of the right type."""
    every_name = set(" ".join(SCOPE_CLAIMS.values()).split())
    for user in provider.rows(User):
        claims = user.claims
        assert set(claims) == every_name
        assert all(isinstance(value, bool) or value for value in [*claims.values(), *claims["address"].values()])
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", claims["birthdate"])
        assert re.fullmatch(r"[a-z]{2}-[A-Z]{2}", claims["locale"])
        assert claims["zoneinfo"] in available_timezones()
        assert isinstance(claims["email_verified"], bool)
        assert isinstance(claims["phone_number_verified"], bool)
        assert isinstance(claims["updated_at"], int)
        assert isinstance(claims["address"], dict)
