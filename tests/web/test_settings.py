"""The settings: consistent defaults, and a clear error for each value that cannot work."""

from pathlib import Path
from typing import Any

import pytest

from pickup_web.settings import Settings, load_settings
from tests.conftest import make_settings

REQUIRED = {
    "PICKUP_SECRET_KEY": "k",
    "PICKUP_DISPATCH_CLIENT_SECRET": "d",
    "PICKUP_MANAGER_CLIENT_SECRET": "m",
    "PICKUP_DEMO_PASSWORD": "p",
}


def test_addresses_come_from_the_ports(tmp_path: Path) -> None:
    """One setting per address, each with a default; each service's database is a separate file."""
    settings = make_settings(tmp_path, idp_port=1001, dispatch_port=1002, manager_port=1003, learn_port=1004)
    assert settings.idp_url == "http://idp.localhost:1001"
    assert settings.dispatch_url == "http://dispatch.localhost:1002/pickup-dispatch"
    assert settings.manager_url == "http://manager.localhost:1003/pickup-manager"
    assert settings.learn_url == "http://learn.localhost:1004"
    for name in ("idp", "dispatch", "manager", "learn"):
        assert getattr(settings, f"{name}_database_url") == f"sqlite:///{tmp_path}/{name}.db"


def test_configured_address_overrides_the_default(tmp_path: Path) -> None:
    """Behind a proxy, on another host, below another path."""
    settings = make_settings(tmp_path, idp_url="https://login.example", dispatch_url="https://d.example/a/b")
    assert (settings.idp_url, settings.dispatch_url) == ("https://login.example", "https://d.example/a/b")


def test_issuer_of_another_product_may_end_with_a_slash(tmp_path: Path) -> None:
    """The issuer is compared character by character, so the slash must be kept."""
    settings = make_settings(tmp_path, idp_url="https://login.example/", other_idp=True)
    assert settings.idp_url == "https://login.example/"
    with pytest.raises(ValueError, match="leave out the slash at the end"):
        make_settings(tmp_path, idp_url="https://login.example/")


def test_pages_of_another_idp_are_origins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PICKUP_IDP_PAGES", "https://a.example https://b.example")
    assert make_settings(tmp_path).idp_pages == ("https://a.example", "https://b.example")
    monkeypatch.setenv("PICKUP_IDP_PAGES", "login.example")
    with pytest.raises(ValueError, match=r"PICKUP_IDP_PAGES is 'login\.example'"):
        make_settings(tmp_path)


def test_scope_none_is_no_scope(tmp_path: Path) -> None:
    """An empty variable counts as not set."""
    assert make_settings(tmp_path, drivers_scope="none").drivers_scope == ""


@pytest.mark.parametrize("secret", list(REQUIRED))
def test_missing_secret_stops_the_start(secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No secret has a default; an empty one counts as missing."""
    for name, value in {**REQUIRED, "PICKUP_DEMO_PLAIN_HTTP": "true", secret: ""}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit, match=f"{secret}: is not set; `make up` creates it"):
        load_settings("idp")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("PICKUP_IDP_PORT", "0", "PICKUP_IDP_PORT: .*greater than or equal to 1"),
        ("PICKUP_IDP_PORT", "http", "PICKUP_IDP_PORT: .*integer"),
        ("PICKUP_IDP_URL", "idp.example", "PICKUP_IDP_URL is 'idp.example'; it must be an absolute"),
        ("PICKUP_IDP_URL", "https://idp.example/", "leave out the slash at the end"),
        ("PICKUP_IDP_URL", "https://idp.example/?a=b", "must be an absolute http"),
        ("PICKUP_LOGOUT_WAIT", "-1", "PICKUP_LOGOUT_WAIT: "),
        ("PICKUP_CA_BUNDLE", "no/such.pem", "PICKUP_CA_BUNDLE is 'no/such.pem'; there is no such file"),
        ("PICKUP_TRUSTED_PROXIES", "-1", "PICKUP_TRUSTED_PROXIES: "),
        ("PICKUP_METRICS_LISTEN", "9464", "PICKUP_METRICS_LISTEN is '9464'; it must be an address and a port"),
        ("PICKUP_METRICS_LISTEN", "127.0.0.1:http", "PICKUP_METRICS_LISTEN is '127.0.0.1:http'; it must be"),
        ("PICKUP_DELETE_TOKENS_ON_LOGOUT", "some", "PICKUP_DELETE_TOKENS_ON_LOGOUT: "),
    ],
)
def test_invalid_value_stops_the_start_with_a_message(
    name: str, value: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message names the variable."""
    for known, good in {**REQUIRED, "PICKUP_DEMO_PLAIN_HTTP": "true", name: value}.items():
        monkeypatch.setenv(known, good)
    with pytest.raises(SystemExit, match=says):
        load_settings("idp")


def test_plain_http_is_off_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """DEC-07: without it the default addresses are rejected, and the message says how to allow them."""
    for name, value in REQUIRED.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit, match="set PICKUP_DEMO_PLAIN_HTTP=true"):
        load_settings("idp")
    monkeypatch.setenv("PICKUP_DEMO_PLAIN_HTTP", "true")
    assert load_settings("idp").demo_plain_http


def test_printed_settings_hide_secrets(tmp_path: Path) -> None:
    """BCL-70: a traceback or a debug line discloses no secret."""
    settings = make_settings(tmp_path)
    shown = repr(settings) + str(settings.model_dump())
    for name in ("secret_key", "dispatch_client_secret", "manager_client_secret", "demo_password"):
        secret: Any = getattr(settings, name)
        assert secret.get_secret_value() not in shown


def test_every_setting_has_a_description() -> None:
    """Every setting has a type and a description."""
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []
