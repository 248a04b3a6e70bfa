"""The golden path: log out of one app, and the other one ends by itself, told by the provider."""

import pytest
from playwright.sync_api import expect

from e2e.device import Device
from e2e.operator import Operator
from e2e.pictures import Camera
from e2e.plain import LOGOUT_PATH, is_signed_in
from e2e.record import Record
from e2e.stack import App, Stack

SOON = 2_000  # milliseconds within which an open tab must have noticed


@pytest.mark.golden
def test_logging_out_of_one_app_ends_the_other_over_the_back_channel(
    laptop: Device, record: Record, here: App, there: App, camera: Camera
) -> None:
    first = laptop.sign_in_by_hand(here, "cameron")
    second = first.open_other_app(there)
    second.expect_signed_in("Cameron Reyes")
    camera.take("1-signed-in", first.tab)
    camera.take("2-no-password", second.tab)
    sid, old_cookie = laptop.sid(there), laptop.cookie(there.url)
    assert is_signed_in(there, old_cookie), "before, the cookie is worth something"
    second.mark()

    first.log_out()

    expect(second.signed_out_card, "the open tab notices").to_contain_text("You are logged out", timeout=SOON)
    expect(second.signed_out_card, "and says why").to_contain_text(f"You logged out of {here.title}.")
    assert second.is_marked(), "without a reload"
    first.expect_logged_out()
    camera.take("3-logged-out", first.tab)
    camera.take("4-noticed", second.tab)

    assert not is_signed_in(there, old_cookie), "the old cookie, replayed by a plain HTTP client, is anonymous"

    accepted = record.wait_for(there.service, "rp.logout_token.accepted", sid=sid)
    delivered = record.wait_for("idp", "op.logout.delivered", sid=sid, client_id=there.client_id)
    assert accepted.jti == delivered.jti, "the app carried out the logout token that the provider delivered"
    assert accepted.outcome == "1 ended"
    assert not accepted.detail["cookie_sent"], "which came from the provider, not from the browser: without a cookie,"
    assert accepted.detail["user_agent"] != laptop.user_agent(), "by another user agent,"
    assert not [path for path in laptop.paths_requested() if path.endswith(LOGOUT_PATH)], "and by no request of its own"

    own = record.wait_for(here.service, "rp.logout_token.accepted", sid=sid)
    delivered = record.wait_for("idp", "op.logout.delivered", sid=sid, client_id=here.client_id)
    assert own.jti == delivered.jti, "the app in which the user logged out is told too,"
    assert own.outcome == "0 ended", "and has nothing left to end"


def test_control_without_its_back_channel_uri_the_other_app_stays_signed_in(
    laptop: Device, record: Record, stack: Stack, operator: Operator
) -> None:
    with operator.client_setting("pickup-manager", backchannel_logout_uri=""):
        dispatch, manager = laptop.sign_in_at(stack.dispatch, stack.manager, user="cameron")
        manager.expect_signed_in("Cameron Reyes")
        sid, cookie = laptop.sid(stack.manager), laptop.cookie(stack.manager.url)

        dispatch.log_out()

        dispatch.expect_logged_out()
        not_sent = record.wait_for("idp", "op.logout.not_sent", sid=sid, client_id="pickup-manager")
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
    expect(manager.signed_out_card, "with it back, it works again").to_be_visible(timeout=SOON)
