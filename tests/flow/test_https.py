"""The main stories over https, with a private CA and an issuer with a path, as behind a TLS proxy."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from flask import Flask

import idp as idp_service
import pickup_dispatch
import pickup_manager
from tests.conftest import close, eventually, make_settings, prepared
from tests.flow.conftest import Person, Pickup
from tests.network import Network, WebClient

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

ISSUER = "https://idp.localhost:9443/op"
SERVICES = {"idp": idp_service, "dispatch": pickup_dispatch, "manager": pickup_manager}


def behind_tls(app: Flask) -> "WSGIApplication":
    """What a TLS proxy does: https outside, plain http inside."""

    def proxy(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        assert environ["wsgi.url_scheme"] == "https"
        return app({**environ, "wsgi.url_scheme": "http"}, start_response)

    return proxy


@pytest.fixture
def pickup(tmp_path: Path, network: Network, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pickup]:
    """The three services without the switch for plain http."""
    monkeypatch.delenv("AUTHLIB_INSECURE_TRANSPORT")
    authority = tmp_path / "ca.pem"
    authority.touch()
    settings = make_settings(
        tmp_path,
        demo_plain_http=False,
        ca_bundle=str(authority),
        idp_url=ISSUER,
        dispatch_url="https://dispatch.localhost:8443/pickup-dispatch",
        manager_url="https://manager.localhost:8444/a/b",
    )
    apps = {name: service.create_app(settings) for name, service in SERVICES.items()}
    for name, app in apps.items():
        url = getattr(settings, f"{name}_url")
        network.add(url, behind_tls(prepared(app, url)))
    yield Pickup(settings, network, apps)
    network.release_all()
    for app in apps.values():
        close(app)


def test_issuer_with_a_path_serves_everything_below_it(pickup: Pickup) -> None:
    """Discovery §4.1: also the metadata; nothing is served at the host's root."""
    client = WebClient(pickup.network.wsgi, use_cookies=False)
    found = client.get(f"{ISSUER}/.well-known/openid-configuration").get_json()
    assert found["issuer"] == ISSUER
    addresses = [value for name, value in found.items() if name.endswith(("_endpoint", "_uri"))]
    assert len(addresses) > 7
    assert [url for url in addresses if not url.startswith(ISSUER + "/")] == []
    assert client.get(found["jwks_uri"]).get_json()["keys"]
    elsewhere = client.get("https://idp.localhost:9443/.well-known/openid-configuration")
    assert (elsewhere.status_code, elsewhere.headers["Location"]) == (302, "/op/")


def test_sign_in_and_logout_over_https(pickup: Pickup, network: Network) -> None:
    """Single sign-on and single logout; every call between the services trusts only the private CA."""
    cameron = Person(pickup).signs_in("dispatch")
    assert cameron.opens("manager").url == pickup.url("manager") + "/profile"
    page = cameron.opens("dispatch", "/")  # Dispatch calls Manager, and Manager calls the IdP
    assert "drivers is missing" not in page.text
    assert "plain http" not in page.text, "no banner"
    cameron.logs_out_of("dispatch")
    eventually(lambda: not cameron.is_signed_in_at("manager"), "the logout reached Manager")

    asked = network.exchanges
    assert {exchange.request.origin for exchange in asked} == {
        "https://idp.localhost:9443",
        "https://dispatch.localhost:8443",
        "https://manager.localhost:8444",
    }
    assert {exchange.request.options["verify"] for exchange in asked} == {pickup.settings.ca_bundle}


def test_sibling_domain_cannot_plant_a_cookie(pickup: Pickup) -> None:
    """RFC 6265bis §4.1.3.2: browsers accept a ``__Host-`` cookie only from the host itself, over https.

    It requires Secure, Path=/ and no Domain, even though the proxy sends plain http and the apps have a path.
    """
    cameron = Person(pickup).signs_in("dispatch")
    cameron.opens("manager")
    cookies = list((cameron.browser.client._cookies or {}).values())
    names = {cookie.decoded_key for cookie in cookies}
    own = {"pickup_idp", "pickup_idp_session", "pickup_idp_known", "pickup_dispatch", "pickup_manager"}
    own.add("pickup_manager_frontchannel")  # for chapter 7 of the tutorial
    assert names == {f"__Host-{name}" for name in own}
    assert {(cookie.secure, cookie.path, cookie.origin_only) for cookie in cookies} == {(True, "/", True)}


def test_logout_deletes_the_idps_cookie(pickup: Pickup) -> None:
    """A browser ignores a deletion of a ``__Host-`` cookie that is not Secure itself."""
    cameron = Person(pickup).signs_in("dispatch")
    hint = pickup.login_of("dispatch")["id_token"]
    answer = cameron.browser.client.get(f"{ISSUER}/oidc/logout?id_token_hint={hint}")
    (deletion,) = (value for value in answer.headers.getlist("Set-Cookie") if "pickup_idp_session=" in value)
    assert deletion.startswith("__Host-pickup_idp_session=;")
    assert {"Secure", "Path=/", "Max-Age=0"} <= set(deletion.split("; "))
    assert pickup.sessions() == []
