"""The token workbench: a right token ends a session, a token with one mistake is refused and the session continues."""

import pytest
from playwright.sync_api import Page, expect

from e2e.conftest import NewDevice
from e2e.device import Device
from e2e.pages.sign_in import SignInPage
from e2e.record import Record
from e2e.stack import Stack
from e2e.test_every_page import faults

pytestmark = pytest.mark.needs("pickup_idp", "pickup_app")


class Workbench:
    """The page, in a tab of the operator's browser."""

    def __init__(self, device: Device, stack: Stack) -> None:
        self._stack, self.tab = stack, device.context.new_page()
        self.tab.goto(f"{stack.learn_url}/workbench")
        self.tab.locator("[data-ready]").wait_for()
        self.verdict = self.tab.locator("[data-part=verdict]")

    def choose(self, app: str, sid: str, mistake: str) -> None:
        """Build a token."""
        self.tab.get_by_label("App", exact=True).select_option(app)
        self.tab.get_by_label("Session", exact=True).select_option(sid)
        self.tab.get_by_label("What is wrong with it").select_option(mistake)

    def send(self) -> None:
        """To the app, with a key that is not the IdP's."""
        self.tab.get_by_role("button", name="Send").click()

    def have_it_signed(self) -> Page:
        """The IdP signs and sends it for the operator."""
        self.send()
        self.tab.get_by_role("button", name="Sign and send").click()
        self.tab.get_by_role("link", name="Back to the workbench").click()
        self.tab.locator("[data-ready]").wait_for()
        return self.tab


@pytest.fixture
def workbench(new_device: NewDevice, stack: Stack, record: Record) -> Workbench:  # noqa: ARG001 # skips where nothing is recorded
    """An operator has signed in at the console."""
    device = new_device()
    device.sign_in_for(f"{stack.idp_url}/console", user="admin")
    return Workbench(device, stack)


@pytest.mark.thorough
def test_right_token_ends_a_session_and_a_mistake_does_not(laptop: Device, stack: Stack, workbench: Workbench) -> None:
    manager = laptop.sign_in(stack.manager, "cameron")
    sid = laptop.sid(stack.manager)
    for mistake, why in (
        ("foreign", "The signature of the token is wrong."),
        ("hs256", "The token is not signed with the registered algorithm."),
        ("none", "The token is not signed with the registered algorithm."),
    ):
        workbench.choose("manager", sid, mistake)
        workbench.send()
        expect(workbench.verdict).to_contain_text(f"Manager refused the token: “{why}”")
        expect(workbench.verdict).to_contain_text("Back-Channel Logout §2.6")
        expect(workbench.verdict).to_contain_text("The session at Manager continues.")
    for mistake, why in (
        ("event", "events is not a JSON object."),
        ("nonce", "A logout token must not have a nonce."),
        ("audience", "aud does not name this client."),
        ("issuer", "iss is not the issuer this client trusts."),
        ("expired", "exp has passed."),
        ("future", "iat lies in the future."),
        ("no-jti", "jti is missing."),
        ("nobody", "Both sub and sid are missing."),
        ("type", "typ is not logout+jwt."),
    ):
        workbench.choose("manager", sid, mistake)
        workbench.have_it_signed()
        expect(workbench.verdict).to_contain_text(f"Manager refused the token: “{why}”")
    manager.expect_signed_in("Cameron Reyes")

    workbench.choose("manager", sid, "nothing")
    workbench.have_it_signed()
    expect(workbench.verdict).to_contain_text("Manager accepted the token.")
    expect(workbench.verdict).to_contain_text("The session at Manager has ended.")
    expect(manager.signed_out_card).to_be_visible()


def test_operator_signs_in_on_the_way(laptop: Device, new_device: NewDevice, stack: Stack, record: Record) -> None:
    del record
    manager = laptop.sign_in(stack.manager, "cameron")
    workbench = Workbench(new_device(), stack)
    workbench.choose("manager", laptop.sid(stack.manager), "nothing")
    workbench.send()
    SignInPage(workbench.tab, stack).sign_in("admin")
    workbench.tab.get_by_role("button", name="Sign and send").click()
    expect(manager.signed_out_card).to_be_visible()


@pytest.mark.thorough
@pytest.mark.parametrize("width", [320, 1280])
def test_workbench_is_accessible_and_fits(width: int, workbench: Workbench) -> None:
    workbench.tab.set_viewport_size({"width": width, "height": 900})
    workbench.choose("manager", "", "none")
    workbench.send()
    expect(workbench.verdict).to_contain_text("Manager has no session with this sid.")
    assert faults(workbench.tab) == []
    workbench.choose("manager", "", "nonce")
    workbench.send()
    workbench.tab.get_by_role("button", name="Sign and send").wait_for()
    assert faults(workbench.tab) == []
    workbench.tab.get_by_role("button", name="Sign and send").click()
    workbench.tab.get_by_role("link", name="Back to the workbench").wait_for()
    assert faults(workbench.tab) == []
