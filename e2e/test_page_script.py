"""What page.js adds to every page: times in the reader's zone, and buttons that copy."""

import re
from typing import Any

import pytest
from playwright.sync_api import expect

from e2e.conftest import NewDevice
from e2e.pages.console import ConsolePage
from e2e.stack import Stack


@pytest.fixture(scope="session")
def browser_context_args(browser_context_args: dict[str, Any]) -> dict[str, Any]:
    """The readers of this story are in Tokyo: nine hours ahead of UTC, and without summer time."""
    return {**browser_context_args, "timezone_id": "Asia/Tokyo"}


def test_times_are_in_the_readers_zone_and_name_it_on_hover(new_device: NewDevice, stack: Stack) -> None:
    office = ConsolePage(new_device().context.new_page(), stack).sign_in()
    office.open("/sessions")
    time = office.main.locator("time").first
    expect(time).to_have_attribute("title", re.compile(r"^Japan Standard Time; \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$"))
    hour = (int(str(time.get_attribute("datetime"))[11:13]) + 9) % 24
    expect(time).to_have_text(re.compile(rf"^\d{{4}}-\d\d-\d\d {hour:02}:\d\d:\d\d$"))


def test_without_script_times_say_that_they_are_in_utc(new_device: NewDevice, stack: Stack) -> None:
    device = new_device(java_script_enabled=False)
    office = ConsolePage(device.context.new_page(), stack).sign_in()
    office.open("/sessions")
    expect(office.main.locator("time").first).to_have_text(re.compile(r" UTC$"))
    office.open("/people/248289761001")
    expect(office.main.get_by_role("button", name="Copy the subject")).to_have_count(0)


def test_an_id_is_copied_by_its_button(new_device: NewDevice, stack: Stack) -> None:
    device = new_device(permissions=["clipboard-read", "clipboard-write"])
    office = ConsolePage(device.context.new_page(), stack).sign_in()
    office.open("/people/248289761001")
    office.click("Copy the subject")
    expect(office.tab.get_by_text("Copied the subject.")).to_be_attached()
    assert office.tab.evaluate("navigator.clipboard.readText()") == "248289761001"
    office.open(f"/applications/{stack.dispatch.client_id}")
    office.click("Copy the issuer")
    expect(office.tab.get_by_text("Copied the issuer.")).to_be_attached()
    assert office.tab.evaluate("navigator.clipboard.readText()") == stack.idp_url, "no break in it"
