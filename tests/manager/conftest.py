import json

import pytest

from pickup_web import Settings
from tests.conftest import SignIn, SiteClient
from tests.network import Network


@pytest.fixture(autouse=True)
def introspection(network: Network, settings: Settings) -> str:
    """The introspection endpoint that the metadata names. It reports every token as active."""
    address = f"{settings.idp_url}/anywhere/introspect"
    metadata = {"issuer": settings.idp_url, "introspection_endpoint": address}
    network.answer(f"{settings.idp_url}/.well-known/openid-configuration", 200, json.dumps(metadata))
    network.answer(address, 200, json.dumps({"active": True, "scope": "openid fleet.read"}))
    return address


@pytest.fixture
def fleet_manager(manager_client: SiteClient, sign_in: SignIn) -> SiteClient:
    """Cameron's browser, signed in, with a page open."""
    sign_in(manager_client)
    manager_client.get("/profile")
    return manager_client
