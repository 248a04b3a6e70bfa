"""A room: many browsers do the four clicks at once, while Pickup Learn shows it. ``python -m bench.room [BROWSERS]``.

Needs a running stack (`make up`) and its settings from ``.env``. Prints how long after the click on *Log out* the
arrow of Manager's logout token was on the flow page, and the memory of Learn.
"""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from urllib.request import urlopen

from playwright.async_api import Browser, Page, async_playwright

from pickup_web import localhost

ROOT = Path(__file__).parents[1]
BROWSERS = 30
PATIENCE = 120_000  # milliseconds for one step of a browser, because all of them share this machine
# Notes when each arrow of a logout token to Manager appears on the flow page.
WATCH = """() => {
  window.seen = {};
  new MutationObserver(() => {
    for (const item of document.querySelectorAll("[data-kind=backchannel_logout][data-to=manager]"))
      window.seen[item.dataset.key] ??= Date.now();
  }).observe(document.body, {childList: true, subtree: true});
}"""


def address(service: str) -> str:
    """A base URL of the stack."""
    return next(
        line for line in subprocess.check_output([ROOT / "scripts/stack", "urls"], text=True).split() if service in line
    )


async def four_clicks(
    browser: Browser, password: str, everyone_is_ready: Callable[[], Awaitable[None]]
) -> tuple[str, float]:
    """One learner; returns the session's ``sid`` and when *Log out* was clicked, in milliseconds."""
    context = await browser.new_context()
    context.set_default_timeout(PATIENCE)
    dispatch = await context.new_page()
    await dispatch.goto(address("dispatch"))
    await dispatch.get_by_role("link", name="Sign in").first.click()
    await sign_in(dispatch, password)
    manager = await context.new_page()
    await manager.goto(f"{address('manager')}/overview")
    await manager.get_by_role("button", name="Log out").wait_for()
    await manager.goto(f"{address('manager')}/profile")
    sid = json.loads(await manager.locator("pre").filter(has_text='"sid"').inner_text())["sid"]
    await everyone_is_ready()
    clicked = await dispatch.evaluate("Date.now()")
    await dispatch.get_by_role("button", name="Log out").click()
    await manager.locator("[data-session-ended]").wait_for()
    await context.close()
    return str(sid), float(clicked)


async def sign_in(tab: Page, password: str) -> None:
    """Fill in the form, again after a while if the IdP has too many passwords to check (503, Retry-After: 2)."""
    log_out = tab.get_by_role("button", name="Log out")
    while not await log_out.count():
        await tab.locator("[name=username]").fill("cameron")
        await tab.locator("[name=password]").fill(password)
        async with tab.expect_navigation():
            await tab.get_by_role("button", name="Sign in").click()
        if not await log_out.count():
            await tab.wait_for_timeout(2_000)
            if not await tab.locator("[name=username]").count():
                await tab.go_back()


async def measure(count: int) -> None:
    """The room, and its figures."""
    password = os.environ["PICKUP_DEMO_PASSWORD"]
    ready, all_ready = 0, asyncio.Event()

    async def wait() -> None:
        nonlocal ready
        ready += 1
        if ready == count:
            all_ready.set()
        await all_ready.wait()

    async with async_playwright() as playwright:
        chromium = subprocess.check_output([ROOT / "scripts/browser"], text=True).strip()
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        flow: Page = await browser.new_page()
        await flow.goto(address("learn"))
        await flow.locator("[data-ready]").wait_for()
        await flow.evaluate(WATCH)
        clicks = dict(await asyncio.gather(*(four_clicks(browser, password, wait) for _ in range(count))))
        keys = await arrows(flow, set(clicks))
        seen = await flow.evaluate("window.seen")
        delays = sorted(seen[key] - clicks[sid] for sid, key in keys.items())
        print(f"{count} browsers at once, click to arrow: median {median(delays):.0f} ms, worst {delays[-1]:.0f} ms")
        drawn = await flow.locator(".message").count()
        print(f"messages on the page: {drawn}")
        await browser.close()


async def arrows(flow: Page, sids: set[str]) -> dict[str, str]:
    """The key of the arrow at Manager by ``sid``, once all of them are on the page."""
    while True:
        with urlopen(f"{address('learn')}/api/messages") as answer:  # noqa: S310 # our own address
            messages = json.load(answer)["messages"]
        found = {
            one["sid"]: one["key"]
            for one in messages
            if one["kind"] == "backchannel_logout" and one["to"] == "manager" and one["sid"] in sids
        }
        seen = await flow.evaluate("window.seen")
        if found.keys() == sids and all(key in seen for key in found.values()):
            return found
        await asyncio.sleep(0.2)


if __name__ == "__main__":
    localhost.install()
    for line in Path(".env").read_text("utf-8").splitlines():
        name, separator, value = line.partition("=")
        if separator and not name.startswith("#"):
            os.environ.setdefault(name, value)
    asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else BROWSERS))
