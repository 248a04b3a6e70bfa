"""A browser that allows third-party cookies, and a way to block them in one tab."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import BrowserContext, BrowserType, Page

# The user's choice "Allow third-party cookies". A full Chromium blocks them in contexts of the test, as in a private
# window; some distributions block them everywhere. The headless shell has no such setting and allows them.
ALLOW = {"profile": {"cookie_controls_mode": 0, "block_third_party_cookies": False}}


@contextmanager
def allowing_browser(
    browser_type: BrowserType, folder: Path, launch: dict[str, Any], context: dict[str, Any]
) -> Iterator[BrowserContext]:
    """A browser with a profile of its own in ``folder``."""
    (folder / "Default").mkdir()
    (folder / "Default" / "Preferences").write_text(json.dumps(ALLOW))
    made = browser_type.launch_persistent_context(folder, **launch, **context)
    try:
        yield made
    finally:
        made.close()


def block_third_party_cookies(tab: Page) -> None:
    """As the user's choice "Block third-party cookies", for pages that this tab opens from now on."""
    session = tab.context.new_cdp_session(tab)
    session.send("Network.enable")
    session.send("Network.setCookieControls", {"enableThirdPartyCookieRestriction": True})
