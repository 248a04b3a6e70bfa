"""A user of the application under test: signs in, and checks whether the session is active."""

import secrets
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin

import requests

from attack.provider import WHO, Provider
from pickup_testing.http import Http

MAX_HOPS = 15  # redirects of one login
TIMEOUT = 10  # seconds
LIKE_A_BROWSER = {
    "Accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8",
    "User-Agent": "Mozilla/5.0 (attack bench)",
    "Connection": "close",
}


class SignInFailed(Exception):
    """Login does not work at the application. The text says where it ended."""


@dataclass(frozen=True)
class Target:
    """The application under test, as configured."""

    logout_url: str  # its backchannel_logout_uri
    login_url: str  # GET redirects to our authorization endpoint
    page_url: str  # 200 for signed-in users, another status otherwise
    client_id: str
    client_secret: str = ""
    alg: str = "RS256"  # the client's id_token_signed_response_alg
    signed_in_text: str = ""  # if the status is always 200: a text that only signed-in users see
    ca_file: str | None = None


class Browser:
    """A browser with its own cookies. ``sub`` is its user, ``sid`` its newest session."""

    def __init__(self, target: Target, provider: Provider, sub: str) -> None:
        self.target, self.provider, self.sub, self.sid = target, provider, sub, ""
        self.believed_in = False  # the result of the last check
        self._http = Http()
        self._http.verify = target.ca_file or True

    @property
    def cookies(self) -> str:
        """Its cookies, as a header's value."""
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in self._http.cookies)

    def sign_in(self) -> None:
        """A new session at the application, in a new browser. Raises :class:`SignInFailed`."""
        self._http.forget_cookies()
        self.sid, self.provider.trouble = secrets.token_urlsafe(16), ""
        last = self._walk(self.target.login_url)
        was_page = last.url == self.target.page_url and self._shows_user(last)
        if not was_page and not self.signed_in():
            raise SignInFailed(self._diagnosis(last))

    def signed_in(self) -> bool:
        """Whether the page shows a signed-in user."""
        return self._shows_user(self._request("GET", self.target.page_url))

    def replays(self, cookies: str) -> bool:
        """Whether the page shows a signed-in user to a client that has kept these cookies, and takes no new ones."""
        headers = {**LIKE_A_BROWSER, "Cookie": cookies}
        options: dict[str, Any] = {"headers": headers, "timeout": TIMEOUT, "allow_redirects": False}
        try:
            with requests.Session() as http:
                http.trust_env, http.verify = False, self._http.verify
                page = http.get(self.target.page_url, **options)
        except requests.RequestException as error:
            raise SignInFailed(f"{self.target.page_url} does not answer: {error}") from error
        return page.status_code == requests.codes.ok and self.target.signed_in_text in page.text

    def _shows_user(self, page: requests.Response) -> bool:
        self.believed_in = page.status_code == requests.codes.ok and self.target.signed_in_text in page.text
        return self.believed_in

    def _walk(self, url: str) -> requests.Response:
        """Follow redirects, and forms that submit themselves, to the last page."""
        response = self._request("GET", url)
        for _ in range(MAX_HOPS):
            if "Location" in response.headers:
                response = self._request("GET", urljoin(response.url, response.headers["Location"]))
            elif (form := FormReader.read(response.text)) and response.url.startswith(self.provider.url("/")):
                response = self._request("POST", form.action, form.fields)
            else:
                break
        return response

    def _request(self, method: str, url: str, data: dict[str, str] | None = None) -> requests.Response:
        is_ours = url.startswith(self.provider.url("/"))
        headers = {**LIKE_A_BROWSER, **({WHO: f"{self.sub} {self.sid}"} if is_ours else {})}
        try:
            return self._http.request(method, url, data=data, headers=headers, timeout=TIMEOUT, allow_redirects=False)
        except requests.RequestException as error:
            raise SignInFailed(f"{url} does not answer: {error}") from error

    def _diagnosis(self, last: requests.Response) -> str:
        reached = "the provider was not reached" if self.sid not in self.provider.id_tokens else "it got its tokens"
        trouble = f"; the provider refused {self.provider.trouble}" if self.provider.trouble else ""
        return (
            f"After the login at {self.target.login_url}, {self.target.page_url} does not show a signed-in "
            f"user. The login ended at {last.url.partition('?')[0]} with status {last.status_code}; "
            f"{reached}{trouble}."
        )


@dataclass
class FormReader(HTMLParser):
    """The first form of a page."""

    action: str = ""
    fields: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__()

    @classmethod
    def read(cls, page: str) -> "FormReader | None":
        """The form, if the page has one."""
        reader = cls()
        reader.feed(page)
        return reader if reader.action else None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Called by the parser."""
        values = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.action = values.get("action", "")
        elif tag == "input" and "name" in values:
            self.fields[values["name"]] = values.get("value", "")
