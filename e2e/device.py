"""A person's browser. Two devices are two contexts: they share nothing."""

import json
import re
from html import unescape
from typing import TypeVar
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, ConsoleMessage, Request, WebError

from e2e.apps import App
from e2e.capabilities import not_applicable
from e2e.pages.app_page import AppPage
from e2e.pages.profile import ProfilePage
from e2e.pages.sign_in import SignInPage
from e2e.plain import http
from e2e.providers import Provider
from e2e.stack import Stack

P = TypeVar("P", bound=AppPage)


def url_of(party: Provider | App) -> str:
    """Where it is."""
    return party.issuer if isinstance(party, Provider) else party.url


class Device:
    """One browser: its tabs, its cookies, what it requested, and what its console complained about."""

    def __init__(self, context: BrowserContext, stack: Stack, user_agent: str = "") -> None:
        self.context, self._stack, self._user_agent = context, stack, user_agent
        self.complaints: list[str] = []
        self.requests: list[Request] = []
        self._expected: list[str] = []
        context.on("console", self._note_message)
        context.on("weberror", self._note_error)
        context.on("request", lambda request: self.requests.append(request))

    # --- what a person does ---

    def sign_in(self, app: App, user: str) -> AppPage:
        """Sign in, by HTTP if possible, then open ``app`` in a tab. For stories that are not about signing in."""
        return self.sign_in_at(app, user=user)[0]

    def sign_in_at(self, *apps: App, user: str, password: str = "") -> list[AppPage]:
        """Sign in once, then open each of ``apps`` in a tab."""
        self.sign_in_for(*[app.url + app.front for app in apps], user=user, password=password)
        return [self.open(app) for app in apps]

    def sign_in_for(self, *urls: str, user: str, password: str = "") -> None:
        """Sign in, on the way to the first of these pages, and open the others."""
        password = password or self._stack.password
        self._stack.provider.sign_in_browser(self.context, urls, user, password, self._user_agent)

    def sign_in_by_hand(self, app: App, user: str) -> AppPage:
        """Open ``app``, click "Sign in" and submit the IdP's form, as a user does."""
        page = app.page(self.context.new_page())
        page.start_sign_in()
        SignInPage(page.tab, self._stack).sign_in(user)
        page.expect_signed_in()
        return page

    def open(self, app: App, path: str | None = None) -> AppPage:
        """Open a page of ``app`` in a new tab; its front page if no other is named."""
        page = app.page(self.context.new_page())
        page.open(app.front if path is None else path)
        return page

    def open_as(self, page_class: type[P], app: App) -> P:
        """Open a page of this kind in a new tab."""
        page = page_class(self.context.new_page(), app)
        page.open(page_class.PATH)
        return page

    def id_token(self, app: App) -> dict[str, object]:
        """The claims of the ID token that ``app`` got in this browser, as its profile page shows them."""
        if "shows_claims" not in app.can:
            not_applicable("shows_claims")
        page = http.get(app.url + ProfilePage.PATH, headers={"Cookie": self.cookie(app.url), "Accept": "text/html"})
        found = re.search(r'id="id-token-claims"[^>]*>([^<]+)<', page.text)
        assert found, f"the profile page of {app.title} shows no ID token: status {page.status_code}"
        claims: dict[str, object] = json.loads(unescape(found[1]))
        return claims

    def sid(self, app: App) -> str:
        """The session's name."""
        return str(self.id_token(app)["sid"])

    # --- what only a test can see ---

    def cookie(self, url: str) -> str:
        """The cookies this browser would send there, as a header."""
        return "; ".join(f"{one['name']}={one['value']}" for one in self.context.cookies(url))

    def milliseconds_of(self, path: str) -> float:
        """How long the browser waited for the latest answer from that path."""
        timing = self._latest(path).timing
        return timing["responseStart"] - timing["requestStart"]

    def started(self, path: str) -> float:
        """When the browser began the latest request to that path, in milliseconds since the epoch."""
        return self._latest(path).timing["startTime"]

    def _latest(self, path: str) -> Request:
        return [request for request in self.requests if urlsplit(request.url).path == path][-1]

    def user_agent(self) -> str:
        """What this browser calls itself."""
        return str(self.context.pages[0].evaluate("navigator.userAgent"))

    def requests_to(self, app: App) -> int:
        """The number of requests to that app until now."""
        return sum(request.url.startswith(app.url) for request in self.requests)

    def paths_requested(self) -> set[str]:
        """Every path this browser asked for, of all services."""
        return {urlsplit(request.url).path for request in self.requests}

    def may_complain(self, pattern: str) -> None:
        """A console message that belongs to this story."""
        self._expected.append(pattern)

    def unexpected_complaints(self) -> list[str]:
        """Errors on the console: failed requests, script errors, violations of the content security policy."""
        return [line for line in self.complaints if not any(re.search(known, line) for known in self._expected)]

    def _note_message(self, message: ConsoleMessage) -> None:
        url = message.location.get("url", "")
        if message.type == "error" and self._counts(url):
            self.complaints.append(f"{message.text} ({url})")

    def _counts(self, url: str) -> bool:
        """Whether a page or file there must log no error. What other products log is their business."""
        parties = (self._stack.provider, self._stack.dispatch, self._stack.manager)
        places = {urlsplit(url_of(party)).netloc for party in parties if party.is_quiet}
        return all(party.is_quiet for party in parties) or urlsplit(url).netloc in places

    def _note_error(self, error: WebError) -> None:
        self.complaints.append(str(error.error))
