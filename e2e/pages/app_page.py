"""What every page of both apps has: who is signed in, the way out, the way to the other app."""

from collections.abc import Sequence
from typing import ClassVar, Self

from playwright.sync_api import Locator, Page, expect

from e2e.apps import App


class AppPage:
    """A page of one of the apps, in a tab of its own."""

    PATH: ClassVar[str] = "/"

    def __init__(self, tab: Page, app: App) -> None:
        self.tab, self.app = tab, app
        banner = tab.get_by_role("banner")
        self.heading = tab.get_by_role("heading", level=1)
        self.user = banner.get_by_role("link", name="Signed in as")
        self.log_out_button = banner.get_by_role("button", name="Log out")
        self.sign_in_link = tab.get_by_role("main").get_by_role("link", name="Sign in")
        self.signed_out_card = tab.get_by_role("alert")
        self.notice = tab.get_by_role("main").get_by_role("status")

    def open(self, path: str) -> Self:
        """Go to a path of the app."""
        self.tab.goto(self.app.url + path)
        self.app.provider.consent(self.tab)
        return self

    def start_sign_in(self) -> None:
        """Open the app without a session, and ask to sign in."""
        self.open("/")
        self.sign_in_link.click()

    def log_out(self) -> None:
        """Click on "Log out", and say yes if the provider asks. Where that leads is the story's business."""
        self.log_out_button.click()
        self.app.provider.confirm_logout(self.tab)

    def open_other_app(self, other: App) -> "AppPage":
        """Follow the link to the other app, which opens a new tab."""
        if not other.is_linked:
            page = other.page(self.tab.context.new_page())
            return page.open(other.front)
        with self.tab.context.expect_page() as tab:
            self.link_to(other).click()
        other.provider.consent(tab.value)
        return other.page(tab.value)

    def link_to(self, other: App) -> Locator:
        """The link to the other app."""
        return self.tab.get_by_role("banner").get_by_role("link", name=other.title)

    def mark(self) -> None:
        """Leave a mark in the document that no reload survives."""
        self.tab.evaluate("document.marked = true")

    def is_marked(self) -> bool:
        """Whether it is still the same document."""
        return self.tab.evaluate("document.marked === true") is True

    def expect_signed_in(self, name: str = "") -> None:
        """The page belongs to a signed-in person: the one with that name, if it is given."""
        expect(self.user).to_contain_text(name)
        expect(self.signed_out_card).to_have_count(0)

    def expect_logged_out(self) -> None:
        """The page that ends a logout."""
        expect(self.heading).to_have_text("You are logged out")
        expect(self.log_out_button).to_have_count(0)

    def shows_none_of(self, words: Sequence[str]) -> None:
        """None of the words is anywhere in the document, seen or unseen."""
        content = self.tab.content()
        assert [word for word in words if word in content] == [], f"{self.tab.url} shows what is somebody else's"
