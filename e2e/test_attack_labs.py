"""The *attack and repair* labs at the workbench, as a learner walks them. tests/flow/test_attack_labs.py walks each."""

import pytest
from playwright.sync_api import expect

from e2e.device import Device
from e2e.plain import http
from e2e.record import Record
from e2e.stack import Stack
from e2e.test_labs import Practice
from e2e.test_tutorial import Guide
from e2e.test_workbench import Workbench

pytestmark = [pytest.mark.needs("pickup_idp", "pickup_app"), pytest.mark.thorough]


@pytest.fixture
def labs(laptop: Device, stack: Stack, record: Record) -> Guide:  # noqa: ARG001 # skips where nothing is recorded
    return Guide(laptop, stack, "labs")


def test_learner_forges_a_token_and_closes_the_hole(laptop: Device, stack: Stack, labs: Guide) -> None:
    practice = Practice(laptop, stack, labs)
    dispatch = practice.sign_in()
    practice.start("key-confusion")
    workbench = Workbench(laptop, stack)
    workbench.choose("practice", laptop.sid(stack.dispatch), "hs256")
    workbench.send()
    expect(workbench.verdict).to_contain_text("Practice accepted the token.")
    expect(workbench.verdict).to_contain_text("The session at Practice has ended.")
    expect(workbench.verdict).to_contain_text("accepted the token without the check of alg")
    practice.expect_signed_in(is_signed_in=False)
    labs.expect("key-confusion", done=False)

    dispatch.log_out()
    dispatch.expect_logged_out()
    practice.sign_in()
    practice.set("Accepted signatures", "RS256")
    workbench.choose("practice", laptop.sid(stack.dispatch), "hs256")
    workbench.send()
    expect(workbench.verdict).to_contain_text("Practice refused the token")
    expect(workbench.verdict).to_contain_text("The session at Practice continues.")
    practice.expect_signed_in(is_signed_in=True)
    labs.expect("key-confusion", done=True)


def test_learner_passes_an_id_token_off(laptop: Device, stack: Stack, labs: Guide) -> None:
    practice = Practice(laptop, stack, labs)
    dispatch = practice.sign_in()
    practice.start("id-token-passed-off")
    for is_open in (True, False):
        practice.tab.goto(f"{practice.url}/")
        practice.tab.get_by_text("The ID token of this session").click()
        token = practice.tab.locator("[data-copy='ID token']").inner_text()
        answer = http.post(f"{practice.url}/bclogout", data={"logout_token": token})
        assert answer.status_code == (200 if is_open else 400)
        practice.expect_signed_in(is_signed_in=not is_open)
        labs.expect("id-token-passed-off", done=not is_open)
        if is_open:
            dispatch.log_out()
            dispatch.expect_logged_out()
            practice.sign_in()
            practice.set("Logout token is told from other tokens by", "events")
