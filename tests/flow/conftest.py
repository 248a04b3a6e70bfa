"""The three services in one process, and users whose browsers visit all of them."""

from dataclasses import dataclass
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from idp.models import Delivery, SsoSession
from idp.provider import Provider as State
from pickup_web import Settings
from pickup_web.database import engine_of
from pickup_web.events import Event
from relying_party.encryption import Encryption
from relying_party.models import StoredSession
from tests.conftest import PASSWORD
from tests.network import Browser, Network, Page, WebClient, origin_of

BACK_CHANNEL_URI = {"dispatch": "pickup-dispatch/bclogout", "manager": "pickup-manager/bclogout"}


@dataclass
class Pickup:
    """The three services and their shared test network."""

    settings: Settings
    network: Network
    apps: dict[str, Flask]

    def url(self, name: str) -> str:
        """A service's base URL."""
        return str(getattr(self.settings, f"{name}_url"))

    def cookie_name(self, name: str) -> str:
        """The name of a service's session cookie."""
        return str(self.apps[name].config["SESSION_COOKIE_NAME"])

    @property
    def idp(self) -> State:
        """The IdP's internal objects."""
        state: State = self.apps["idp"].extensions["idp"]
        return state

    def cli(self, *arguments: str) -> None:
        """Runs an operator's command at the IdP."""
        result = self.apps["idp"].test_cli_runner().invoke(args=["client", "set", *arguments])
        assert result.exit_code == 0, result.output

    def events(self, name: str, event: str) -> list[dict[str, Any]]:
        """A service's events of one name, as /events shows them."""
        answer = WebClient(self.network.wsgi, use_cookies=False).get(f"{self.url(name)}/events?name={event}")
        return list(answer.get_json()["events"])

    def all_events(self) -> list[Event]:
        """Every event of every service."""
        found: list[Event] = []
        for app in self.apps.values():
            with Session(engine_of(app)) as db:
                found += db.scalars(select(Event)).all()
        return found

    def sessions(self) -> list[SsoSession]:
        """The IdP's active sessions."""
        with Session(engine_of(self.apps["idp"])) as db:
            return list(db.scalars(select(SsoSession).where(SsoSession.ended_at.is_(None))))

    def deliveries(self) -> dict[str, str]:
        """Each client's delivery state, for a single logout."""
        with Session(engine_of(self.apps["idp"])) as db:
            return {row.client_id: row.state for row in db.scalars(select(Delivery))}

    def login_of(self, name: str) -> dict[str, Any]:
        """The login stored in the only active session of an app: its tokens."""
        with Session(engine_of(self.apps[name])) as db:
            alive = StoredSession.ended_at.is_(None) & StoredSession.sub.is_not(None)
            (row,) = db.scalars(select(StoredSession).where(alive))
        login = Encryption.from_app(self.apps[name]).decrypt(row.login)
        assert login
        return dict(login)

    def ask_fleet(self, access_token: str) -> TestResponse:
        """Request the drivers from Manager's API."""
        return WebClient(self.network.wsgi, use_cookies=False).get(
            f"{self.url('manager')}/api/drivers", headers={"Authorization": f"Bearer {access_token}"}
        )


class Person:
    """A user with a browser."""

    def __init__(self, pickup: Pickup) -> None:
        self.pickup = pickup
        self.browser = Browser(pickup.network)

    def opens(self, name: str, path: str = "/profile") -> Page:
        """Opens an app's address."""
        return self.browser.open(self.pickup.url(name) + path)

    def signs_in(self, name: str, username: str = "cameron") -> "Person":
        """Opens an app and enters the password."""
        page = self.opens(name)
        assert is_login(page), f"not the login page: {page.text[:200]}"
        self.browser.submit("/login", username=username, password=PASSWORD)
        assert self.browser.page.url == self.pickup.url(name) + "/profile"
        return self

    def logs_out_of(self, name: str) -> Page:
        """Clicks "Log out"."""
        self.opens(name)
        return self.browser.submit("/logout")

    def sid_at(self, name: str) -> str:
        """The sid shown in the app's session panel."""
        return self.opens(name).element("session-sid")

    def is_signed_in_at(self, name: str) -> bool:
        """Whether the app has an active session for them, without following redirects to the IdP."""
        return bool(self.status_at(name)["signed_in"])

    def status_at(self, name: str) -> dict[str, Any]:
        """The status an open tab would get."""
        url = self.pickup.url(name)
        return dict(self.browser.client.get(f"{url}/session/status").get_json())

    def cookie_of(self, name: str) -> str:
        """The value of an app's cookie."""
        key = self.pickup.cookie_name(name)
        value = self.browser.cookie(key, self.pickup.url(name) + "/")
        assert value
        return value


def is_login(page: Page) -> bool:
    """Whether this is the IdP's login page."""
    return "Sign in" in page.text and any("password" in form.fields for form in page.forms)


def replayed(pickup: Pickup, name: str, cookie: str) -> dict[str, Any]:
    """An app's response to a plain HTTP client that sends an old cookie."""
    url = pickup.url(name)
    return dict(
        WebClient(pickup.network.wsgi, use_cookies=False)
        .get(f"{url}/session/status", headers={"Cookie": f"{pickup.cookie_name(name)}={cookie}"})
        .get_json()
    )


@pytest.fixture
def pickup(idp: Flask, dispatch: Flask, manager: Flask, settings: Settings, network: Network) -> Pickup:
    """The three services, at their addresses."""
    assert origin_of(settings.dispatch_url) != origin_of(settings.manager_url)
    return Pickup(settings, network, {"idp": idp, "dispatch": dispatch, "manager": manager})


@pytest.fixture
def cameron(pickup: Pickup) -> Person:
    """A user who has not signed in yet."""
    return Person(pickup)
