"""The sign-in page of the provider under test."""

import re

from playwright.sync_api import Page, expect

from e2e.stack import Stack


class SignInPage:
    """Name, password, one button."""

    def __init__(self, tab: Page, stack: Stack) -> None:
        self.tab, self._stack, self._provider = tab, stack, stack.provider

    def expect_shown(self) -> None:
        """The provider asks for a password."""
        origin = "/".join(self._provider.issuer.split("/")[:3])
        expect(self.tab).to_have_url(re.compile("^" + re.escape(origin)))
        self._provider.expect_sign_in(self.tab)

    def sign_in(self, user: str, password: str | None = None) -> None:
        """As a person does it."""
        self.expect_shown()
        self._provider.sign_in(self.tab, user, password or self._stack.password)

    def expect_refused(self) -> None:
        """The provider refuses the user name or the password."""
        self._provider.expect_refused(self.tab)
