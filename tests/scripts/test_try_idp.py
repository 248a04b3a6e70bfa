"""``make up APPS=only`` tells in a line each what the IdP lacks for an app."""

import json
import runpy
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from pickup_web import Settings
from tests.network import Network

SCRIPT: dict[str, Any] = runpy.run_path(str(Path(__file__).parents[2] / "scripts/try_idp.py"))
WANTED, findings = SCRIPT["WANTED"], SCRIPT["findings"]


@pytest.fixture
def issuer(settings: Settings) -> str:
    return settings.idp_url


def describe(network: Network, issuer: str, **members: object) -> None:
    """The IdP's metadata and keys."""
    document = {
        "issuer": issuer,
        "jwks_uri": f"{issuer}/keys",
        "authorization_endpoint": f"{issuer}/authorize",
        **members,
    }
    network.answer(f"{issuer}/.well-known/openid-configuration", 200, json.dumps(document))
    network.answer(f"{issuer}/keys", 200, json.dumps({"keys": []}))


def missing(app: Flask) -> list[str]:
    """The lines that do not say OK."""
    return [text for is_good, text in findings(app) if not is_good]


def test_idp_that_offers_all_and_knows_the_app_has_no_finding(dispatch: Flask, network: Network, issuer: str) -> None:
    describe(network, issuer, **dict.fromkeys(WANTED, True))
    callback = f"{dispatch.config['TEST_BASE_URL']}/oauth2client"
    network.answer(f"{issuer}/authorize", 302, "", {"Location": f"{callback}?error=login_required"})
    assert missing(dispatch) == []
    (request,) = [exchange.request for exchange in network.exchanges if "/authorize" in exchange.request.url]
    assert "prompt=none" in request.url


def test_each_member_that_the_metadata_lacks_is_named(dispatch: Flask, network: Network, issuer: str) -> None:
    describe(network, issuer)
    network.answer(f"{issuer}/authorize", 400, "unknown client")
    found = missing(dispatch)
    assert [text.partition(":")[0] for text in found[:-1]] == list(WANTED)
    assert found[-1] == "client id and redirect URI: not registered, it answered 400"


def test_error_that_is_sent_back_is_named(dispatch: Flask, network: Network, issuer: str) -> None:
    describe(network, issuer, **dict.fromkeys(WANTED, True))
    callback = f"{dispatch.config['TEST_BASE_URL']}/oauth2client"
    network.answer(f"{issuer}/authorize", 302, "", {"Location": f"{callback}?error=invalid_scope"})
    assert missing(dispatch) == ["client id and redirect URI are registered, but it refuses the request: invalid_scope"]


def test_idp_that_cannot_be_reached_is_one_finding(dispatch: Flask, network: Network, issuer: str) -> None:
    network.refuse(f"{issuer}/.well-known/openid-configuration")
    (line,) = missing(dispatch)
    assert "cannot be reached" in line
