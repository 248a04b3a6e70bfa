"""The access token that the application gets for an API, and its renewal."""

import pytest
from flask.testing import FlaskClient
from werkzeug import Response

from relying_party import TokenUnavailable, access_token
from tests.conftest import START, Clock
from tests.network import Network, Request
from tests.relying_party.conftest import (
    COOKIE,
    ISSUER,
    Shop,
    json_response,
    who,
)
from tests.relying_party.test_login import ODD_ANSWERS


def ask_for_access_token(shop: Shop, browser: FlaskClient) -> str:
    """The access token a view of the application would get."""
    cookie = browser.get_cookie(COOKIE, "shop.example")
    headers = {"Cookie": f"{COOKIE}={cookie.value}"} if cookie else {}
    with shop.app.test_request_context("/", headers=headers):
        return access_token()


def test_valid_access_token_is_reused(shop: Shop, network: Network) -> None:
    """A valid token is returned without a request."""
    browser = shop.sign_in()
    assert ask_for_access_token(shop, browser) == "access 1"
    assert len(network.to(f"{ISSUER}/token")) == 1


def test_expiring_access_token_is_renewed_and_stored(shop: Shop, network: Network, clock: Clock) -> None:
    """RFC 6749 §6: the refresh token is replaced by the new one; no redirect, no PKCE."""
    browser = shop.sign_in()
    clock.turn(590)
    shop.provider.tokens = {"access_token": "access 2", "refresh_token": "refresh 2", "id_token": None}
    assert ask_for_access_token(shop, browser) == "access 2"
    assert ask_for_access_token(shop, browser) == "access 2"
    sent = network.to(f"{ISSUER}/token")[-1].request.form
    assert (sent["grant_type"], sent["refresh_token"]) == (["refresh_token"], ["refresh 1"])
    assert len(network.to(f"{ISSUER}/token")) == 2
    clock.turn(590)
    ask_for_access_token(shop, browser)
    assert network.to(f"{ISSUER}/token")[-1].request.form["refresh_token"] == ["refresh 2"]


def test_renewed_id_token_must_name_the_same_user(shop: Shop, clock: Clock) -> None:
    """RP-24, Core §12.2: same issuer, same subject; a valid one replaces the hint for logging out."""
    browser = shop.sign_in()
    clock.turn(590)
    for odd in ({"sub": "another user"}, {"auth_time": START + 590}, {"auth_time": START, "nonce": "another"}):
        shop.provider.id_token = odd
        with pytest.raises(TokenUnavailable):
            ask_for_access_token(shop, browser)
    shop.provider.id_token = {"auth_time": START}
    assert ask_for_access_token(shop, browser) == "access 1"


@pytest.mark.parametrize("odd", [name for name in ODD_ANSWERS if name != "no-id-token"])
def test_failed_renewal_is_reported_to_the_application(odd: str, shop: Shop, network: Network, clock: Clock) -> None:
    """The session continues; only requests that need the token fail."""
    browser = shop.sign_in()
    clock.turn(590)
    network.replace(f"{ISSUER}/token", ODD_ANSWERS[odd])
    with pytest.raises(TokenUnavailable):
        ask_for_access_token(shop, browser)
    assert who(browser) == "a user"


def test_anonymous_browser_has_no_access_token(shop: Shop, clock: Clock) -> None:
    """Neither an anonymous browser nor a login without a refresh token."""
    with pytest.raises(TokenUnavailable, match="No user is signed in"):
        ask_for_access_token(shop, shop.browser())
    shop.provider.tokens = {"refresh_token": None}
    browser = shop.sign_in()
    clock.turn(590)
    with pytest.raises(TokenUnavailable, match="has expired"):
        ask_for_access_token(shop, browser)


def test_renewal_does_not_revive_an_ended_session(shop: Shop, network: Network, clock: Clock) -> None:
    """BCL-57: the logout arrives while the provider is asked for a new access token."""
    browser = shop.sign_in()
    clock.turn(590)
    token = shop.provider.maker().logout_token()

    def meanwhile(_: Request) -> Response:
        assert shop.log_out(token).status_code == 200
        return json_response({"access_token": "access 2", "token_type": "Bearer"})

    network.replace(f"{ISSUER}/token", meanwhile)
    ask_for_access_token(shop, browser)
    assert who(browser) == "anonymous"
    (row,) = shop.rows()
    assert row.login is None
