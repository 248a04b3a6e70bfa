"""The *watch* labs about what a logout reaches: each is red until the experiment is over."""

import json
import subprocess
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import expect

from e2e.conftest import NewDevice
from e2e.device import Device
from e2e.pages.account import AccountPage
from e2e.record import Record
from e2e.stack import Stack
from e2e.test_endings import IPHONE
from e2e.test_learn import Learn, wait_for
from e2e.test_tutorial import Guide
from e2e.test_workbench import Workbench

pytestmark = [pytest.mark.needs("pickup_idp", "pickup_app"), pytest.mark.thorough]


@pytest.fixture
def labs(laptop: Device, stack: Stack, record: Record) -> Guide:  # noqa: ARG001 # skips where nothing is recorded
    return Guide(laptop, stack, "labs")


def test_each_participant_is_told_the_initiator_too(laptop: Device, stack: Stack, labs: Guide) -> None:
    labs.open("who-is-told")
    laptop.sign_in(stack.dispatch, "cameron").log_out()
    dispatch, manager = laptop.sign_in_at(stack.dispatch, stack.manager, user="cameron")
    labs.expect("who-is-told", done=False)
    dispatch.log_out()
    labs.expect("who-is-told", done=True)
    expect(manager.signed_out_card).to_be_visible()


@pytest.mark.parametrize("tabs", ["closed", "open"])
def test_logout_reaches_the_apps_of_a_closed_browser(
    tabs: str, laptop: Device, new_device: NewDevice, stack: Stack, labs: Guide
) -> None:
    labs.open("browser-closed")
    private = new_device(user_agent=IPHONE)
    pages = private.sign_in_at(stack.dispatch, stack.manager, user="alex")
    for page in pages:
        page.expect_signed_in("Alex Okafor")
    sid, learn = private.sid(stack.dispatch), Learn(stack)
    wait_for(lambda: learn.open_tabs(sid) == len(pages))
    assert learn.open_tabs(sid) == len(pages)
    if tabs == "closed":
        private.context.close()
        # An app notices a closed tab at the second heartbeat. Until then it would record that it told the tab.
        wait_for(lambda: learn.open_tabs(sid) == 0)
        assert learn.open_tabs(sid) == 0
    laptop.sign_in_for(f"{stack.idp_url}/account", user="alex")
    account = AccountPage(laptop.context.new_page(), stack).open()
    account.session_of("Safari on iPhone").get_by_role("link", name="End").click()
    account.answer("End this session")
    expect(account.notice).to_be_visible()
    laptop.context.clear_cookies()
    labs.expect("browser-closed", done=False)
    laptop.sign_in(stack.dispatch, "alex")
    if tabs == "open":
        expect(pages[1].signed_out_card).to_be_visible()
    labs.expect("browser-closed", done=tabs == "closed")


def test_offline_access_outlives_the_logout(laptop: Device, stack: Stack, labs: Guide) -> None:
    laptop.may_complain("status of 400")
    labs.open("offline-access")
    redeem, renew = labs.tab.locator("pre", has_text="curl").all_text_contents()
    dispatch = laptop.sign_in(stack.dispatch, "cameron")
    request = labs.tab.get_by_role("link", name="this request for").get_attribute("href")
    assert request
    tab = laptop.context.new_page()
    tab.goto(request)
    tab.get_by_role("button", name="Allow", exact=True).click()
    expect(tab.get_by_text("This sign-in was not started in this browser")).to_be_visible()
    (code,) = parse_qs(urlsplit(tab.url).query)["code"]
    tokens = json.loads(run(redeem.replace("CODE", code)))
    dispatch.log_out()
    dispatch.expect_logged_out()
    labs.expect("offline-access", done=False)
    assert "access_token" in json.loads(run(renew.replace("REFRESH_TOKEN", tokens["refresh_token"])))
    labs.expect("offline-access", done=True)


def run(command: str) -> str:
    """What the command prints."""
    return subprocess.run(command, shell=True, capture_output=True, text=True, check=True).stdout  # noqa: S602 # from docs/labs


def test_logout_that_overtakes_its_login_wins(new_device: NewDevice, stack: Stack, labs: Guide) -> None:
    labs.open("overtaken")
    private, operator = new_device(), new_device()
    private.may_complain("status of 400")
    private.sign_in(stack.dispatch, "cameron").expect_signed_in("Cameron Reyes")
    operator.sign_in_for(f"{stack.idp_url}/console", user="admin")
    workbench = Workbench(operator, stack)
    workbench.choose("manager", private.sid(stack.dispatch), "nothing")
    workbench.have_it_signed()
    expect(workbench.verdict).to_contain_text("Manager accepted the token.")
    labs.expect("overtaken", done=False)
    refused = private.context.new_page()
    refused.goto(f"{stack.manager.url}/overview")
    expect(refused.get_by_text("The session was ended before the login was complete.")).to_be_visible()
    labs.expect("overtaken", done=True)
