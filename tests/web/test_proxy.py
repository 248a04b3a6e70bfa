"""Behind a proxy: whose word counts about who asks, and by which scheme."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import request

import pickup_dispatch
from tests.conftest import SiteClient, client_of, close, make_settings, prepared

Behind = Callable[[int], SiteClient]
EVERYTHING = {
    "X-Forwarded-Proto": "gopher",
    "X-Forwarded-Host": "evil.example",
    "X-Forwarded-Port": "1",
    "X-Forwarded-Prefix": "/evil",
    "Forwarded": "for=192.0.2.66;host=evil.example;proto=gopher",
    "X-Real-IP": "192.0.2.66",
}


@pytest.fixture
def behind(tmp_path: Path) -> Iterator[Behind]:
    """Dispatch at an https address, behind so many proxies."""
    apps = []

    def start(proxies: int) -> SiteClient:
        urls = {f"{name}_url": f"https://{name}.example/{name}" for name in ("idp", "dispatch", "manager")}
        settings = make_settings(tmp_path, demo_plain_http=False, trusted_proxies=proxies, **urls)
        app = pickup_dispatch.create_app(settings)
        app.add_url_rule("/who", "who", lambda: {"address": request.remote_addr, "url": request.url})
        apps.append(app)
        return client_of(prepared(app, settings.dispatch_url))

    yield start
    for app in apps:
        close(app)


def who(client: SiteClient, **headers: str) -> Any:
    """What the service thinks of a request from 10.0.0.1, which is plain http, as a proxy's are."""
    answer = client.get(
        "/dispatch/who",
        base_url="http://dispatch.example",
        headers=headers,
        environ_base={"REMOTE_ADDR": "10.0.0.1"},
    )
    return answer.get_json()


@pytest.mark.parametrize("sent", ["192.0.2.66", "192.0.2.66, 192.0.2.7"])
def test_without_a_trusted_proxy_nobody_can_claim_an_address(behind: Behind, sent: str) -> None:
    """Forwarded headers are ignored unless the operator says that there is a proxy."""
    assert who(behind(0), **{"X-Forwarded-For": sent})["address"] == "10.0.0.1"


@pytest.mark.parametrize(("proxies", "address"), [(1, "192.0.2.7"), (2, "192.0.2.8"), (4, "10.0.0.1")])
def test_only_what_the_trusted_proxies_wrote_is_believed(behind: Behind, proxies: int, address: str) -> None:
    """Counted from the right; what the client itself wrote stands further left."""
    assert who(behind(proxies), **{"X-Forwarded-For": "192.0.2.66, 192.0.2.8, 192.0.2.7"})["address"] == address


@pytest.mark.parametrize("proxies", [0, 1])
def test_the_address_of_a_service_is_a_setting_and_no_header_changes_it(behind: Behind, proxies: int) -> None:
    """The proxy speaks plain http with us; the scheme is that of the base URL all the same."""
    assert who(behind(proxies), **EVERYTHING) == {"address": "10.0.0.1", "url": "https://dispatch.example/dispatch/who"}


def test_no_header_binds_the_browser_to_https(behind: Behind) -> None:
    """Strict transport security is the proxy's to say. On *.localhost it would end the plain http demo."""
    assert "Strict-Transport-Security" not in behind(1).get("/").headers
