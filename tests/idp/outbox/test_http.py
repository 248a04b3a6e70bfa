"""The one door for requests to addresses that clients name: what it sends, reads and trusts."""

import asyncio
import ipaddress
import socket
import ssl
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
    Request,
    in_background,
)
from tests.idp.outbox.conftest import DEMO, STRICT, Names, really_ask, really_connect
from tests.idp.parties import SHOP
from tests.network import Network

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
