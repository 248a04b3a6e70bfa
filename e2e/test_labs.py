"""The labs, walked as a learner does: each gets its tick from what the browser really did, and no earlier."""

import pytest
from playwright.sync_api import expect

from e2e import axe
from e2e.conftest import NewDevice
from e2e.device import Device
from e2e.operator import Operator
from e2e.pages.account import AccountPage
from e2e.pages.console import ConsolePage
from e2e.record import Record
from e2e.stack import Stack
from e2e.test_tutorial import Guide


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


def test_the_pages_of_the_labs_are_accessible(labs: Guide, subtests: pytest.Subtests) -> None:
    if missing := axe.missing():
        pytest.skip(missing)
    for name in ("", "two-browsers"):
        with subtests.test(page=name):
            labs.open(name)
            assert axe.violations(labs.tab) == []
            assert labs.tab.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing is wider"
