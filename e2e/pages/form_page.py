"""A page with a form that somebody is filling in, in either app."""

from playwright.sync_api import Page

from e2e.apps import App
from e2e.pages.app_page import AppPage

FORMS = {"dispatch": ("/", "Passenger"), "manager": ("/vehicles/add", "Make and model")}


class FormPage(AppPage):
    """One text field of it is enough for the stories."""

    def __init__(self, tab: Page, app: App) -> None:
        super().__init__(tab, app)
        self.path, label = FORMS[app.service]
        self.field = tab.get_by_label(label)
        self.send = tab.get_by_role("main").locator("form button")
        self.sign_in_again = self.signed_out_card.get_by_role("link", name="Sign in again")
        self.offer = self.notice.filter(has_text="You were typing")
        self.put_back = self.offer.get_by_role("button", name="Put it back")
        self.throw_away = self.offer.get_by_role("button", name="Throw it away")

    def open_form(self) -> "FormPage":
        """Go to the form."""
        self.open(self.path)
        return self

    def what_is_kept(self) -> str:
        """All that the tab keeps of this site."""
        return str(self.tab.evaluate("JSON.stringify({...sessionStorage})"))

    def expect_not_kept(self, text: str) -> None:
        """The script of a new page removes it a moment after the page is shown."""
        self.tab.wait_for_function("text => !JSON.stringify({...sessionStorage}).includes(text)", arg=text)
