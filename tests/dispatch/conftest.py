from pathlib import Path

import pytest
from flask import Flask

import pickup_dispatch
from pickup_dispatch import drivers
from tests.apps import Browser, Neighbour, settings

DRIVERS = [{"id": "D0072", "name": "Tiger Nixon"}, {"id": "D0009", "name": "Brielle Williamson"}]


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    return pickup_dispatch.create_app(settings(tmp_path))


@pytest.fixture
def browser(app: Flask) -> Browser:
    """Nobody is signed in."""
    return Browser(app)


@pytest.fixture
def dispatcher(browser: Browser) -> Browser:
    """Cameron is signed in."""
    browser.sign_in()
    return browser


@pytest.fixture(autouse=True)
def manager(monkeypatch: pytest.MonkeyPatch) -> Neighbour:
    """Pickup Manager, which has two drivers."""
    neighbour = Neighbour()
    neighbour.body = {"drivers": DRIVERS}
    monkeypatch.setitem(drivers._http.adapters, "http://", neighbour)
    return neighbour
