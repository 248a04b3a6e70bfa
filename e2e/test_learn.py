"""Pickup Learn: the four clicks as named messages, the two tokens check by check, and the map of sessions."""

import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from e2e import axe
from e2e.device import Device
from e2e.logout_tokens import SIGNED_BY_THE_PROVIDER, logout_claims, tampered
from e2e.plain import http, post_logout_token
from e2e.record import Record
from e2e.stack import Stack, StackControl
from e2e.test_outages import IN_A_WHILE, OUTAGE

pytestmark = pytest.mark.needs("pickup_idp", "pickup_app")

SOON = 5.0  # seconds until the services' records are collected on a busy machine
EXCHANGE = ["authorization_request", "authorization_response", "token_request", "userinfo"]


class Learn:
    """What Pickup Learn has collected."""

    def __init__(self, stack: Stack) -> None:
        self.url = stack.learn_url

    def get(self, path: str) -> Any:
        """One answer of its API."""
        answer = http.get(f"{self.url}/api/{path}")
        assert answer.ok, f"{answer.status_code} {answer.text}"
        return answer.json()

    def acts(self, sid: str) -> dict[str, list[str]]:
        """The kinds of messages by the act's name; those through a browser, by their start."""
        found: dict[str, list[str]] = {}
        for message in sorted(self.get("messages")["messages"], key=lambda message: float(message["at"])):
            if message["act"]["sid"] == sid:
                found.setdefault(message["act"]["name"], []).append(message["kind"])
        return found

    def open_tabs(self, sid: str) -> int:
        """How many tabs of this session are open, as the session map counts them; 0 until the session is collected."""
        apps = [app for session in self.get("sessions") if session["sid"] == sid for app in session["apps"]]
        return sum(app["sessions"][-1]["tabs"] or 0 for app in apps if app["sessions"])

    def logout_token(self, sid: str, app: str) -> dict[str, Any]:
        """The newest logout token to an app, once it is collected."""

        def found() -> list[dict[str, Any]]:
            return [one for one in self.get("tokens")["tokens"] if (one["sid"], one["to"]) == (sid, app)]

        wait_for(lambda: bool(found()))
        return found()[0]


@pytest.fixture
def learn(stack: Stack, record: Record) -> Learn:  # noqa: ARG001 # skips where nothing is recorded
    return Learn(stack)


def wait_for(condition: Callable[[], bool]) -> None:
    """Until it holds, or the time is over: the assertion after it then says what is wrong."""
    end = time.monotonic() + SOON
    while not condition() and time.monotonic() < end:
        time.sleep(0.1)


def ready(device: Device, learn: Learn, path: str) -> Page:
    """A page of Learn, after its script has run."""
    tab = device.context.new_page()
    tab.goto(f"{learn.url}{path}")
    tab.locator("[data-ready]").wait_for()
    return tab


def test_four_clicks_are_three_acts_with_their_messages(laptop: Device, stack: Stack, learn: Learn) -> None:
    dispatch = laptop.sign_in_by_hand(stack.dispatch, "cameron")
    manager = dispatch.open_other_app(stack.manager)
    sid = laptop.sid(stack.dispatch)
    dispatch.log_out()
    expect(manager.signed_out_card).to_be_visible()
    everything = {"log_out", "logout_request", "backchannel_logout", "push", "logged_out"}
    wait_for(
        lambda: everything <= set(learn.acts(sid).get("Logout at Dispatch", []))
    )  # each service is read in its turn

    acts = learn.acts(sid)
    assert acts["Sign-in at Dispatch"] == ["start_sign_in", "authorization_request", "sign_in", *EXCHANGE]
    assert acts["Single sign-on at Manager"] == ["start_sign_in", *EXCHANGE]
    logout = acts["Logout at Dispatch"]
    by_browser = [kind for kind in logout if kind in ("log_out", "logout_request", "logged_out")]
    assert by_browser == ["log_out", "logout_request", "logged_out"]
    assert logout.count("backchannel_logout") == 2
    assert "push" in logout


def test_two_tokens_stand_side_by_side_and_each_check_is_ticked(
    laptop: Device, stack: Stack, learn: Learn, subtests: pytest.Subtests
) -> None:
    dispatch = laptop.sign_in(stack.dispatch, "cameron")
    dispatch.open_other_app(stack.manager)
    sid = laptop.sid(stack.manager)
    tab = ready(laptop, learn, "/inspector")
    dispatch.log_out()
    key = learn.logout_token(sid, "manager")["key"]

    expect(tab.get_by_role("option").filter(has_text="Manager · cameron · accepted").first).to_be_attached()
    tab.get_by_label("Logout token").select_option(key)
    checks = tab.locator("[data-token=logout_token] .checks > li")
    expect(tab.get_by_text("Manager accepted the token: it passed all 14 checks.")).to_be_visible()
    expect(checks.and_(tab.locator("[data-result=ok]"))).to_have_count(14)
    source = checks.first.get_by_role("link", name="relying_party/jws.py:")
    expect(source).to_have_attribute("href", re.compile(r"/tutorial/source/relying_party/jws\.py#L\d+$"))
    expect(tab.locator("main")).not_to_contain_text("`")
    differs = tab.locator(".differs th code").all_inner_texts()
    assert {"typ", "events", "nonce", "lifetime", "jti"} <= set(differs)
    assert not {"iss", "aud", "sub", "sid", "alg", "kid"} & set(differs)
    row = tab.get_by_role("row", name="lifetime")
    expect(row).to_contain_text("2 minutes")
    with subtests.test("axe"):
        assert axe.missing() or axe.violations(tab) == []


def test_refused_forgery_shows_the_check_at_which_it_stopped(
    laptop: Device, stack: Stack, hands: StackControl, learn: Learn
) -> None:
    laptop.sign_in(stack.manager, "cameron")
    token = laptop.id_token(stack.manager)
    claims = logout_claims(stack.idp_url, stack.manager.client_id, str(token["sub"]), str(token["sid"]))
    forgery = next(forgery for forgery in SIGNED_BY_THE_PROVIDER if forgery.name == "a nonce")
    key = stack.provider.signing_key(hands)
    assert post_logout_token(stack.manager, tampered(forgery, claims, key)).status_code == 400

    recorded = learn.logout_token(str(token["sid"]), "manager")["key"]
    tab = ready(laptop, learn, f"/inspector?key={recorded}")
    checks = tab.locator("[data-token=logout_token] .checks > li")
    failed = checks.and_(tab.locator("[data-result=failed]"))
    expect(failed).to_have_count(1)
    expect(failed).to_contain_text("n-0S6_WzA2Mj")
    expect(failed).to_contain_text("relying_party/logout_token.py:")
    expect(tab.get_by_text("Manager refused the token at check 12, nonce")).to_be_visible()
    expect(checks.and_(tab.locator("[data-result='not reached']"))).to_have_count(2)


@pytest.mark.thorough
def test_session_map_shows_what_should_be_over_and_why_it_is_not(
    laptop: Device, stack: Stack, hands: StackControl, learn: Learn
) -> None:
    laptop.may_complain(OUTAGE)
    laptop.may_complain(r"net::ERR_\w+ \(.*/api/\w+\)")  # a container's network goes or comes
    dispatch = laptop.sign_in(stack.dispatch, "cameron")
    dispatch.open_other_app(stack.manager).expect_signed_in("Cameron Reyes")
    sid = laptop.sid(stack.dispatch)
    tab = ready(laptop, learn, "/sessions")
    session = tab.locator(f"[data-sid='{sid}']")
    manager = session.locator("[data-app=manager]")
    opened = session.get_by_text("1 browser has a tab open")
    expect(opened).to_have_count(2)  # of Dispatch and of Manager
    # the IdP, two apps with a session and an open tab each, tokens
    expect(session.locator(".node[data-state=active]")).to_have_count(8)

    with hands.without("manager"):
        dispatch.log_out()
        late = manager.locator(".node[data-state=late]").first
        expect(late).to_contain_text(re.compile(r"should be over: waiting for retry \d+, next at \d\d:\d\d:\d\d"))
        expect(session.locator("[data-app=dispatch] .node[data-state=ended]").first).to_be_visible()
        expect(opened).to_have_count(0)
        assert axe.missing() or axe.violations(tab) == []

    expect(session.locator(".node:not([data-state=ended])")).to_have_count(0, timeout=IN_A_WHILE * 1000)


@pytest.mark.thorough
def test_flow_page_asks_for_a_stream_again_when_none_was_free(laptop: Device, stack: Stack, learn: Learn) -> None:
    laptop.may_complain(r"503 .*/api/stream")
    tab = laptop.context.new_page()
    tab.route("**/api/stream*", lambda route: route.fulfill(status=503))
    tab.goto(f"{learn.url}/")
    expect(tab.get_by_text("Pickup Learn does not answer.")).to_be_visible()
    tab.unroute("**/api/stream*")
    laptop.sign_in(stack.dispatch, "cameron")
    of_session = tab.locator("[data-part=session] option").filter(has_text=laptop.sid(stack.dispatch))
    expect(of_session).to_be_attached()
    expect(tab.get_by_text("Pickup Learn does not answer.")).to_have_count(0)


def test_nothing_notices_that_learn_is_down(laptop: Device, stack: Stack, hands: StackControl, learn: Learn) -> None:
    with hands.without("learn"):
        dispatch = laptop.sign_in(stack.dispatch, "cameron")
        manager = dispatch.open_other_app(stack.manager)
        sid = laptop.sid(stack.dispatch)
        dispatch.log_out()
        expect(manager.signed_out_card).to_be_visible()

    assert learn.logout_token(sid, "manager")["outcome"] == "ok", "it reads later what it missed"
