"""Services that are down, hang, or are killed: nobody is kept waiting, and no logout is lost."""

import secrets
import socket
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager

import pytest
from playwright.sync_api import expect

from e2e.conftest import Can, Figure
from e2e.device import Device
from e2e.operator import Operator
from e2e.pages.dispatch import BookingsPage, MakeBookingPage
from e2e.plain import is_signed_in
from e2e.record import Record
from e2e.stack import Stack, StackControl

pytestmark = pytest.mark.needs("pickup_idp", "shared_sid")

MARGIN = 500  # milliseconds that the provider may need besides waiting
IN_A_WHILE = 20  # seconds for services to start and a retry to come
# An open tab has lost its server: the connection, or the proxy in front of it, says so. And a browser notices on all
# its connections when the network of a container comes or goes.
OUTAGE = r"(net::ERR_\w+|status of 50[24] \(.*\)) \(.*/session/(live|status)\)"


class Outage:
    """Manager is down, or hangs. An app of others cannot be stopped, so the IdP is given an address of that kind."""

    def __init__(self, stack: Stack, hands: StackControl, operator: Operator) -> None:
        self._stack, self._hands, self._operator = stack, hands, operator
        self._is_ours = "pickup_app" in stack.manager.can

    def down(self, *, crashed: bool = True) -> AbstractContextManager[None]:
        """It takes no connections."""
        return self._hands.without("manager", crashed=crashed) if self._is_ours else self._elsewhere(is_open=False)

    def hanging(self) -> AbstractContextManager[None]:
        """It takes connections and answers none."""
        return self._hands.frozen("manager") if self._is_ours else self._elsewhere(is_open=True)

    @contextmanager
    def _elsewhere(self, *, is_open: bool) -> Iterator[None]:
        with closing(socket.create_server(("127.0.0.1", 0))) as server:
            address = f"http://localhost:{server.getsockname()[1]}/"
            if not is_open:
                server.close()
            with self._operator.client_setting(self._stack.manager.client_id, backchannel_logout_uri=address):
                yield


@pytest.fixture
def outage(stack: Stack, hands: StackControl, operator: Operator) -> Outage:
    return Outage(stack, hands, operator)


def wait_until_delivered(record: Record, stack: Stack, sid: str) -> int:
    """The logout has reached Manager. Returns the number of the attempt."""
    if "shows_events" in stack.manager.can:
        record.wait_for("manager", "rp.logout_token.accepted", sid=sid, within=IN_A_WHILE)
    client_id = stack.manager.client_id
    delivered = record.wait_for("idp", "op.logout.delivered", sid=sid, client_id=client_id, within=IN_A_WHILE)
    return int(delivered.detail["attempt"])


def test_logout_while_manager_is_down_is_fast_and_delivered_by_retry(
    laptop: Device, record: Record, stack: Stack, outage: Outage, figure: Figure, can: Can
) -> None:
    laptop.may_complain(OUTAGE)
    dispatch, manager = laptop.sign_in_at(stack.dispatch, stack.manager, user="cameron")
    manager.expect_signed_in("Cameron Reyes")
    sid, cookie = laptop.sid(stack.dispatch), laptop.cookie(stack.manager.url)

    with outage.down():
        dispatch.log_out()
        dispatch.expect_logged_out()
        waited = laptop.milliseconds_of("/oidc/logout")
        assert waited < stack.logout_wait * 1000 + MARGIN, "the user's redirect takes no longer than the set wait"
        record.wait_for("idp", "op.logout.retrying", sid=sid, client_id=stack.manager.client_id)

    assert wait_until_delivered(record, stack, sid) > 1, "the logout arrived by retry"
    assert not is_signed_in(stack.manager, cookie), "the old cookie is dead"
    if can("notices", stack.manager):
        expect(manager.signed_out_card, "and so is the tab").to_contain_text("You logged out of Pickup Dispatch.")
    figure("redirect of a logout while Manager is down", f"{waited:.0f} ms")


def test_after_a_logout_no_page_claims_that_a_stopped_app_was_notified(
    laptop: Device, record: Record, stack: Stack, outage: Outage
) -> None:
    laptop.may_complain(OUTAGE)
    dispatch, _ = laptop.sign_in_at(stack.dispatch, stack.manager, user="cameron")
    sid = laptop.sid(stack.dispatch)

    with outage.down(crashed=False):
        dispatch.log_out()
        dispatch.expect_logged_out()
        main = dispatch.tab.get_by_role("main")
        expect(main).to_contain_text("was asked to end the shared session and to notify the other apps.")
        main.get_by_role("link", name="See which apps confirmed the logout").click()
        expect(dispatch.heading).to_have_text("You are logged out")
        expect(dispatch.notice).to_contain_text(f"Not notified yet: {stack.manager.title}.")

    wait_until_delivered(record, stack, sid)
    dispatch.tab.reload()
    expect(main).to_contain_text("Your session has ended here and in every app that was notified.")
    expect(dispatch.notice).to_have_count(0)


def test_logout_while_manager_hangs_waits_at_most_the_configured_time(
    laptop: Device, record: Record, stack: Stack, outage: Outage, figure: Figure
) -> None:
    dispatch, _ = laptop.sign_in_at(stack.dispatch, stack.manager, user="cameron")
    sid, cookie = laptop.sid(stack.dispatch), laptop.cookie(stack.manager.url)

    with outage.hanging():
        dispatch.log_out()
        dispatch.expect_logged_out()
        waited = laptop.milliseconds_of("/oidc/logout")
    assert waited < stack.logout_wait * 1000 + MARGIN

    wait_until_delivered(record, stack, sid)
    assert not is_signed_in(stack.manager, cookie)
    figure("redirect of a logout while Manager hangs", f"{waited:.0f} ms")


def test_idp_killed_right_after_a_logout_delivers_it_after_its_restart(
    laptop: Device, record: Record, stack: Stack, hands: StackControl, outage: Outage
) -> None:
    laptop.may_complain(OUTAGE)
    dispatch, _ = laptop.sign_in_at(stack.dispatch, stack.manager, user="cameron")
    sid, cookie = laptop.sid(stack.dispatch), laptop.cookie(stack.manager.url)

    with outage.down():
        dispatch.log_out()
        dispatch.expect_logged_out()
        with hands.without("idp"):
            pass

    wait_until_delivered(record, stack, sid)
    assert not is_signed_in(stack.manager, cookie), "what was promised before the crash is kept after it"


@pytest.mark.needs("pickup_app")
def test_dispatch_stays_usable_and_says_that_manager_is_down(laptop: Device, stack: Stack, hands: StackControl) -> None:
    laptop.may_complain(OUTAGE)
    passenger = f"Nora {secrets.token_hex(4)}"  # the stack may keep the bookings of earlier runs
    laptop.sign_in(stack.dispatch, "cameron")

    with hands.without("manager", crashed=False):
        form = laptop.open_as(MakeBookingPage, stack.dispatch)
        expect(form.notice).to_contain_text("Pickup Manager does not answer")
        bookings = form.book(passenger, driver="Assign a driver later")
        expect(bookings.booking(passenger)).to_contain_text("No driver yet")

    bookings = laptop.open_as(BookingsPage, stack.dispatch)
    driver = bookings.assign_first_driver(passenger)
    expect(bookings.booking(passenger), "Manager is back, and so are its drivers").to_contain_text(driver)
    bookings.cancel(passenger)
    expect(bookings.booking(passenger)).to_contain_text("Cancelled")
