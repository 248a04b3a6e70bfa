"""The one door for requests to addresses that clients name: logout URIs, key sets, request objects, sector files.

Whoever registers an address makes this server call it, so the door decides where it may lead (server-side
request forgery): https, no credentials in the address, and no machine of our own network. It follows no
redirect, asks no proxy, waits a bounded time and reads a bounded answer.

    check the address ─ find its machine ─ connect ─ ask ─ read the answer       GuardedHttpClient.ask

All requests of a process are made by one thread (:func:`in_background`), however many at a time: an app that
hangs costs a socket, and no thread that another app could need.
"""

import asyncio
import ipaddress
import os
import re
import socket
import ssl
import threading
from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any, TypeAlias, TypeVar
from urllib.parse import SplitResult, urlsplit
from weakref import WeakValueDictionary

import certifi
import httptools

LOOK_UP_SECONDS = 2.0  # for a name to be looked up, in its turn
CONNECT_SECONDS, ANSWER_SECONDS = 2.0, 5.0  # to connect, and from then on until the answer's headers are complete;
BODY_SECONDS = 2.0  # and until its body is
HEAD_START_SECONDS = 0.25  # for each address of a name before the next one is tried beside it (RFC 8305 §8)
MAX_ADDRESSES = 8  # of a name that are tried
RESOLVERS = 256  # names that are looked up at the same time: a thread each, while there are so many,
RESOLVERS_A_DOMAIN = 32  # and of one domain, whose name servers may be slow
ALLOWED_HOST = re.compile(r"[A-Za-z0-9._-]+(:[0-9]+)?|\[[0-9A-Fa-f:.]+\](:[0-9]+)?")
LOCAL_TRANSLATION = ipaddress.IPv6Network("64:ff9b:1::/48")  # RFC 8215: it leads into a network of the operator's
WRAPPINGS = [
    ipaddress.IPv6Network(network) for network in ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96")
]
MAX_HEAD = 64 * 1024  # bytes of status and headers
MAX_INTERIM = 8  # answers before the final one
MAX_DOCUMENT = 64 * 1024  # bytes of a key set, request object or sector file
WAITING_THREADS = 4  # request threads of a process that may wait for a document; it has 16 (gunicorn.conf.py)

T = TypeVar("T")
Connection: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class FetchError(Exception):
    """The address may not be called, or the call failed. The text says which, in words."""


class BusyError(FetchError):
    """As many request threads as may wait for other sites are waiting. Nothing is known about this one."""


class AddressError(FetchError):
    """It is no address that anybody could call; the text fits after the word for it."""


@dataclass(frozen=True)
class Request:
    """What is asked, and with how much patience. ``form``: the body of a POST; without it, it is a GET."""

    url: str
    form: bytes | None = None
    limit: int = MAX_DOCUMENT  # bytes of the answer that are read
    connect_seconds: float = CONNECT_SECONDS
    answer_seconds: float = ANSWER_SECONDS
    ca_certificates: str | None = None  # PEM: whom to trust there, in place of the usual ones
    user_agent: str = "Pickup-IdP"

    def as_bytes(self, parts: SplitResult) -> bytes:
        """RFC 9112 §3; ``parts`` of the address. One connection a request: an old one may close as we write."""
        target = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
        head = f"{'GET' if self.form is None else 'POST'} {target} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        head += f"User-Agent: {self.user_agent}\r\nAccept: */*\r\nConnection: close\r\n"
        if self.form is not None:
            head += f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(self.form)}\r\n"
        return f"{head}\r\n".encode() + (self.form or b"")


@dataclass(frozen=True)
class Answer:
    """What came back. ``fault`` says in words what was wrong with the body, of which ``body`` is the beginning."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)  # names in lower case; of several alike the last
    body: bytes = b""
    fault: str = ""


@dataclass(frozen=True)
class GuardedHttpClient:
    """Where requests may go. Both switches are for demonstrations, on one machine."""

    allow_plain_http: bool
    allow_private_addresses: bool
    ca_bundle: str | None = None

    def check(self, url: str) -> SplitResult:
        """The rules for the address itself; :class:`AddressError` says which one it breaks. Returns its parts."""
        try:
            parts = urlsplit(url)
            host = parts.hostname
            _ = parts.port
        except ValueError as error:
            raise AddressError("is not a URL") from error
        if parts.scheme != "https" and not (parts.scheme == "http" and self.allow_plain_http):
            raise AddressError(f"is not an {'http or ' if self.allow_plain_http else ''}https URL")
        if not host or not ALLOWED_HOST.fullmatch(parts.netloc):
            raise AddressError("has no plain host name")  # or credentials in front of it, or what could end a header
        if not url.isascii() or not url.isprintable() or " " in url:
            raise AddressError("contains characters that no URL has")
        return parts

    def leading_inside(self, urls: Iterable[str]) -> set[str]:
        """Those whose names resolve to private addresses now; checked again on every request.

        A name that is not known, or not within LOOK_UP_SECONDS for all together, may be known later.
        """
        if self.allow_private_addresses:
            return set()
        return set(in_background(private_ones(set(urls))).result())

    def get(self, url: str) -> bytes:
        """The document at ``url``. :class:`FetchError` if there is none, :class:`BusyError` if too many wait."""
        with place_to_wait():
            return in_background(self.document(url)).result()

    async def document(self, url: str) -> bytes:
        """The same, for the thread that makes all requests."""
        answer = await self.ask(Request(url))
        if answer.status != 200:
            raise FetchError(f"answered {answer.status}")
        if answer.fault:
            raise FetchError(answer.fault)
        return answer.body

    async def ask(self, request: Request) -> Answer:
        """One request, whatever is answered; :class:`FetchError` if nothing is."""
        parts = self.check(request.url)
        try:
            async with asyncio.timeout(LOOK_UP_SECONDS):
                addresses = await self._addresses(parts.hostname or "")
            async with asyncio.timeout(request.connect_seconds):
                reader, writer = await self._connect(parts, addresses, request.ca_certificates)
            try:
                reply = Reply()
                async with asyncio.timeout(request.answer_seconds):
                    writer.write(request.as_bytes(parts))
                    await read_head(reader, reply)
                fault = await read_body(reader, reply, request.limit)
            finally:
                writer.transport.abort()  # nothing more is wanted from there
        except (OSError, EOFError, ValueError) as error:
            raise FetchError(fault_in_words(error)) from error
        return Answer(reply.status, reply.headers, reply.body[: request.limit], fault)

    async def _connect(self, parts: SplitResult, addresses: list[str], ca_certificates: str | None) -> Connection:
        tls: dict[str, Any] = {}
        if parts.scheme == "https":
            tls = {"ssl": trusting(ca_certificates, self.ca_bundle), "server_hostname": parts.hostname}
        port = parts.port or (443 if tls else 80)
        # The very address that was looked at is connected to: a name may answer differently the second time.
        return await first_of([partial(asyncio.open_connection, address, port, **tls) for address in addresses])

    async def _addresses(self, host: str) -> list[str]:
        try:
            found = [str(ipaddress.ip_address(host))]
        except ValueError:
            found = await look_up(host)
        if not self.allow_private_addresses:
            for address in found:
                require_public_address(address)
        return found[:MAX_ADDRESSES]


async def first_of(connects: list[Callable[[], Coroutine[Any, Any, Connection]]]) -> Connection:
    """RFC 8305 §5: each has a head start before the next; a dead address costs no more, a slow one is waited for."""
    left, attempts = list(connects), set[asyncio.Task[Connection]]()
    fault: BaseException = OSError("no address")
    try:
        while left or attempts:
            if left:
                attempts.add(asyncio.create_task(left.pop(0)()))
            patience = HEAD_START_SECONDS if left else None
            done, _ = await asyncio.wait(attempts, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            for attempt in done:
                attempts.remove(attempt)
                if not (error := attempt.exception()):
                    return attempt.result()
                fault = error
        raise fault
    finally:
        for attempt in attempts:  # one of them may have got through just now
            attempt.cancel()
            attempt.add_done_callback(hang_up)


def hang_up(attempt: asyncio.Task[Connection]) -> None:
    """Nobody wants it any more."""
    if not attempt.cancelled() and not attempt.exception():
        attempt.result()[1].transport.abort()


class Reply:
    """What llhttp, the parser of Node.js, finds in an answer (RFC 9112): its status, headers and body, as they come."""

    def __init__(self) -> None:
        self.status, self.interim, self.body = 0, 0, b""
        self.headers: dict[str, str] = {}
        self.is_over = self.is_broken = False
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, piece: bytes) -> None:
        """:class:`ValueError` if it is no HTTP from the start; nothing that comes after the answer matters."""
        try:
            self._parser.feed_data(piece)
        except httptools.HttpParserError as error:
            if not self.status:
                raise ValueError("not HTTP") from error
            self.is_broken = not self.is_over

    def end(self) -> None:
        """The other side has hung up. Only a body without a length ends so (§6.3)."""
        self.is_broken = not {"content-length", "transfer-encoding"}.isdisjoint(self.headers)
        self.is_over = not self.is_broken

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser."""
        if not self.status:
            self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Called by the parser. What comes before the final answer is interim (RFC 9110 §15.2)."""
        self.status = self.status or self._parser.get_status_code()
        if self.status < 200:
            self.status, self.headers, self.interim = 0, {}, self.interim + 1
            if self.interim > MAX_INTERIM:
                raise ValueError("no final answer")

    def on_body(self, piece: bytes) -> None:
        """Called by the parser."""
        if not self.is_over:
            self.body += piece

    def on_message_complete(self) -> None:
        """Called by the parser."""
        self.is_over = self.status > 0


async def read_head(reader: asyncio.StreamReader, reply: Reply) -> None:
    """Until the final answer's headers are complete; they are bounded."""
    seen = 0
    while not reply.status:
        piece = await reader.read(4096)
        seen += len(piece)
        if not piece or seen > MAX_HEAD:
            raise EOFError("no headers")
        reply.feed(piece)
        await asyncio.sleep(0)  # what has come already is read without a pause: the others are to have their turn


async def read_body(reader: asyncio.StreamReader, reply: Reply, limit: int) -> str:
    """As much of the body as may be. Returns what is wrong with it: it is too large, too slow, or breaks off."""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while not (reply.is_over or reply.is_broken) and len(reply.body) <= limit:
                if piece := await reader.read(4096):
                    reply.feed(piece)
                    await asyncio.sleep(0)
                else:
                    reply.end()
    except TimeoutError:
        return "response too slow"
    except OSError:
        reply.is_broken = True
    return "response broken off" if reply.is_broken else "response too large" if len(reply.body) > limit else ""


@lru_cache(maxsize=256)
def trusting(ca_certificates: str | None, ca_bundle: str | None) -> ssl.SSLContext:
    """Checks certificates and names. Made once for each set of certificates: it takes as long as many requests.

    ``ca_certificates`` is PEM, ``ca_bundle`` a file; :class:`ssl.SSLError` or :class:`ValueError` if there is none.
    """
    if ca_certificates:
        return ssl.create_default_context(cadata=ca_certificates)
    return ssl.create_default_context(cafile=ca_bundle or certifi.where())


def host_of(url: str) -> str:
    """Host and port, of which there may be none: an address that cannot be called is written down at the call."""
    try:
        return urlsplit(url).netloc.lower()
    except ValueError:
        return ""


def fault_in_words(error: Exception) -> str:
    """What went wrong on the network."""
    kinds = [
        (ssl.SSLError, "TLS"),  # also a certificate for another name
        (TimeoutError, "timeout"),
        (socket.gaierror, "name unknown"),
        (PrivateAddressError, "private address"),
        (ConnectionRefusedError, "connection refused"),
    ]
    return next((words for kind, words in kinds if isinstance(error, kind)), "connection broken")


class PrivateAddressError(OSError):
    """The name leads to a machine that is not on the public internet."""


_being_looked_up: dict[str, asyncio.Task[list[str]]] = {}
_turns: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()


async def look_up(host: str) -> list[str]:
    """:func:`addresses_of`, in a thread. A name costs one, however many ask for it; a domain has a share of them.

    Nothing stops a thread that waits for a name server. So one that is slow must not have all of them.
    """
    if host not in _being_looked_up:
        task = _being_looked_up[host] = asyncio.create_task(_look_up_in_turn(host))
        task.add_done_callback(partial(_looked_up, host))
    return await asyncio.shield(_being_looked_up[host])


def _looked_up(host: str, task: asyncio.Task[list[str]]) -> None:
    _being_looked_up.pop(host, None)
    if not task.cancelled():
        task.exception()  # those who asked may all be gone, and it is no fault of ours


async def _look_up_in_turn(host: str) -> list[str]:
    domain = ".".join(host.rstrip(".").split(".")[-2:])
    turn = _turns.get(domain)
    if turn is None:
        turn = _turns[domain] = asyncio.Semaphore(RESOLVERS_A_DOMAIN)
    async with turn:
        return await asyncio.get_running_loop().run_in_executor(None, addresses_of, host)


def addresses_of(host: str) -> list[str]:
    """Where a name leads; :class:`socket.gaierror` if nowhere."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # a label that is empty or too long
        raise socket.gaierror(socket.EAI_NONAME, "no name") from error
    return [str(address[0]) for *_, address in found]


async def private_ones(urls: Collection[str]) -> list[str]:
    """Those of the URLs that have a private address; all names are looked up side by side, in LOOK_UP_SECONDS."""
    tasks = {url: asyncio.create_task(look_up((urlsplit(url).hostname or "").strip("[]"))) for url in urls}
    if tasks:
        await asyncio.wait(tasks.values(), timeout=LOOK_UP_SECONDS)
    return [url for url, task in tasks.items() if leads_inside(task)]


def leads_inside(task: asyncio.Task[list[str]]) -> bool:
    """Whether a look-up found a private address; one that failed, or is not done, found none."""
    if not task.done():
        task.cancel()
        return False
    try:
        for address in task.result():
            require_public_address(address)
    except PrivateAddressError:
        return True
    except OSError:
        return False
    return False


def require_public_address(address: Any) -> None:
    """One address. "Global" leaves out private, loopback, link-local, reserved and documentation networks."""
    ip = ipaddress.ip_address(str(address).partition("%")[0])
    if (
        ip in LOCAL_TRANSLATION
        or any(not one.is_global or one.is_multicast for one in [ip, *embedded(ip)])
        or getattr(ip, "is_site_local", False)
    ):
        raise PrivateAddressError("private address")


def embedded(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> list[ipaddress.IPv4Address]:
    """The IPv4 address that an IPv6 address may stand for: mapped, compatible, translated (RFC 2765 §2.1,
    RFC 6052), tunnelled (6to4; Teredo, which names two).
    """
    if isinstance(ip, ipaddress.IPv4Address):
        return []
    last = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    is_wrapped = any(ip in network for network in WRAPPINGS)
    return [last] if is_wrapped else [ip.sixtofour] if ip.sixtofour else list(ip.teredo or [])


# --- the threads that wait ---

_places = threading.BoundedSemaphore(WAITING_THREADS)


@contextmanager
def place_to_wait() -> Iterator[None]:
    """Around each wait of a request's thread for another site; :class:`BusyError` at once if there are too many.

    Anyone can make this server wait for the site of a registered client. The other threads stay free.
    """
    if not _places.acquire(blocking=False):
        raise BusyError("too many requests wait for other sites; try again")
    try:
        yield
    finally:
        _places.release()


# --- the thread that makes all requests ---

_starting = threading.Lock()
_loops: list[asyncio.AbstractEventLoop] = []
# A thread does not survive a fork: each process starts its own, and nobody will ever end the look-ups of another.
os.register_at_fork(after_in_child=lambda: [of.clear() for of in (_loops, _being_looked_up, _turns)])


def in_background(task: Coroutine[Any, Any, T]) -> Future[T]:
    """Have it done by the thread for requests, which starts with the first one."""
    with _starting:
        if not _loops:
            loop = asyncio.new_event_loop()
            loop.set_default_executor(ThreadPoolExecutor(RESOLVERS, thread_name_prefix="resolver"))
            threading.Thread(target=loop.run_forever, name="requests", daemon=True).start()
            _loops.append(loop)
    return asyncio.run_coroutine_threadsafe(task, _loops[0])
