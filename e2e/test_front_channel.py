"""Front-Channel Logout beside the back channel: when it works, and when only the back channel gets there."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from e2e.apps import App
from e2e.conftest import Can
from e2e.device import Device
from e2e.operator import Operator
from e2e.plain import wait_until_signed_out
from e2e.record import Record
from e2e.stack import Stack, StackControl
from e2e.third_party import block_third_party_cookies

pytestmark = pytest.mark.needs("front_channel", "ends_by_front_channel")

ACCEPTED, FAILED = "rp.frontchannel_logout.accepted", "rp.frontchannel_logout.failed"
BACK = "rp.logout_token.accepted"
OUTAGE = r"net::ERR_|status of 50[24]"
REDIRECTED = "Framing"  # an app that leads the frame to the sign-in, which must not be framed
LIMIT = 3_000 + 2_000  # milliseconds: the page's time limit, and the time for everything else


@pytest.fixture(params=[False, True], ids=["front channel alone", "both channels"])
def both(request: pytest.FixtureRequest, stack: Stack, operator: Operator) -> Iterator[bool]:
    """Whether Manager has its back channel, too. It is the control: every story is told with it and without."""
    front: dict[str, str | bool] = {
        "frontchannel_logout_uri": stack.manager.url + stack.manager.front_channel_path,
        "frontchannel_logout_session_required": True,
    }
    back = {} if request.param else {"backchannel_logout_uri": ""}
    with operator.client_setting(stack.manager.client_id, **front, **back):
        yield request.param


def back_at(stack: Stack) -> re.Pattern[str]:
    """The address of Dispatch after a logout."""
    return re.compile(re.escape(f"{stack.dispatch.url}/logged-out"))


def teller(stack: Stack) -> App:
    """The app that shows the sid. All apps of a session at Pickup's IdP get the same."""
    return stack.manager if "shows_claims" in stack.manager.can else stack.dispatch


def test_browser_that_allows_the_cookie_logs_out_by_either_channel(
    desk: Device, stack: Stack, record: Record, both: bool, can: Can
) -> None:
    if not can("pickup_app", stack.manager):
        desk.may_complain(REDIRECTED)
    dispatch, manager = desk.sign_in_at(stack.dispatch, stack.manager, user="cameron")
    sid, cookie = desk.sid(teller(stack)), desk.cookie(stack.manager.url)
    dispatch.log_out()
    dispatch.expect_logged_out()
    wait_until_signed_out(stack.manager, cookie)
    if can("notices", stack.manager):
        expect(manager.signed_out_card).to_be_visible()
    if not can("shows_events", stack.manager):
        return
    accepted = record.wait_for("manager", ACCEPTED, sid=sid)
    if not both:
        assert accepted.outcome == "1 ended"
        assert not record.events("manager", BACK, sid=sid)
        return
    back = record.wait_for("manager", BACK, sid=sid)
    assert {accepted.outcome, back.outcome} == {"0 ended", "1 ended"}, "one of the two ends it"
    if can("pickup_idp"):
        assert back.outcome == "1 ended", "the back channel comes first"


@pytest.mark.needs("pickup_app")  # an app that shares a site with the IdP keeps its cookie
def test_browser_that_blocks_the_cookie_logs_out_by_the_back_channel_only(
    desk: Device, stack: Stack, record: Record, both: bool
) -> None:
    dispatch, manager = desk.sign_in_at(stack.dispatch, stack.manager, user="cameron")
    sid = desk.sid(stack.manager)
    block_third_party_cookies(dispatch.tab)
    dispatch.log_out()
    dispatch.expect_logged_out()
    record.wait_for("manager", FAILED, sid=sid)
    assert not record.events("manager", ACCEPTED, sid=sid)
    if both:
        expect(manager.signed_out_card).to_be_visible()
        record.wait_for("manager", BACK, sid=sid)
    else:
        manager.tab.reload()
        manager.expect_signed_in("Cameron Reyes")


@pytest.mark.thorough
@pytest.mark.needs("pickup_idp", "pickup_app")
def test_app_that_is_down_is_reached_later_by_the_back_channel_only(
    desk: Device, stack: Stack, record: Record, hands: StackControl, both: bool
) -> None:
    desk.may_complain(OUTAGE)
    dispatch, manager = desk.sign_in_at(stack.dispatch, stack.manager, user="cameron")
    sid = desk.sid(stack.manager)
    with hands.without("manager"):
        dispatch.log_out()
        expect(dispatch.tab, "the redirect does not wait longer").to_have_url(back_at(stack), timeout=LIMIT)
        record.wait_for("idp", "op.frontchannel_logout.requested", sid=sid)
    if both:
        record.wait_for("manager", BACK, sid=sid, within=20)
        expect(manager.signed_out_card).to_be_visible()
    else:
        manager.tab.reload()
        manager.expect_signed_in("Cameron Reyes")
    assert not record.events("manager", ACCEPTED, sid=sid) + record.events("manager", FAILED, sid=sid)


@pytest.mark.needs("pickup_idp")
def test_page_with_the_frames_needs_no_script(desk: Device, stack: Stack, record: Record, both: bool, can: Can) -> None:
    """Only the link continues then."""
    del both
    if not can("pickup_app", stack.manager):
        desk.may_complain(REDIRECTED)
    dispatch, _ = desk.sign_in_at(stack.dispatch, stack.manager, user="cameron")
    sid, cookie = desk.sid(teller(stack)), desk.cookie(stack.manager.url)
    desk.context.route("**/frontchannel.js", lambda route: route.fulfill(body="", content_type="text/javascript"))
    dispatch.log_out()
    expect(dispatch.heading).to_have_text("You are logged out")
    expect(dispatch.tab.get_by_role("main")).to_contain_text(stack.manager.title)
    wait_until_signed_out(stack.manager, cookie)
    if can("shows_events", stack.manager):
        record.wait_for("manager", ACCEPTED, sid=sid)
    dispatch.tab.get_by_role("link", name="Continue").click()
    expect(dispatch.tab).to_have_url(back_at(stack))
