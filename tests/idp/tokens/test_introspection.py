"""Introspection and revocation (RFC 7662, RFC 7009)."""

import pytest

from idp.tokens.token_store import ACCESS_SECONDS
from tests.conftest import START, SiteClient
from tests.idp.conftest import DISPATCH, MANAGER, Provider
from tests.idp.flow.test_token import assert_refused

# --- introspection ---


def test_api_can_introspect_any_token(provider: Provider, cameron: SiteClient) -> None:
    """INT-01: the token's properties, not cacheable."""
    token = provider.tokens(cameron)["access_token"]
    response = provider.post("/oauth2/introspect", MANAGER, token=token, token_type_hint="access_token")
    assert response.headers["Cache-Control"] == "no-store"
    assert response.get_json() == {
        "active": True,
        "scope": "openid profile email phone fleet.read",
        "client_id": DISPATCH,
        "token_type": "Bearer",
        "exp": START + ACCESS_SECONDS,
        "iat": START,
        "sub": "248289761002",
        "iss": provider.issuer,
    }


def test_other_client_can_introspect_only_its_own_tokens(provider: Provider, cameron: SiteClient) -> None:
    """INT-02: another client's token is inactive for it, without further information."""
    own, others = (provider.tokens(cameron, client_id)["access_token"] for client_id in (DISPATCH, MANAGER))
    assert provider.post("/oauth2/introspect", DISPATCH, token=own).get_json()["active"] is True
    assert provider.post("/oauth2/introspect", DISPATCH, token=others).get_json() == {"active": False}


def test_invalid_token_is_reported_only_as_inactive(invalid_token: str, provider: Provider) -> None:
    """INT-01: {"active": false}, without a reason; so a logout applies immediately at an API."""
    response = provider.post("/oauth2/introspect", MANAGER, token=invalid_token)
    assert (response.status_code, response.get_json()) == (200, {"active": False})


# --- revocation ---


@pytest.mark.parametrize("which", ["access_token", "refresh_token"])
@pytest.mark.parametrize("hint", [None, "access_token", "refresh_token"])
def test_revoking_either_token_revokes_the_pair(
    which: str, hint: str | None, provider: Provider, cameron: SiteClient
) -> None:
    """REV-01, REV-02: a wrong hint does not matter."""
    tokens = provider.tokens(cameron)
    assert provider.post("/oauth2/revoke", token=tokens[which], token_type_hint=hint).status_code == 200
    assert not provider.works(tokens["access_token"])
    assert_refused(provider.refresh(tokens["refresh_token"]), "invalid_grant")


def test_revoking_an_unknown_or_foreign_token_changes_nothing(provider: Provider, cameron: SiteClient) -> None:
    """REV-01, RFC 7009 §2.2: 200; the other client's token stays valid."""
    token = provider.tokens(cameron)["access_token"]
    assert provider.post("/oauth2/revoke", DISPATCH, token="made up").status_code == 200
    assert provider.post("/oauth2/revoke", MANAGER, token=token).status_code == 200
    assert provider.works(token)


@pytest.mark.parametrize("path", ["/oauth2/introspect", "/oauth2/revoke"])
def test_request_without_a_token_is_an_error(path: str, provider: Provider) -> None:
    """REV-01, INT-01: invalid_request."""
    assert_refused(provider.post(path), "invalid_request")
