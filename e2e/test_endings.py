"""Other endings than a logout in an app: by the person's account, by an operator, by the clock. Every app hears."""

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from e2e.capabilities import not_applicable
from e2e.conftest import Can, NewDevice
from e2e.device import Device
from e2e.operator import Operator, Person
from e2e.pages.account import AccountPage
from e2e.pages.app_page import AppPage
from e2e.pages.sign_in import SignInPage
from e2e.plain import wait_until_signed_out
from e2e.record import Record
from e2e.stack import Stack, StackControl

IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) Version/19.0 Mobile/15E148 Safari/604.1"
SOON = 3_000  # milliseconds within which an open tab must have noticed
WRONG = "status of 4"  # what the console says of a form that was refused

# Runs where the provider runs: a test cannot wait hours for a session to expire.
AGE_SESSIONS = """
from sqlalchemy import create_engine, update
from sqlalchemy.orm import Session
from idp.models import IDLE_SECONDS, SsoSession
from pickup_web.settings import load_settings
with Session(create_engine(load_settings("idp").idp_database_url)) as db, db.begin():
    mine = update(SsoSession).where(SsoSession.sub == {sub!r})
    db.execute(mine.values(last_seen_at=SsoSession.last_seen_at - IDLE_SECONDS))
"""


@pytest.fixture
def phone(new_device: NewDevice) -> Device:
    """The same person's other browser."""
    return new_device(user_agent=IPHONE)


@pytest.fixture
def kim(operator: Operator) -> Person:
    """A user of this story only, who can be removed."""
    return operator.add_person("Kim Ito")


def sign_in_as_kim(device: Device, stack: Stack, kim: Person) -> list[AppPage]:
    """At both apps."""
    pages = device.sign_in_at(stack.dispatch, stack.manager, user=kim.username, password=kim.password)
    for page in pages:
        page.expect_signed_in("Kim Ito")
    return pages


def expect_told(page: AppPage, why: str) -> None:
    """The open tab notices, and says why; without a click."""
    expect(page.signed_out_card).to_contain_text("You are logged out", timeout=SOON)
    expect(page.signed_out_card).to_contain_text(why)


# --- by the person, on the account page ---


@pytest.mark.needs("account_page", "pickup_app")
def test_user_ends_the_session_of_a_lost_phone_from_the_laptop(
    laptop: Device, phone: Device, stack: Stack, kim: Person
) -> None:
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


@pytest.mark.needs("account_page", "pickup_app")
def test_log_out_everywhere_ends_all_sessions_of_the_user(
    laptop: Device, phone: Device, stack: Stack, kim: Person
) -> None:
    pages = [*sign_in_as_kim(phone, stack, kim), *sign_in_as_kim(laptop, stack, kim)]
    account = AccountPage(laptop.context.new_page(), stack).open()
    account.log_out_everywhere.click()
    expect(account.heading).to_have_text("Log out everywhere?")
    account.answer("Log out everywhere")
    account.expect_logged_out("You are logged out everywhere")
    for page in pages:
        expect_told(page, "You logged out everywhere.")


@pytest.mark.needs("account_page", "pickup_app")
def test_ending_all_other_sessions_keeps_the_current_one(
    laptop: Device, phone: Device, stack: Stack, kim: Person
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


@pytest.mark.needs("account_page", "pickup_app")
def test_ending_the_current_session_logs_the_user_out_of_the_apps(laptop: Device, stack: Stack, kim: Person) -> None:
    pages = sign_in_as_kim(laptop, stack, kim)
    account = AccountPage(laptop.context.new_page(), stack).open()
    account.this_browser.get_by_role("link", name="Log out").click()
    account.answer("Log out")
    account.expect_logged_out()
    for page in pages:
        expect_told(page, "You logged out at the identity provider (IdP).")


@pytest.mark.needs("account_page", "pickup_app")
def test_user_who_cancels_the_confirmation_stays_signed_in(laptop: Device, stack: Stack, kim: Person) -> None:
    dispatch, _ = sign_in_as_kim(laptop, stack, kim)
    account = AccountPage(laptop.context.new_page(), stack).open()
    account.log_out_everywhere.click()
    account.tab.get_by_role("link", name="Stay signed in").click()
    expect(account.heading).to_have_text("My account")
    dispatch.tab.reload()
    dispatch.expect_signed_in("Kim Ito")


@pytest.mark.needs("account_page", "pickup_app")
def test_password_change_ends_the_other_sessions_and_the_old_password_is_refused(
    laptop: Device, phone: Device, stack: Stack, kim: Person
) -> None:
    on_phone, on_laptop = sign_in_as_kim(phone, stack, kim), sign_in_as_kim(laptop, stack, kim)
    laptop.may_complain(WRONG)
    phone.may_complain(WRONG)
    account = AccountPage(laptop.context.new_page(), stack).open()
    account.change_password.click()
    account.fill_in("not this one", "a better one", "a better one")
    expect(account.tab.get_by_label("Current password")).to_be_focused()
    expect(account.tab.get_by_text("That is not your password.")).to_be_visible()
    account.fill_in(kim.password, "a better one", "a better one")
    expect(account.notice).to_have_text("Your password is changed. One other session has ended.")
    for page in on_phone:
        expect_told(page, "Your password was changed.")
    for page in on_laptop:
        page.expect_signed_in("Kim Ito")

    again = AccountPage(phone.context.new_page(), stack).open()
    sign_in = SignInPage(again.tab, stack)
    sign_in.sign_in(kim.username, kim.password)
    sign_in.expect_refused()
    again.sign_in(kim.username, "a better one")


@pytest.mark.needs("account_page", "pickup_app")
def test_account_page_works_on_a_phone_without_script_and_by_keyboard(
    new_device: NewDevice, phone: Device, stack: Stack, kim: Person
) -> None:
    on_phone = sign_in_as_kim(phone, stack, kim)
    plain = new_device(java_script_enabled=False, viewport={"width": 320, "height": 640})
    account = AccountPage(plain.context.new_page(), stack).sign_in(kim.username, kim.password)
    account.end_others.focus()
    account.tab.keyboard.press("Enter")
    expect(account.heading).to_have_text("End all other sessions?")
    account.tab.get_by_role("main").get_by_role("button").focus()
    account.tab.keyboard.press("Enter")
    expect(account.notice).to_be_visible()
    for page in on_phone:
        expect_told(page, "You ended this session from another browser.")


# --- by an operator, and by the clock ---


ENDINGS: list[tuple[Callable[[Operator, Person, str], None], str, str]] = [
    (lambda operator, _, sid: operator.end_session(sid), "operator", "An operator ended your session."),
    (lambda operator, kim, _: operator.sign_out(kim), "operator", "An operator ended your session."),
    (lambda operator, kim, _: operator.reset_password(kim), "password_changed", "Your password was changed."),
    (lambda operator, kim, _: operator.disable(kim), "user_disabled", "Your account was disabled."),
    (lambda operator, kim, _: operator.remove(kim), "user_removed", "Your account was removed."),
]
# An identity provider may end the sessions at these occasions; no specification says that it must.
CHOICES = {
    "password_changed": "ends_session_on_password_reset",
    "user_disabled": "ends_session_on_disable",
    "user_removed": "ends_session_on_removal",
}


@pytest.mark.needs("shared_sid")
@pytest.mark.parametrize(
    ("end", "reason", "why"), ENDINGS, ids=["one-session", "signed-out", "password-reset", "disabled", "removed"]
)
def test_each_app_gets_one_logout_token_when_an_operator_ends_a_session(
    end: Callable[[Operator, Person, str], None],
    reason: str,
    why: str,
    laptop: Device,
    record: Record,
    stack: Stack,
    operator: Operator,
    kim: Person,
    can: Can,
) -> None:
    if reason in CHOICES and not can(CHOICES[reason]):
        not_applicable(CHOICES[reason])
    pages = sign_in_as_kim(laptop, stack, kim)
    cookies = cookies_of(laptop, pages)
    sid = laptop.sid(stack.dispatch)
    end(operator, kim, sid)
    expect_ended(pages, cookies, record, sid, reason, why, can)


@pytest.mark.needs("expires_sessions")
def test_each_app_gets_one_logout_token_when_a_session_expires(
    laptop: Device, record: Record, stack: Stack, hands: StackControl, kim: Person, can: Can
) -> None:
    pages = sign_in_as_kim(laptop, stack, kim)
    sid, cookies = laptop.sid(stack.manager), cookies_of(laptop, pages)
    hands.python("idp", AGE_SESSIONS.format(sub=kim.sub))
    expect_ended(pages, cookies, record, sid, "idle", "Your session expired because it was not used for a while.", can)


def cookies_of(device: Device, pages: list[AppPage]) -> list[str]:
    """What the browser would send to each app."""
    return [device.cookie(page.app.url) for page in pages]


def expect_ended(
    pages: list[AppPage], cookies: list[str], record: Record, sid: str, reason: str, why: str, can: Can
) -> None:
    """Each open page says why its session ended, each app got one logout token, and the old cookies are worthless."""
    for page in pages:
        if can("notices", page.app):
            expect_told(page, why if can("says_why") else "")
        if can("shows_events", page.app):
            record.wait_for(page.app.service, "rp.logout_token.accepted", sid=sid)
            accepted = record.events(page.app.service, "rp.logout_token.accepted", sid=sid)
            assert len(accepted) == 1, "one logout token, whatever the number of workers"
            if can("shows_events"):
                delivered = record.wait_for("idp", "op.logout.delivered", sid=sid, client_id=page.app.client_id)
                assert accepted[0].jti == delivered.jti
    if can("shows_events"):
        assert [event.outcome for event in record.events("idp", "op.session.ended", sid=sid)] == [reason]
    for page, cookie in zip(pages, cookies, strict=True):
        wait_until_signed_out(page.app, cookie)


@pytest.mark.parametrize(
    "shut_out", [lambda one, kim: one.disable(kim), lambda one, kim: one.remove(kim)], ids=["disabled", "removed"]
)
def test_disabled_or_removed_user_cannot_sign_in(
    shut_out: Callable[[Operator, Person], None],
    laptop: Device,
    phone: Device,
    stack: Stack,
    operator: Operator,
    kim: Person,
    can: Can,
) -> None:
    laptop.sign_in_for(stack.dispatch.url + stack.dispatch.front, user=kim.username, password=kim.password)
    shut_out(operator, kim)
    device = laptop if can("ends_session_on_disable") and can("ends_session_on_removal") else phone
    device.may_complain(WRONG)
    page = SignInPage(device.open(stack.dispatch).tab, stack)
    page.sign_in(kim.username, kim.password)
    page.expect_refused()
