import json

import pytest

from pickup_web import Settings
from tests.conftest import SignIn, SiteClient
from tests.network import Network

DRIVERS = [{"id": "D0072", "name": "Tiger Nixon"}, {"id": "D0009", "name": "Brielle Williamson"}]


@pytest.fixture(autouse=True)
def drivers_api(network: Network, settings: Settings) -> str:
    """The address of Manager's list, which holds two drivers."""
    address = f"{settings.manager_url}/api/drivers"
    network.answer(address, 200, json.dumps({"drivers": DRIVERS}))
    return address


@pytest.fixture
def dispatcher(dispatch_client: SiteClient, sign_in: SignIn) -> SiteClient:
    """Cameron's browser, signed in, with a page open."""
    sign_in(dispatch_client, access_token="the access token")
    dispatch_client.get("/profile")
    return dispatch_client
