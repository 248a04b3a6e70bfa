"""What must hold on every page: it fits a phone, it is well made, and no mouse is needed."""

import re
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Locator, Page, expect

from e2e import axe
from e2e.conftest import NewDevice
from e2e.device import Device
from e2e.pages.app_page import AppPage
from e2e.pages.dispatch import BookingsPage, MakeBookingPage
from e2e.pages.form_page import FormPage
from e2e.pages.sign_in import SignInPage
from e2e.stack import Stack

pytestmark = pytest.mark.needs("pickup_idp", "pickup_app")

NARROW = {"width": 320, "height": 640}  # WCAG 2.2, 1.4.10: content reflows at this width
# The pages of Learn. Those of the labs are in test_labs.py.
LEARN = [
    *("/", "/inspector", "/sessions", "/workbench", "/labs", "/board", "/slides", "/tutorial"),
    *(
        f"/tutorial/{name}"
        for name in ("1-sign-in", "7-why-not-the-browser", "receiver", "quiz", "glossary", "cheat-sheet")
    ),
    "/tutorial/source/relying_party/login.py",
]
MANY = 40  # presses of the Tab key; no control is further away

# WCAG 2.2: 1.1.1, 1.3.1, 1.4.10, 2.4.2, 3.1.1, 4.1.2. Axe does not fail a description that is missing.
PROBLEMS = """() => {
  const root = document.documentElement, all = (selector) => [...document.querySelectorAll(selector)];
  const name = (e) => e.ariaLabel || e.ariaLabelledByElements?.length || e.labels?.length || e.textContent.trim();
  const size = (e) => e.innerText ? parseFloat(getComputedStyle(e).fontSize) : Infinity;
  const ids = all("[id]").map((e) => e.id);
  return [
    root.scrollWidth > root.clientWidth && `is ${root.scrollWidth} pixels wide`,
    !root.lang && "has no language",
    !document.title && "has no title",
    all("main").length !== 1 && "has not exactly one main part",
    all("h1").length !== 1 && "has not exactly one heading of the first level",
    new Set(ids).size !== ids.length && "has an id twice",
    ...["aria-describedby", "aria-labelledby"].flatMap((points) => all(`[${points}]`)
      .filter((e) => e.getAttribute(points).split(" ").some((id) => !ids.includes(id)))
      .map((e) => `has ${points} that points to nothing at ${e.outerHTML}`)),
    ...all("a[href], button, select, textarea, input:not([type=hidden])")
      .map((e) => !name(e) && `has no name for ${e.outerHTML}`),
    ...all("p, dd, td, li, label").filter((e) => size(e) < 16).map((e) => `has small text: ${e.outerHTML}`),
    ...all("code, pre, .mono").filter((e) => size(e) < 15).map((e) => `has small code: ${e.outerHTML}`),
    ...all("img:not([alt])").map((e) => `has no words for ${e.outerHTML}`),
  ].filter(Boolean);
}"""


def faults(tab: Page) -> list[str]:
    """What is wrong with the page that ``tab`` shows at ``NARROW``: by our list and, where it is installed, by axe."""
    tab.wait_for_load_state()  # without its style sheet a page has another width
    found: list[str] = tab.evaluate(PROBLEMS)
    return found if axe.missing() else found + axe.violations(tab)


def test_axe_core_checks_every_page() -> None:
    if why := axe.missing():
        report = pytest.fail if axe.REQUIRED else pytest.skip
        report(f"NO PAGE WAS CHECKED BY AXE: {why}")


@pytest.mark.thorough
def test_every_page_fits_a_narrow_phone_and_is_accessible(new_device: NewDevice, stack: Stack) -> None:
    phone = new_device(viewport=NARROW)
    phone.may_complain("status of 4")  # some of the pages are errors, or forms with faults
    tab = phone.context.new_page()
    # So many pages in so few seconds would take every place for event streams. A page that gets none asks instead.
    tab.route("**/session/live", lambda route: route.fulfill(status=204))
    found = {url: faults(tab) for url in walk(tab, phone, stack)}
    assert {url: problems for url, problems in found.items() if problems} == {}
    assert len(found) >= 39 + len(LEARN if stack.learn_url else ()), "these were all the pages"


def walk(tab: Page, phone: Device, stack: Stack) -> Iterator[str]:
    """Every kind of page there is, one after the other, in ``tab``."""
    dispatch, manager = stack.dispatch.url, stack.manager.url
    for landing in (f"{dispatch}/", f"{manager}/", f"{stack.idp_url}/"):
        tab.goto(landing)
        yield f"landing page {landing}"
    tab.goto(f"{stack.idp_url}/oauth2/authorize?client_id=none")
    yield "authorization request that is refused"
    tab.goto(f"{dispatch}/oauth2client?code=none&state=none")
    yield "sign-in that did not work"
    tab.goto(f"{dispatch}/bookings")
    yield "sign-in page"
    SignInPage(tab, stack).sign_in("cameron", "wrong")
    expect(tab.get_by_role("alert")).to_be_visible()
    yield "sign-in page, wrong password"
    tab.goto(f"{dispatch}/bookings")
    SignInPage(tab, stack).sign_in("cameron")
    expect(AppPage(tab, stack.dispatch).heading).to_have_text("Bookings")
    fleet = [f"/{kind}{form}" for kind in ("drivers", "vehicles", "passengers") for form in ("", "/add")]
    for url in (
        *(dispatch + path for path in ("/", "/bookings", "/profile", "/no-such-page")),
        *(manager + path for path in ("/overview", *fleet, "/profile")),
        f"{stack.idp_url}/",
        f"{stack.idp_url}/oidc/logout",  # asks first
        *(f"{stack.idp_url}/account{path}" for path in ("", "/end-others", "/log-out-everywhere", "/password")),
        consent_page(stack),
    ):
        tab.goto(url)
        yield url
    yield from learn(tab, stack) if stack.learn_url else ()
    for link in ("Edit", "Remove"):
        tab.goto(f"{manager}/drivers")
        tab.get_by_role("link", name=link).first.click()
        expect(tab.get_by_role("heading", level=1)).to_contain_text(link)
        yield link
    for form in (f"{dispatch}/", f"{manager}/passengers/add", f"{stack.idp_url}/account/password"):
        tab.goto(form)
        # Past the browser's own check of required fields.
        tab.get_by_role("main").locator("form").evaluate("form => { form.noValidate = true; form.requestSubmit() }")
        expect(tab.locator("[aria-invalid=true]").first).to_be_visible()
        yield f"{form}, with faults"
    booking = MakeBookingPage(tab, stack.dispatch).open("/")
    booking.passenger.fill("Every Page")
    booking.contact.fill("+1 202 555 0143")
    booking.driver.select_option("later")
    booking.tab.get_by_role("button", name="Book the cab").click()
    expect(booking.notice.first).to_be_visible()
    yield "bookings, with one that has no driver"
    tab.get_by_role("link", name="Assign a driver").first.click()
    expect(tab.get_by_role("button", name="Assign")).to_be_visible()
    yield "choice of a driver"
    bookings = BookingsPage(tab, stack.dispatch).open("/bookings")
    bookings.cancel("Every Page")
    expect(bookings.notice.first).to_be_visible()
    yield "bookings, with one that is cancelled"
    yield from through_a_logout(tab, phone, stack)


def learn(tab: Page, stack: Stack) -> Iterator[str]:
    """The pages of Learn, and a chapter in which the learner has predicted."""
    for page in LEARN:
        tab.goto(stack.learn_url + page)
        yield page
    tab.goto(f"{stack.learn_url}/tutorial/1-sign-in")
    tab.locator("[data-ready]").wait_for()
    for question in tab.get_by_role("group").all():
        question.get_by_role("radio").first.check()
    yield "chapter with predictions"


def consent_page(stack: Stack) -> str:
    """The address at which Cameron is asked whether Dispatch may know who they are."""
    request = {
        "response_type": "code",
        "client_id": stack.dispatch.client_id,
        "redirect_uri": f"{stack.dispatch.url}/oauth2client",
        "scope": "openid profile offline_access",
        "state": "s",
        "prompt": "consent",
        "code_challenge": "c" * 43,
        "code_challenge_method": "S256",
    }
    return f"{stack.idp_url}/oauth2/authorize?{urlencode(request)}"


def through_a_logout(tab: Page, phone: Device, stack: Stack) -> Iterator[str]:
    """A form in ``tab`` is half filled in when its session ends elsewhere."""
    bookings = phone.open(stack.dispatch)
    form = FormPage(tab, stack.manager).open_form()
    form.field.fill("half typed")
    bookings.log_out()
    expect(form.signed_out_card).to_be_visible()
    yield "signed-out card"
    bookings.expect_logged_out()
    after_logout = bookings.tab.url
    bookings.tab.close()
    form.sign_in_again.click()
    SignInPage(tab, stack).sign_in("cameron")
    expect(form.offer).to_be_visible()
    yield "offer of what was typed"
    tab.goto(after_logout)
    yield "page after a logout"
    tab.goto(f"{stack.idp_url}/oidc/logout")
    tab.get_by_role("main").get_by_role("button").first.click()
    expect(tab.get_by_role("heading", level=1)).to_have_text("You are logged out")
    yield "logged out at the provider"
    yield from with_a_frame(tab, phone, stack)


def with_a_frame(tab: Page, phone: Device, stack: Stack) -> Iterator[str]:
    """The page after a logout that has a frame of an app. Its script would leave it at once."""
    tab.route("**/frontchannel.js", lambda route: route.fulfill(body="", content_type="text/javascript"))
    with stack.provider.operator().client_setting(
        "pickup-manager", frontchannel_logout_uri=f"{stack.manager.url}/fclogout"
    ):
        phone.sign_in_for(stack.manager.url + stack.manager.front, user="cameron")
        AppPage(tab, stack.manager).open(stack.manager.front).log_out()
        expect(tab.get_by_role("link", name="Continue")).to_be_visible()
        yield "page with the frame of an app"


def test_golden_path_needs_no_mouse(laptop: Device, stack: Stack) -> None:
    dispatch = laptop.open(stack.dispatch, "/")
    press(dispatch.sign_in_link)
    sign_in = SignInPage(dispatch.tab, stack)
    sign_in.expect_shown()
    expect(dispatch.tab.get_by_label("Username"), "one can start to type").to_be_focused()
    dispatch.tab.keyboard.type("cameron")
    dispatch.tab.keyboard.press("Tab")
    dispatch.tab.keyboard.type(stack.password)
    dispatch.tab.keyboard.press("Enter")
    dispatch.expect_signed_in("Cameron Reyes")

    with laptop.context.expect_page() as tab:
        press(dispatch.link_to(stack.manager))
    manager = AppPage(tab.value, stack.manager)
    manager.expect_signed_in("Cameron Reyes")

    press(dispatch.log_out_button)
    dispatch.expect_logged_out()
    expect(manager.signed_out_card).to_be_visible()

    expect(manager.signed_out_card, "the card takes the focus, so that a screen reader tells").to_be_focused()
    press(manager.tab.get_by_role("link", name="Sign in again"))
    expect(manager.tab).to_have_url(re.compile(re.escape(stack.idp_url)))


def press(control: Locator) -> None:
    """Walk to the control with the Tab key, see that one can see where one is, and press Enter."""
    tab = control.page
    tab.bring_to_front()
    for _ in range(MANY):
        tab.keyboard.press("Tab")
        if control.evaluate("e => e === document.activeElement"):
            break
    expect(control).to_be_focused()
    assert control.evaluate("e => getComputedStyle(e).outlineStyle") != "none", "the focus can be seen"
    tab.keyboard.press("Enter")
