"""The provider's account page, and the questions it asks."""

from playwright.sync_api import Locator, Page, expect

from e2e.pages.sign_in import SignInPage
from e2e.stack import Stack


class AccountPage:
    """One's own sessions and password, in a tab of its own."""

    def __init__(self, tab: Page, stack: Stack) -> None:
        self.tab, self._stack = tab, stack
        main = tab.get_by_role("main")
        self.heading = tab.get_by_role("heading", level=1)
        self.sessions = main.get_by_role("row").filter(has=tab.get_by_role("rowheader"))
        self.this_browser = self.sessions.filter(has_text="This browser")
        self.notice = main.get_by_role("status")
        self.end_others = main.get_by_role("link", name="End all others")
        self.log_out_everywhere = main.get_by_role("link", name="Log out everywhere")
        self.change_password = main.get_by_role("link", name="Change password")

    def open(self) -> "AccountPage":
        """Go there."""
        self.tab.goto(f"{self._stack.idp_url}/account")
        return self

    def sign_in(self, user: str, password: str | None = None) -> "AccountPage":
        """Go there without a session: the sign-in leads on to it."""
        self.open()
        SignInPage(self.tab, self._stack).sign_in(user, password)
        expect(self.heading).to_have_text("My account")
        return self

    def session_of(self, browser: str) -> Locator:
        """The row of a browser of that name."""
        return self.sessions.filter(has_text=browser)

    def answer(self, words: str) -> None:
        """The question's button."""
        self.tab.get_by_role("main").get_by_role("button", name=words, exact=True).click()

    def fill_in(self, old: str, new: str, again: str) -> None:
        """The form for a new password, sent."""
        self.tab.get_by_label("Current password").fill(old)
        self.tab.get_by_label("New password", exact=True).fill(new)
        self.tab.get_by_label("Confirm the new password").fill(again)
        self.answer("Change password")

    def expect_logged_out(self, words: str = "You are logged out") -> None:
        """The page that ends a logout at the provider."""
        expect(self.heading).to_have_text(words)
        self.open()
        SignInPage(self.tab, self._stack).expect_shown()
