"""``make up APPS=only`` tells in a line each what the IdP lacks for an app."""

import json
import runpy
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response

from pickup_web import Settings
from tests.network import Network, Request

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


def complete(base: str) -> dict[str, object]:
    """Metadata that lacks nothing."""
    return dict.fromkeys(WANTED, True) | {"end_session_endpoint": f"{base}/logout"}


def missing(app: Flask) -> list[str]:
    """The lines that do not say OK."""
    return [text for is_good, text in findings(app) if not is_good]


def test_idp_that_offers_all_and_knows_the_app_has_no_finding(dispatch: Flask, network: Network, issuer: str) -> None:
    describe(network, issuer, **complete(issuer))
    callback = f"{dispatch.config['TEST_BASE_URL']}/oauth2client"
    network.answer(f"{issuer}/authorize", 302, "", {"Location": f"{callback}?error=login_required"})
    assert missing(dispatch) == []
    first, second = [exchange.request for exchange in network.exchanges if "/authorize" in exchange.request.url]
    assert "prompt=none" in first.url
    assert "prompt" not in second.url


def test_each_member_that_the_metadata_lacks_is_named(dispatch: Flask, network: Network, issuer: str) -> None:
    describe(network, issuer)
    network.answer(f"{issuer}/authorize", 400, "unknown client")
    found = missing(dispatch)
    assert [text.partition(" is not in the metadata.")[0] for text in found[:-1]] == list(WANTED)
    assert found[-1] == "client id and redirect URI: not registered, it answered 400"


def test_error_that_is_sent_back_is_named(dispatch: Flask, network: Network, issuer: str) -> None:
    describe(network, issuer, **complete(issuer))
    callback = f"{dispatch.config['TEST_BASE_URL']}/oauth2client"
    network.answer(f"{issuer}/authorize", 302, "", {"Location": f"{callback}?error=invalid_scope"})
    assert missing(dispatch) == ["client id and redirect URI are registered, but it refuses the request: invalid_scope"]


def test_idp_that_ignores_prompt_none_may_know_the_app(dispatch: Flask, network: Network, issuer: str) -> None:
    describe(network, issuer, **complete(issuer))

    def authorize(request: Request) -> Response:
        if "client_id=pickup-dispatch&" in f"{request.url}&":
            return Response(status=302, headers={"Location": "/login?req=1"})
        return Response("Invalid client", status=404)

    network.replace(f"{issuer}/authorize", authorize)
    assert missing(dispatch) == []


def test_idp_that_redirects_to_an_error_page_does_not_know_the_app(
    dispatch: Flask, network: Network, issuer: str
) -> None:
    describe(network, issuer, **complete(issuer))
    network.answer(f"{issuer}/authorize", 302, "", {"Location": "/error?code=1"})
    assert missing(dispatch) == ["client id and redirect URI: not registered, it answered 302"]


def test_idp_whose_pages_are_elsewhere_needs_their_origin(dispatch: Flask, network: Network, issuer: str) -> None:
    describe(network, issuer, **complete("http://api.login.test"))
    callback = f"{dispatch.config['TEST_BASE_URL']}/oauth2client"

    def authorize(request: Request) -> Response:
        error, login = f"{callback}?error=login_required", "http://pages.login.test/login?challenge=1"
        return Response(status=302, headers={"Location": error if "prompt=none" in request.url else login})

    network.replace(f"{issuer}/authorize", authorize)
    (line,) = missing(dispatch)
    both = "http://api.login.test http://pages.login.test"
    assert line.startswith(f'PICKUP_IDP_PAGES="{both}" in .env')
    assert not [text for is_good, text in findings(dispatch, both.split()) if not is_good]


def test_without_a_scope_for_it_no_introspection_is_asked_for(dispatch: Flask, network: Network, issuer: str) -> None:
    dispatch.config["DRIVERS_SCOPE"] = ""
    describe(network, issuer)
    network.answer(f"{issuer}/authorize", 400, "unknown client")
    assert not [text for text in missing(dispatch) if "introspection" in text]


def test_idp_that_cannot_be_reached_is_one_finding(dispatch: Flask, network: Network, issuer: str) -> None:
    network.refuse(f"{issuer}/.well-known/openid-configuration")
    (line,) = missing(dispatch)
    assert "cannot be reached" in line
