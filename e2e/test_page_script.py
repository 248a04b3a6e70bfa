"""The pages' scripts: both apps load the same ones, times are in the reader's zone, and buttons copy."""

import re
from typing import Any
from urllib.parse import urljoin

import pytest
from playwright.sync_api import expect

from e2e.apps import App
from e2e.conftest import NewDevice
from e2e.pages.console import ConsolePage
from e2e.plain_browser import PlainBrowser
from e2e.stack import Stack

pytestmark = pytest.mark.needs("pickup_idp", "pickup_app")


@pytest.fixture(scope="session")
def browser_context_args(browser_context_args: dict[str, Any]) -> dict[str, Any]:
    """The readers of this story are in Tokyo: nine hours ahead of UTC, and without summer time."""
    return {**browser_context_args, "timezone_id": "Asia/Tokyo"}


def scripts_of(app: App, browser: PlainBrowser) -> dict[str, str]:
    """The text of each script by its file name: those of the app's front page and all that they import."""
    page = browser.open(app.url + app.front)
    waiting = [urljoin(page.url, path) for path in re.findall(r'<script[^>]* src="([^"]+)"', page.text)]
    found: dict[str, str] = {}
    while waiting:
        script = browser.open(waiting.pop())
        assert script.ok, script.url
        found[script.url.rsplit("/", 1)[1].split("?")[0]] = script.text
        waiting += [urljoin(script.url, path) for path in re.findall(r'^import .* from "([^"]+)"', script.text, re.M)]
    return found


def test_both_apps_load_the_same_scripts(stack: Stack) -> None:
    """So the stories about what the scripts do need only one app."""
    browser = PlainBrowser()
    browser.sign_in(stack.dispatch.url + stack.dispatch.front, "cameron", stack.password)
    of_dispatch, of_manager = (scripts_of(app, browser) for app in (stack.dispatch, stack.manager))
    assert of_dispatch.keys() >= {"live.js", "typed.js", "page.js"}
    assert of_dispatch == of_manager


def test_times_are_in_the_readers_zone_and_name_it_on_hover(new_device: NewDevice, stack: Stack) -> None:
    office = ConsolePage.opened_by_operator(new_device(), stack)
    office.open("/sessions")
    time = office.main.locator("time").first
    expect(time).to_have_attribute("title", re.compile(r"^Japan Standard Time; \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$"))
    hour = (int(str(time.get_attribute("datetime"))[11:13]) + 9) % 24
    expect(time).to_have_text(re.compile(rf"^\d{{4}}-\d\d-\d\d {hour:02}:\d\d:\d\d$"))


def test_without_script_times_say_that_they_are_in_utc(new_device: NewDevice, stack: Stack) -> None:
    device = new_device(java_script_enabled=False)
    office = ConsolePage.opened_by_operator(device, stack)
    office.open("/sessions")
    expect(office.main.locator("time").first).to_have_text(re.compile(r" UTC$"))
    office.open("/people/248289761001")
    expect(office.main.get_by_role("button", name="Copy the subject")).to_have_count(0)


def test_id_is_copied_by_its_button(new_device: NewDevice, stack: Stack) -> None:
    device = new_device(permissions=["clipboard-read", "clipboard-write"])
    office = ConsolePage.opened_by_operator(device, stack)
    office.open("/people/248289761001")
    office.click("Copy the subject")
    expect(office.tab.get_by_text("Copied the subject.")).to_be_attached()
    assert office.tab.evaluate("navigator.clipboard.readText()") == "248289761001"
    office.open(f"/applications/{stack.dispatch.client_id}")
    office.click("Copy the issuer")
    expect(office.tab.get_by_text("Copied the issuer.")).to_be_attached()
    assert office.tab.evaluate("navigator.clipboard.readText()") == stack.idp_url, "no break in it"
