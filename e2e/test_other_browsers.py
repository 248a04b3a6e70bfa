"""Whose session ends: the one with that sid, wherever its cookies are, and no other."""

import pytest
from playwright.sync_api import expect

from e2e.conftest import Can, NewDevice
from e2e.device import Device
from e2e.pages.sign_in import SignInPage
from e2e.plain import is_signed_in, wait_until_signed_out
from e2e.stack import Stack


def test_cookies_of_a_closed_browser_are_worthless_after_a_logout_elsewhere(
    new_device: NewDevice, stack: Stack
) -> None:
    laptop = new_device()
    laptop.sign_in(stack.dispatch, "cameron").open_other_app(stack.manager).expect_signed_in("Cameron Reyes")
    cookies, manager_cookie = laptop.context.storage_state(), laptop.cookie(stack.manager.url)
    laptop.context.close()
    assert is_signed_in(stack.manager, manager_cookie), "closing a browser ends nothing"

    elsewhere = new_device(storage_state=cookies)  # no tab of Manager is open anywhere
    dispatch = elsewhere.open(stack.dispatch)
    dispatch.log_out()
    dispatch.expect_logged_out()
    wait_until_signed_out(stack.manager, manager_cookie)

    opened_again = new_device(storage_state=cookies)
    assert opened_again.cookie(stack.manager.url) == manager_cookie
    SignInPage(opened_again.open(stack.manager).tab, stack).expect_shown()


@pytest.mark.parametrize(
    ("other_user", "other_name"),
    [("cameron", "Cameron Reyes"), ("alex", "Alex Okafor")],
    ids=["of the same user", "of another user"],
)
def test_logout_keeps_the_sessions_of_other_browsers(
    laptop: Device, new_device: NewDevice, stack: Stack, other_user: str, other_name: str, can: Can
) -> None:
    phone = new_device()
    dispatch, manager = laptop.sign_in_at(stack.dispatch, stack.manager, user="cameron")
    manager.expect_signed_in("Cameron Reyes")
    others_manager, others_dispatch = phone.sign_in_at(stack.manager, stack.dispatch, user=other_user)
    others_dispatch.expect_signed_in(other_name)
    if can("shows_claims", stack.manager):
        assert laptop.sid(stack.manager) != phone.sid(stack.manager), "each sign-in has a session of its own"
    cookie = laptop.cookie(stack.manager.url)

    dispatch.log_out()

    if can("notices", stack.manager):
        expect(manager.signed_out_card, "the session that was meant has ended").to_be_visible()
    wait_until_signed_out(stack.manager, cookie)
    for page in (others_manager, others_dispatch):
        assert is_signed_in(page.app, phone.cookie(page.app.url)), "the other one has not"
        page.expect_signed_in(other_name)
        page.tab.reload()
        page.expect_signed_in(other_name)
