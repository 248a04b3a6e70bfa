"""Behind a proxy: which forwarded headers determine the client's address and the scheme."""

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
    """Dispatch at an https address, behind the given number of proxies."""
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
    """The client address and scheme the service sees for a request from 10.0.0.1; proxies send it plain http."""
    answer = client.get(
        "/dispatch/who",
        base_url="http://dispatch.example",
        headers=headers,
        environ_base={"REMOTE_ADDR": "10.0.0.1"},
    )
    return answer.get_json()


@pytest.mark.parametrize("sent", ["192.0.2.66", "192.0.2.66, 192.0.2.7"])
def test_forwarded_headers_are_ignored_without_a_trusted_proxy(behind: Behind, sent: str) -> None:
    """Forwarded headers are ignored unless the operator configures a proxy."""
    assert who(behind(0), **{"X-Forwarded-For": sent})["address"] == "10.0.0.1"


@pytest.mark.parametrize(("proxies", "address"), [(1, "192.0.2.7"), (2, "192.0.2.8"), (4, "10.0.0.1")])
def test_only_entries_of_trusted_proxies_are_used(behind: Behind, proxies: int, address: str) -> None:
    """Counted from the right; an entry sent by the client is further left."""
    assert who(behind(proxies), **{"X-Forwarded-For": "192.0.2.66, 192.0.2.8, 192.0.2.7"})["address"] == address


@pytest.mark.parametrize("proxies", [0, 1])
def test_headers_do_not_change_the_base_url(behind: Behind, proxies: int) -> None:
    """The proxy speaks plain http to us; the scheme is still that of the base URL."""
    assert who(behind(proxies), **EVERYTHING) == {"address": "10.0.0.1", "url": "https://dispatch.example/dispatch/who"}


def test_service_sends_no_strict_transport_security(behind: Behind) -> None:
    """The proxy sends Strict-Transport-Security. On *.localhost the header would break the plain http demo."""
    assert "Strict-Transport-Security" not in behind(1).get("/").headers
