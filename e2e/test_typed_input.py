"""The open tab: what was typed is kept for its person, and for nobody else; all tabs notice, after a sleep, too."""

import re

import pytest
from playwright.sync_api import expect

from e2e.apps import App
from e2e.conftest import Can
from e2e.device import Device
from e2e.pages.app_page import AppPage
from e2e.pages.form_page import FormPage
from e2e.pages.sign_in import SignInPage
from e2e.stack import Stack

pytestmark = pytest.mark.needs("pickup_app")

TYPED = "Somebody, half typed"
BLOCKED = r"net::ERR_FAILED.*/session/|/session/(live|status)"
SOON = 2_000  # milliseconds

SECRET_FIELDS = (
    "type=password",
    "type=hidden",
    "autocomplete=one-time-code",
    "autocomplete=cc-number",
    "data-not-kept",
)
TYPE_A_SECRET = """(attributes) => {
  document.querySelector("[name=secret]")?.remove();
  const field = document.createElement("input");
  for (const pair of attributes.split(" ")) field.setAttribute(...pair.split("=").concat("").slice(0, 2));
  field.name = "secret";
  document.querySelector("main form").append(field);
  field.value = "hunter2";
  field.dispatchEvent(new Event("input", { bubbles: true }));
}"""


@pytest.fixture
def here(request: pytest.FixtureRequest, stack: Stack) -> App:
    """The app with the form. Both apps serve the same scripts (relying_party/static), so most stories need only one."""
    return stack.app(getattr(request, "param", "dispatch"))


@pytest.fixture
def elsewhere(laptop: Device, here: App, there: App) -> AppPage:
    """The other app's page, from which the session is ended. Cameron is signed in at both."""
    laptop.sign_in_for(there.url + there.front, here.url + here.front, user="cameron")
    page = laptop.open(there)
    page.expect_signed_in("Cameron Reyes")
    return page


@pytest.fixture
def form(laptop: Device, here: App, elsewhere: AppPage) -> FormPage:  # noqa: ARG001 # signs in
    """The form, in a tab of its own, with something typed into it."""
    page = FormPage(laptop.context.new_page(), here).open_form()
    page.field.fill(TYPED)
    return page


@pytest.mark.parametrize("here", ["dispatch", "manager"], indirect=True)
def test_typed_text_is_offered_to_the_same_user_after_the_next_sign_in(
    form: FormPage, elsewhere: AppPage, stack: Stack
) -> None:
    elsewhere.log_out()
    expect(form.signed_out_card).to_contain_text("What you were typing is kept in this tab")
    expect(form.field, "nobody who passes by reads it").to_have_count(0)

    form.sign_in_again.click()
    SignInPage(form.tab, stack).sign_in("cameron")
    form.expect_signed_in("Cameron Reyes")
    expect(form.offer).to_be_visible()
    expect(form.field, "it is offered, not forced on anybody").to_be_empty()
    form.put_back.click()
    expect(form.field).to_have_value(TYPED)
    expect(form.field).to_be_focused()
    expect(form.offer).to_have_count(0)


def test_another_user_who_signs_in_gets_none_of_the_typed_text(
    form: FormPage, elsewhere: AppPage, stack: Stack
) -> None:
    elsewhere.log_out()
    form.sign_in_again.click()
    SignInPage(form.tab, stack).sign_in("alex")
    form.expect_signed_in("Alex Okafor")
    expect(form.offer).to_have_count(0)
    expect(form.field).to_be_empty()
    form.expect_not_kept(TYPED)
    form.shows_none_of([TYPED])


@pytest.mark.thorough
def test_kept_text_can_be_discarded(form: FormPage, elsewhere: AppPage, stack: Stack) -> None:
    elsewhere.log_out()
    form.sign_in_again.click()
    SignInPage(form.tab, stack).sign_in("cameron")
    form.throw_away.click()
    expect(form.offer).to_have_count(0)
    form.tab.reload()
    form.expect_signed_in("Cameron Reyes")
    expect(form.offer).to_have_count(0)
    form.expect_not_kept(TYPED)


def test_form_submitted_after_the_logout_keeps_its_text(
    form: FormPage, elsewhere: AppPage, laptop: Device, stack: Stack, can: Can
) -> None:
    laptop.may_complain(BLOCKED)
    laptop.may_complain("401")
    form.tab.route("**/session/*", lambda route: route.abort())  # the tab notices nothing, and no other one tells it
    form.tab.reload()
    form.field.fill(TYPED)
    elsewhere.log_out()
    elsewhere.expect_logged_out()
    form.send.click()
    main = form.tab.get_by_role("main")
    expect(form.heading).to_have_text("You are logged out")
    why = f"You logged out of {elsewhere.app.title}. " if can("says_why") else ""
    expect(main).to_contain_text(f"{why}Your form was not processed.")
    expect(main).to_contain_text("What you typed is kept in this tab")

    form.tab.unroute_all()
    main.get_by_role("link", name="Sign in again").click()
    SignInPage(form.tab, stack).sign_in("cameron")
    form.expect_signed_in("Cameron Reyes")
    expect(form.offer).to_be_visible()
    if form.offer.get_by_role("link").count():  # they landed on another page, which knows the way
        form.offer.get_by_role("link").click()
    form.put_back.click()
    expect(form.field).to_have_value(TYPED)


@pytest.mark.thorough
def test_text_of_a_form_with_validation_errors_is_kept(
    form: FormPage, elsewhere: AppPage, laptop: Device, stack: Stack
) -> None:
    laptop.may_complain("422")
    form.send.click()  # other fields are empty
    expect(form.tab).to_have_title(re.compile("^Error: "))
    expect(form.field).to_have_value(TYPED)
    elsewhere.log_out()
    expect(form.signed_out_card).to_contain_text("What you were typing is kept in this tab")
    form.sign_in_again.click()
    SignInPage(form.tab, stack).sign_in("cameron")
    form.expect_signed_in("Cameron Reyes")
    expect(form.field, "they land on the form, not on the address it was sent to").to_be_empty()
    form.put_back.click()
    expect(form.field).to_have_value(TYPED)


@pytest.mark.thorough
def test_text_of_a_page_that_the_user_left_is_not_offered(form: FormPage, elsewhere: AppPage, stack: Stack) -> None:
    form.open("/profile")
    form.expect_not_kept(TYPED)
    elsewhere.log_out()
    expect(form.signed_out_card).not_to_contain_text("kept")
    form.sign_in_again.click()
    SignInPage(form.tab, stack).sign_in("cameron")
    form.expect_signed_in("Cameron Reyes")
    expect(form.offer).to_have_count(0)


def test_user_who_logs_out_leaves_no_typed_text(form: FormPage) -> None:
    form.log_out()
    form.expect_logged_out()
    form.expect_not_kept(TYPED)


def test_secrets_are_never_kept(form: FormPage, subtests: pytest.Subtests) -> None:
    for attributes in SECRET_FIELDS:
        with subtests.test(attributes):
            form.tab.evaluate(TYPE_A_SECRET, attributes)
            assert TYPED in form.what_is_kept(), "the control: the other field is kept"
            assert "hunter2" not in form.what_is_kept()


# --- all tabs, and tabs that were asleep ---


def test_eight_tabs_share_one_event_stream_and_all_notice_the_logout(
    laptop: Device, here: App, elsewhere: AppPage, can: Can
) -> None:
    earlier = len(laptop.requests)
    tabs = [laptop.open(here) for _ in range(8)]
    for page in tabs:
        page.expect_signed_in("Cameron Reyes")
    prefix = f"{here.url}/session/live"
    streams = [one for one in laptop.requests[earlier:] if one.url.startswith(prefix)]
    assert len(streams) == 1, "a browser has six connections"
    elsewhere.log_out()
    why = f"You logged out of {elsewhere.app.title}." if can("says_why") else "You are logged out"
    for page in tabs:
        expect(page.signed_out_card).to_contain_text(why, timeout=SOON)


@pytest.mark.thorough
def test_another_tab_opens_the_stream_when_the_listening_tab_is_closed(
    laptop: Device, here: App, elsewhere: AppPage
) -> None:
    tabs = [laptop.open(here) for _ in range(2)]
    tabs[1].expect_signed_in("Cameron Reyes")
    for tab in [page for page in laptop.context.pages if page is not tabs[1].tab and page is not elsewhere.tab]:
        tab.close()
    elsewhere.log_out()
    expect(tabs[1].signed_out_card).to_be_visible(timeout=SOON)


@pytest.mark.thorough
def test_tab_without_an_event_stream_polls(form: FormPage, elsewhere: AppPage, laptop: Device) -> None:
    # The answer of a server whose streams are all taken (RFC 9110 §15.3.5: 204 has no content). No other tab has one.
    laptop.context.route("**/session/live", lambda route: route.fulfill(status=204))
    form.tab.reload()
    elsewhere.log_out()
    expect(form.signed_out_card).to_contain_text("You are logged out", timeout=5 * SOON)


@pytest.mark.parametrize("how", ["sleep", "back-button cache"])
def test_tab_that_was_suspended_checks_its_session_when_it_resumes(
    how: str, form: FormPage, elsewhere: AppPage, laptop: Device
) -> None:
    laptop.may_complain(BLOCKED)
    # No tab of this browser hears or asks: not this one, and none that could tell it. A stream that is open stays open.
    laptop.context.route("**/session/*", lambda route: route.abort())
    form.tab.clock.install()
    form.tab.reload()
    form.tab.clock.pause_at(form.tab.evaluate("Date.now()") + 1000)  # its timers stand still: it does not ask, either
    form.expect_signed_in("Cameron Reyes")
    elsewhere.log_out()
    elsewhere.expect_logged_out()
    expect(form.signed_out_card).to_have_count(0)
    laptop.context.unroute("**/session/*")
    if how == "sleep":
        form.tab.clock.fast_forward("10:00")
    else:
        form.tab.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))")
    expect(form.signed_out_card).to_be_visible()


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("user", "says"), [("cameron", "You signed in again."), ("alex", "A different user signed in with this browser.")]
)
def test_tab_of_an_earlier_session_says_that_it_is_out_of_date(
    user: str, says: str, form: FormPage, elsewhere: AppPage, laptop: Device, stack: Stack, here: App
) -> None:
    other_tab = laptop.open(here)
    elsewhere.log_out()
    expect(other_tab.signed_out_card).to_be_visible()
    form.sign_in_again.click()
    SignInPage(form.tab, stack).sign_in(user)
    expect(form.log_out_button).to_be_visible()
    other_tab.tab.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # as when it is looked at
    expect(other_tab.signed_out_card).to_contain_text(says)
    other_tab.signed_out_card.get_by_role("link", name="Open it again").click()
    expect(other_tab.tab).to_have_url(re.compile(re.escape(here.url)))
    expect(other_tab.log_out_button).to_be_visible()
