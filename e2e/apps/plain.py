"""Any web app with a sign-in, a sign-out and a page that only signed-in users see."""

import re

from playwright.sync_api import Page, expect

from e2e.apps import App
from e2e.pages.app_page import AppPage
from e2e.plain import http


class Plain(App):
    """Subclass it in a file of your own: the attributes here and those of :class:`App` are mostly enough."""

    front = "/profile"
    log_out_path = "/logout"

    def page(self, tab: Page) -> AppPage:
        return PlainPage(tab, self)

    def is_signed_in(self, cookie: str) -> bool:
        """Whether its front page opens, without a redirect."""
        page = http.get(self.url + self.front, headers={"Cookie": cookie, "Accept": "text/html"})
        return page.status_code == 200


class PlainPage(AppPage):
    """Used by addresses instead of buttons, because its buttons are not known."""

    app: Plain

    def start_sign_in(self) -> None:
        self.open(self.app.front)

    def log_out(self) -> None:
        self.open(self.app.log_out_path)
        self.app.provider.confirm_logout(self.tab)

    def expect_signed_in(self, name: str = "") -> None:
        """Its front page is open. ``name`` is not looked for: the app may show something else of the person."""
        expect(self.tab, f"{name} is signed in").to_have_url(re.compile("^" + re.escape(self.app.url + self.app.front)))

    def expect_logged_out(self) -> None:
        """The app is shown again, and without the session."""
        expect(self.tab).to_have_url(re.compile("^" + re.escape(self.app.url)))
        cookies = "; ".join(f"{one['name']}={one['value']}" for one in self.tab.context.cookies(self.app.url))
        assert not self.app.is_signed_in(cookies), "the browser's own cookie is anonymous"

    def open_other_app(self, other: App) -> AppPage:
        page = other.page(self.tab.context.new_page())
        page.open(other.front)
        return page
