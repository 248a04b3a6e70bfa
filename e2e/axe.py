"""Accessibility, checked by axe-core (Deque): in both colour schemes, on a phone and on a desktop.

npm installs axe-core from ``e2e/package-lock.json``; ``scripts/e2e`` does that. Without it the pages are checked for
less, and one test says so: it is skipped or, with ``PICKUP_TEST_AXE=required``, as in CI, it fails.
"""

import json
import os
from pathlib import Path

from playwright.sync_api import Page, ViewportSize

FOLDER = Path(__file__).parent
PACKAGE = FOLDER / "node_modules/axe-core"
REQUIRED = os.environ.get("PICKUP_TEST_AXE") == "required"

PHONE: ViewportSize = {"width": 390, "height": 844}
DESKTOP: ViewportSize = {"width": 1280, "height": 800}

# The other rules of axe do not depend on colours, and the dark scheme changes nothing else (pickup.css).
COLOUR_RULES = ("color-contrast", "link-in-text-block")

# All rules of axe, its best practices included, or only some. A violation in the words of axe, with its elements.
RUN = """async (rules) => {
  const only = rules.length ? {runOnly: {type: "rule", values: rules}} : {};
  const {violations} = await axe.run(document, {resultTypes: ["violations"], ...only});
  return violations.flatMap(({id, nodes}) => nodes.map(({html, failureSummary}) =>
    `${id}: ${html.slice(0, 200)} ${failureSummary.split("\\n").slice(1).join(" ").trim()}`));
}"""


def missing() -> str:
    """Why axe-core cannot be used; empty if it can."""
    wanted = json.loads((FOLDER / "package.json").read_text("utf-8"))["dependencies"]["axe-core"]
    if not (PACKAGE / "package.json").exists():
        return "axe-core is not installed: npm ci --prefix e2e"
    installed = json.loads((PACKAGE / "package.json").read_text("utf-8"))["version"]
    return "" if installed == wanted else f"axe-core is {installed} instead of {wanted}: npm ci --prefix e2e"


def violations(tab: Page) -> list[str]:
    """What axe finds on the page as it is now, each once, with where it was found first. Loads nothing again."""
    before = tab.viewport_size
    tab.evaluate((PACKAGE / "axe.min.js").read_text("utf-8"))
    found: dict[str, str] = {}
    for width, size in {"phone": PHONE, "desktop": DESKTOP}.items():
        tab.set_viewport_size(size)
        for scheme in ("light", "dark"):
            # No transition: a colour on its way to the other scheme is neither's.
            tab.emulate_media(color_scheme="light" if scheme == "light" else "dark", reduced_motion="reduce")
            for violation in tab.evaluate(RUN, COLOUR_RULES if scheme == "dark" else ()):
                found.setdefault(violation, f"{width}, {scheme}")
    tab.emulate_media(color_scheme="light", reduced_motion="no-preference")
    if before:
        tab.set_viewport_size(before)
    return [f"axe ({where}): {violation}" for violation, where in found.items()]
