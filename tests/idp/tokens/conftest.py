"""What the endpoints that take an access token must reject."""

import pytest

from idp.tokens.token_store import ACCESS_SECONDS
from tests.conftest import Clock, SiteClient
from tests.idp.conftest import Provider


@pytest.fixture(params=["made-up", "refresh-token", "expired", "revoked", "session-ended"])
def invalid_token(request: pytest.FixtureRequest, provider: Provider, cameron: SiteClient, clock: Clock) -> str:
    """A value that is no valid access token, for each reason there is."""
    tokens = provider.tokens(cameron)
    if request.param == "expired":
        clock.turn(ACCESS_SECONDS)
    elif request.param == "revoked":
        provider.post("/oauth2/revoke", token=tokens["access_token"])
    elif request.param == "session-ended":
        provider.end_session(cameron, id_token_hint=tokens["id_token"])
    other = {"made-up": "made up", "refresh-token": tokens["refresh_token"]}
    return str(other.get(request.param, tokens["access_token"]))
