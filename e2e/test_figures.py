"""How long a logout takes: measured, printed, and no reason to fail. ``make e2e ARGS=--figures``."""

import statistics
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from playwright.sync_api import expect

from e2e.apps import App
from e2e.conftest import Figure, NewDevice
from e2e.plain import PlainClient
from e2e.stack import Stack

pytestmark = pytest.mark.needs("pickup_app")

RUNS = 20
LOOK_SECONDS = 0.002
NOTE_WHEN_SIGNED_OUT = """
  new MutationObserver(() => document.querySelector("[role=alert]") && (document.noticed ??= Date.now()))
    .observe(document.body, {childList: true, subtree: true})
"""


@pytest.mark.figures
def test_figures_from_the_click_on_log_out_to_the_end_of_the_other_session(
    new_device: NewDevice, stack: Stack, figure: Figure
) -> None:
    dead, noticed = [], []
    for _ in range(RUNS):
        laptop = new_device()
        dispatch, manager = laptop.sign_in_at(stack.dispatch, stack.manager, user="cameron")
        manager.expect_signed_in("Cameron Reyes")
        manager.tab.evaluate(NOTE_WHEN_SIGNED_OUT)
        with ThreadPoolExecutor(1) as watcher:
            end = watcher.submit(time_of_end, stack.manager, laptop.cookie(stack.manager.url))
            dispatch.log_out()
            clicked = laptop.started("/pickup-dispatch/logout")
            dead.append(end.result() * 1000 - clicked)
        expect(manager.signed_out_card).to_be_visible()
        noticed.append(manager.tab.evaluate("document.noticed") - clicked)
        laptop.context.close()
    figure("click on “Log out” → other session dead", summary(dead))
    figure("click on “Log out” → its open tab says so", summary(noticed))


def time_of_end(app: App, cookie: str) -> float:
    """When this cookie was seen to be worth nothing, in seconds since the epoch. Looks all the time."""
    client = PlainClient()
    while client.get(f"{app.url}/session/status", headers={"Cookie": cookie}).json()["signed_in"]:
        time.sleep(LOOK_SECONDS)
    return time.time()


def summary(milliseconds: list[float]) -> str:
    """Median and worst."""
    return f"median {statistics.median(milliseconds):.0f} ms, worst {max(milliseconds):.0f} ms of {RUNS} runs"
