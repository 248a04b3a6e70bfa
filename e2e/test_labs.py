"""The labs, walked as a learner does: each gets its tick from what the browser really did, and no earlier."""

import pytest
from playwright.sync_api import expect

from e2e.conftest import NewDevice
from e2e.device import Device
from e2e.operator import Operator
from e2e.pages.account import AccountPage
from e2e.pages.app_page import AppPage
from e2e.pages.console import ConsolePage
from e2e.record import Record
from e2e.stack import Stack
from e2e.test_every_page import NARROW, faults
from e2e.test_tutorial import IN_A_WHILE, Guide

pytestmark = [pytest.mark.needs("pickup_idp", "pickup_app"), pytest.mark.thorough]


@pytest.fixture
def labs(laptop: Device, stack: Stack, record: Record) -> Guide:  # noqa: ARG001 # skips where nothing is recorded
    return Guide(laptop, stack, "labs")


def test_labs_tick_after_their_experiments(
    laptop: Device, new_device: NewDevice, stack: Stack, labs: Guide, operator: Operator
) -> None:
    """Each is red until the experiment is over; the third is mended as an operator would."""
    phone = new_device()
    dispatch, other = laptop.sign_in(stack.dispatch, "cameron"), phone.sign_in(stack.dispatch, "cameron")
    labs.open("two-browsers")
    labs.expect("two-browsers", done=False)
    dispatch.log_out()
    labs.expect("two-browsers", done=True)
    other.expect_signed_in("Cameron Reyes")

    laptop.sign_in(stack.dispatch, "cameron")
    labs.open("everywhere")
    labs.expect("everywhere", done=False)
    account = AccountPage(laptop.context.new_page(), stack).open()
    account.log_out_everywhere.click()
    account.answer("Log out everywhere")
    labs.expect("everywhere", done=True)

    console = ConsolePage.opened_by_operator(phone, stack)
    dispatch, manager = laptop.sign_in_at(stack.dispatch, stack.manager, user="cameron")
    sid = laptop.sid(stack.manager)
    with operator.client_setting("pickup-manager", backchannel_logout_uri=f"{stack.manager.url}/bclogut"):
        dispatch.log_out()
        dispatch.expect_logged_out()
    labs.open("typo")
    labs.expect("typo", done=False)
    manager.expect_signed_in("Cameron Reyes")
    console.open(f"/deliveries?sid={sid}")
    console.row("Pickup Manager").get_by_role("button", name="Send again").click()
    labs.expect("typo", done=True)
    expect(manager.signed_out_card).to_be_visible()

    dispatch, manager = laptop.sign_in_at(stack.dispatch, stack.manager, user="cameron")
    labs.open("policy-none")
    labs.expect("policy-none", done=False)
    with operator.client_setting("pickup-manager", delete_tokens_on_logout="none"):
        dispatch.log_out()
        dispatch.expect_logged_out()
    labs.expect("policy-none", done=True)
    manager.expect_signed_in("Cameron Reyes")


class Practice:
    """The app of the labs in a tab, and the lab that is walked in another one."""

    def __init__(self, device: Device, stack: Stack, labs: Guide) -> None:
        self.tab, self.device, self.stack, self.labs = device.context.new_page(), device, stack, labs
        self.url = f"{stack.learn_url}/practice"

    def sign_in(self) -> AppPage:
        """At Dispatch with the password, then here without."""
        dispatch = self.device.sign_in(self.stack.dispatch, "cameron")
        self.tab.goto(f"{self.url}/login")
        expect(self.tab.get_by_role("heading", level=1)).to_have_text("Hello, cameron")
        return dispatch

    def start(self, lab: str) -> None:
        """Press "Start" on the page of the lab."""
        self.labs.open(lab)
        self.labs.tab.get_by_role("button", name="Start").click()
        expect(self.labs.tab.get_by_text("The lab has started.")).to_be_visible()
        self.labs.expect(lab, done=False)

    def set(self, label: str, words: str) -> None:
        """Choose something on the settings page."""
        page = self.device.context.new_page()
        page.goto(f"{self.url}/settings")
        page.get_by_label(label).select_option(words)
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_text("Saved.")).to_be_visible()
        page.close()

    def expect_signed_in(self, *, is_signed_in: bool) -> None:
        """What a click in the tab shows."""
        self.tab.goto(f"{self.url}/")
        words = "Hello, cameron" if is_signed_in else "Pickup Practice"
        expect(self.tab.get_by_role("heading", level=1)).to_have_text(words)


def test_learner_finds_and_mends_three_faults(laptop: Device, stack: Stack, labs: Guide) -> None:
    """A receiver that refuses, a tab that does not notice, a service that is stopped."""
    laptop.may_complain("status of 503")  # while Practice is stopped
    practice = Practice(laptop, stack, labs)
    dispatch = practice.sign_in()

    practice.start("audience")
    dispatch.log_out()
    dispatch.expect_logged_out()
    practice.expect_signed_in(is_signed_in=True)
    labs.expect("audience", done=False)
    practice.set("Expected audience", "pickup-practice")
    dispatch = practice.sign_in()
    dispatch.log_out()
    expect(practice.tab.get_by_text("You were logged out at another app.")).to_be_visible()  # without a click
    labs.expect("audience", done=True)

    dispatch = practice.sign_in()
    practice.start("silent-tab")
    practice.expect_signed_in(is_signed_in=True)
    dispatch.log_out()
    dispatch.expect_logged_out()
    practice.expect_signed_in(is_signed_in=False)  # at the next click
    labs.expect("silent-tab", done=False)
    dispatch = practice.sign_in()
    practice.set("Open tab", "Watches its session")
    practice.expect_signed_in(is_signed_in=True)
    dispatch.log_out()
    expect(practice.tab.get_by_role("heading", level=1)).to_have_text("You are signed out")  # without a click
    labs.expect("silent-tab", done=True)

    dispatch = practice.sign_in()
    practice.start("silent-tab")  # again; this removes the tick of the first run
    practice.start("app-stopped")
    dispatch.log_out()
    dispatch.expect_logged_out()
    practice.tab.goto(f"{practice.url}/")
    expect(practice.tab.get_by_text("Practice is stopped.")).to_be_visible()
    labs.expect("app-stopped", done=False)
    practice.set("Service", "Running")
    labs.expect("app-stopped", done=True, within=IN_A_WHILE)


def test_pages_of_the_labs_fit_a_narrow_phone_and_are_accessible(
    new_device: NewDevice, stack: Stack, labs: Guide, subtests: pytest.Subtests
) -> None:
    del labs  # skips where nothing is recorded
    phone = new_device(viewport=NARROW)
    practice = Practice(phone, stack, Guide(phone, stack, "labs"))
    before, after = ["labs", "labs/audience", "practice/"], ["labs/sub-alone", "practice/", "practice/settings"]
    for name in [*before, "practice/login", *after]:
        with subtests.test(page=name):
            if name == "practice/login":
                practice.sign_in()
                practice.start("sub-alone")
            else:
                practice.tab.goto(f"{stack.learn_url}/{name}")
                assert faults(practice.tab) == []
