"""The sign-in page of the provider under test."""

import re

from playwright.sync_api import Page, expect

from e2e.stack import Stack


class SignInPage:
    """Name, password, one button."""

    def __init__(self, tab: Page, stack: Stack) -> None:
        self.tab, self._stack, self._provider = tab, stack, stack.provider

    def expect_shown(self) -> None:
        """The provider asks for a password, on a page that no app has. It may be at another host than the issuer."""
        for app in (self._stack.dispatch, self._stack.manager):
            expect(self.tab).not_to_have_url(re.compile("^" + re.escape(app.url) + "([/?]|$)"))
        self._provider.expect_sign_in(self.tab)

    def sign_in(self, user: str, password: str | None = None) -> None:
        """As a person does it."""
        self.expect_shown()
        self._provider.sign_in(self.tab, user, password or self._stack.password)

    def expect_refused(self) -> None:
        """The provider refuses the user name or the password."""
        self._provider.expect_refused(self.tab)
