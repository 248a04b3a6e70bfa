"""An operator's browser, and a third app's site."""

import html
import re
from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.conftest import PASSWORD, SiteClient
from tests.idp.conftest import PaperApp, Provider
from tests.reading import words

RADIO = "https://radio.example"
HOSTILE = '<script>alert("1")</script>{{7*7}}'


@pytest.fixture
def admin(provider: Provider) -> SiteClient:
    """The browser of a signed-in operator."""
    return operator(provider)


@pytest.fixture
def radio(provider: Provider, no_names: None) -> PaperApp:  # noqa: ARG001 # for the registration
    """A third app's site."""
    app = PaperApp(status=400)
    provider.network.add(RADIO, app)
    return app


def operator(provider: Provider, username: str = "admin", following: str = "/console") -> SiteClient:
    """Sign in at the console."""
    browser = provider.browser()
    browser.get("/login", query_string={"next": following})
    assert browser.submit("/login", next=following, username=username, password=PASSWORD).status_code == 303
    browser.csrf_token = None
    return browser


def send(browser: SiteClient, path: str, **fields: Any) -> TestResponse:
    """Open a form's page, and send it."""
    browser.get(path)
    return browser.submit(path, **fields)


def after(browser: SiteClient, answer: TestResponse) -> str:
    """The text of the page shown after an operation."""
    assert answer.status_code == 303, words(answer)
    return words(browser.get(answer.location))


def form_of(browser: SiteClient, path: str) -> dict[str, Any]:
    """The fields of a page's form, as a browser would send them."""
    page = browser.get(path).text.partition("<main")[2]
    found: dict[str, Any] = {}
    for tag in re.findall(r"<input [^>]*>", page):
        name, value = re.search(r'name="([^"]+)"', tag), re.search(r'value="([^"]*)"', tag)
        if not name or name[1] in ("csrf_token", "search"):
            continue
        if 'type="checkbox"' not in tag or " checked" in tag:
            found.setdefault(name[1], []).append(unescaped(value[1] if value else ""))
    for name_, text in re.findall(r'<textarea [^>]*name="([^"]+)"[^>]*>\n(.*?)</textarea>', page, re.DOTALL):
        found[name_] = [unescaped(text)]
    for name_, options in re.findall(r'<select [^>]*name="([^"]+)"[^>]*>(.*?)</select>', page, re.DOTALL):
        values = re.findall(r'<option value="([^"]*)"( selected)?', options)
        found[name_] = [next((value for value, chosen in values if chosen), values[0][0])]
    return found


def unescaped(text: str) -> str:
    """As the browser reads it."""

    return html.unescape(text)
