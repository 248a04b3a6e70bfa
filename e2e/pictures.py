"""The pictures of README and tutorial, taken by the stories that they show. ``make pictures`` takes them again.

README has the four clicks of the golden path on one sheet; each chapter of the tutorial has a page of Pickup Learn.
A list, as ``sha256sum`` writes it, has the pictures and the files that they show. ``tests/test_docs.py`` fails when one
of them has changed since.
"""

import hashlib
from base64 import b64encode
from collections.abc import Iterable, Mapping
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "docs/images/four-clicks.png"
SUMS = PICTURE.with_suffix(".sha256")
LESSONS = ROOT / "docs/tutorial/images"
LESSON_SUMS = LESSONS / "pictures.sha256"
LESSONS_SHOW = ("pickup_learn/templates/*", "pickup_learn/static/*", "pickup_web/static/pickup.css")
LESSON_WINDOW: ViewportSize = {"width": 1100, "height": 2400}  # so high that nothing scrolls
LESSON_HEIGHT = 560  # of a picture, at most
SHOWN = (  # the provider's pages are not in the picture
    "e2e/pictures.py",
    "pickup_[dmw]*/templates/**/*",  # of Dispatch, Manager and what they share
    "pickup_[dmw]*/static/**/*",
    "relying_party/templates/**/*",
    "relying_party/static/**/*",
    # and words that are in the code
    "pickup_dispatch/bookings.py",
    "pickup_manager/resources.py",
    "pickup_web/pages.py",
    "relying_party/logout.py",
)
WIDTH = 960  # of a window
# The pictures by name: what is said about each on the sheet, and how high the window is.
CLICKS = {
    "1-signed-in": ("Sign in to Pickup Dispatch.", 750),
    "2-no-password": ("Open Pickup Manager: no password.", 750),
    "3-logged-out": ("Log out of Dispatch.", 640),
    "4-noticed": ("Manager's open tab notices by itself.", 640),
}
SHEET_WIDTH = 1320
SHEET = """<!doctype html><title>Four clicks</title><style>
  body {{ margin: 0; padding: 28px; box-sizing: border-box; background: #eceff4; color: #1f2733;
    font: 600 21px Helvetica, Arial, sans-serif; display: grid; grid-template-columns: 1fr 1fr; gap: 26px 28px }}
  figure {{ margin: 0 }}
  figcaption {{ margin: 0 0 10px }}
  figcaption span {{ display: inline-grid; place-items: center; width: 1.6em; height: 1.6em; margin-right: .4em;
    border-radius: 50%; background: #1f2733; color: #fff; font-size: .85em }}
  img {{ display: block; width: 100%; border-radius: 10px; box-shadow: 0 1px 2px #0003, 0 6px 20px #0002 }}
</style>{figures}"""
FIGURE = """<figure>
  <figcaption><span>{number}</span>{caption}</figcaption><img src="data:image/png;base64,{picture}">
</figure>"""


class Camera:
    """Takes no picture unless it is asked to."""

    def __init__(self, *, is_on: bool) -> None:
        self._is_on = is_on
        self._taken: dict[str, bytes] = {}

    def take(self, name: str, tab: Page) -> None:
        """Keep what the tab shows now."""
        if self._is_on:
            tab.set_viewport_size({"width": WIDTH, "height": CLICKS[name][1]})
            self._taken[name] = tab.screenshot(animations="disabled")

    def put_together(self, browser: Browser) -> None:
        """All pictures on one sheet, and beside it the list of the files that it shows."""
        if self._is_on and self._taken.keys() == CLICKS.keys():
            figures = [
                FIGURE.format(number=number, caption=caption, picture=b64encode(self._taken[name]).decode())
                for number, (name, (caption, _)) in enumerate(CLICKS.items(), start=1)
            ]
            sheet = browser.new_page(viewport={"width": SHEET_WIDTH, "height": 100})
            sheet.set_content(SHEET.format(figures="".join(figures)))
            sheet.screenshot(path=PICTURE, full_page=True)
            sheet.close()
            SUMS.write_text(listed(sums()), "utf-8")


class LessonCamera:
    """Takes a picture of a page for the tutorial, if it is asked to."""

    def __init__(self, *, is_on: bool) -> None:
        self._is_on = is_on

    def show(self, name: str, context: BrowserContext, url: str, part: str) -> None:
        """Keep a part of the page at ``url``."""
        if self._is_on:
            tab = context.new_page()
            tab.set_viewport_size(LESSON_WINDOW)
            tab.goto(url)
            tab.locator(part).first.wait_for()
            box = tab.locator(part).first.bounding_box()
            assert box, "it is visible"
            box["height"] = min(box["height"], LESSON_HEIGHT)
            tab.screenshot(path=LESSONS / f"{name}.png", clip=box, animations="disabled")
            tab.close()
            LESSON_SUMS.write_text(listed(lesson_sums()), "utf-8")


def sums() -> dict[str, str]:
    """SHA-256 of README's picture and of each file that it shows, by path."""
    return sums_of(PICTURE, *matching(SHOWN))


def lesson_sums() -> dict[str, str]:
    """The same of the tutorial's pictures."""
    return sums_of(*sorted(LESSONS.glob("*.png")), *matching(LESSONS_SHOW))


def matching(patterns: Iterable[str]) -> list[Path]:
    return sorted(
        {path for pattern in patterns for path in ROOT.glob(pattern) if path.is_file() and path.name[0] != "."}
    )


def sums_of(*paths: Path) -> dict[str, str]:
    return {path.relative_to(ROOT).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def listed(found: Mapping[str, str]) -> str:
    return "".join(f"{sha256}  {path}\n" for path, sha256 in found.items())


def changed_since_taken() -> list[str]:
    """The files that are not as they were when the pictures were taken."""
    lines = [*SUMS.read_text("utf-8").splitlines(), *LESSON_SUMS.read_text("utf-8").splitlines()]
    then = {path: digest for digest, path in (line.split(None, 1) for line in lines)}
    now = {**sums(), **lesson_sums()}
    return sorted(path for path in then.keys() | now.keys() if then.get(path) != now.get(path))
