"""An HTTP client that follows redirects, submits forms and keeps cookies, but runs no scripts.

Stories that are not about signing in use it to sign in: it is about ten times as fast as a real browser.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import TYPE_CHECKING
from urllib.parse import urljoin

import requests

from e2e.plain import PlainClient

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext

MAX_REDIRECTS = 15
Attributes = dict[str, str]


class PlainBrowser:
    """One client with its own cookies. ``before_redirect`` is called with each address to which it is redirected."""

    def __init__(self, user_agent: str = "", before_redirect: Callable[[str], None] = lambda _url: None) -> None:
        self._http, self._before_redirect = PlainClient(), before_redirect
        self._http.headers["Accept"] = "text/html"
        if user_agent:
            self._http.headers["User-Agent"] = user_agent

    def open(self, url: str) -> requests.Response:
        """The page at ``url``, or the page that it redirects to."""
        return self._follow(self._http.get(url))

    def send(self, page: requests.Response, **changes: str | list[str]) -> requests.Response:
        """Submit the first form in ``<main>``; ``changes`` replace values of its fields."""
        form = form_of(page)
        return self._follow(self._http.post(urljoin(page.url, form.action), data={**form.fields, **changes}))

    def post(self, url: str, **fields: str) -> requests.Response:
        """Submit a form with these fields."""
        return self._follow(self._http.post(url, data=fields))

    def sign_in(self, url: str, user: str, password: str) -> requests.Response:
        """Open ``url`` and sign in on the page that it redirects to."""
        page = self.send(self.open(url), username=user, password=password)
        assert page.ok, f"{user} cannot sign in for {url}: {page.url} has status {page.status_code}"
        return page

    def give_cookies(self, context: BrowserContext) -> None:
        """Copy the cookies to a real browser, which is then signed in at the same services."""
        for cookie in self._http.cookies:
            context.add_cookies(
                [
                    {
                        "name": cookie.name,
                        "value": cookie.value or "",
                        "domain": cookie.domain.removesuffix(".local"),  # the jar adds it to `localhost`
                        "path": cookie.path,
                        "secure": cookie.secure,
                        "httpOnly": cookie.has_nonstandard_attr("HttpOnly"),
                        "sameSite": "None" if cookie.get_nonstandard_attr("SameSite") == "None" else "Lax",
                        "expires": cookie.expires or -1,
                    }
                ]
            )

    def cookie(self, url: str) -> str:
        """The cookies it would send there, as a header."""
        request = self._http.prepare_request(requests.Request("GET", url))
        return str(request.headers["Cookie"])

    def _follow(self, answer: requests.Response) -> requests.Response:
        for _ in range(MAX_REDIRECTS):
            if "Location" not in answer.headers:
                return answer
            address = urljoin(answer.url, answer.headers["Location"])
            self._before_redirect(address)
            answer = self._http.get(address)
        raise AssertionError(f"more than {MAX_REDIRECTS} redirects, the last one to {answer.url}")


@dataclass
class FormReader(HTMLParser):
    """Reads the first form in ``<main>``: its action, and the values that a browser would submit unchanged."""

    action: str = ""
    fields: dict[str, list[str]] = field(default_factory=dict)
    was_found: bool = False
    _is_in_main: bool = False
    _is_open: bool = False
    _select: str = ""
    _textarea: str = ""

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Called by the parser."""
        values = {name: value or "" for name, value in attrs}
        if tag == "main":
            self._is_in_main = True
        elif tag == "form":
            self._is_open = self._is_in_main and not self.was_found
            if self._is_open:
                self.was_found, self.action = True, values.get("action", "")
        elif self._is_open:
            self._read_control(tag, values)

    def _read_control(self, tag: str, values: Attributes) -> None:
        name = values.get("name", "")
        if tag == "select":
            self._select = name
        elif tag == "option" and (self._select not in self.fields or "selected" in values):
            self.fields[self._select] = [values.get("value", "")]  # the first option, unless another one is selected
        elif tag == "textarea":
            self._textarea = name
            self.fields[name] = [""]
        elif tag == "input" and name and is_sent(values):
            self.fields.setdefault(name, []).append(values.get("value", "on"))

    def handle_data(self, data: str) -> None:
        """Called by the parser."""
        if self._textarea:
            self.fields[self._textarea][0] += data

    def handle_endtag(self, tag: str) -> None:
        """Called by the parser."""
        if tag == "form":
            self._is_open = False
        elif tag == "textarea":
            self.fields[self._textarea][0] = self.fields[self._textarea][0].removeprefix("\n")
            self._textarea = ""


def form_of(page: requests.Response) -> FormReader:
    """The first form in the page's main part."""
    reader = FormReader()
    reader.feed(page.text)
    assert reader.was_found, f"no form at {page.url} (status {page.status_code})"
    return reader


def is_sent(control: Attributes) -> bool:
    """Whether an ``<input>`` is sent without a click on it."""
    kind = control.get("type", "text")
    return "checked" in control if kind in ("checkbox", "radio") else kind not in ("submit", "button", "image", "reset")
