"""The pages of Pickup Dispatch."""

from typing import ClassVar

from playwright.sync_api import Locator, Page

from e2e.apps import App
from e2e.pages.app_page import AppPage


class MakeBookingPage(AppPage):
    """The form for a booking."""

    PATH: ClassVar[str] = "/"

    def __init__(self, tab: Page, app: App) -> None:
        super().__init__(tab, app)
        self.driver = tab.get_by_label("Driver")
        self.passenger = tab.get_by_label("Passenger")
        self.contact = tab.get_by_label("Contact number")

    def book(self, passenger: str, driver: str) -> "BookingsPage":
        """Fill in the form and send it."""
        self.driver.select_option(label=driver)
        self.passenger.fill(passenger)
        self.contact.fill("+1 202 555 0143")
        self.tab.get_by_role("button", name="Book the cab").click()
        return BookingsPage(self.tab, self.app)


class BookingsPage(AppPage):
    """The list of bookings."""

    PATH: ClassVar[str] = "/bookings"

    def booking(self, passenger: str) -> Locator:
        """The row of that passenger's booking."""
        return self.tab.get_by_role("row").filter(has=self.tab.get_by_role("rowheader", name=passenger, exact=True))

    def assign_first_driver(self, passenger: str) -> str:
        """Choose a driver for a booking that was made without one; returns the driver's name."""
        self.booking(passenger).get_by_role("link", name="Assign a driver").click()
        driver = self.tab.get_by_label("Driver")
        name = driver.get_by_role("option").nth(1).inner_text()  # the first says that one should be chosen
        driver.select_option(label=name)
        self.tab.get_by_role("button", name="Assign").click()
        return name.split("·")[-1].strip()

    def cancel(self, passenger: str) -> None:
        """Cancel that passenger's booking."""
        self.booking(passenger).get_by_role("button", name="Cancel").click()
