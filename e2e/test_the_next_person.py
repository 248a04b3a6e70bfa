"""After a logout the password is asked for again, and whoever signs in next finds nothing of the one before."""

import pytest
from playwright.sync_api import expect

from e2e.apps import App
from e2e.conftest import Can
from e2e.device import Device
from e2e.pages.dispatch import MakeBookingPage
from e2e.pages.profile import ProfilePage
from e2e.pages.sign_in import SignInPage
from e2e.plain import is_signed_in, wait_until_signed_out
from e2e.stack import Stack

TYPED = "Someone Secret"
OF_CAMERON = ("Cameron", "cameron@", "+1 202 555 0142", TYPED)


def test_after_a_logout_both_apps_ask_for_the_password_again(
    laptop: Device, stack: Stack, here: App, there: App, can: Can
) -> None:
    first = laptop.sign_in(here, "cameron")
    second = first.open_other_app(there)
    second.expect_signed_in("Cameron Reyes")
    cookie = laptop.cookie(there.url)
    first.log_out()
    first.expect_logged_out()
    if can("notices", there):
        expect(second.signed_out_card).to_be_visible()
    wait_until_signed_out(there, cookie)

    for app in (stack.dispatch, stack.manager):
        SignInPage(laptop.open(app).tab, stack).expect_shown()


@pytest.mark.needs("pickup_app")
def test_who_signs_in_next_sees_nothing_of_the_one_before(laptop: Device, stack: Stack) -> None:
    laptop.sign_in(stack.dispatch, "cameron")
    form = laptop.open_as(MakeBookingPage, stack.dispatch)
    form.passenger.fill(TYPED)
    laptop.open_as(ProfilePage, stack.dispatch).expect_signed_in("Cameron Reyes")
    manager = laptop.open(stack.manager)
    manager.expect_signed_in("Cameron Reyes")
    cameron = {app.service: laptop.cookie(app.url) for app in (stack.dispatch, stack.manager)}

    form.log_out()
    form.expect_logged_out()
    expect(manager.signed_out_card).to_be_visible()
    form.tab.go_back()
    if not form.tab.url.startswith(stack.dispatch.url):
        form.tab.go_back()  # past the provider's question whether to log out
    expect(form.sign_in_link, "the Back button brings no page of theirs back").to_be_visible()
    form.shows_none_of(OF_CAMERON)

    again = laptop.open(stack.manager)
    SignInPage(again.tab, stack).sign_in("alex")
    again.expect_signed_in("Alex Okafor")
    laptop.open(stack.dispatch).expect_signed_in("Alex Okafor")
    pages = [laptop.open_as(MakeBookingPage, stack.dispatch), again]
    pages += [laptop.open_as(ProfilePage, app) for app in (stack.dispatch, stack.manager)]
    for page in pages:
        page.expect_signed_in("Alex Okafor")
        page.shows_none_of(OF_CAMERON)
    for app in (stack.dispatch, stack.manager):
        assert not is_signed_in(app, cameron[app.service]), "and the one before is signed in nowhere"
