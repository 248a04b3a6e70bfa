import json

import pytest

from pickup_web import Settings
from tests.conftest import SignIn, SiteClient
from tests.network import Network


@pytest.fixture(autouse=True)
def introspection(network: Network, settings: Settings) -> str:
    """The introspection endpoint, which reports every token as active."""
    address = f"{settings.idp_url}/oauth2/introspect"
    network.answer(address, 200, json.dumps({"active": True, "scope": "openid fleet.read"}))
    return address


@pytest.fixture
def fleet_manager(manager_client: SiteClient, sign_in: SignIn) -> SiteClient:
    """Cameron's browser, signed in, with a page open."""
    sign_in(manager_client)
    manager_client.get("/profile")
    return manager_client
