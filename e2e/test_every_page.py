"""What must hold on every page: it fits a phone, it is well made, and no mouse is needed."""

import re
from collections.abc import Iterator

from playwright.sync_api import Locator, Page, expect

from e2e.conftest import NewDevice
from e2e.device import Device
from e2e.pages.app_page import AppPage
from e2e.pages.sign_in import SignInPage
from e2e.stack import Stack

NARROW = {"width": 320, "height": 640}  # WCAG 2.2, 1.4.10: content reflows at this width
MANY = 40  # presses of the Tab key; no control is further away

# WCAG 2.2, as far as a machine can tell without help: 1.1.1, 1.3.1, 1.4.10, 2.4.2, 3.1.1, 4.1.2.
PROBLEMS = """() => {
  const root = document.documentElement, all = (selector) => [...document.querySelectorAll(selector)];
  const name = (e) => e.ariaLabel || e.ariaLabelledByElements?.length || e.labels?.length || e.textContent.trim();
  const ids = all("[id]").map((e) => e.id);
  return [
    root.scrollWidth > root.clientWidth && `is ${root.scrollWidth} pixels wide`,
    !root.lang && "has no language",
    !document.title && "has no title",
    all("main").length !== 1 && "has not exactly one main part",
    all("h1").length !== 1 && "has not exactly one heading of the first level",
    new Set(ids).size !== ids.length && "has an id twice",
    ...all("a[href], button, select, textarea, input:not([type=hidden])")
      .map((e) => !name(e) && `has no name for ${e.outerHTML}`),
    ...all("img:not([alt])").map((e) => `has no words for ${e.outerHTML}`),
  ].filter(Boolean);
}"""


def test_every_page_fits_a_narrow_phone_and_is_well_made(new_device: NewDevice, stack: Stack) -> None:
    phone = new_device(viewport=NARROW)
    phone.may_complain("status of 404")  # one of the pages
    tab = phone.context.new_page()
    # So many pages in so few seconds would take every place for event streams. A page that gets none asks instead.
    tab.route("**/session/live", lambda route: route.fulfill(status=204))
    found = {url: tab.evaluate(PROBLEMS) for url in walk(tab, phone, stack)}
    assert {url: problems for url, problems in found.items() if problems} == {}
    assert len(found) > 20, "these were all the pages"


def walk(tab: Page, phone: Device, stack: Stack) -> Iterator[str]:
    """Every kind of page there is, one after the other, in ``tab``."""
    dispatch, manager = stack.dispatch.url, stack.manager.url
    for landing in (f"{dispatch}/", f"{manager}/", f"{stack.idp_url}/"):
        tab.goto(landing)
        yield f"landing page {landing}"
    tab.goto(f"{dispatch}/bookings")
    yield "sign-in page"
    SignInPage(tab, stack).sign_in("cameron")
    expect(AppPage(tab, stack.dispatch).heading).to_have_text("Bookings")
    fleet = [f"/{kind}{form}" for kind in ("drivers", "vehicles", "passengers") for form in ("", "/add")]
    for url in (
        *(dispatch + path for path in ("/", "/bookings", "/profile", "/no-such-page")),
        *(manager + path for path in ("/overview", *fleet, "/profile")),
        f"{stack.idp_url}/",
        f"{stack.idp_url}/oidc/logout",  # asks first
        *(f"{stack.idp_url}/account{path}" for path in ("", "/end-others", "/log-out-everywhere", "/password")),
    ):
        tab.goto(url)
        yield url
    for link in ("Edit", "Remove"):
        tab.goto(f"{manager}/drivers")
        tab.get_by_role("link", name=link).first.click()
        expect(tab.get_by_role("heading", level=1)).to_contain_text(link)
        yield link
    bookings = phone.open(stack.dispatch)
    tab.goto(f"{manager}/overview")
    bookings.log_out()
    expect(tab.get_by_role("alert")).to_be_visible()
    yield "signed-out card"
    bookings.expect_logged_out()
    tab.goto(bookings.tab.url)
    yield "page after a logout"


def test_the_golden_path_needs_no_mouse(laptop: Device, stack: Stack) -> None:
    dispatch = laptop.open(stack.dispatch, "/")
    press(dispatch.sign_in_link)
    sign_in = SignInPage(dispatch.tab, stack)
    sign_in.expect_shown()
    expect(sign_in.user_name, "one can start to type").to_be_focused()
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
