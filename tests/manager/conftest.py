from pathlib import Path

import pytest
from flask import Flask

import pickup_manager
from pickup_manager import resource_server
from tests.apps import Browser, Neighbour, settings


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    return pickup_manager.create_app(settings(tmp_path))


@pytest.fixture
def browser(app: Flask) -> Browser:
    """Nobody is signed in."""
    return Browser(app)


@pytest.fixture
def manager(browser: Browser) -> Browser:
    """Cameron is signed in."""
    browser.sign_in()
    return browser


@pytest.fixture(autouse=True)
def idp(monkeypatch: pytest.MonkeyPatch) -> Neighbour:
    """The provider, which knows the token."""
    neighbour = Neighbour()
    neighbour.body = {"active": True, "scope": "openid fleet.read"}
    monkeypatch.setitem(resource_server._http.adapters, "http://", neighbour)
    return neighbour
