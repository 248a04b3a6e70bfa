"""The one door for requests to addresses that clients name: logout URIs, key sets, request objects, sector files.

Whoever registers an address makes this server call it, so the door decides where it may lead (server-side
request forgery): https, no credentials in the address, and no machine of our own network. It follows no
redirect, asks no proxy, waits a bounded time and reads a bounded answer.
"""

import ipaddress
import re
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError

TIMEOUT = (2.0, 5.0)  # seconds to connect, and between two pieces of the answer
HEADER_SECONDS = 5.0  # how long an answer may take to begin,
BODY_SECONDS = 2.0  # and to end; with the time to connect, less than session_ending.LEASE_SECONDS
ALLOWED_HOST = re.compile(r"[A-Za-z0-9._-]+(:[0-9]+)?|\[[0-9A-Fa-f:.]+\](:[0-9]+)?")
WRAPPINGS = [ipaddress.IPv6Network(network) for network in ("::/96", "::ffff:0:0/96", "64:ff9b::/96")]
MAX_DOCUMENT = 64 * 1024  # bytes of a key set, request object or sector file


class FetchError(Exception):
    """The address may not be called, or the call failed. The text says which, in words."""


@dataclass(frozen=True)
class Door:
    """Where requests may go. Both switches are for demonstrations, on one machine."""

    allow_plain_http: bool
    allow_private_addresses: bool
    ca_bundle: str | None = None

    def check(self, url: str) -> None:
        """The rules for the address itself; :class:`FetchError` says which one it breaks."""
        try:
            parts = urlsplit(url)
            host = parts.hostname
            _ = parts.port
        except ValueError as error:
            raise FetchError("is not a URL") from error
        if parts.scheme != "https" and not (parts.scheme == "http" and self.allow_plain_http):
            raise FetchError("is not an https URL")
        if not host or not ALLOWED_HOST.fullmatch(parts.netloc):
            raise FetchError("has no plain host name")  # or credentials in front of it, or what could end a header
        if not url.isascii() or not url.isprintable() or " " in url:
            raise FetchError("contains characters that no URL has")

    def check_public(self, url: str) -> None:
        """Where its name leads today; whoever calls it looks again. A name that nobody knows yet may come to be."""
        if self.allow_private_addresses:
            return
        try:
            require_public(urlsplit(url).hostname or "")
        except PrivateAddressError as error:
            raise FetchError("leads to a private address") from error
        except OSError:
            return

    def session(self, pool_size: int = 4) -> requests.Session:
        """A client for requests through this door; threads may share it."""
        session = requests.Session()
        session.trust_env = False  # no proxy by surprise
        session.verify = self.ca_bundle or True
        session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))  # one site's cookies are not for another
        adapter = HTTPAdapter(pool_maxsize=pool_size)
        public = {"http": PublicHTTPPool, "https": PublicHTTPSPool}
        anywhere = {"http": BoundedHTTPPool, "https": BoundedHTTPSPool}
        adapter.poolmanager.pool_classes_by_scheme = anywhere if self.allow_private_addresses else public
        session.mount("https://", adapter)
        session.mount("http://", adapter)
        return session

    def get(self, url: str) -> bytes:
        """The document at ``url``; :class:`FetchError` if there is none to be had."""
        self.check(url)
        try:
            with self.session().get(url, timeout=TIMEOUT, allow_redirects=False, stream=True) as response:
                status, (body, in_time) = response.status_code, read_some(response, MAX_DOCUMENT + 1)
        except (requests.RequestException, HTTPError, OSError) as error:
            raise FetchError(fault_in_words(error)) from error
        if status != requests.codes.ok:
            raise FetchError(f"answered {status}")
        if not in_time:
            raise FetchError("timeout")
        if len(body) > MAX_DOCUMENT:
            raise FetchError("sent too large an answer")
        return body


def read_some(response: requests.Response, limit: int) -> tuple[bytes, bool]:
    """The body, as far as it comes in :data:`BODY_SECONDS`, up to ``limit`` bytes; and whether that time sufficed."""
    end, body = time.monotonic() + BODY_SECONDS, b""
    while len(body) < limit and (piece := response.raw.read1(limit - len(body), decode_content=True)):
        body += piece
        if time.monotonic() > end:
            return body, False
    return body, True


def fault_in_words(error: Exception) -> str:
    """What went wrong on the network."""
    if isinstance(error, requests.exceptions.SSLError):
        return "TLS"
    if isinstance(error, requests.exceptions.Timeout) or "timed out" in str(error):
        return "timeout"
    text = repr(error)
    if "PrivateAddress" in text or "private address" in text:
        return "private address"
    if "NameResolutionError" in text or "gaierror" in text:
        return "name unknown"
    return "connection refused" if "refused" in text else "connection broken"


class PrivateAddressError(OSError):
    """The name leads to a machine that is not on the public internet."""


def require_public(host: str) -> None:
    """Before connecting: every address of the name is a public one."""
    try:
        found = socket.getaddrinfo(host.strip("[]"), None, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # a label that is empty or too long
        raise socket.gaierror(socket.EAI_NONAME, "no name") from error
    for *_, address in found:
        require_public_address(address[0])


def require_public_address(address: Any) -> None:
    """One address. "Global" leaves out private, loopback, link-local, reserved and documentation networks."""
    ip = ipaddress.ip_address(str(address).partition("%")[0])
    if any(not one.is_global or one.is_multicast for one in [ip, *embedded(ip)]) or getattr(ip, "is_site_local", False):
        raise PrivateAddressError("private address")


def embedded(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> list[ipaddress.IPv4Address]:
    """The IPv4 address that an IPv6 address may stand for: mapped, compatible, translated (NAT64), tunnelled (6to4)."""
    if isinstance(ip, ipaddress.IPv4Address):
        return []
    last = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    is_wrapped = any(ip in network for network in WRAPPINGS)
    return [last] if is_wrapped else [ip.sixtofour] if ip.sixtofour else []


class HeadersInTime:
    """A connection whose answer begins in time. A timeout alone counts anew with every byte that drips in."""

    sock: socket.socket | None

    def getresponse(self) -> Any:
        """Hang up on a site that does not finish its headers."""
        overdue = threading.Event()
        timer = threading.Timer(HEADER_SECONDS, self._hang_up, [overdue])
        timer.daemon = True
        timer.start()
        try:
            response = super().getresponse()  # type: ignore[misc] # of the connection class this is mixed into
        except (OSError, HTTPException):
            if not overdue.is_set():
                raise
        finally:
            timer.cancel()
        if overdue.is_set():  # also where what had come by then could pass for an answer
            raise TimeoutError("timed out")
        return response

    def _hang_up(self, overdue: threading.Event) -> None:
        overdue.set()
        if self.sock is not None:
            with suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)


class BoundedHTTPConnection(HeadersInTime, HTTPConnection):
    """To any address."""


class BoundedHTTPSConnection(HeadersInTime, HTTPSConnection):
    """To any address."""


class BoundedHTTPPool(HTTPConnectionPool):
    """A pool of such connections."""

    ConnectionCls = BoundedHTTPConnection


class BoundedHTTPSPool(HTTPSConnectionPool):
    """A pool of such connections."""

    ConnectionCls = BoundedHTTPSConnection


class PublicHTTPConnection(HeadersInTime, HTTPConnection):
    """Connects to public addresses only."""

    def _new_conn(self) -> socket.socket:
        require_public(self.host)
        connection = super()._new_conn()
        # Once more, for the address that was really taken: a name may answer differently the second time.
        require_public_address(connection.getpeername()[0])
        return connection


class PublicHTTPSConnection(HeadersInTime, HTTPSConnection):
    """Connects to public addresses only."""

    def _new_conn(self) -> socket.socket:
        require_public(self.host)
        connection = super()._new_conn()
        require_public_address(connection.getpeername()[0])
        return connection


class PublicHTTPPool(HTTPConnectionPool):
    """A pool of such connections."""

    ConnectionCls = PublicHTTPConnection


class PublicHTTPSPool(HTTPSConnectionPool):
    """A pool of such connections."""

    ConnectionCls = PublicHTTPSConnection
