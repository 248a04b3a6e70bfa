"""All requests to URLs that clients register: logout URIs, key sets, request objects, sector files.

A client can make this server call any URL that it registers (server-side request forgery). So this file limits the
URLs: https, no credentials, and no address in our own network. It follows no redirect and uses no proxy. The time
of each request and the size of each response are limited.

    check the URL ─ look up the name ─ connect ─ send ─ read the response       GuardedHttpClient.ask

One thread makes all requests of a process (:func:`in_background`). An app that hangs costs a socket but no thread.
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
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import Any, TypeAlias, TypeVar
from urllib.parse import SplitResult, urlsplit
from weakref import WeakValueDictionary

import certifi
import httptools

LOOK_UP_SECONDS = 2.0  # to look up a name, including the wait for a resolver thread
CONNECT_SECONDS, ANSWER_SECONDS = 2.0, 5.0  # to connect; from then on until the response's headers are complete
BODY_SECONDS = 2.0  # from then on until its body is complete
HEAD_START_SECONDS = 0.25  # for each address of a name before the next one is tried in parallel (RFC 8305 §8)
MAX_ADDRESSES = 8  # addresses of a name that are tried
RESOLVERS = 256  # threads that look up names,
RESOLVERS_A_DOMAIN = 32  # and those of them that one domain may use, because its name servers may be slow
ALLOWED_HOST = re.compile(r"[A-Za-z0-9._-]+(:[0-9]+)?|\[[0-9A-Fa-f:.]+\](:[0-9]+)?")
LOCAL_TRANSLATION = ipaddress.IPv6Network("64:ff9b:1::/48")  # RFC 8215: leads into the operator's own network
WRAPPINGS = [
    ipaddress.IPv6Network(network) for network in ("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96")
]
MAX_HEAD = 64 * 1024  # bytes of status and headers
MAX_INTERIM = 8  # interim (1xx) responses before the final one
MAX_DOCUMENT = 64 * 1024  # bytes of a key set, request object or sector file
WAITING_THREADS = 4  # request threads, of 16 (gunicorn.conf.py), that may wait for a document

T = TypeVar("T")
Connection: TypeAlias = socket.socket  # also an ssl.SSLSocket; it never blocks


class FetchError(Exception):
    """The URL may not be called, or the call failed. The text says why."""


class BusyError(FetchError):
    """Too many request threads already wait for other sites, so this URL was not called."""


class AddressError(FetchError):
    """The URL itself is not allowed. The text continues a sentence that begins with the URL's name."""


@dataclass(frozen=True)
class Request:
    """A request and its timeouts. With ``form``, the body, it is a POST; without, a GET."""

    url: str
    form: bytes | None = None
    limit: int = MAX_DOCUMENT  # bytes of the response's body that are read
    connect_seconds: float = CONNECT_SECONDS
    answer_seconds: float = ANSWER_SECONDS
    ca_certificates: str | None = None  # PEM; trusted for this request instead of the usual ones
    user_agent: str = "Pickup-IdP"
    traceparent: str = ""  # W3C Trace Context, in the demonstration

    def as_bytes(self, parts: SplitResult) -> bytes:
        """RFC 9112 §3; ``parts`` of the address. One connection a request: an old one may close as we write."""
        target = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
        head = f"{'GET' if self.form is None else 'POST'} {target} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        head += f"User-Agent: {self.user_agent}\r\nAccept: */*\r\nConnection: close\r\n"
        if self.traceparent:
            head += f"traceparent: {self.traceparent}\r\n"
        if self.form is not None:
            head += f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(self.form)}\r\n"
        return f"{head}\r\n".encode() + (self.form or b"")


@dataclass(frozen=True)
class Answer:
    """The response. ``fault`` says what was wrong with the body; ``body`` is then its beginning."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)  # names in lower case; the last of several
    body: bytes = b""
    fault: str = ""


@dataclass(frozen=True)
class GuardedHttpClient:
    """Makes the requests. Both switches are for demonstrations on one machine."""

    allow_plain_http: bool
    allow_private_addresses: bool
    ca_bundle: str | None = None

    def check(self, url: str) -> SplitResult:
        """Applies the rules for the URL itself and returns its parts. :class:`AddressError` names the broken rule."""
        try:
            parts = urlsplit(url)
            host = parts.hostname
            _ = parts.port
        except ValueError as error:
            raise AddressError("is not a URL") from error
        if parts.scheme != "https" and not (parts.scheme == "http" and self.allow_plain_http):
            raise AddressError(f"is not an {'http or ' if self.allow_plain_http else ''}https URL")
        if not host or not ALLOWED_HOST.fullmatch(parts.netloc):
            raise AddressError("has no plain host name")  # or credentials, or a character that ends a header
        if not url.isascii() or not url.isprintable() or " " in url:
            raise AddressError("contains characters that no URL has")
        return parts

    def leading_inside(self, urls: Iterable[str]) -> set[str]:
        """The URLs whose names resolve to private addresses now; checked again on every request.

        All names together have LOOK_UP_SECONDS. A name that is not found by then is not included.
        """
        if self.allow_private_addresses:
            return set()
        return set(in_background(private_ones(set(urls))).result())

    def get(self, url: str) -> bytes:
        """Returns the document. Raises :class:`FetchError`, or :class:`BusyError` if too many threads wait."""
        with place_to_wait():
            return in_background(self.document(url)).result()

    async def document(self, url: str) -> bytes:
        """The same, inside the thread that makes all requests."""
        answer = await self.ask(Request(url))
        if answer.status != 200:
            raise FetchError(f"answered {answer.status}")
        if answer.fault:
            raise FetchError(answer.fault)
        return answer.body

    async def ask(self, request: Request) -> Answer:
        """Makes one request and returns the response, whatever its status. :class:`FetchError` if there is none."""
        parts = self.check(request.url)
        try:
            addresses = await self._addresses(parts.hostname or "")
            async with asyncio.timeout(request.connect_seconds):
                connection = await self._connect(parts, addresses, request.ca_certificates)
            with connection:  # the rest of the response is not read
                reply = Reply()
                async with asyncio.timeout(request.answer_seconds):
                    await send(connection, request.as_bytes(parts))
                    await read_head(connection, reply)
                fault = await read_body(connection, reply, request.limit)
        except (OSError, EOFError, ValueError) as error:
            raise FetchError(fault_in_words(error)) from error
        return Answer(reply.status, reply.headers, reply.body[: request.limit], fault)

    async def _connect(self, parts: SplitResult, addresses: list[str], ca_certificates: str | None) -> Connection:
        tls = trusting(ca_certificates, self.ca_bundle) if parts.scheme == "https" else None
        port = parts.port or (443 if tls else 80)
        # Connect to the addresses that were checked: a second look-up of the name may return others.
        return await first_of([partial(connect, address, port, tls, parts.hostname) for address in addresses])

    async def _addresses(self, host: str) -> list[str]:
        try:
            found = [str(ipaddress.ip_address(host))]
        except ValueError:
            async with asyncio.timeout(LOOK_UP_SECONDS):
                found = await look_up(host)
        if not self.allow_private_addresses:
            for address in found:
                require_public_address(address)
        return found[:MAX_ADDRESSES]


async def first_of(connects: list[Callable[[], Coroutine[Any, Any, Connection]]]) -> Connection:
    """RFC 8305 §5: starts the attempts one after another, each with a head start, and returns the first connection.

    A later attempt does not cancel the earlier ones, so a slow address can still win.
    """
    if len(connects) == 1:  # usual case, needs no task
        return await connects[0]()
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
        for attempt in attempts:  # one of them may have connected at the same moment
            attempt.cancel()
            attempt.add_done_callback(hang_up)


def hang_up(attempt: asyncio.Task[Connection]) -> None:
    """Closes a connection that was made too late."""
    if not attempt.cancelled() and not attempt.exception():
        attempt.result().close()


# --- sockets: asyncio's streams would take twice the CPU time (docs/figures.md) ---


async def connect(address: str, port: int, tls: ssl.SSLContext | None, name: str | None) -> Connection:
    """Opens a connection to a checked address; with ``tls``, to a server that has a certificate for ``name``."""
    family, *_, place = socket.getaddrinfo(address, port, flags=socket.AI_NUMERICHOST)[0]
    connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.setblocking(False)
        with suppress(BlockingIOError):
            connection.connect(place)
        await until_ready(connection, for_reading=False)
        raise_fault_of(connection)
        if tls:
            connection = tls.wrap_socket(connection, server_hostname=name, do_handshake_on_connect=False)
            await when_ready(connection, connection.do_handshake)
    except BaseException:
        connection.close()
        raise
    return connection


def raise_fault_of(connection: Connection) -> None:
    """Raises the :class:`OSError` with which connecting failed, if it did."""
    if fault := connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        raise OSError(fault, os.strerror(fault))


async def send(connection: Connection, request: bytes) -> None:
    """Sends all of it."""
    while request:
        sent = await when_ready(connection, partial(connection.send, request), for_reading=False)
        request = request[sent:]


async def receive(connection: Connection) -> bytes:
    """The next bytes; none if the other side has closed the connection."""
    return await when_ready(connection, partial(connection.recv, 4096))


async def when_ready(connection: Connection, act: Callable[[], T], *, for_reading: bool = True) -> T:
    """Does it as soon as the connection is ready. With TLS, also sending may have to read first, and vice versa."""
    while True:
        try:
            return act()
        except ssl.SSLWantReadError:
            await until_ready(connection, for_reading=True)
        except ssl.SSLWantWriteError:
            await until_ready(connection, for_reading=False)
        except BlockingIOError:
            await until_ready(connection, for_reading=for_reading)


async def until_ready(connection: Connection, *, for_reading: bool) -> None:
    """Waits until the connection can be read, or written; also if it is broken."""
    loop = asyncio.get_running_loop()
    ready, number = loop.create_future(), connection.fileno()
    add, remove = (loop.add_reader, loop.remove_reader) if for_reading else (loop.add_writer, loop.remove_writer)
    add(number, set_ready, ready)
    try:
        await ready
    finally:
        remove(number)


def set_ready(ready: asyncio.Future[None]) -> None:
    """The loop may call it again before the waiting task has run."""
    if not ready.done():
        ready.set_result(None)


# --- the response ---


class Reply:
    """Collects what llhttp, the parser of Node.js, finds in a response (RFC 9112): status, headers and body."""

    def __init__(self) -> None:
        self.status, self.interim, self.body = 0, 0, b""
        self.headers: dict[str, str] = {}
        self.is_over = self.is_broken = False
        self._parser = httptools.HttpResponseParser(self)

    def feed(self, piece: bytes) -> None:
        """:class:`ValueError` if it does not begin as HTTP. Bytes after the response are ignored."""
        try:
            self._parser.feed_data(piece)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:  # we ask for no upgrade
            if not self.status:
                raise ValueError("not HTTP") from error
            self.is_broken = not self.is_over

    def end(self) -> None:
        """The other side has closed the connection. Only a body without a length ends so (§6.3)."""
        self.is_broken = not {"content-length", "transfer-encoding"}.isdisjoint(self.headers)
        self.is_over = not self.is_broken

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser."""
        if not self.status:
            self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Called by the parser. Skips interim responses (RFC 9110 §15.2)."""
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


async def read_head(connection: Connection, reply: Reply) -> None:
    """Reads until the headers of the final response are complete. Their size is limited."""
    seen = 0
    while not reply.status:
        if seen:
            await asyncio.sleep(0)  # reading what has already arrived never waits, so let the other requests run
        piece = await receive(connection)
        seen += len(piece)
        if not piece or seen > MAX_HEAD:
            raise EOFError("no headers")
        reply.feed(piece)


async def read_body(connection: Connection, reply: Reply, limit: int) -> str:
    """Reads the body up to the limit. Returns what is wrong with it, if anything: too large, too slow or broken off."""
    try:
        async with asyncio.timeout(BODY_SECONDS if not reply.is_over else None):
            while not (reply.is_over or reply.is_broken) and len(reply.body) <= limit:
                if piece := await receive(connection):
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
    """Returns a context that checks certificates and names. Cached, because making one takes as long as many requests.

    ``ca_certificates`` is PEM, ``ca_bundle`` a file. :class:`ssl.SSLError` or :class:`ValueError` if they are invalid.
    """
    if ca_certificates:
        return ssl.create_default_context(cadata=ca_certificates)
    return ssl.create_default_context(cafile=ca_bundle or certifi.where())


def host_of(url: str) -> str:
    """Host and port; empty if the URL has none. Such a URL fails when it is called, and the attempt records why."""
    try:
        return urlsplit(url).netloc.lower()
    except ValueError:
        return ""


def fault_in_words(error: Exception) -> str:
    """The reason of a network error, for the delivery log."""
    kinds = [
        (ssl.SSLError, "TLS"),  # also a certificate for another name
        (TimeoutError, "timeout"),
        (socket.gaierror, "name unknown"),
        (PrivateAddressError, "private address"),
        (ConnectionRefusedError, "connection refused"),
    ]
    return next((words for kind, words in kinds if isinstance(error, kind)), "connection broken")


class PrivateAddressError(OSError):
    """The name resolves to an address that is not on the public internet."""


_being_looked_up: dict[str, asyncio.Task[list[str]]] = {}
_turns: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()


async def look_up(host: str) -> list[str]:
    """Runs :func:`addresses_of` in a thread. Simultaneous look-ups of one name share a thread.

    A thread that waits for a name server cannot be stopped. So each domain may use only some of the threads, and a slow
    name server cannot occupy all of them.
    """
    if host not in _being_looked_up:
        task = _being_looked_up[host] = asyncio.create_task(_look_up_in_turn(host))
        task.add_done_callback(partial(_looked_up, host))
    return await asyncio.shield(_being_looked_up[host])


def _looked_up(host: str, task: asyncio.Task[list[str]]) -> None:
    _being_looked_up.pop(host, None)
    if not task.cancelled():
        task.exception()  # marks it as read: the requests that waited for it may all have timed out


async def _look_up_in_turn(host: str) -> list[str]:
    domain = ".".join(host.rstrip(".").split(".")[-2:])
    turn = _turns.get(domain)
    if turn is None:
        turn = _turns[domain] = asyncio.Semaphore(RESOLVERS_A_DOMAIN)
    async with turn:
        return await asyncio.get_running_loop().run_in_executor(None, addresses_of, host)


def addresses_of(host: str) -> list[str]:
    """The addresses of a name; :class:`socket.gaierror` if it has none."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # a label that is empty or too long
        raise socket.gaierror(socket.EAI_NONAME, "no name") from error
    return [str(address[0]) for *_, address in found]


async def private_ones(urls: Collection[str]) -> list[str]:
    """The URLs that have a private address. All names are looked up in parallel, within LOOK_UP_SECONDS."""
    tasks = {url: asyncio.create_task(look_up((urlsplit(url).hostname or "").strip("[]"))) for url in urls}
    if tasks:
        await asyncio.wait(tasks.values(), timeout=LOOK_UP_SECONDS)
    return [url for url, task in tasks.items() if leads_inside(task)]


def leads_inside(task: asyncio.Task[list[str]]) -> bool:
    """Whether a look-up found a private address. One that failed found none; an unfinished one is cancelled."""
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
    """``is_global`` excludes private, loopback, link-local, reserved and documentation networks."""
    ip = ipaddress.ip_address(str(address).partition("%")[0])
    if (
        ip in LOCAL_TRANSLATION
        or any(not one.is_global or one.is_multicast for one in [ip, *embedded(ip)])
        or getattr(ip, "is_site_local", False)
    ):
        raise PrivateAddressError("private address")


def embedded(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> list[ipaddress.IPv4Address]:
    """The IPv4 addresses that an IPv6 address may contain: mapped, compatible, translated (RFC 2765 §2.1,
    RFC 6052) or tunnelled (6to4; Teredo, which contains two).
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
    """Limits the request threads that wait for other sites; :class:`BusyError` immediately if there are too many.

    Anyone can make this server wait for the site of a registered client. So some threads are kept free.
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
# A thread does not survive a fork, so each process starts its own thread and forgets the look-ups of its parent.
os.register_at_fork(after_in_child=lambda: [of.clear() for of in (_loops, _being_looked_up, _turns)])


def in_background(task: Coroutine[Any, Any, T]) -> Future[T]:
    """Runs a coroutine in the thread that makes all requests. The first call starts that thread."""
    with _starting:
        if not _loops:
            loop = asyncio.new_event_loop()
            loop.set_default_executor(ThreadPoolExecutor(RESOLVERS, thread_name_prefix="resolver"))
            threading.Thread(target=loop.run_forever, name="requests", daemon=True).start()
            _loops.append(loop)
    return asyncio.run_coroutine_threadsafe(task, _loops[0])
