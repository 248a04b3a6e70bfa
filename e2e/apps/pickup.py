"""Pickup Dispatch and Pickup Manager."""

from typing import ClassVar

from playwright.sync_api import Page

from e2e.apps import App
from e2e.capabilities import OF_APP
from e2e.pages.app_page import AppPage
from e2e.plain import http
from e2e.providers import Provider

TITLES = {"dispatch": "Pickup Dispatch", "manager": "Pickup Manager"}
FRONTS = {"dispatch": ("/bookings", "Bookings"), "manager": ("/overview", "Overview")}


class Pickup(App):
    """Either of the two."""

    can: ClassVar[frozenset[str]] = frozenset(OF_APP)
    is_linked = is_quiet = True
    callback_path, back_channel_path, logged_out_path = "/oauth2client", "/bclogout", "/logged-out"

    def __init__(self, service: str, provider: Provider, url: str = "", client_secret: str = "") -> None:
        super().__init__(service, provider, url, client_secret)
        self.title = TITLES[service]
        self.front, self.front_heading = FRONTS[service]

    def page(self, tab: Page) -> AppPage:
        return AppPage(tab, self)

    def is_signed_in(self, cookie: str) -> bool:
        """On its pages, and when asked directly."""
        is_shown = self._shows_front(cookie)
        status = bool(http.get(f"{self.url}/session/status", headers={"Cookie": cookie}).json()["signed_in"])
        if is_shown and not status:  # it may have ended between the two requests
            is_shown = self._shows_front(cookie)
        assert is_shown is status, "the page and the status say the same about a cookie"
        return status

    def _shows_front(self, cookie: str) -> bool:
        return http.get(self.url + self.front, headers={"Cookie": cookie, "Accept": "text/html"}).status_code == 200
