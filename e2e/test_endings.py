"""Other endings than a logout in an app: by the person's account, by an operator, by the clock. Every app hears."""

import secrets

import pytest
from playwright.sync_api import expect

from e2e.conftest import NewDevice
from e2e.device import Device
from e2e.pages.account import AccountPage
from e2e.pages.app_page import AppPage
from e2e.pages.sign_in import SignInPage
from e2e.plain import is_signed_in
from e2e.record import Record
from e2e.stack import Stack, StackControl

IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) Version/19.0 Mobile/15E148 Safari/604.1"
SOON = 3_000  # milliseconds within which an open tab must have noticed
WRONG = "status of 4"  # what the console says of a form that was refused

# Runs where the provider runs, and does what the console does. The person comes as an argument.
OPERATE = """
from sqlalchemy import update
from idp import create_app
from idp.models import SsoSession
from idp.operations import people, sessions
from idp.models import IDLE_SECONDS
from idp.outbox.reasons import Reason
from pickup_web.database import db
with create_app().app_context():
    person = next(iter(people.list_people(db.session, {username!r})[0]), None)
    {act}
"""
END_ONE = "sessions.end_one(db.session, {sid!r}, Reason.OPERATOR, 'a test')"
SIGN_OUT = "sessions.end_all_of(db.session, person.sub, Reason.OPERATOR, 'a test')"
RESET = "people.reset_password(db.session, person.sub, 'a test', 'given by an operator')"
DISABLE = "people.disable_person(db.session, person.sub, 'a test')"
REMOVE = "people.remove_person(db.session, person.sub, 'a test')"
IDLE = """
    mine = update(SsoSession).where(SsoSession.sub == person.sub)
    db.session.execute(mine.values(last_seen_at=SsoSession.last_seen_at - IDLE_SECONDS))
    db.session.commit()
"""


@pytest.fixture
def phone(new_device: NewDevice) -> Device:
    """The same person's other browser."""
    return new_device(user_agent=IPHONE)


@pytest.fixture
def kim(hands: StackControl) -> str:
    """Somebody of this story's own, who can be removed; their password is ``kim's password``. Returns the user name."""
    username = f"kim-{secrets.token_hex(4)}"
    named = f"{username!r}, 'Kim Ito', '', \"kim's password\", 'user'"
    operate(hands, username, f"people.add_person(db.session, {named}, 'a test')")
    return username


def operate(hands: StackControl, username: str, act: str) -> None:
    """Do it as an operator."""
    hands.python("idp", OPERATE.format(username=username, act=act))


def sign_in_as_kim(device: Device, stack: Stack, kim: str) -> tuple[AppPage, AppPage]:
    """At both apps."""
    AccountPage(device.context.new_page(), stack).sign_in(kim, "kim's password").tab.close()
    dispatch, manager = device.open(stack.dispatch), device.open(stack.manager)
    for page in (dispatch, manager):
        page.expect_signed_in("Kim Ito")
    return dispatch, manager


def expect_told(page: AppPage, why: str) -> None:
    """The open tab notices, and says why; without a click."""
    expect(page.signed_out_card).to_contain_text("You are logged out", timeout=SOON)
    expect(page.signed_out_card).to_contain_text(why)


# --- by the person, on the account page ---


def test_a_lost_phone_is_signed_out_from_the_laptop(laptop: Device, phone: Device, stack: Stack, kim: str) -> None:
    on_phone = sign_in_as_kim(phone, stack, kim)
    on_laptop = sign_in_as_kim(laptop, stack, kim)
    account = AccountPage(laptop.context.new_page(), stack).open()
    expect(account.sessions).to_have_count(2)
    expect(account.session_of("Safari on iPhone")).to_contain_text("Pickup Dispatch, Pickup Manager")

    account.session_of("Safari on iPhone").get_by_role("link", name="End").click()
    expect(account.heading).to_have_text("End this session?")
    account.answer("End this session")

    expect(account.notice).to_have_text("The session of Safari on iPhone has ended.")
    expect(account.sessions).to_have_count(1)
    for page in on_phone:
        expect_told(page, "You ended this session from another browser.")
    for page in on_laptop:
        page.tab.reload()
        page.expect_signed_in("Kim Ito")


def test_a_person_who_logs_out_everywhere_is_logged_out_everywhere(
    laptop: Device, phone: Device, stack: Stack, kim: str
) -> None:
    pages = [*sign_in_as_kim(phone, stack, kim), *sign_in_as_kim(laptop, stack, kim)]
    account = AccountPage(laptop.context.new_page(), stack).open()
    account.log_out_everywhere.click()
    expect(account.heading).to_have_text("Log out everywhere?")
    account.answer("Log out everywhere")
    account.expect_logged_out("You are logged out everywhere")
    for page in pages:
        expect_told(page, "You logged out everywhere.")


def test_a_person_who_ends_all_others_stays_signed_in_here(
    laptop: Device, phone: Device, stack: Stack, kim: str
) -> None:
    on_phone, on_laptop = sign_in_as_kim(phone, stack, kim), sign_in_as_kim(laptop, stack, kim)
    account = AccountPage(laptop.context.new_page(), stack).open()
    account.end_others.click()
    account.answer("End all other sessions")
    expect(account.notice).to_have_text("One other session has ended. Only this browser is signed in.")
    for page in on_phone:
        expect_told(page, "You ended this session from another browser.")
    for page in on_laptop:
        page.expect_signed_in("Kim Ito")
    expect(account.end_others).to_have_count(0)


def test_who_ends_the_session_in_hand_is_logged_out_of_the_apps_too(laptop: Device, stack: Stack, kim: str) -> None:
    pages = sign_in_as_kim(laptop, stack, kim)
    account = AccountPage(laptop.context.new_page(), stack).open()
    account.this_browser.get_by_role("link", name="Log out").click()
    account.answer("Log out")
    account.expect_logged_out()
    for page in pages:
        expect_told(page, "You logged out at the identity provider (IdP).")


def test_who_changes_the_mind_at_the_question_is_still_signed_in(laptop: Device, stack: Stack, kim: str) -> None:
    dispatch, _ = sign_in_as_kim(laptop, stack, kim)
    account = AccountPage(laptop.context.new_page(), stack).open()
    account.log_out_everywhere.click()
    account.tab.get_by_role("link", name="Stay signed in").click()
    expect(account.heading).to_have_text("My account")
    dispatch.tab.reload()
    dispatch.expect_signed_in("Kim Ito")


def test_a_new_password_ends_the_other_sessions_and_the_old_one_opens_nothing(
    laptop: Device, phone: Device, stack: Stack, kim: str
) -> None:
    on_phone, on_laptop = sign_in_as_kim(phone, stack, kim), sign_in_as_kim(laptop, stack, kim)
    laptop.may_complain(WRONG)
    phone.may_complain(WRONG)
    account = AccountPage(laptop.context.new_page(), stack).open()
    account.change_password.click()
    account.fill_in("not this one", "a better one", "a better one")
    expect(account.tab.get_by_label("Current password")).to_be_focused()
    expect(account.tab.get_by_text("That is not your password.")).to_be_visible()
    account.fill_in("kim's password", "a better one", "a better one")
    expect(account.notice).to_have_text("Your password is changed. One other session has ended.")
    for page in on_phone:
        expect_told(page, "Your password was changed.")
    for page in on_laptop:
        page.expect_signed_in("Kim Ito")

    again = AccountPage(phone.context.new_page(), stack).open()
    sign_in = SignInPage(again.tab, stack)
    sign_in.sign_in(kim, "kim's password")
    expect(sign_in.error).to_be_visible()
    again.sign_in(kim, "a better one")


def test_all_of_it_works_without_script_on_a_phone_and_by_keyboard(
    new_device: NewDevice, phone: Device, stack: Stack, kim: str
) -> None:
    on_phone = sign_in_as_kim(phone, stack, kim)
    plain = new_device(java_script_enabled=False, viewport={"width": 320, "height": 640})
    account = AccountPage(plain.context.new_page(), stack).sign_in(kim, "kim's password")
    account.end_others.focus()
    account.tab.keyboard.press("Enter")
    expect(account.heading).to_have_text("End all other sessions?")
    account.tab.get_by_role("main").get_by_role("button").focus()
    account.tab.keyboard.press("Enter")
    expect(account.notice).to_be_visible()
    for page in on_phone:
        expect_told(page, "You ended this session from another browser.")


# --- by an operator, and by the clock ---


@pytest.mark.parametrize(
    ("act", "reason", "why"),
    [
        (END_ONE, "operator", "An operator ended your session."),
        (SIGN_OUT, "operator", "An operator ended your session."),
        (RESET, "password_changed", "Your password was changed."),
        (DISABLE, "user_disabled", "Your account was disabled."),
        (REMOVE, "user_removed", "Your account was removed."),
        (IDLE, "idle", "Your session expired because it was not used for a while."),
    ],
    ids=["one-session", "signed-out", "password-reset", "disabled", "removed", "idle"],
)
def test_what_others_and_the_clock_end_is_told_to_every_app_once(
    act: str, reason: str, why: str, laptop: Device, record: Record, stack: Stack, hands: StackControl, kim: str
) -> None:
    pages = sign_in_as_kim(laptop, stack, kim)
    sid, cookies = laptop.sid(stack.manager), [laptop.cookie(page.app.url) for page in pages]

    operate(hands, kim, act.format(sid=sid))

    for page in pages:
        expect_told(page, why)
        delivered = record.wait_for("idp", "op.logout.delivered", sid=sid, client_id=page.app.client_id)
        accepted = record.events(page.app.service, "rp.logout_token.accepted", sid=sid)
        assert [one.jti for one in accepted] == [delivered.jti], "one logout token, whatever the number of workers"
    assert [event.outcome for event in record.events("idp", "op.session.ended", sid=sid)] == [reason]
    for page, cookie in zip(pages, cookies, strict=True):
        assert not is_signed_in(page.app, cookie)


@pytest.mark.parametrize("act", [DISABLE, REMOVE], ids=["disabled", "removed"])
def test_who_is_shut_out_cannot_sign_in_again(
    act: str, laptop: Device, stack: Stack, hands: StackControl, kim: str
) -> None:
    laptop.may_complain(WRONG)
    AccountPage(laptop.context.new_page(), stack).sign_in(kim, "kim's password")
    operate(hands, kim, act)
    account = AccountPage(laptop.context.new_page(), stack).open()
    page = SignInPage(account.tab, stack)
    page.sign_in(kim, "kim's password")
    expect(page.error).to_contain_text("Wrong username or password")
