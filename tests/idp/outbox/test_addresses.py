"""Which addresses the guarded HTTP client calls: the URL itself, and the machine that its name leads to."""

import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from idp.outbox import http as fetch
from idp.outbox.http import (
    Answer,
    FetchError,
    GuardedHttpClient,
    PrivateAddressError,
    Request,
    in_background,
    require_public_address,
)
from tests.conftest import Clock, SiteClient, eventually
from tests.idp.conftest import MANAGER, Provider
from tests.idp.outbox.conftest import DEMO, STRICT, Names, really_ask
from tests.idp.parties import SHOP, Registrar

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
def test_invalid_address_is_refused_with_and_without_demo_switches(door: GuardedHttpClient, url: str) -> None:
    """BCL-69: no demo switch lets these in; the text says why, in words that fit after "the address"."""
    with pytest.raises(FetchError, match=r"^(is|has|contains) "):
        door.check(url)
    with pytest.raises(FetchError):
        door.get(url)


@pytest.mark.parametrize(
    "url",
    ["https://shop.example", "https://shop.example:8443/a?b=c&d#e", "https://[2606:4700::1111]:443/", "HTTPS://A.B/"],
)
def test_valid_address_is_accepted(url: str) -> None:
    """BCL-07: with a port, a query, a path."""
    STRICT.check(url)


def test_plain_http_is_a_switch() -> None:
    """BCL-08: off by default."""
    DEMO.check("http://shop.example/")
    with pytest.raises(FetchError, match="is not an https URL"):
        STRICT.check("http://shop.example/")


@pytest.mark.parametrize("url", ["foo", "/bye", "ftp://shop.example/"])
def test_refusal_names_http_if_plain_http_is_allowed(url: str) -> None:
    """The sentence must not forbid what the switch allows."""
    with pytest.raises(FetchError, match="is not an http or https URL"):
        DEMO.check(url)


# --- the machine it leads to ---

PRIVATE = {
    "loopback": "127.0.0.1",
    "loopback-other": "127.8.9.10",
    "this-host": "0.0.0.0",  # noqa: S104 # nothing listens there
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
    "translated-by-ourselves": "64:ff9b:1::808:808",  # RFC 8215 §3: into a network of the operator's own
    "translated-stateless": "::ffff:0:127.0.0.1",  # RFC 2765 §2.1
    "teredo-loopback": "2001:0:7f00:1::1",
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


def test_addresses_of_a_public_name_are_tried_in_turn(names: Names, connected: list[str]) -> None:
    """BCL-69: control. By its address, and one after the other until one answers."""
    names.answers["shop.example"] = ["93.184.216.34", "2606:4700::1111"]
    with pytest.raises(FetchError, match=r"^connection refused$"):
        STRICT.get("https://shop.example/x")
    assert connected == ["93.184.216.34:443", "2606:4700::1111:443"]


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["8.8.8.8", "10.0.0.1"], ["::ffff:127.0.0.1"]], ids=str)
def test_name_with_a_private_address_is_not_connected_to(
    addresses: list[str], names: Names, connected: list[str]
) -> None:
    """BCL-69: before connecting; one private answer among public ones is enough."""
    names.answers["shop.example"] = addresses
    with pytest.raises(FetchError, match=r"^private address$"):
        STRICT.get("https://shop.example/x")
    assert connected == []


def test_checked_address_is_the_one_that_is_connected_to(names: Names, connected: list[str]) -> None:
    """BCL-69, DNS rebinding: the address that was looked at is the one that is connected to."""
    with pytest.raises(FetchError):
        STRICT.get("https://shop.example:8443/x")
    assert (names.asked, connected) == (["shop.example"], ["93.184.216.34:8443"])


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "[::ffff:10.0.0.1]", "169.254.169.254", "0"])
def test_private_address_without_a_name_is_refused(host: str, names: Names, connected: list[str]) -> None:
    """BCL-69: and the short forms that a resolver understands; at the registration and at the call."""
    names.answers["0"] = ["0.0.0.0"]  # noqa: S104 # nothing listens there
    url = f"https://{host}/x"
    assert STRICT.leading_inside([url]) == {url}
    with pytest.raises(FetchError, match="private address"):
        STRICT.get(url)
    assert connected == []


@pytest.mark.parametrize("host", ["a..b", "a" * 64 + ".example", ".example", "nobody.example"])
def test_impossible_host_name_counts_as_unknown(host: str, connected: list[str]) -> None:
    """BCL-69: not a fault of ours; the resolver would raise something that is no network error."""
    with pytest.raises(FetchError, match=r"^name unknown$"):
        STRICT.get(f"https://{host}/")
    assert STRICT.leading_inside([f"https://{host}/"]) == set()
    assert connected == []


def test_only_the_strict_door_looks_at_addresses(connected: list[str]) -> None:
    """BCL-69: the named demo switch."""
    with pytest.raises(FetchError, match=r"^connection refused$"):
        DEMO.get("http://127.0.0.1:81/x")
    assert connected == ["127.0.0.1:81"]


# --- name servers that are slow ---


class SlowNames(Names):
    """Name servers that do not answer for ``slow…`` before they are told to."""

    def __init__(self) -> None:
        super().__init__({})
        self.answer = threading.Event()
        self.address = "93.184.216.34"

    def look_up(self, host: str) -> list[str]:
        """The same for every name."""
        if host.startswith("slow"):
            self.answer.wait(10)
        return [self.address]


@pytest.fixture
def slow_names(connected: list[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowNames]:
    """See :class:`SlowNames`; each address refuses the connection."""
    del connected
    ours = SlowNames()
    monkeypatch.setattr(socket, "getaddrinfo", ours.getaddrinfo)
    yield ours
    ours.answer.set()
    eventually(lambda: not fetch._being_looked_up, "a look-up never ended")


def test_slow_names_of_one_domain_do_not_delay_other_names(slow_names: SlowNames) -> None:
    """ROB-08: a thread that waits for a name server cannot be stopped, so a domain has its share of them."""
    number = fetch.RESOLVERS + 50
    slow = [in_background(STRICT.ask(Request(f"https://slow{one}.evil.example/"))) for one in range(number)]
    eventually(lambda: len(slow_names.asked) >= 32)
    with pytest.raises(FetchError, match=r"^connection refused$"):
        STRICT.get("https://good.shop.example/")
    assert not any(one.done() for one in slow)
    assert len(slow_names.asked) == fetch.RESOLVERS_A_DOMAIN + 1
    slow_names.answer.set()
    for one in slow:
        assert isinstance(one.exception(), FetchError)


def test_concurrent_requests_share_one_name_look_up(slow_names: SlowNames) -> None:
    """ROB-08: all the deliveries to a host whose name server hangs cost one thread."""
    asked = [in_background(STRICT.ask(Request("https://slow.example/"))) for _ in range(50)]
    eventually(lambda: slow_names.asked)
    slow_names.answer.set()
    assert {str(one.exception()) for one in asked} == {"connection refused"}
    assert slow_names.asked == ["slow.example"]


def test_connect_timeout_does_not_include_waiting_for_a_look_up(slow_names: SlowNames) -> None:
    """BCL-32: a delivery that waits for a look-up has not begun yet."""
    asked = in_background(STRICT.ask(Request("https://slow.example/", connect_seconds=0.05)))
    with pytest.raises(TimeoutError):
        asked.result(0.2)
    slow_names.answer.set()
    assert str(asked.exception()) == "connection refused"


def test_hanging_name_look_up_times_out(slow_names: SlowNames, monkeypatch: pytest.MonkeyPatch) -> None:
    """BCL-32."""
    monkeypatch.setattr(fetch, "LOOK_UP_SECONDS", 0.05)
    with pytest.raises(FetchError, match=r"^timeout$"):
        STRICT.get("https://slow.example/")
    assert slow_names.asked == ["slow.example"]


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
def test_private_address_cannot_be_registered_for_back_channel_calls(
    changes: dict[str, Any], register: Registrar, names: Names
) -> None:
    """BCL-69: at the registration, too; browsers may be sent there, as an app may well live inside."""
    names.answers["inside.example"] = ["10.0.0.7"]
    response = register.post(**changes)
    assert (response.status_code, response.get_json()["error"]) == (400, "invalid_client_metadata")
    assert "private address" in response.get_json()["error_description"]
    assert next(iter(changes)) in response.get_json()["error_description"]
    assert register.post(redirect_uris=["https://inside.example/cb"]).status_code == 201


def test_address_that_became_private_gets_no_logout_token(
    register: Registrar, provider: Provider, cameron: SiteClient, names: Names, connected: list[str],
    monkeypatch: pytest.MonkeyPatch, clock: Clock,
) -> None:  # fmt: skip
    """BCL-69: at the time of sending; written down in words, tried again, and the others hear as ever."""
    party = register()
    hint = party.tokens(cameron)["id_token"]

    async def ask(door: GuardedHttpClient, request: Request) -> Answer:
        is_shop = request.url.startswith(SHOP)
        strict = replace(door, allow_private_addresses=False)
        return await (really_ask(strict, request) if is_shop else provider.network.ask(door, request))

    monkeypatch.setattr(GuardedHttpClient, "ask", ask)
    names.answers["shop.example"] = ["127.0.0.1"]
    provider.end_session(cameron, id_token_hint=hint)
    eventually(lambda: provider.delivery(party.id).tries == 1)
    (attempt,) = (row for row in provider.attempts() if row.delivery_id == provider.delivery(party.id).id)
    assert (attempt.status, attempt.outcome) == (None, "private address")
    assert connected == []
    assert provider.delivery(MANAGER).state == "delivered"
    del clock


def test_slow_name_servers_hold_up_a_registration_for_the_set_time_once(
    register: Registrar, slow_names: SlowNames, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many names it brings. They are looked up again at each call, so nothing is let through by this."""
    slow_names.address = "10.0.0.7"
    monkeypatch.setattr(fetch, "LOOK_UP_SECONDS", 0.05)
    slow = {
        "backchannel_logout_uri": "https://slow1.example/bc",
        "jwks_uri": "https://slow2.example/jwks",
        "request_uris": [f"https://slow{number}.example/r" for number in range(3, 20)],
    }
    started = time.monotonic()
    assert register.post(**slow).status_code == 201
    assert time.monotonic() - started < 1, "each name was waited for"
