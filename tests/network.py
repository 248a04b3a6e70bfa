"""A network inside this process: no sockets, and every message is recorded.

Every ``requests`` call of the services ends in :meth:`Network.send`, every call of the IdP's guarded client
in :meth:`Network.ask`. They pass it to the WSGI application of that host, or do what a test configured:
refuse, hang, answer something else. A :class:`Browser` uses the same network.
"""

import asyncio
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from html import unescape
from html.parser import HTMLParser
from io import BytesIO
from socket import gaierror
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import SplitResult, parse_qs, parse_qsl, urlencode, urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from urllib3 import HTTPConnectionPool, HTTPResponse
from urllib3.connection import HTTPConnection
from urllib3.exceptions import HTTPError, MaxRetryError, NameResolutionError, NewConnectionError
from werkzeug.test import Client, TestResponse
from werkzeug.wrappers import Response

from idp.outbox import http as fetch

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

Fault: TypeAlias = Callable[["Request"], Response]
MAX_WAIT = 10  # seconds until a thread that a test forgot to release continues


@dataclass(frozen=True)
class Request:
    """A recorded request."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: str
    options: Mapping[str, Any] = field(default_factory=dict)  # timeout, verify, proxies …, as requests was told

    @property
    def form(self) -> dict[str, list[str]]:
        """The body's form parameters, every value of each."""
        return parse_qs(self.body, keep_blank_values=True)

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        return origin_of(self.url)


@dataclass
class Exchange:
    """A request, and the status of its response; None if there was none."""

    request: Request
    status: int | None = None
    answer: str = ""


@dataclass
class Gate:
    """Holds requests. ``reached`` signals that one arrived; ``open`` releases them."""

    reached: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    opened: threading.Event = field(default_factory=threading.Event)

    def wait_for_request(self) -> None:
        """Wait until a request is held here."""
        assert self.reached.acquire(timeout=MAX_WAIT), "no request came"

    def open(self) -> None:
        """Release all requests, now and later."""
        self.opened.set()


class WebClient(Client):
    """An HTTP client that accepts absolute URLs."""

    def open(self, *args: Any, **options: Any) -> TestResponse:
        """``args[0]`` is the address."""
        parts = urlsplit(args[0])
        return super().open(parts.path or "/", base_url=origin_of(args[0]), query_string=parts.query, **options)


class Network:
    """Sites by origin, faults by URL prefix, and all recorded exchanges."""

    def __init__(self) -> None:
        self.exchanges: list[Exchange] = []
        self._sites: dict[str, WSGIApplication] = {}
        self._faults: dict[str, Fault] = {}
        self._gates: list[Gate] = []

    def add(self, url: str, app: "WSGIApplication") -> None:
        """Serve ``app`` at the origin of ``url``."""
        self._sites[origin_of(url)] = app

    # --- faults: ``url`` is an origin or a URL prefix ---

    def refuse(self, url: str) -> None:
        """Refuse connections to it."""
        self._faults[url] = _refused

    def time_out(self, url: str) -> None:
        """Accept connections to it, but never answer."""
        self._faults[url] = _timed_out

    def answer(
        self, url: str, status: int = 200, body: str | bytes = "", headers: Mapping[str, str] | None = None
    ) -> None:
        """Answer every request to it with this response."""
        self._faults[url] = lambda _: Response(body, status, headers)

    def hold(self, url: str) -> Gate:
        """Hold requests to it until the gate is opened."""
        gate = Gate()

        def wait(request: Request) -> Response:
            gate.reached.release()
            gate.opened.wait(MAX_WAIT)
            return self._ask_site(request)

        self._faults[url] = wait
        self._gates.append(gate)
        return gate

    def replace(self, url: str, answer: Fault) -> None:
        """Let ``answer`` respond to it."""
        self._faults[url] = answer

    def heal(self, url: str) -> None:
        """Remove the fault."""
        del self._faults[url]

    def release_all(self) -> None:
        """Remove all faults and release all requests."""
        for gate in self._gates:
            gate.open()

    # --- recorded messages ---

    def to(self, url: str) -> list[Exchange]:
        """The exchanges with URLs that begin with ``url``."""
        return [exchange for exchange in self.exchanges if exchange.request.url.startswith(url)]

    def logout_tokens(self, url: str) -> list[str]:
        """The logout tokens sent to ``url``."""
        return [exchange.request.form["logout_token"][0] for exchange in self.to(url)]

    # --- transport ---

    def send(self, adapter: HTTPAdapter, prepared: requests.PreparedRequest, **options: Any) -> requests.Response:
        """Replaces :meth:`requests.adapters.HTTPAdapter.send`."""
        body = prepared.body or b""
        request = Request(
            method=prepared.method or "",
            url=prepared.url or "",
            headers=CaseInsensitiveDict(prepared.headers),
            body=body if isinstance(body, str) else body.decode() if isinstance(body, bytes) else "",
            options=options,
        )
        exchange = Exchange(request)
        self.exchanges.append(exchange)
        try:
            response = self._find_fault(request)(request)
        except requests.RequestException as error:
            error.request = prepared
            raise
        exchange.status, exchange.answer = response.status_code, response.get_data(as_text=True)
        raw = HTTPResponse(
            body=BytesIO(response.get_data()),
            headers=dict(response.headers),
            status=response.status_code,
            preload_content=False,
        )
        return adapter.build_response(prepared, raw)

    async def ask(self, door: fetch.GuardedHttpClient, asked: fetch.Request) -> fetch.Answer:
        """In place of :meth:`idp.fetch.GuardedHttpClient.ask`."""
        parts = door.check(asked.url)
        return await asyncio.to_thread(self._answer, door, asked, parts)

    def _answer(self, door: fetch.GuardedHttpClient, asked: fetch.Request, parts: SplitResult) -> fetch.Answer:
        head = asked.as_bytes(parts).partition(b"\r\n\r\n")[0].decode().split("\r\n")
        headers = CaseInsensitiveDict((name, value) for name, _, value in (line.partition(": ") for line in head[1:]))
        body = (asked.form or b"").decode()
        request = Request(
            head[0].split()[0], asked.url, headers, body, {"asked": asked, "verify": door.ca_bundle or True}
        )
        exchange = Exchange(request)
        self.exchanges.append(exchange)
        try:
            response = self._find_fault(request)(request)
        except (requests.RequestException, HTTPError) as error:
            raise fetch.FetchError(in_the_doors_words(error)) from error
        exchange.status, exchange.answer = response.status_code, response.get_data(as_text=True)
        body_sent, low = response.get_data(), {name.lower(): value for name, value in response.headers.items()}
        fault = "response too large" if len(body_sent) > asked.limit else ""
        return fetch.Answer(response.status_code, low, body_sent[: asked.limit], fault)

    def _find_fault(self, request: Request) -> Fault:
        fitting = [start for start in self._faults if request.url.startswith(start)]
        return self._faults[max(fitting, key=len)] if fitting else self._ask_site

    def _ask_site(self, request: Request) -> Response:
        if request.origin not in self._sites:
            raise _name_unknown(request)
        return WebClient(self._sites[request.origin], use_cookies=False).open(
            request.url,
            method=request.method,
            headers=dict(request.headers),
            data=request.body.encode(),
            environ_overrides={"REMOTE_ADDR": "127.0.0.1"},
        )

    def wsgi(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """The whole network as one application, for browsers."""
        origin = f"{environ['wsgi.url_scheme']}://{environ['HTTP_HOST']}"
        if origin not in self._sites:
            raise AssertionError(f"the browser was sent to {origin}, where nobody is")
        return self._sites[origin](environ, start_response)


def origin_of(url: str) -> str:
    """Scheme, host and port."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def query_of(url: str) -> dict[str, str]:
    """The query's parameters; a repeated one fails the test."""
    pairs = parse_qsl(urlsplit(url).query, keep_blank_values=True)
    assert len(dict(pairs)) == len(pairs), f"a parameter is repeated in {url}"
    return dict(pairs)


def in_the_doors_words(error: Exception) -> str:
    """The address check of the guarded client."""
    kinds = {"SSLError": "TLS", "Timeout": "timeout", "NameResolution": "name unknown", "refused": "connection refused"}
    return next((words for sign, words in kinds.items() if sign in repr(error)), "connection broken")


# The errors below are built the way urllib3 and requests build them.


def _refused(request: Request) -> Response:
    host = urlsplit(request.url).hostname or ""
    sentence = "Failed to establish a new connection: [Errno 111] Connection refused"
    reason = NewConnectionError(HTTPConnection(host), sentence)
    raise requests.ConnectionError(MaxRetryError(HTTPConnectionPool(host), request.url, reason))


def _timed_out(request: Request) -> Response:
    raise requests.ReadTimeout(f"HTTPConnectionPool({request.origin}): Read timed out. (read timeout=5)")


def _name_unknown(request: Request) -> requests.ConnectionError:
    host = urlsplit(request.url).hostname or ""
    reason = NameResolutionError(host, HTTPConnection(host), gaierror(-2, "Name or service not known"))
    return requests.ConnectionError(MaxRetryError(HTTPConnectionPool(host), request.url, reason))


# --- the browser ---


@dataclass
class Form:
    """A form of a page: its fields and its target."""

    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)


class _PageParser(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.texts: list[str] = []
        self._inside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if tag == "form":
            method = (attributes.get("method") or "get").upper()
            self.forms.append(Form(attributes.get("action") or "", method))
        elif tag == "input" and self.forms and (name := attributes.get("name")):
            self.forms[-1].fields[name] = attributes.get("value") or ""
        if tag in ("script", "style", "template", "head"):
            self._inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self._inside and self._inside[-1] == tag:
            self._inside.pop()

    def handle_data(self, data: str) -> None:
        if not self._inside:
            self.texts.append(data)


@dataclass(frozen=True)
class Page:
    """The open page, and the addresses that redirected to it."""

    url: str
    status: int
    headers: Mapping[str, str]
    html: str
    came_by: list[str]

    @property
    def text(self) -> str:
        """The page's text as users read it."""
        return " ".join(" ".join(self._parsed().texts).split())

    @property
    def forms(self) -> list[Form]:
        """The page's forms."""
        return self._parsed().forms

    def form(self, action: str) -> Form:
        """The only form whose target contains ``action``."""
        (form,) = (form for form in self.forms if action in form.action)
        return form

    def element(self, element_id: str) -> str:
        """The text of the element with this id, which must have no child elements."""
        found = re.search(rf'id="{element_id}"[^>]*>([^<]*)<', self.html)
        assert found, f"the page has no element {element_id}"
        return unescape(found[1])

    def _parsed(self) -> _PageParser:
        parser = _PageParser()
        parser.feed(self.html)
        return parser


class Browser:
    """A browser: a cookie jar, one open page, redirects followed across sites."""

    def __init__(self, network: Network) -> None:
        self.client = WebClient(network.wsgi)
        self.page = Page("about:blank", 0, {}, "", [])

    def open(self, url: str) -> Page:
        """Open an address."""
        return self._go("GET", url, None)

    def submit(self, action: str, **fields: str) -> Page:
        """Fill in and send the page's form whose target contains ``action``."""
        form = self.page.form(action)
        return self._go(form.method, urljoin(self.page.url, form.action), {**form.fields, **fields})

    def post_from_elsewhere(self, url: str, **fields: str) -> Page:
        """Another site's page sends a form: the first request brings no SameSite=Lax cookie."""
        return self._go("POST", url, fields, cookies_at_first=False)

    def cookie(self, name: str, url: str) -> str | None:
        """The value of a cookie that would be sent to ``url``."""
        parts = urlsplit(url)
        for path in {parts.path.rsplit("/", 1)[0] or "/", "/" + parts.path.split("/")[1], "/"}:
            if found := self.client.get_cookie(name, parts.hostname or "", path):
                return found.value
        return None

    def _go(self, method: str, url: str, fields: dict[str, str] | None, *, cookies_at_first: bool = True) -> Page:
        came_by: list[str] = []
        response = self._request(method, url, fields, with_cookies=cookies_at_first)
        while response.status_code in (301, 302, 303):
            came_by.append(url)
            assert len(came_by) < 20, f"the browser goes round in circles: {came_by[-4:]}"
            url = urljoin(url, response.headers["Location"])
            response = self._request("GET", url, None, with_cookies=True)
        self.page = Page(url, response.status_code, dict(response.headers), response.get_data(as_text=True), came_by)
        return self.page

    def _request(self, method: str, url: str, fields: dict[str, str] | None, *, with_cookies: bool) -> Response:
        client = self.client if with_cookies else WebClient(self.client.application, use_cookies=False)
        return client.open(
            url,
            method=method,
            data=urlencode(fields) if fields is not None else None,
            content_type="application/x-www-form-urlencoded" if fields is not None else None,
            headers={"Accept": "text/html", "User-Agent": "Test Browser"},
        )
