"""The one door for requests to addresses that clients name: where it leads, and where it never leads."""

import gzip
import ipaddress
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPResponse
from urllib3.connection import HTTPConnection
from urllib3.exceptions import HTTPError

from idp import fetch
from idp.delivery import MAX_ANSWER
from idp.fetch import (
    MAX_DOCUMENT,
    TIMEOUT,
    Door,
    FetchError,
    PrivateAddressError,
    PublicHTTPConnection,
    PublicHTTPPool,
    PublicHTTPSConnection,
    PublicHTTPSPool,
    require_public_address,
)
from tests.conftest import Clock, SiteClient, eventually
from tests.idp.conftest import MANAGER, Provider
from tests.idp.parties import SHOP, Registrar
from tests.network import Network

really_connect = HTTPAdapter.send  # before the tests' network takes its place
STRICT = Door(allow_plain_http=False, allow_private_addresses=False)
DEMO = Door(allow_plain_http=True, allow_private_addresses=True)

# --- the address itself ---

NEVER = {
    "no-scheme": "shop.example/x",
    "relative": "/x",
    "empty": "",
    "file": "file:///etc/passwd",
    "gopher": "gopher://shop.example/x",
    "ftp": "ftp://shop.example/x",
    "javascript": "javascript:alert(1)",
    "no-host": "https:///x",
    "user": "https://user@shop.example/",
    "user-and-password": "https://user:pass@shop.example/",
    "user-empty": "https://@shop.example/",
    "user-looks-like-host": "https://shop.example:443@evil.example/",
    "backslash": "https://shop.example\\@evil.example/",
    "line-end": "https://shop.example/\r\nHost: evil.example",
    "line-end-in-host": "https://shop.example\n.evil.example/",
    "space": "https://shop.example/a b",
    "tab": "https://shop.exam\tple/",
    "nul": "https://shop.example/\x00",
    "port-too-large": "https://shop.example:65536/",
    "port-a-word": "https://shop.example:https/",
    "port-empty": "https://shop.example:/",
    "bracket": "https://[::1/",
    "bracket-word": "https://[shop.example]/",
    "zone": "https://[fe80::1%25eth0]/",
    "semicolon": "https://shop.example;script-src/",
    "comma": "https://shop.example,evil.example/",
    "quote": "https://shop.example'/",
    "star": "https://*.shop.example/",
    "not-ascii": "https://shöp.example/",
    "not-ascii-path": "https://shop.example/ü",
    "half-a-character": "https://shop.example/\ud800",
}


@pytest.mark.parametrize("url", NEVER.values(), ids=NEVER)
@pytest.mark.parametrize("door", [STRICT, DEMO], ids=["strict", "demo"])
def test_an_address_that_is_none_is_refused_by_either_door(door: Door, url: str) -> None:
    """BCL-69: no demo switch lets these in; the text says why, in words that fit after "the address"."""
    with pytest.raises(FetchError, match=r"^(is|has|contains) "):
        door.check(url)
    with pytest.raises(FetchError):
        door.get(url)


@pytest.mark.parametrize(
    "url",
    ["https://shop.example", "https://shop.example:8443/a?b=c&d#e", "https://[2606:4700::1111]:443/", "HTTPS://A.B/"],
)
def test_a_good_address_passes(url: str) -> None:
    """BCL-07: with a port, a query, a path."""
    STRICT.check(url)


def test_plain_http_is_a_switch() -> None:
    """BCL-08: off by default."""
    DEMO.check("http://shop.example/")
    with pytest.raises(FetchError, match="not an https URL"):
        STRICT.check("http://shop.example/")


# --- the machine it leads to ---

PRIVATE = {
    "loopback": "127.0.0.1",
    "loopback-other": "127.8.9.10",
    "this-host": "0.0.0.0",  # noqa: S104 # nobody binds it
    "ten": "10.1.2.3",
    "one-seven-two": "172.16.0.1",
    "one-nine-two": "192.168.1.1",
    "carrier": "100.64.0.1",
    "link-local": "169.254.169.254",
    "multicast": "224.0.0.1",
    "broadcast": "255.255.255.255",
    "documentation": "192.0.2.1",
    "benchmark": "198.18.0.1",
    "reserved": "240.0.0.1",
    "loopback-6": "::1",
    "any-6": "::",
    "unique-local-6": "fd00::1",
    "link-local-6": "fe80::1",
    "link-local-6-with-zone": "fe80::1%eth0",
    "site-local-6": "fec0::1",
    "multicast-6": "ff02::1",
    "multicast-6-global": "ff0e::1",
    "documentation-6": "2001:db8::1",
    "mapped-loopback": "::ffff:127.0.0.1",
    "mapped-ten": "::ffff:10.0.0.1",
    "mapped-metadata": "::ffff:a9fe:a9fe",
    "compatible-loopback": "::127.0.0.1",
    "translated-loopback": "64:ff9b::7f00:1",
    "translated-ten": "64:ff9b::a00:1",
    "tunnelled-loopback": "2002:7f00:1::",
    "tunnelled-ten": "2002:a00:1::1",
}
PUBLIC = ["8.8.8.8", "93.184.216.34", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]


@pytest.mark.parametrize("address", PRIVATE.values(), ids=PRIVATE)
def test_no_machine_of_our_own_network_is_called(address: str) -> None:
    """BCL-69: private, loopback, link-local, multicast, reserved; also inside an IPv6 address."""
    with pytest.raises(PrivateAddressError):
        require_public_address(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_public_machines_are_called(address: str) -> None:
    """BCL-69: control."""
    require_public_address(address)


@dataclass
class Wire:
    """DNS and the machines behind it, made of paper."""

    answers: dict[str, list[str]]
    connected: list[str]
    peer: str = ""  # where the connection really leads, if not to the first answer

    def getaddrinfo(self, host: str, *_: Any, **__: Any) -> list[Any]:
        """In place of the resolver."""
        if any(not label or len(label) > 63 for label in host.split(".")) and ":" not in host:
            raise UnicodeError("label empty or too long")
        try:
            found = [str(ipaddress.ip_address(host))]
        except ValueError:
            found = self.answers.get(host, [])
        if not found:
            raise socket.gaierror(-2, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in found]

    def new_connection(self, connection: HTTPConnection) -> Any:
        """In place of a real socket."""
        self.connected.append(connection.host)
        peer = self.peer or self.answers.get(connection.host, [connection.host])[0]

        class Paper:
            def getpeername(self) -> tuple[str, int]:
                return peer, 443

            def close(self) -> None:
                """Nothing to close."""

        return Paper()


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    """See :class:`Wire`."""
    ours = Wire({"shop.example": ["93.184.216.34"]}, [])
    monkeypatch.setattr(socket, "getaddrinfo", ours.getaddrinfo)
    monkeypatch.setattr(HTTPConnection, "_new_conn", lambda connection: ours.new_connection(connection))
    return ours


CONNECTIONS = [PublicHTTPConnection, PublicHTTPSConnection]


@pytest.mark.parametrize("kind", CONNECTIONS)
def test_a_public_name_is_connected_to(kind: type[HTTPConnection], wire: Wire) -> None:
    """BCL-69: control."""
    kind("shop.example", 443)._new_conn()
    assert wire.connected == ["shop.example"]


@pytest.mark.parametrize("kind", CONNECTIONS)
@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["8.8.8.8", "10.0.0.1"], ["::ffff:127.0.0.1"]], ids=str)
def test_a_name_with_a_private_address_is_not_even_connected_to(
    addresses: list[str], kind: type[HTTPConnection], wire: Wire
) -> None:
    """BCL-69: before connecting; one private answer among public ones is enough."""
    wire.answers["shop.example"] = addresses
    with pytest.raises(PrivateAddressError):
        kind("shop.example", 443)._new_conn()
    assert wire.connected == []


@pytest.mark.parametrize("kind", CONNECTIONS)
def test_a_name_that_changes_its_mind_is_caught_after_connecting(kind: type[HTTPConnection], wire: Wire) -> None:
    """BCL-69, DNS rebinding: public when it was looked at, loopback when it was connected to."""
    wire.peer = "127.0.0.1"
    with pytest.raises(PrivateAddressError):
        kind("shop.example", 443)._new_conn()


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "[::ffff:10.0.0.1]", "169.254.169.254", "0"])
def test_an_address_in_place_of_a_name_is_looked_at_too(host: str, wire: Wire) -> None:
    """BCL-69: and the short forms that a resolver understands."""
    wire.answers["0"] = ["0.0.0.0"]  # noqa: S104 # nobody binds it
    with pytest.raises(FetchError, match="private address"):
        STRICT.check_public(f"https://{host}/x")


@pytest.mark.parametrize("host", ["a..b", "a" * 64 + ".example", ".example"])
def test_a_name_that_cannot_be_one_is_unknown(host: str, wire: Wire) -> None:
    """BCL-69: not a fault of ours; the resolver would raise something that is no network error."""
    del wire
    for connection in (PublicHTTPConnection(host), PublicHTTPSConnection(host)):
        with pytest.raises(OSError, match="no name"):
            connection._new_conn()
    STRICT.check_public(f"https://{host}/")


def test_only_the_strict_door_looks_at_addresses() -> None:
    """BCL-69: the named demo switch; both schemes of the strict one go through such a pool."""

    def pools(door: Door) -> set[Any]:
        adapter = door.session().get_adapter("https://shop.example/")
        assert isinstance(adapter, HTTPAdapter)
        return set(adapter.poolmanager.pool_classes_by_scheme.values())

    assert pools(STRICT) == {PublicHTTPPool, PublicHTTPSPool}
    assert not pools(DEMO) & {PublicHTTPPool, PublicHTTPSPool}


def test_the_whole_way_from_the_door_to_the_socket(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    """BCL-69: with the real adapter: the door says "private address", and nothing was connected."""
    monkeypatch.setattr(HTTPAdapter, "send", really_connect)
    wire.answers["rebound.example"] = ["10.0.0.1"]
    with pytest.raises(FetchError, match=r"^private address$"):
        STRICT.get("https://rebound.example/jwks.json")
    with pytest.raises(FetchError, match=r"^name unknown$"):
        STRICT.get("https://nobody.example/jwks.json")
    with pytest.raises(FetchError, match=r"^name unknown$"):
        STRICT.get("https://a..b/jwks.json")
    assert wire.connected == []


# --- the request ---


def test_no_proxy_no_redirect_no_cookie_and_short_patience(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """BCL-31, BCL-32, ROB-08: whatever the environment says; certificates are checked."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://proxy.example:3128")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere.pem")
    network.answer(f"{SHOP}/x", 200, "document", {"Set-Cookie": "a=b"})
    assert STRICT.get(f"{SHOP}/x") == b"document"
    assert STRICT.get(f"{SHOP}/x") == b"document"
    first, second = network.to(SHOP)
    assert not first.request.options["proxies"]
    assert first.request.options["verify"] is True
    assert first.request.options["timeout"] == TIMEOUT
    assert max(TIMEOUT) <= 5
    assert "Cookie" not in second.request.headers
    assert "Authorization" not in second.request.headers


def test_a_ca_of_the_operators_own_is_trusted(network: Network) -> None:
    """BCL-30: PICKUP_CA_BUNDLE."""
    network.answer(f"{SHOP}/x", 200, "document")
    replace(STRICT, ca_bundle="/etc/our-ca.pem").get(f"{SHOP}/x")
    assert network.to(SHOP)[0].request.options["verify"] == "/etc/our-ca.pem"


@pytest.mark.parametrize("status", [201, 301, 302, 303, 307, 308, 400, 404, 500, 503])
def test_only_200_is_a_document(status: int, network: Network) -> None:
    """BCL-31, ROB-08: a redirect is not followed, wherever it leads."""
    network.answer(f"{SHOP}/x", status, "document", {"Location": "http://169.254.169.254/"})
    with pytest.raises(FetchError, match=f"answered {status}"):
        STRICT.get(f"{SHOP}/x")
    assert len(network.exchanges) == 1


@pytest.mark.parametrize(("length", "fits"), [(MAX_DOCUMENT, True), (MAX_DOCUMENT + 1, False), (10_000_000, False)])
def test_a_document_has_a_largest_size(length: int, fits: bool, network: Network) -> None:
    """BCL-32, ROB-08."""
    network.answer(f"{SHOP}/x", 200, b"x" * length)
    if fits:
        assert len(STRICT.get(f"{SHOP}/x")) == length
    else:
        with pytest.raises(FetchError, match="too large"):
            STRICT.get(f"{SHOP}/x")


def test_a_small_answer_that_unpacks_to_a_large_one_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """BCL-32: counted after unpacking."""
    packed = BytesIO(gzip.compress(b"x" * 10_000_000))
    raw = HTTPResponse(body=packed, headers={"Content-Encoding": "gzip"}, status=200, preload_content=False)
    monkeypatch.setattr(HTTPAdapter, "send", lambda adapter, prepared, **_: adapter.build_response(prepared, raw))
    with pytest.raises(FetchError, match="too large"):
        STRICT.get(f"{SHOP}/x")


class Drip(BytesIO):
    """A site that sends a byte now and then."""

    sent = 0

    def read1(self, size: int | None = -1, /) -> bytes:
        """The next byte, a second later."""
        del size
        Drip.sent += 1
        seconds[0] += 1
        return b"x"


seconds = [0.0]


def dripping(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on every answer is such a site's."""
    Drip.sent = 0
    monkeypatch.setattr("idp.fetch.time.monotonic", lambda: seconds[0])
    raw = HTTPResponse(body=Drip(), status=200, preload_content=False)

    def send(adapter: HTTPAdapter, prepared: requests.PreparedRequest, **_: Any) -> requests.Response:
        return adapter.build_response(prepared, raw)

    monkeypatch.setattr(HTTPAdapter, "send", send)


def test_a_site_that_never_ends_is_not_listened_to_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """BCL-32: each piece is in time, and all of them together are not."""
    with monkeypatch.context() as patch:
        dripping(patch)
        with pytest.raises(FetchError, match="timeout"):
            STRICT.get(f"{SHOP}/x")
    assert Drip.sent <= fetch.BODY_SECONDS + 1


def test_an_app_that_never_ends_its_answer_holds_up_no_logout(monkeypatch: pytest.MonkeyPatch) -> None:
    """BCL-32: what it said so far is enough; its status is what counts."""
    with monkeypatch.context() as patch:
        dripping(patch)
        with STRICT.session().get(SHOP, stream=True) as response:
            body, in_time = fetch.read_some(response, MAX_ANSWER)
    assert (set(body), in_time) == ({ord("x")}, False)
    assert len(body) <= fetch.BODY_SECONDS + 1


FAULTS: dict[str, Callable[[Network], None]] = {
    "timeout": lambda network: network.time_out(SHOP),
    "connection refused": lambda network: network.refuse(SHOP),
    "name unknown": lambda _: None,
    "TLS": lambda network: network.replace(SHOP, raising(requests.exceptions.SSLError("bad certificate"))),
    "connection broken": lambda network: network.replace(SHOP, raising(HTTPError("reset"))),
}


def raising(error: Exception) -> Any:
    """An answer that is none."""

    def fault(_: Any) -> Any:
        raise error

    return fault


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_has_a_name(fault: str, network: Network) -> None:
    """BCL-34: for whoever looks after the client."""
    FAULTS[fault](network)
    with pytest.raises(FetchError, match=f"^{fault}$"):
        STRICT.get(f"{SHOP}/x")


# --- at the places that use it ---


@pytest.mark.parametrize(
    "changes",
    [
        {"backchannel_logout_uri": "https://inside.example/bc"},
        {"backchannel_logout_uri": "https://127.0.0.1/bc"},
        {"jwks_uri": "https://inside.example/jwks.json"},
        {"request_uris": ["https://shop.example/ok", "https://inside.example/r#x"]},
        {"sector_identifier_uri": "https://[::1]/sector.json"},
    ],
    ids=str,
)
def test_nobody_registers_an_address_inside_for_us_to_call(
    changes: dict[str, Any], register: Registrar, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    """BCL-69: at the registration, too; browsers may be sent there, as an app may well live inside."""
    monkeypatch.setattr(fetch, "require_public", really_require_public)
    wire.answers["inside.example"] = ["10.0.0.7"]
    response = register.post(**changes)
    assert (response.status_code, response.get_json()["error"]) == (400, "invalid_client_metadata")
    assert "private address" in response.get_json()["error_description"]
    assert next(iter(changes)) in response.get_json()["error_description"]
    assert register.post(redirect_uris=["https://inside.example/cb"]).status_code == 201


really_require_public = fetch.require_public


def test_an_address_that_moved_inside_gets_no_logout_token(
    register: Registrar, provider: Provider, cameron: SiteClient, wire: Wire, monkeypatch: pytest.MonkeyPatch,
    clock: Clock,
) -> None:  # fmt: skip
    """BCL-69: at the time of sending; written down in words, tried again, and the others hear as ever."""
    party = register()
    hint = party.tokens(cameron)["id_token"]
    ours = HTTPAdapter.send

    def send(adapter: HTTPAdapter, prepared: requests.PreparedRequest, **options: Any) -> requests.Response:
        is_shop = (prepared.url or "").startswith(SHOP)
        return (really_connect if is_shop else ours)(adapter, prepared, **options)

    monkeypatch.setattr(fetch, "require_public", really_require_public)
    monkeypatch.setattr(HTTPAdapter, "send", send)
    wire.answers["shop.example"] = ["127.0.0.1"]
    provider.end_session(cameron, id_token_hint=hint)
    eventually(lambda: provider.delivery(party.id).tries == 1)
    (attempt,) = (row for row in provider.attempts() if row.delivery_id == provider.delivery(party.id).id)
    assert (attempt.status, attempt.outcome) == (None, "private address")
    assert wire.connected == []
    assert provider.delivery(MANAGER).state == "delivered"
    del clock
