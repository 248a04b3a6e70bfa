"""The certificate of `make up TLS=1`."""

import runpy
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store

ROOT = Path(__file__).parent.parent
NAMES = {name.upper(): f"{name}.localhost" for name in ("idp", "dispatch", "manager", "learn")}


class Folders:
    """Where the key is, and where the authority is shown."""

    def __init__(self, folder: Path) -> None:
        self.private, self.public = folder / "tls", folder / "ca"
        self.private.mkdir()
        self.public.mkdir()
        self.script: dict[str, Any] = runpy.run_path(str(ROOT / "scripts/tls.py"))

    def prepare(self) -> bytes:
        """As at each start; returns key and certificates."""
        self.script["main"](self.private, self.public)
        return (self.private / "server.pem").read_bytes()


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folders:
    for port, (service, name) in enumerate(NAMES.items(), 9001):
        monkeypatch.setenv(f"PICKUP_{service}_URL", f"https://{name}:{port}/path")
        monkeypatch.setenv(f"PICKUP_{service}_PORT", str(port))
    return Folders(tmp_path)


@pytest.mark.parametrize("name", list(NAMES.values()))
def test_authority_vouches_for_the_four_addresses(folders: Folders, name: str) -> None:
    """Checked as strictly as a browser does (RFC 5280)."""
    own, authority = x509.load_pem_x509_certificates(folders.prepare())
    (shown,) = x509.load_pem_x509_certificates((folders.public / "ca.pem").read_bytes())
    assert shown == authority
    moment = datetime.now(UTC) + timedelta(minutes=1)
    verifier = PolicyBuilder().store(Store([shown])).time(moment).build_server_verifier(x509.DNSName(name))
    assert verifier.verify(own, []) == [own, shown]


def test_private_keys_are_for_their_owner_and_the_authoritys_is_nowhere(folders: Folders) -> None:
    """One key, in one file, mode 600."""
    folders.prepare()
    files = [path for path in folders.private.parent.rglob("*") if path.is_file()]
    with_key = [path for path in files if b"PRIVATE KEY" in path.read_bytes()]
    assert [path.name for path in with_key] == ["server.pem"]
    assert with_key[0].read_bytes().count(b"BEGIN PRIVATE KEY") == 1
    assert stat.S_IMODE(with_key[0].stat().st_mode) == 0o600


def test_second_start_keeps_the_certificate_unless_a_name_changed(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who imported the authority need not do so again."""
    first = folders.prepare()
    assert folders.prepare() == first
    monkeypatch.setenv("PICKUP_IDP_URL", "https://login.cab.example")
    assert folders.prepare() != first


def test_nginx_has_the_ports_of_the_addresses(folders: Folders) -> None:
    """The same four ports, outside and inside."""
    folders.prepare()
    settings = (folders.private / "nginx.conf").read_text("utf-8")
    assert "listen 9001 ssl" in settings
    assert "9003 http://manager:9003;" in settings
    assert "@" not in settings.replace("at signs", "")


def test_without_tls_nginx_has_the_same_ports_and_no_certificate(
    folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For replicas behind plain http."""
    monkeypatch.setenv("NGINX_SCHEME", "http")
    folders.script["main"](folders.private, folders.public)
    assert [path.name for path in folders.private.iterdir()] == ["nginx.conf"]
    settings = (folders.private / "nginx.conf").read_text("utf-8")
    assert "listen 9001;" in settings
    assert "ssl" not in settings
    assert "http2" not in settings
