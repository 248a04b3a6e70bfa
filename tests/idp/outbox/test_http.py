"""The one door for requests to addresses that clients name: where it leads, and where it never leads."""

import asyncio
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from urllib3.exceptions import HTTPError

from idp.outbox import http as fetch
from idp.outbox.http import (
    ANSWER_SECONDS,
    BODY_SECONDS,
    CONNECT_SECONDS,
    MAX_DOCUMENT,
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
from tests.idp.parties import SHOP, Registrar
from tests.network import Network

really_ask, really_connect = GuardedHttpClient.ask, socket.socket.connect  # before the tests' network takes their place
STRICT = GuardedHttpClient(allow_plain_http=False, allow_private_addresses=False)
DEMO = GuardedHttpClient(allow_plain_http=True, allow_private_addresses=True)

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


@dataclass
class Names:
    """DNS, made of paper. ``asked`` has the names that were looked up."""

    answers: dict[str, list[str]]
    asked: list[str] = field(default_factory=list)

    def getaddrinfo(self, host: str, port: int | None = None, **_: Any) -> list[Any]:
        """In place of the resolver."""
        try:
            found = [str(ipaddress.ip_address(host))]
        except ValueError:
            self.asked.append(host)
            found = self.look_up(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port or 0)) for address in found]

    def look_up(self, host: str) -> list[str]:
        """The name's addresses."""
        if any(not label or len(label) > 63 for label in host.split(".")):
            raise UnicodeError("label empty or too long")
        if host not in self.answers:
            raise socket.gaierror(-2, "Name or service not known")
        return self.answers[host]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """See :class:`Names`."""
    ours = Names({"shop.example": ["93.184.216.34"]})
    monkeypatch.setattr(socket, "getaddrinfo", ours.getaddrinfo)
    return ours


@pytest.fixture
def connected(names: Names, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that were connected to; nobody listens at any. The door is the real one."""
    del names
    seen: list[str] = []

    def refuse(_socket: socket.socket, place: tuple[str, int]) -> None:
        seen.append(f"{place[0]}:{place[1]}")
        raise ConnectionRefusedError

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(GuardedHttpClient, "ask", really_ask)
    return seen


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
    names.answers["0"] = ["0.0.0.0"]  # noqa: S104 # nobody binds it
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
    """See :class:`SlowNames`; whoever is connected to refuses."""
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
    """BCL-32: whoever stands in line for a look-up has not begun yet."""
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


# --- the request, on real sockets ---

Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Site:
    """Somebody who listens on this machine, and does what a test says once a request has come."""

    port: int = 0
    asked: list[bytes] = field(default_factory=list)
    answer: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\ndocument"
    pause: float | None = None  # seconds between two bytes of the answer; all at once without
    tls: ssl.SSLContext | None = None
    servers: list[asyncio.Server] = field(default_factory=list)

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        head = await reader.readuntil(b"\r\n\r\n")
        length = [int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length")]
        self.asked.append(head + await reader.readexactly(length[0] if length else 0))
        for piece in [self.answer] if self.pause is None else [bytes([byte]) for byte in self.answer]:
            if writer.is_closing():
                break
            writer.write(piece)
            await asyncio.sleep(self.pause or 0)
        writer.close()

    def url(self, path: str = "/x") -> str:
        """Its address."""
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self.port}{path}"

    async def listen(self) -> None:
        """At a new port; with ``tls`` if that is set."""
        self.servers.append(await asyncio.start_server(self, "127.0.0.1", 0, ssl=self.tls))
        self.port = self.servers[-1].sockets[0].getsockname()[1]

    async def close(self) -> None:
        """No longer listen."""
        for server in self.servers:
            server.close()


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """See :class:`Site`; the door is the real one."""
    ours = Site()
    monkeypatch.setattr(GuardedHttpClient, "ask", really_ask)
    monkeypatch.setattr(socket.socket, "connect", really_connect)
    in_background(ours.listen()).result()
    yield ours
    in_background(ours.close()).result()


def ask(request: Request, door: GuardedHttpClient = DEMO) -> Answer:
    """Through the door."""
    return in_background(door.ask(request)).result()


def test_get_sends_no_cookie_password_or_proxy(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """BCL-31, LIB-15: no cookie, no password, no proxy, whatever the environment says."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://proxy.example:3128")
    assert DEMO.get(site.url("/keys.json?a=b#part")) == b"document"
    assert site.asked == [
        b"GET /keys.json?a=b HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUser-Agent: Pickup-IdP\r\nAccept: */*\r\n"
        b"Connection: close\r\n\r\n" % site.port
    ]


def test_post_sends_a_form_and_returns_the_answer(site: Site) -> None:
    """BCL-27: with its length; the answer's status, headers and body come back."""
    site.answer = b"HTTP/1.1 400 Bad Request\r\nRetry-After: 10\r\nContent-Length: 2\r\n\r\n{}more"
    answer = ask(Request(site.url(""), form=b"logout_token=a.b.c"))
    assert (answer.status, answer.headers["retry-after"], answer.body, answer.fault) == (400, "10", b"{}", "")
    head, _, body = site.asked[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST / HTTP/1.1\r\n")
    assert b"\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 18" in head
    assert body == b"logout_token=a.b.c"


def test_patience_is_short() -> None:
    """BCL-32, ROB-08: unless a client has its own."""
    request = Request("https://shop.example/")
    assert (request.connect_seconds, request.answer_seconds) == (CONNECT_SECONDS, ANSWER_SECONDS)
    assert CONNECT_SECONDS + ANSWER_SECONDS + BODY_SECONDS < 10


@pytest.mark.parametrize("status", [201, 301, 302, 303, 307, 308, 400, 404, 500, 503])
def test_only_200_is_a_document(status: int, network: Network) -> None:
    """BCL-31, ROB-08: a redirect is not followed, wherever it leads."""
    network.answer(f"{SHOP}/x", status, "document", {"Location": "http://169.254.169.254/"})
    with pytest.raises(FetchError, match=f"answered {status}"):
        STRICT.get(f"{SHOP}/x")
    assert len(network.exchanges) == 1


# --- the answer ---

GOOD = {
    "length": b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody and more",
    "until-close": b"HTTP/1.0 200 OK\r\n\r\nbody",
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nbo\r\n02;x=y\r\ndy\r\n0\r\n\r\n",
    "interim": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 \r\nLink: </x>\r\n\r\nHTTP/1.1 200\r\n"
    b"content-LENGTH:4\r\n\r\nbody",
}


@pytest.mark.parametrize("answer", GOOD.values(), ids=GOOD)
def test_answer_is_read_to_its_end_and_no_further(answer: bytes, site: Site) -> None:
    """RFC 9112 §6.3: and no further; whether it comes at once or byte by byte."""
    for site.pause in (None, 0.0001):
        site.answer = answer
        assert DEMO.get(site.url()) == b"body"


@pytest.mark.parametrize("status", [204, 304])
def test_answer_that_cannot_have_a_body_ends_immediately(status: int, site: Site) -> None:
    """RFC 9110 §6.4.1: even where it says that one comes."""
    site.answer = b"HTTP/1.1 %d x\r\nContent-Length: 100\r\n\r\n" % status
    answer = ask(Request(site.url()))
    assert (answer.status, answer.body, answer.fault) == (status, b"", "")


NOT_HTTP = {
    "nothing": b"",
    "a-word": b"hello\r\n\r\n",
    "half": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n",
    "http-2": b"HTTP/2 200\r\n\r\n",
    "status": b"HTTP/1.1 20 OK\r\n\r\n",
    "upgrade": b"HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
    "length-a-word": b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nbody",
    "two-lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nbody",
    "interim-nine": b"HTTP/1.1 103 Early Hints\r\n\r\n" * 9 + b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "interim-for-ever": b"HTTP/1.1 103 Early Hints\r\n\r\n" * 5000,
    "large-head": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
}


@pytest.mark.parametrize("answer", NOT_HTTP.values(), ids=NOT_HTTP)
def test_invalid_answer_is_a_fault(answer: bytes, site: Site) -> None:
    """BCL-34: in words."""
    site.answer = answer
    with pytest.raises(FetchError, match=r"^connection broken$"):
        DEMO.get(site.url())


def test_large_answer_does_not_delay_other_requests() -> None:
    """All requests are made by one thread: between two pieces of an answer the others go on."""

    async def turns_of_another() -> int:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            theirs.sendall(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 60_000 + b"\r\n\r\n")
            turns, reading = 0, asyncio.create_task(fetch.read_head(ours, fetch.Reply()))
            while not reading.done():
                turns += 1
                await asyncio.sleep(0)
            return turns

    assert in_background(turns_of_another()).result() > 10


ODD_BODIES = {
    "too-short": (b"Content-Length: 9\r\n\r\nbody", "response broken off"),
    "chunk-a-word": (b"Transfer-Encoding: chunked\r\n\r\nxx\r\nbody", "response broken off"),
    "chunk-negative": (b"Transfer-Encoding: chunked\r\n\r\n-4\r\nbody", "response broken off"),
    "chunk-too-short": (b"Transfer-Encoding: chunked\r\n\r\n9\r\nbody", "response broken off"),
    "length-too-large": (b"Content-Length: 99\r\n\r\n" + b"x" * 99, "response too large"),
    "chunks-too-large": (b"Transfer-Encoding: chunked\r\n\r\n63\r\n" + b"x" * 99, "response too large"),
    "too-large": (b"\r\n" + b"x" * 10_000_000, "response too large"),
}


@pytest.mark.parametrize(("rest", "fault"), ODD_BODIES.values(), ids=ODD_BODIES)
def test_fault_in_the_body_is_named_and_the_status_is_kept(rest: bytes, fault: str, site: Site) -> None:
    """BCL-32: read up to a limit. A document it is not."""
    site.answer = b"HTTP/1.1 200 OK\r\n" + rest
    answer = ask(Request(site.url(), limit=50))
    assert (answer.status, answer.fault) == (200, fault)
    assert len(answer.body) <= 50


@pytest.mark.parametrize(("length", "fits"), [(MAX_DOCUMENT, True), (MAX_DOCUMENT + 1, False)])
def test_document_size_is_limited(length: int, fits: bool, site: Site) -> None:
    """BCL-32, ROB-08."""
    site.answer = b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * length
    if fits:
        assert len(DEMO.get(site.url())) == length
    else:
        with pytest.raises(FetchError, match="too large"):
            DEMO.get(site.url())


def test_answer_that_does_not_begin_in_time_is_a_timeout(site: Site) -> None:
    """BCL-32: each byte is in time, and all of them together are not."""
    site.answer, site.pause = b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000, 0.01
    with pytest.raises(FetchError, match=r"^timeout$"):
        ask(Request(site.url(), answer_seconds=0.05))
    assert len(site.asked) == 1


def test_endless_answer_is_cut_off_and_its_status_counts(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """BCL-32: what it said so far is enough; its status is what counts."""
    monkeypatch.setattr(fetch, "BODY_SECONDS", 0.05)
    site.answer, site.pause = b"x" * 10_000, 0.005
    site.answer = b"HTTP/1.1 200 OK\r\n\r\n" + site.answer
    answer = ask(Request(site.url()))
    assert (answer.status, answer.fault) == (200, "response too slow")
    assert len(answer.body) < 50
    with pytest.raises(FetchError, match="too slow"):
        DEMO.get(site.url())


# --- whom it trusts ---


@dataclass(frozen=True)
class Certificate:
    """A key and a self-signed certificate for 127.0.0.1."""

    pem: str
    file: Path


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    """See :class:`Certificate`."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "site")])
    at = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(at - timedelta(days=1))
        .not_valid_after(at + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = tmp_path / "site.pem"
    file.write_bytes(private + pem)
    return Certificate(pem.decode(), file)


@pytest.fixture
def tls_site(site: Site, certificate: Certificate) -> Site:
    """The site with that certificate."""
    site.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    site.tls.load_cert_chain(certificate.file)
    in_background(site.listen()).result()
    return site


def test_certificate_of_an_unknown_authority_is_a_fault(tls_site: Site) -> None:
    """BCL-30."""
    with pytest.raises(FetchError, match=r"^TLS$"):
        DEMO.get(tls_site.url())
    assert tls_site.asked == []


def test_client_may_have_its_own_trusted_certificates(tls_site: Site, certificate: Certificate) -> None:
    """BCL-30: whom to trust there, and for the name in the address only."""
    assert ask(Request(tls_site.url(), ca_certificates=certificate.pem)).status == 200
    elsewhere = tls_site.url().replace("127.0.0.1", "localhost")
    with pytest.raises(FetchError, match=r"^TLS$"):
        ask(Request(elsewhere, ca_certificates=certificate.pem))


def test_certificate_authority_of_the_operator_is_trusted(tls_site: Site, certificate: Certificate) -> None:
    """BCL-30: PICKUP_CA_BUNDLE."""
    assert replace(DEMO, ca_bundle=str(certificate.file)).get(tls_site.url()) == b"document"


def test_invalid_certificates_of_a_client_are_an_explained_fault(tls_site: Site) -> None:
    """Not of ours."""
    with pytest.raises(FetchError, match=r"^TLS$"):
        ask(Request(tls_site.url(), ca_certificates="hello"))


# --- several addresses ---


@pytest.mark.parametrize("dead", [1, 3])
def test_next_address_is_tried_if_the_first_drops_packets(
    dead: int, site: Site, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 8305: the next one is tried beside it, within the time there is to connect."""
    really_open = fetch.connect

    async def connect(address: str, port: int, *tls: Any) -> Any:
        if address != "127.0.0.1":
            await asyncio.Event().wait()
        return await really_open(address, port, *tls)

    monkeypatch.setattr(fetch, "connect", connect)
    monkeypatch.setattr(fetch, "HEAD_START_SECONDS", 0.01)
    names.answers["two.example"] = [*(f"192.0.2.{one}" for one in range(dead)), "127.0.0.1"]
    assert DEMO.get(site.url().replace("127.0.0.1", "two.example")) == b"document"


class Line:
    """A connection, made of paper. It knows whether it was hung up."""

    def __init__(self) -> None:
        self.is_hung_up, self.gets_through = False, asyncio.Event()

    async def connect(self) -> Any:
        """As :func:`idp.outbox.http.connect`."""
        await self.gets_through.wait()
        return self

    def close(self) -> None:
        """As a socket."""
        self.is_hung_up = True


async def refused() -> Any:
    """Nobody listens."""
    raise ConnectionRefusedError


def test_slow_address_is_waited_for_if_the_others_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 8305 §5: that its head start is over does not end its attempt."""
    monkeypatch.setattr(fetch, "HEAD_START_SECONDS", 0.01)

    async def race() -> bool:
        slow = Line()

        async def refuse_and_let_through() -> Any:
            slow.gets_through.set()
            raise ConnectionRefusedError

        return await fetch.first_of([slow.connect, refused, refuse_and_let_through]) is cast(Any, slow)

    assert in_background(race()).result()


def test_of_two_that_get_through_at_once_one_is_hung_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing stays open that nobody reads."""
    monkeypatch.setattr(fetch, "HEAD_START_SECONDS", 0)

    async def race() -> list[bool]:
        lines = [Line(), Line()]
        racing = asyncio.create_task(fetch.first_of([line.connect for line in lines]))
        for _ in range(9):
            await asyncio.sleep(0)
        for line in lines:
            line.gets_through.set()
        await racing
        await asyncio.sleep(0)
        return [line.is_hung_up for line in lines]

    assert sorted(in_background(race()).result()) == [False, True]


# --- faults have names ---

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
def test_each_fault_has_a_readable_name(fault: str, network: Network) -> None:
    """BCL-34: for whoever looks after the client."""
    FAULTS[fault](network)
    with pytest.raises(FetchError, match=f"^{fault}$"):
        STRICT.get(f"{SHOP}/x")


def test_refused_connection_on_a_real_socket_has_a_readable_name(site: Site) -> None:
    """The same on a real socket."""
    del site
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        with pytest.raises(FetchError, match=r"^connection refused$"):
            DEMO.get(f"http://127.0.0.1:{port}/")


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
