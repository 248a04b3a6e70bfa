"""The operator's console."""

import re

from playwright.sync_api import Locator, Page, expect

from e2e.device import Device
from e2e.stack import Stack


class ConsolePage:
    """Any page of the console, in a tab of its own."""

    def __init__(self, tab: Page, stack: Stack) -> None:
        self.tab, self._stack = tab, stack
        self.main = tab.get_by_role("main")
        self.heading = tab.get_by_role("heading", level=1)
        self.notice = self.main.get_by_role("status")
        self.rows = self.main.get_by_role("row").filter(has=tab.get_by_role("rowheader"))

    @classmethod
    def opened_by_operator(cls, device: Device, stack: Stack) -> "ConsolePage":
        """Sign in as ``admin`` over HTTP and open the overview in a new tab."""
        device.sign_in_for(f"{stack.idp_url}/console", user="admin")
        page = cls(device.context.new_page(), stack).open()
        expect(page.heading).to_have_text("Overview")
        return page

    def open(self, path: str = "") -> "ConsolePage":
        """Go to one of its pages."""
        self.tab.goto(f"{self._stack.idp_url}/console{path}")
        return self

    def go_to(self, section: str) -> None:
        """By the navigation."""
        self.tab.get_by_role("navigation", name="Console").get_by_role("link", name=section).click()
        expect(self.heading).to_have_text(section)

    def follow(self, link: str) -> None:
        """A link of the page."""
        self.main.get_by_role("link", name=link, exact=True).first.click()

    def click(self, button: str) -> None:
        """A button of the page."""
        self.main.get_by_role("button", name=button, exact=True).click()

    def row(self, *words: str) -> Locator:
        """The row of the table with all these words."""
        found = self.rows
        for word in words:
            found = found.filter(has_text=word)
        return found

    def fact(self, name: str) -> str:
        """What stands beside ``name``."""
        value = self.main.get_by_role("term").filter(has_text=re.compile(f"^{re.escape(name)}$"))
        return value.first.locator("xpath=following-sibling::dd").inner_text().strip()
