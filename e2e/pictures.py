"""The pictures for the README, taken on the golden path: the four clicks, each alone and all in one."""

from base64 import b64encode
from pathlib import Path

from playwright.sync_api import Browser, Page

WIDTH = 960  # of a window
# The pictures by name: what is said about each on the sheet, and how high the window is.
CLICKS = {
    "1-signed-in": ("Sign in to Pickup Dispatch.", 750),
    "2-no-password": ("Open Pickup Manager: no password.", 750),
    "3-logged-out": ("Log out of Dispatch.", 480),
    "4-noticed": ("Manager's open tab notices by itself.", 480),
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
    """Takes no picture unless there is a folder for them."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._taken: dict[str, bytes] = {}

    def take(self, name: str, tab: Page) -> None:
        """Keep what the tab shows now."""
        if self._folder:
            tab.set_viewport_size({"width": WIDTH, "height": CLICKS[name][1]})
            self._folder.mkdir(parents=True, exist_ok=True)
            self._taken[name] = tab.screenshot(path=self._folder / f"{name}.png", animations="disabled")

    def put_together(self, browser: Browser) -> None:
        """All pictures on one sheet."""
        if self._folder and self._taken.keys() == CLICKS.keys():
            figures = [
                FIGURE.format(number=number, caption=caption, picture=b64encode(self._taken[name]).decode())
                for number, (name, (caption, _)) in enumerate(CLICKS.items(), start=1)
            ]
            sheet = browser.new_page(viewport={"width": SHEET_WIDTH, "height": 100})
            sheet.set_content(SHEET.format(figures="".join(figures)))
            sheet.screenshot(path=self._folder / "four-clicks.png", full_page=True)
            sheet.close()
