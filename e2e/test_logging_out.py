"""The golden path: log out of one app, and the other one ends by itself, told by the provider."""

import pytest
from playwright.sync_api import expect

from e2e.apps import App
from e2e.conftest import Can
from e2e.device import Device
from e2e.operator import Operator
from e2e.pictures import Camera
from e2e.plain import is_signed_in, wait_until_signed_out
from e2e.record import Record
from e2e.stack import Stack

SOON = 2_000  # milliseconds within which an open tab must have noticed


@pytest.mark.golden
def test_logging_out_of_one_app_ends_the_other_over_the_back_channel(
    laptop: Device, record: Record, here: App, there: App, can: Can, camera: Camera
) -> None:
    first = laptop.sign_in_by_hand(here, "cameron")
    second = first.open_other_app(there)
    second.expect_signed_in("Cameron Reyes")
    camera.take("1-signed-in", first.tab)
    camera.take("2-no-password", second.tab)
    old_cookie = laptop.cookie(there.url)
    assert is_signed_in(there, old_cookie), "before, the cookie is worth something"
    sids = {app: laptop.sid(app) for app in (here, there) if can("shows_claims", app)}
    second.mark()
    before = laptop.requests_to(there)

    first.log_out()

    if can("notices", there):
        expect(second.signed_out_card, "the open tab notices").to_contain_text("You are logged out", timeout=SOON)
        if can("says_why"):
            expect(second.signed_out_card, "and says why").to_contain_text(f"You logged out of {here.title}.")
        assert second.is_marked(), "without a reload"
    first.expect_logged_out()
    camera.take("3-logged-out", first.tab)
    camera.take("4-noticed", second.tab)

    if not can("notices", there):
        wait_until_signed_out(there, old_cookie)
        assert laptop.requests_to(there) == before, "the browser asked that app nothing: the provider told it"
    assert not is_signed_in(there, old_cookie), "the old cookie, replayed by a plain HTTP client, is anonymous"
    assert not [path for path in laptop.paths_requested() if path.endswith(there.back_channel_path)]

    if not can("shows_events", there):
        return
    accepted = record.wait_for(there.service, "rp.logout_token.accepted", sid=sids[there])
    assert accepted.outcome == "1 ended"
    assert not accepted.detail["cookie_sent"], "which came from the provider, not from the browser: without a cookie,"
    assert accepted.detail["user_agent"] != laptop.user_agent(), "by another user agent,"

    if can("shows_events"):
        delivered = record.wait_for("idp", "op.logout.delivered", sid=sids[there], client_id=there.client_id)
        assert accepted.jti == delivered.jti, "the app carried out the logout token that the provider delivered"

    if not (can("notifies_first_app") and can("shows_events", here)):
        return
    own = record.wait_for(here.service, "rp.logout_token.accepted", sid=sids[here])
    assert own.outcome == "0 ended", "the app in which the user logged out is told too, and has nothing left to end"
    if can("shows_events"):
        delivered = record.wait_for("idp", "op.logout.delivered", sid=sids[here], client_id=here.client_id)
        assert own.jti == delivered.jti


def test_control_without_its_back_channel_uri_the_other_app_stays_signed_in(
    laptop: Device, record: Record, stack: Stack, operator: Operator, can: Can
) -> None:
    with operator.client_setting(stack.manager.client_id, backchannel_logout_uri=""):
        dispatch, manager = laptop.sign_in_at(stack.dispatch, stack.manager, user="cameron")
        manager.expect_signed_in("Cameron Reyes")
        cookie = laptop.cookie(stack.manager.url)
        sid = laptop.sid(stack.manager) if can("shows_claims", stack.manager) else ""

        dispatch.log_out()

        dispatch.expect_logged_out()
        if can("shows_events"):
            not_sent = record.wait_for("idp", "op.logout.not_sent", sid=sid, client_id=stack.manager.client_id)
            assert not_sent.outcome == "The client has no back-channel logout URI."
        assert is_signed_in(stack.manager, cookie), "nobody told Manager, so nothing there has ended"
        manager.expect_signed_in("Cameron Reyes")
        manager.tab.reload()
        manager.expect_signed_in("Cameron Reyes")
        manager.log_out()
        manager.expect_logged_out()

    dispatch, manager = laptop.sign_in_at(stack.dispatch, stack.manager, user="cameron")
    manager.expect_signed_in("Cameron Reyes")
    dispatch.log_out()
    wait_until_signed_out(stack.manager, laptop.cookie(stack.manager.url))  # with it back, it works again
