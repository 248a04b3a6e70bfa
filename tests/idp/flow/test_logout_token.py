"""The logout token that the IdP creates: Back-Channel Logout 1.0 §2.4."""

from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from idp.flow.logout_token import LOGOUT_EVENT, SECONDS, TYPE, logout_token_claims
from tests.conftest import START, SiteClient
from tests.idp.conftest import DISPATCH, MANAGER, Provider
from tests.tokens import read


def make(reason: str | None = None) -> dict[str, Any]:
    """The claims for one client."""
    return logout_token_claims(
        issuer="https://op.example", client_id="the client", sub="u", sid="s", now=START, reason=reason
    )


def test_claims_are_exactly_those_of_the_specification() -> None:
    """BCL-12 … BCL-18, BCL-23: iss, aud, iat, exp, jti, events, sub, sid."""
    claims = make()
    assert claims.pop("jti")
    assert claims == {
        "iss": "https://op.example",
        "aud": "the client",
        "iat": START,
        "exp": START + 120,
        "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
        "sub": "u",
        "sid": "s",
    }


def test_token_has_no_nonce() -> None:
    """BCL-20."""
    assert "nonce" not in make(reason="Because.")


def test_logout_token_is_valid_for_two_minutes() -> None:
    """BCL-15: limits the use of a stolen token."""
    assert SECONDS <= 120


def test_each_attempt_has_its_own_jti() -> None:
    """BCL-16: a retry must not look like a replay; 128 random bits."""
    values = {str(make()["jti"]) for _ in range(100)}
    assert len(values) == 100
    assert min(map(len, values)) >= 22


def test_event_has_the_exact_name_and_an_empty_object() -> None:
    """BCL-17, TRAP-01, TRAP-03: http, not https; one member; "events", not "event"."""
    claims = make()
    assert claims["events"] == {LOGOUT_EVENT: {}}
    assert "event" not in claims


def test_reason_is_added_only_if_given() -> None:
    """BCL-23: by default nothing is added."""
    assert "reason_user" not in make()
    assert make(reason="Because.")["reason_user"] == {"en": "Because."}


# --- as it is sent ---


def test_sent_token_is_signed_like_an_id_token_and_typed(provider: Provider, cameron: SiteClient) -> None:
    """BCL-11, BCL-18, BCL-21: a published key, the client's algorithm, typ logout+jwt; sub and sid of the ID token."""
    id_token = provider.tokens(cameron)["id_token"]
    provider.end_session(cameron, id_token_hint=id_token)
    (raw,) = provider.network.logout_tokens(f"{provider.url(DISPATCH)}/bclogout")
    header, claims = read(raw)
    assert header == {"alg": "RS256", "kid": read(id_token)[0]["kid"], "typ": TYPE}
    assert TYPE == "logout+jwt"
    assert (claims["sub"], claims["sid"]) == (read(id_token)[1]["sub"], read(id_token)[1]["sid"])
    assert claims["iss"] == provider.issuer
    published = KeySet.import_key_set(provider.browser().get("/oauth2/jwks").get_json())
    jwt.decode(raw, published, algorithms=["RS256"])


def test_each_app_gets_its_own_token(provider: Provider, cameron: SiteClient) -> None:
    """BCL-13: aud names one client, so the token is useless at another."""
    provider.end_session(cameron, id_token_hint=provider.tokens(cameron)["id_token"])
    for client_id in (DISPATCH, MANAGER):
        (claims,) = provider.logout_tokens(client_id)
        assert claims["aud"] == client_id


@pytest.mark.parametrize(
    ("first_party", "reason"), [(True, {"en": "You logged out of Pickup Dispatch."}), (False, None)]
)
def test_only_first_party_apps_get_the_reason(
    first_party: bool, reason: object, provider: Provider, cameron: SiteClient
) -> None:
    """BCL-23: the reason reveals which other app the user left."""
    provider.change_client(MANAGER, tell_logout_reason=first_party)
    provider.end_session(cameron, id_token_hint=provider.tokens(cameron, DISPATCH)["id_token"])
    (claims,) = provider.logout_tokens(MANAGER)
    assert claims.get("reason_user") == reason


def test_logout_token_is_rejected_as_a_hint(provider: Provider, cameron: SiteClient) -> None:
    """BCL-68, RPL-17: an app that received one cannot use it to end another session."""
    provider.end_session(cameron, id_token_hint=provider.tokens(cameron)["id_token"])
    (raw,) = provider.network.logout_tokens(f"{provider.url(DISPATCH)}/bclogout")
    again = provider.sign_in()
    response = provider.end_session(again, id_token_hint=raw)
    assert response.status_code == 400
    assert "not an ID token" in response.text
