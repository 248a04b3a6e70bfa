"""The flow page of Pickup Learn in a real browser: what is drawn, opened, kept and shown to a room."""

import json
import re
import threading
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from e2e import axe
from e2e.device import Device
from e2e.pages.app_page import AppPage
from e2e.record import Record
from e2e.stack import Stack, StackControl

pytestmark = pytest.mark.needs("pickup_idp", "pickup_app")

SOON = 5_000  # milliseconds from a click to its arrow, on a busy machine
GLOSSARY = re.compile("^/tutorial/glossary#")
IN_A_WHILE = 20_000  # milliseconds for a service to start


@pytest.fixture
def flow(laptop: Device, stack: Stack, record: Record) -> Page:  # noqa: ARG001 # skips where nothing is recorded
    """The page, live, in a tab of the learner's browser."""
    tab = laptop.context.new_page()
    tab.goto(stack.learn_url)
    tab.locator("[data-ready]").wait_for()
    return tab


def only(flow: Page, sid: str) -> None:
    """Show the messages of one session, because other stories have left theirs."""
    option = flow.locator("[data-part=session] option", has_text=sid)
    expect(option).to_be_attached()
    flow.locator("[data-part=session]").select_option(sid)
    # The page draws in the next frame.
    flow.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def arrow(kind: str, way: str) -> str:
    """A selector of arrows, such as ``idp → manager``."""
    sender, receiver = way.split(" → ")
    return f"[data-kind={kind}][data-from={sender}][data-to={receiver}]"


def four_clicks(laptop: Device, stack: Stack) -> tuple[str, AppPage]:
    """Returns the session's ``sid`` and Manager's tab."""
    dispatch = laptop.sign_in_by_hand(stack.dispatch, "cameron")
    manager = dispatch.open_other_app(stack.manager)
    sid = laptop.sid(stack.dispatch)
    dispatch.log_out()
    expect(manager.signed_out_card).to_be_visible()
    return sid, manager


def test_four_clicks_are_drawn_and_every_arrow_can_be_opened(laptop: Device, stack: Stack, flow: Page) -> None:
    sid, _ = four_clicks(laptop, stack)
    only(flow, sid)
    told = flow.locator(arrow("backchannel_logout", "idp → manager"))
    expect(told).to_have_attribute("data-channel", "back", timeout=SOON)
    for kind, way in (
        ("log_out", "browser → dispatch"),
        ("logout_request", "browser → idp"),
        ("backchannel_logout", "idp → dispatch"),
        ("push", "manager → browser"),
        ("logged_out", "browser → dispatch"),
        ("token_request", "manager → idp"),
    ):
        expect(flow.locator(arrow(kind, way)).first, f"{kind}, {way}").to_be_visible()
    acts = flow.locator(".act h2 [data-name]")
    expect(acts.first, "the newest act is on top").to_have_text("Logout at Dispatch")

    told.get_by_role("button").click()
    detail = flow.locator(".detail")
    expect(detail.get_by_role("heading", name="Logout token", exact=True)).to_be_visible()
    for words in ("Back-Channel Logout §2.5", "logout+jwt", "backchannel-logout", sid):
        expect(detail).to_contain_text(words)
    expect(detail.locator("a.term").first, "its words lead to the glossary").to_have_attribute("href", GLOSSARY)
    cookie = laptop.cookie(stack.manager.url).partition("=")[2]
    for secret in (stack.password, cookie):
        assert secret, "control: there is something to look for"
        assert secret not in flow.content()


def test_keyboard_goes_from_message_to_message(laptop: Device, stack: Stack, flow: Page) -> None:
    sid, _ = four_clicks(laptop, stack)
    only(flow, sid)
    focused = flow.locator(".message:has(.row:focus)")
    expect(flow.locator(arrow("logged_out", "browser → dispatch"))).to_be_visible(timeout=SOON)
    flow.locator(".message .row").first.focus()
    began = focused.get_attribute("data-key") or ""
    flow.keyboard.press("ArrowDown")
    expect(focused).not_to_have_attribute("data-key", began)
    expect(focused.locator(".row")).to_have_attribute("aria-pressed", "true")
    flow.keyboard.press("Escape")
    expect(flow.locator("#flow[data-open]")).to_have_count(0)
    flow.keyboard.press("ArrowLeft")
    expect(flow.locator("[data-part=position]")).to_have_text(re.compile(r"Message \d+ of \d+"))
    flow.get_by_role("button", name="Live").click()
    expect(flow.locator("[data-part=position]")).to_have_text(re.compile(r"\d+ messages, live"))


@pytest.mark.thorough
def test_message_that_moves_to_another_act_keeps_the_focus(laptop: Device, stack: Stack, flow: Page) -> None:
    four_clicks(laptop, stack)
    expect(flow.locator(arrow("logged_out", "browser → dispatch")).first).to_be_visible(timeout=SOON)
    message = flow.evaluate("() => fetch('api/messages').then((answer) => answer.json())")["messages"][-1]
    moved = message | {"act": message["act"] | {"id": "another", "name": "Another act"}}
    event = f"event: message\ndata: {json.dumps(moved)}\n\n"
    go = threading.Event()
    stream = "text/event-stream"
    flow.route("**/api/stream*", lambda route: route.fulfill(body=event * go.is_set(), content_type=stream))
    flow.reload()
    flow.locator("[data-ready]").wait_for()
    row = flow.locator(f".message[data-key='{message['key']}'] .row")
    row.focus()
    go.set()
    expect(flow.locator("[data-act=another]")).to_be_visible()
    expect(row).to_be_focused()


@pytest.mark.thorough
def test_page_is_accessible_with_a_message_open_and_while_presenting(
    laptop: Device, stack: Stack, flow: Page, subtests: pytest.Subtests
) -> None:
    if missing := axe.missing():
        pytest.skip(missing)
    sid, _ = four_clicks(laptop, stack)
    only(flow, sid)
    told = flow.locator(arrow("backchannel_logout", "idp → manager"))
    expect(told).to_have_count(1, timeout=SOON)
    told.get_by_role("button").click()
    with subtests.test("a message is open"):
        assert axe.violations(flow) == []
    flow.keyboard.press("Escape")
    flow.keyboard.press("p")
    with subtests.test("presenting"):
        assert axe.violations(flow) == []


def test_presenting_ticks_each_click_when_it_was_seen(laptop: Device, stack: Stack, flow: Page) -> None:
    flow.keyboard.press("p")
    done = flow.locator(".present-bar li[data-done]")
    expect(done).to_have_count(0)
    dispatch = laptop.sign_in_by_hand(stack.dispatch, "cameron")
    expect(done).to_have_count(1, timeout=SOON)
    dispatch.open_other_app(stack.manager)
    expect(done).to_have_count(2, timeout=SOON)
    dispatch.log_out()
    expect(done).to_have_count(4, timeout=SOON)


@pytest.mark.thorough
def test_saved_flow_opens_offline(laptop: Device, stack: Stack, flow: Page, tmp_path: Path) -> None:
    sid, _ = four_clicks(laptop, stack)
    only(flow, sid)
    expect(flow.locator(arrow("logged_out", "browser → dispatch"))).to_be_visible(timeout=SOON)
    with flow.expect_download() as download:
        flow.get_by_role("button", name="Save this flow").click()
    file = tmp_path / "flow.html"
    download.value.save_as(file)
    saved = laptop.context.new_page()
    laptop.context.set_offline(True)
    saved.goto(file.as_uri())
    expect(saved.get_by_text("Logout at Dispatch").first).to_be_visible()
    expect(saved.locator("a.term"), "the glossary is not in the file").to_have_count(0)
    assert "Segoe UI" in saved.evaluate("getComputedStyle(document.body).fontFamily"), "it brings its styles"
    assert "<script" not in file.read_text("utf-8")
    laptop.context.set_offline(False)


def test_see_what_happened_opens_that_very_logout(laptop: Device, stack: Stack, flow: Page) -> None:
    sid, manager = four_clicks(laptop, stack)
    only(flow, sid)  # its record has arrived
    with laptop.context.expect_page() as opened:
        manager.signed_out_card.get_by_role("link", name="See what happened").click()
    chosen = opened.value.locator(".message:has([aria-pressed=true])")
    expect(chosen).to_have_attribute("data-kind", "backchannel_logout", timeout=SOON)
    expect(opened.value.locator(".detail")).to_contain_text(sid)


def test_killed_idp_is_named_and_the_page_goes_on(
    laptop: Device, stack: Stack, flow: Page, hands: StackControl
) -> None:
    laptop.may_complain("net::ERR_")
    down = flow.locator("[data-part=down]")
    expect(down).to_be_hidden()
    with hands.without("idp"):
        expect(down).to_contain_text("IdP is not reachable", timeout=SOON)
    expect(down).to_be_hidden(timeout=IN_A_WHILE)
    sid, _ = four_clicks(laptop, stack)
    only(flow, sid)
    expect(flow.locator(arrow("backchannel_logout", "idp → manager"))).to_be_visible(timeout=SOON)
