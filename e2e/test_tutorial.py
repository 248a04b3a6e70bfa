"""The tutorial, walked as a learner does: each step gets its tick from what the browser really did, and no earlier."""

import re
import subprocess

import pytest
from playwright.sync_api import Page, expect

from e2e import axe
from e2e.device import Device
from e2e.operator import Operator
from e2e.pictures import LessonCamera
from e2e.plain import http, post_logout_token
from e2e.record import Record
from e2e.stack import Stack, StackControl
from e2e.third_party import block_third_party_cookies
from pickup_learn import tutorial

pytestmark = pytest.mark.needs("pickup_idp", "pickup_app")

DONE = re.compile("done|seen")
IN_A_WHILE = 20_000  # milliseconds for a stopped service to start and a retry to come
CHAPTERS = {chapter.name: [step.name for step in chapter.steps] for chapter in tutorial.chapters()}


class Guide:
    """The tutorial, or the labs, in a tab of the learner's browser."""

    def __init__(self, device: Device, stack: Stack, part: str = "tutorial") -> None:
        self.tab: Page = device.context.new_page()
        self.url = f"{stack.learn_url}/{part}"
        self.open("")  # the tutorial or a lab begins: from here on messages count

    def open(self, name: str) -> None:
        """Open a chapter or a lab; the empty name is the overview."""
        self.tab.goto(f"{self.url}/{name}".rstrip("/"))
        self.tab.locator("[data-ready]").wait_for()

    def commands(self) -> list[str]:
        """The commands of all chapters, with the addresses of this stack."""
        found: list[str] = []
        for chapter in CHAPTERS:
            self.open(chapter)
            found += self.tab.locator("pre", has_text="curl").all_text_contents()
        return found

    def expect(self, step: str, *, done: bool, within: float = 10_000) -> None:
        """The step on the open page has its tick, or not."""
        card = self.tab.locator(f"[data-step={step}]")
        expect(card).to_have_attribute("data-state", DONE if done else "open", timeout=within)

    def predict(self, step: str, option: int) -> None:
        """Choose an option."""
        self.tab.locator(f"#{step}-{option}").check()

    def grade(self, step: str, text: str) -> None:
        """What the page says about the prediction."""
        expect(self.tab.locator(f"[data-step={step}] [data-part=grade]")).to_contain_text(text)


@pytest.fixture
def guide(laptop: Device, stack: Stack, record: Record) -> Guide:  # noqa: ARG001 # skips where nothing is recorded
    return Guide(laptop, stack)


@pytest.mark.pictured
def test_first_four_chapters_tick_as_the_learner_acts(
    laptop: Device, stack: Stack, guide: Guide, lesson_camera: LessonCamera
) -> None:
    first, second, third, fourth = list(CHAPTERS)[:4]
    guide.open(first)
    guide.predict("start", 1)
    guide.grade("start", "Now do it.")
    for step in CHAPTERS[first]:
        guide.expect(step, done=False)
    dispatch = laptop.sign_in_by_hand(stack.dispatch, "cameron")
    for step in CHAPTERS[first]:
        guide.expect(step, done=True)
    lesson_camera.show("sign-in", laptop.context, f"{stack.learn_url}/", ".picture")
    guide.grade("start", "The answer is 2.")
    guide.predict("password", 2)
    guide.grade("password", "Your prediction was right.")
    expect(guide.tab.locator("#password").get_by_text("The form belongs to the IdP")).to_be_visible()

    guide.open(second)
    guide.expect("single-sign-on", done=False)
    manager = dispatch.open_other_app(stack.manager)
    for step in CHAPTERS[second]:
        guide.expect(step, done=True)

    lesson_camera.show("sessions", laptop.context, f"{stack.learn_url}/sessions", "[data-sid]")

    guide.open(third)
    guide.expect("log-out", done=False)
    dispatch.log_out()
    expect(manager.signed_out_card).to_be_visible()
    for step in CHAPTERS[third]:
        guide.expect(step, done=True)
    lesson_camera.show("log-out", laptop.context, f"{stack.learn_url}/", ".picture")
    lesson_camera.show("tokens", laptop.context, f"{stack.learn_url}/inspector", ".compare")
    guide.predict("log-out", 3)
    guide.grade("log-out", "Your prediction was right.")

    guide.open(fourth)
    for step in CHAPTERS[fourth]:
        guide.expect(step, done=True)
    guide.open("")
    expect(guide.tab.get_by_text("14 of 25 steps seen.")).to_be_visible()


@pytest.mark.pictured
def test_fifth_chapters_attacks_are_refused_and_ticked(
    laptop: Device, stack: Stack, guide: Guide, lesson_camera: LessonCamera
) -> None:
    manager = laptop.sign_in(stack.manager, "cameron")
    guide.open("5-what-the-receiver-checks")
    guide.expect("garbage", done=False)
    assert post_logout_token(stack.manager, "hello").status_code == 400
    guide.expect("garbage", done=True)
    guide.expect("unsigned", done=False)
    command = guide.tab.locator("[data-step=unsigned] pre").inner_text()
    (token,) = re.findall(r"logout_token=(\S+)", command)
    assert stack.manager.url in command, "the command has this stack's address"
    assert post_logout_token(stack.manager, token).status_code == 400
    guide.expect("unsigned", done=True)
    lesson_camera.show("refused", laptop.context, f"{stack.learn_url}/inspector", "[data-token=logout_token]")
    assert http.get(f"{stack.manager.url}/bclogout").status_code == 405
    guide.expect("get", done=True)
    manager.expect_signed_in("Cameron Reyes")


@pytest.mark.thorough
@pytest.mark.pictured
def test_sixth_chapter_ticks_the_outage_the_retry_and_the_operator(
    laptop: Device, stack: Stack, guide: Guide, hands: StackControl, operator: Operator, lesson_camera: LessonCamera
) -> None:
    laptop.may_complain(
        "net::ERR_|status of 50[24]|status of 405"
    )  # while Manager is stopped; the last step of chapter 5
    guide.open("6-when-things-go-wrong")
    dispatch, _ = laptop.sign_in_at(stack.dispatch, stack.manager, user="cameron")
    laptop.context.new_page().goto(
        f"{stack.manager.url}/bclogout"
    )  # with Manager's cookie: it must not count as an attempt
    with hands.without("manager"):
        dispatch.log_out()
        guide.expect("app-down", done=True, within=IN_A_WHILE)
        guide.expect("app-back", done=False)
        lesson_camera.show("outage", laptop.context, f"{stack.learn_url}/sessions", "[data-sid]")
    guide.expect("app-back", done=True, within=IN_A_WHILE)
    guide.expect("operator", done=False)
    laptop.sign_in(stack.dispatch, "cameron")
    operator.end_session(laptop.sid(stack.dispatch))
    guide.expect("operator", done=True)
    for command in guide.commands():
        done = subprocess.run(command, shell=True, capture_output=True, text=True)  # noqa: S602 # from docs/tutorial
        assert done.stdout, command


@pytest.mark.thorough
def test_seventh_chapter_ticks_what_each_channel_reached(
    desk: Device,
    stack: Stack,
    record: Record,  # noqa: ARG001 # skips where nothing is recorded
    hands: StackControl,
    operator: Operator,
) -> None:
    """Each step is red until the learner has done it; each logout is the one that the chapter describes."""
    desk.may_complain(r"net::ERR_|status of 50[24]")  # while Manager is stopped
    guide = Guide(desk, stack)
    guide.open("7-why-not-the-browser")
    front: dict[str, str | bool] = {
        "frontchannel_logout_uri": f"{stack.manager.url}/fclogout",
        "frontchannel_logout_session_required": True,
    }
    address = guide.tab.locator("[data-step=front-works] pre").first.inner_text().strip()
    assert address == front["frontchannel_logout_uri"], "the learner copies this stack's address"
    with operator.client_setting("pickup-manager", **front, backchannel_logout_uri=""):
        sign_in_and_log_out(desk, stack, guide, "front-works", is_blocked=False)
        sign_in_and_log_out(desk, stack, guide, "front-blocked", is_blocked=True)
    with operator.client_setting("pickup-manager", **front):
        sign_in_and_log_out(desk, stack, guide, "front-and-back", is_blocked=True)
        dispatch, _ = desk.sign_in_at(stack.dispatch, stack.manager, user="cameron")
        with hands.without("manager"):
            dispatch.log_out()
            dispatch.expect_logged_out()
            guide.expect("front-down", done=False)
        guide.expect("front-down", done=True, within=IN_A_WHILE)
        guide.expect("front-closed", done=False)
        desk.sign_in_at(stack.dispatch, stack.manager, user="cameron")
        operator.end_session(desk.sid(stack.manager))
        guide.expect("front-closed", done=True)
    guide.predict("front-and-back", 2)
    guide.grade("front-and-back", "Your prediction was right.")


def sign_in_and_log_out(desk: Device, stack: Stack, guide: Guide, step: str, *, is_blocked: bool) -> None:
    """Sign in to both apps, log out of Dispatch, and see that this does the step."""
    guide.expect(step, done=False)
    dispatch, _ = desk.sign_in_at(stack.dispatch, stack.manager, user="cameron")
    if is_blocked:
        block_third_party_cookies(dispatch.tab)
    dispatch.log_out()
    dispatch.expect_logged_out()
    guide.expect(step, done=True)


@pytest.mark.thorough
def test_pages_of_the_tutorial_are_accessible(guide: Guide, subtests: pytest.Subtests) -> None:
    if missing := axe.missing():
        pytest.skip(missing)
    for name in (
        "",
        "3-log-out",
        "7-why-not-the-browser",
        "quiz",
        "receiver",
        "cheat-sheet",
        "source/idp/flow/token.py",
    ):
        with subtests.test(page=name):
            guide.tab.goto(f"{guide.url}/{name}".rstrip("/"))
            assert axe.violations(guide.tab) == []
            assert guide.tab.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing is wider"
