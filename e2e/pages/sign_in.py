"""The provider's sign-in page."""

import re

from playwright.sync_api import Page, expect

from e2e.stack import Stack


class SignInPage:
    """Name, password, one button."""

    def __init__(self, tab: Page, stack: Stack) -> None:
        self.tab, self._stack = tab, stack
        self.user_name = tab.get_by_label("Username")
        self.password = tab.get_by_label("Password")
        self.button = tab.get_by_role("button", name="Sign in")
        self.error = tab.get_by_role("alert")

    def expect_shown(self) -> None:
        """The provider asks for a password, and has nobody's name ready."""
        expect(self.tab).to_have_url(re.compile(re.escape(self._stack.idp_url)))
        expect(self.password).to_be_visible()
        expect(self.user_name).to_be_empty()

    def sign_in(self, user: str, password: str | None = None) -> None:
        """As a person does it."""
        self.expect_shown()
        self.user_name.fill(user)
        self.password.fill(password or self._stack.password)
        self.button.click()
