"""Two apps under test, each served on a free port of localhost, and registered at the identity provider."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import app_with_authlib
import app_with_extension
import pytest
from flask import Flask
from werkzeug.serving import make_server

from pickup_testing import Idp

Create = Callable[..., Flask]


@dataclass
class App:
    """An app under test."""

    client_id: str
    url: str


@pytest.fixture(scope="session", params=[app_with_extension, app_with_authlib], ids=["extension", "authlib"])
def app(request: pytest.FixtureRequest, pickup_idp: Idp, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    """The app, with its own client at the IdP."""
    module, client_id = request.param, request.param.__name__.replace("_", "-")
    server = make_server("127.0.0.1", 0, Flask("not yet"), threaded=True)
    url = f"http://localhost:{server.port}"
    pickup_idp.add_client(
        client_id,
        f"{client_id}-secret",
        redirect_uris=[url + module.CALLBACK],
        backchannel_logout_uri=url + module.BACKCHANNEL,
        post_logout_redirect_uris=[f"{url}/logged-out"],
    )
    server.app = module.create_app(
        pickup_idp.issuer, client_id, f"{client_id}-secret", url, tmp_path_factory.mktemp("app")
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield App(client_id, url)
    server.shutdown()


@pytest.fixture(scope="session", autouse=True)
def people(pickup_idp: Idp) -> None:
    """Those who sign in."""
    pickup_idp.add_person("zoe", sub="zoe-1", claims={"name": "Zoe Abel", "email": "zoe@example.com", "level": 3})
    pickup_idp.add_person("yan", claims={"name": "Yan Li"})
