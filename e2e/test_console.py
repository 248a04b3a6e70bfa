"""An operator with only the console's own words: a third app, a session's end, the ledger."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from e2e.conftest import NewDevice
from e2e.device import Device
from e2e.operator import Operator
from e2e.pages.app_page import AppPage
from e2e.pages.console import ConsolePage
from e2e.pages.sign_in import SignInPage
from e2e.plain import LOGOUT_PATH
from e2e.record import Record
from e2e.stack import OwnProcesses, Stack, free_ports
from e2e.strangers_app import StrangersApp
from e2e.test_every_page import NARROW, faults, press

pytestmark = pytest.mark.needs("pickup_idp", "pickup_app")

SOON = 3_000  # milliseconds within which an open tab must have noticed


@pytest.fixture
def office(new_device: NewDevice, stack: Stack) -> ConsolePage:
    """The operator's own browser, at the console."""
    device = new_device()
    device.may_complain("net::ERR_FAILED.*part=table")  # of a story in which the ledger gets no answer
    return ConsolePage.opened_by_operator(device, stack)


def test_newcomer_registers_a_third_app_and_people_log_out_of_it(
    office: ConsolePage, laptop: Device, stack: Stack, tmp_path: Path
) -> None:
    if not isinstance(stack.hands, OwnProcesses):
        pytest.skip("this story starts an application, which only a provider on this machine can reach")
    laptop.may_complain("favicon.ico")
    [port] = free_ports(1)
    radio = f"http://radio.localhost:{port}"

    office.follow("Register an application")
    for field, typed in {
        "Name": "Fleet Radio",
        "Start page": f"{radio}/orders",
        "Redirect URIs": f"{radio}/oauth2client",
        "Back-channel logout URL": radio + LOGOUT_PATH,
        "Post-logout redirect URIs": f"{radio}/logged-out",
    }.items():
        office.tab.get_by_label(re.compile(f"^{field}( \\(optional\\))?$")).fill(typed)
    office.click("Register")
    expect(office.heading).to_have_text("Fleet Radio is registered")
    assert office.fact("Issuer") == stack.idp_url
    office.tab.get_by_text("to paste into a shell").click()
    shell = office.tab.get_by_role("region", name="Settings for the shell").inner_text()
    settings = dict(re.findall(r"^export (\w+)='?(.*?)'?$", shell, re.M))
    secret = office.fact("Client secret")
    assert settings["FLASK_RELYING_PARTY_CLIENT_SECRET"] == f'"{secret}"'

    with office.tab.context.expect_page() as opened:  # beside the page that shows the secret
        office.main.get_by_role("button", name="Check the back-channel URL").click()
    office = ConsolePage(opened.value, stack)
    expect(office.notice).to_contain_text("Not reached: nothing listens on that port.")
    assert secret not in office.tab.content(), "it was shown once"
    app = StrangersApp(tmp_path, stack, given=settings, port=port)
    try:
        office.click("Check the back-channel URL")
        expect(office.notice).to_contain_text("Reached. It refused our invalid test token")

        dispatch = laptop.sign_in(stack.dispatch, "cameron")
        tab = laptop.context.new_page()
        tab.goto(f"{radio}/orders")
        expect(tab.get_by_text("Signed in as Cameron Reyes"), "without a password").to_be_visible()
        office.go_to("Sessions")
        expect(office.row("Cameron Reyes", "Fleet Radio", "Pickup Dispatch")).to_have_count(1)

        tab.get_by_role("button", name="Log out").click()
        expect(tab.get_by_role("heading")).to_have_text("You are logged out")
        expect(dispatch.signed_out_card).to_contain_text("You logged out of Fleet Radio.", timeout=SOON)

        tab.goto(f"{radio}/orders")
        SignInPage(tab, stack).sign_in("cameron")
        expect(tab.get_by_text("Signed in as Cameron Reyes")).to_be_visible()
        office.go_to("Applications")
        office.follow("Fleet Radio")
        office.follow("Remove")
        expect(office.heading).to_have_text("Remove Fleet Radio?")
        office.click("Remove Fleet Radio")
        expect(office.notice).to_have_text("Removed Fleet Radio. It was notified of the end of 1 session.")
        expect(office.row("Fleet Radio")).to_have_count(0)
        expect(tab.get_by_role("alert"), "and its tab notices").to_contain_text("Your session was ended", timeout=SOON)
    finally:
        app.end()


def test_every_tab_notices_a_session_that_an_operator_ends(office: ConsolePage, laptop: Device, stack: Stack) -> None:
    dispatch = laptop.sign_in(stack.dispatch, "alex")
    manager = laptop.open(stack.manager)
    sid = laptop.sid(stack.dispatch)

    office.go_to("Sessions")
    office.tab.get_by_label("Person, device or session ID").fill(sid)
    office.click("Search")
    office.row("Alex Okafor").get_by_role("link", name="End").click()
    expect(office.heading).to_have_text("End this session?")
    assert office.fact("Notified immediately").split("\n") == ["Pickup Dispatch", "Pickup Manager"]
    manager.tab.reload()
    manager.expect_signed_in("Alex Okafor")  # nothing has happened yet
    office.click("End the session")

    expect(office.notice).to_have_text("Ended the session of Alex Okafor. 2 apps were notified.")
    for page in (dispatch, manager):
        expect(page.signed_out_card).to_contain_text("An operator ended your session.", timeout=SOON)
    expect(office.row("Pickup Manager", "Delivered")).to_have_count(1)
    office.follow("Its deliveries")
    expect(office.main.get_by_text("alex “An operator ended your session.”")).to_be_visible()
    expect(office.row("Delivered")).to_have_count(2)


def test_operator_sees_a_failed_delivery_and_sends_it_again(
    office: ConsolePage, laptop: Device, stack: Stack, operator: Operator
) -> None:
    """The list is live: it tells without a click."""
    dispatch = laptop.sign_in(stack.dispatch, "alex")
    manager = laptop.open(stack.manager)
    sid = laptop.sid(stack.dispatch)
    manager.tab.close()
    office.open(f"/deliveries?sid={sid}")
    expect(office.main).to_contain_text("No deliveries")
    office.tab.evaluate("document.marked = true")

    with operator.client_setting("pickup-manager", backchannel_logout_uri=f"{stack.manager.url}/no-such-page"):
        dispatch.log_out()
        dispatch.expect_logged_out()
        expect(office.row("Pickup Manager", "Refused")).to_have_count(1)
        expect(office.row("Pickup Dispatch", "Delivered")).to_have_count(1)
    assert office.tab.evaluate("document.marked === true"), "in the same document"
    tries = office.row("Pickup Manager").get_by_text("1 try: refused")
    tries.click()
    with office.tab.expect_response(re.compile("part=table")):
        pass
    expect(office.row("Pickup Manager").get_by_role("listitem"), "what was open stays open").to_be_visible()

    office.row("Pickup Manager").get_by_role("button", name="Send again").click()
    expect(office.notice).to_have_text("Sent again: Pickup Manager was notified.")
    expect(office.rows).to_have_count(2)


def test_overview_says_that_all_services_answer(office: ConsolePage, stack: Stack) -> None:
    """The IdP, Dispatch and Manager; in a demonstration also Practice, the app of the labs."""
    expected = 4 if Record(stack).is_open() else 3
    expect(office.main.get_by_text("answers", exact=True)).to_have_count(expected)


@pytest.mark.thorough
def test_delivery_list_says_when_it_cannot_be_updated(office: ConsolePage) -> None:
    """Such as when the operator's own session has ended meanwhile."""
    office.open("/deliveries")
    expect(office.main).to_contain_text("The list updates automatically.")
    office.tab.route("**/deliveries?part=table", lambda route: route.abort())
    expect(office.main).to_contain_text("The list is not up to date", timeout=SOON)
    office.click("Live")
    expect(office.main).to_contain_text("Updates are paused.")
    office.tab.unroute("**/deliveries?part=table")
    office.click("Live")
    expect(office.main).to_contain_text("The list updates automatically.")


@pytest.mark.thorough
def test_delivery_list_works_without_script(new_device: NewDevice, laptop: Device, stack: Stack) -> None:
    office = ConsolePage.opened_by_operator(new_device(java_script_enabled=False), stack)
    dispatch = laptop.sign_in(stack.dispatch, "cameron")
    office.open(f"/deliveries?sid={laptop.sid(stack.dispatch)}")
    expect(office.main.get_by_role("button", name="Live")).to_have_count(0)
    dispatch.log_out()
    dispatch.expect_logged_out()
    office.follow("Refresh")
    expect(office.row("Pickup Dispatch", "Delivered")).to_have_count(1)
    office.tab.get_by_label("State").select_option("Refused")
    office.click("Filter")
    expect(office.main).to_contain_text("No deliveries")
    with office.tab.expect_download() as file:
        office.follow("Show all")
        office.follow("Export as CSV")
    assert Path(file.value.path()).read_text("utf-8").startswith("delivery,ended,app,")


def test_session_is_ended_without_a_mouse(office: ConsolePage, laptop: Device, stack: Stack) -> None:
    dispatch = laptop.sign_in(stack.dispatch, "cameron")
    sid = laptop.sid(stack.dispatch)
    press(office.tab.get_by_role("navigation", name="Console").get_by_role("link", name="Sessions"))
    expect(office.heading).to_have_text("Sessions")
    office.open(f"/sessions/{sid}")
    press(office.main.get_by_role("link", name="End it"))
    expect(office.heading).to_have_text("End this session?")
    press(office.main.get_by_role("button", name="End the session"))
    expect(office.notice).to_contain_text("Ended the session of Cameron Reyes.")
    expect(dispatch.signed_out_card).to_be_visible(timeout=SOON)


def test_user_without_the_role_is_kept_out_and_may_sign_in_as_someone_else(laptop: Device, stack: Stack) -> None:
    laptop.may_complain("status of 403")
    page = ConsolePage(laptop.sign_in(stack.dispatch, "cameron").tab, stack).open()
    expect(page.heading).to_have_text("Only operators can open the console")
    expect(page.main).to_contain_text("You are signed in as cameron.")
    page.follow("Sign in as someone else")
    SignInPage(page.tab, stack).sign_in("admin")
    expect(page.heading).to_have_text("Overview")


@pytest.mark.thorough
def test_every_page_of_the_console_fits_a_narrow_phone_and_is_accessible(
    new_device: NewDevice, laptop: Device, stack: Stack
) -> None:
    dispatch = laptop.sign_in(stack.dispatch, "alex")
    dispatch.log_out()  # the ledger has something to show
    dispatch.expect_logged_out()
    phone = new_device(viewport=NARROW)
    phone.may_complain("status of 4")  # two of the pages
    console = ConsolePage.opened_by_operator(phone, stack)
    found = {page: faults(console.tab) for page in walk(console, phone, stack)}
    assert {page: problems for page, problems in found.items() if problems} == {}
    assert len(found) > 20, "these were all the pages"


def walk(console: ConsolePage, phone: Device, stack: Stack) -> Iterator[str]:
    """Every kind of page there is."""
    AppPage(phone.context.new_page(), stack.dispatch).open(stack.dispatch.front).tab.close()
    app, people = f"/applications/{stack.dispatch.client_id}", "/people/248289761002"
    for path in (
        *("", "/applications", "/applications/register", "/applications?search=none", app),
        *(f"{app}/{act}" for act in ("edit", "secret", "remove")),
        *("/people", "/people/add", people),
        *(f"{people}/{act}" for act in ("role", "password", "sign-out", "disable", "enable", "remove")),
        *("/sessions?all=yes", "/deliveries", "/keys", "/keys/rotate", "/settings", "/people/none"),
    ):
        console.open(path)
        yield path
    console.open("/sessions")
    console.rows.first.get_by_role("rowheader").get_by_role("link").click()
    console.tab.wait_for_url("**/sessions/*")
    yield "a session"
    console.follow("End it")
    console.tab.wait_for_url("**/sessions/*/end")
    yield "the end of a session"
    console.open("/applications/register")
    console.tab.locator("summary", has_text="More settings").click()
    yield "the form, unfolded"
    console.click("Register")
    expect(console.main.get_by_text("Enter a name.")).to_be_visible()
    yield "the form, with faults"
    console.open("/people/add").click("Add the person")
    expect(console.main.locator("[aria-invalid=true]").first).to_be_visible()
    yield "the form for a person, with faults"
    yield from shown_once(console)
    console.open("/deliveries").rows.first.get_by_role("rowheader").get_by_role("link").click()
    console.tab.wait_for_url("**/deliveries/*")
    yield "a delivery"


def shown_once(console: ConsolePage) -> Iterator[str]:
    """The pages with a new secret and a new password; what was made for them is removed again."""
    console.open("/applications/register").tab.get_by_label("Name", exact=True).fill("Every page")
    console.tab.get_by_label("Redirect URIs", exact=True).fill("https://app.example/callback")
    console.click("Register")
    expect(console.heading).to_contain_text("Every page is registered")
    console.tab.locator("summary").evaluate_all("parts => parts.forEach((part) => part.parentNode.open = true)")
    yield "an application's secret"
    client_id = console.fact("Client ID")
    console.open(f"/applications/{client_id}/remove").main.get_by_role("button").click()
    expect(console.notice).to_contain_text("Removed Every page")
    console.open("/people/add").tab.get_by_label("Username").fill("every-page")
    console.tab.get_by_label("Name", exact=True).fill("Every Page")
    console.click("Add the person")
    expect(console.main.locator("#password")).to_be_visible()
    yield "a person's password"
    console.main.get_by_role("link").last.click()
    console.follow("Remove")
    console.main.get_by_role("button").click()
    expect(console.notice).to_contain_text("Removed")
