"""A third application, whose sign-in nobody here wrote: docs/relying-party.md, followed to the letter."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from e2e.apps import App
from e2e.device import Device
from e2e.pages.sign_in import SignInPage
from e2e.stack import OwnProcesses, Stack
from e2e.strangers_app import StrangersApp

pytestmark = pytest.mark.needs("pickup_idp", "pickup_app")

SOON = 2_000  # milliseconds


@pytest.fixture
def shop(stack: Stack, tmp_path: Path) -> Iterator[App]:
    """The shop, running. It needs a provider at which it may register itself."""
    if not isinstance(stack.hands, OwnProcesses):
        pytest.skip("this story registers an application, for which it needs the token of a stack of its own")
    stranger = StrangersApp(tmp_path, stack, stack.hands.environment["PICKUP_REGISTRATION_TOKEN"])
    yield stranger.app
    stranger.end()


def test_ten_lines_later_it_shares_the_sign_in_and_the_logout(laptop: Device, stack: Stack, shop: App) -> None:
    laptop.may_complain("favicon.ico")
    dispatch = laptop.sign_in(stack.dispatch, "cameron")
    tab = laptop.context.new_page()
    tab.goto(shop.url + "/orders")  # no password is asked for; what the shop may know is
    allow = tab.get_by_role("button", name="Allow")
    if allow.count():
        allow.click()
    expect(tab.get_by_text("Signed in as Cameron Reyes")).to_be_visible()
    tab.get_by_label("Order").fill("a hat")
    tab.get_by_role("button", name="Add").click()
    expect(tab.get_by_role("listitem")).to_have_text("a hat")
    tab.get_by_label("Order").fill("half typed")

    dispatch.log_out()
    dispatch.expect_logged_out()

    card = tab.get_by_role("alert")
    expect(card, "the stranger's tab notices").to_contain_text("Your session was ended", timeout=SOON)
    card.get_by_role("link", name="Sign in again").click()
    SignInPage(tab, stack).sign_in("cameron")
    tab.get_by_role("button", name="Put it back").click()
    expect(tab.get_by_label("Order")).to_have_value("half typed")

    manager = laptop.open(stack.manager)
    manager.expect_signed_in("Cameron Reyes")
    tab.get_by_role("button", name="Log out").click()
    expect(manager.signed_out_card, "and the other way round").to_be_visible(timeout=SOON)
    expect(tab.get_by_role("heading")).to_have_text("You are logged out")
