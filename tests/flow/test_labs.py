"""The labs with a fault, each from its Start to its tick: the IdP sends the logout tokens, Practice receives them."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

import pickup_learn
from pickup_learn.collector import Collector, Source
from pickup_learn.labs import CHECKS, FAULTS, mend
from pickup_learn.practice import backchannel
from pickup_learn.practice.settings import ALL, CONDITIONS
from tests.conftest import Clock, close, make_settings, settle
from tests.flow.conftest import Person, Pickup
from tests.network import Network, WebClient

SESSION_LABS = [name for name in mend.FAULTS if name not in ("app-stopped", "slow-app", "silent-tab")]


class WsgiSource(Source):
    """A service on the test's network."""

    def __init__(self, name: str, app: Flask, url: str, network: Network) -> None:
        super().__init__(name, url)
        self.app, self.network = app, network

    def get(self, path: str) -> dict[str, Any] | None:
        self.app.extensions["messages"].flush()
        return dict(WebClient(self.network.wsgi, use_cookies=False).get(self.url + path).get_json())


class Learner(Person):
    """A person with a browser, who is signed in to Practice and looks at the labs."""

    def __init__(self, pickup: Pickup, collector: Collector, name: str = "cameron") -> None:
        super().__init__(pickup)
        self.collector, self.name = collector, name
        self.url = pickup.settings.learn_url

    def signs_in_to_both(self) -> None:
        """At Dispatch with the password, at Practice without."""
        self.signs_in("dispatch", self.name)
        self.goes("/practice/login")
        assert f"Hello, {self.name}" in self.browser.page.text

    def goes(self, path: str) -> None:
        self.browser.open(self.url + path)

    def starts(self, lab: str) -> None:
        self.goes(f"/labs/{lab}")
        self.browser.submit(f"/labs/{lab}/start")
        assert "The lab has started." in self.browser.page.text

    def resets(self, lab: str) -> None:
        self.goes(f"/labs/{lab}")
        self.browser.submit(f"/labs/{lab}/reset")
        assert "are right again" in self.browser.page.text

    def mends(self, lab: str) -> None:
        """Choose the right value of each setting that the lab has changed, on the settings page."""
        self.goes("/practice/settings")
        now = dict(self.settings())
        assert now != RIGHT
        self.browser.submit("/practice/settings", **(now | {name: RIGHT[name] for name in FAULTS[lab].values}))
        assert "Saved." in self.browser.page.text

    def settings(self) -> dict[str, str]:
        """What the settings page has selected."""
        self.goes("/practice/settings")
        selected = re.findall(r'<option value="([^"]*)" selected', self.browser.page.html)
        return dict(zip(RIGHT, selected, strict=True))

    def is_in_practice(self) -> bool:
        """What an open tab of Practice would be told."""
        return bool(self.browser.client.get(f"{self.url}/practice/session/status").get_json()["signed_in"])

    def ticks(self) -> dict[str, bool]:
        """The verdict of each lab, as the page asks for it."""
        for source in self.collector.sources:
            self.collector.poll(source)
        query = f"{self.url}/api/steps?since=0&person={self.name}"
        return {name: one["seen"] for name, one in self.browser.client.get(query).get_json()["steps"].items()}

    def logs_out_at_dispatch(self) -> None:
        """And waits until the IdP has made its attempts that are due."""
        self.logs_out_of("dispatch")
        settle(self.pickup.idp.outbox)


RIGHT = {setting.name: setting.right for setting in ALL}


@pytest.fixture
def learn(pickup: Pickup, network: Network, tmp_path: Path) -> Iterator[Flask]:
    """Pickup Learn, with the addresses of the other services."""
    app = pickup_learn.create_app(make_settings(tmp_path))
    network.add(pickup.settings.learn_url, app)
    pickup.apps["learn"] = app
    yield app
    close(app)


@pytest.fixture
def collector(learn: Flask, pickup: Pickup, network: Network) -> Collector:
    """Reads what the services recorded."""
    urls = {name: pickup.url(name) for name in ("idp", "dispatch")} | {"practice": pickup.settings.learn_url}
    apps = {**pickup.apps, "practice": learn}
    sources = [WsgiSource(name, apps[name], url, network) for name, url in urls.items()]
    made = learn.extensions["collector"] = Collector(learn.extensions["record"], list(sources))
    return made


@pytest.fixture
def cameron(pickup: Pickup, collector: Collector) -> Learner:
    learner = Learner(pickup, collector)
    learner.signs_in_to_both()
    return learner


def test_right_practice_ends_its_session_at_a_logout_elsewhere(cameron: Learner) -> None:
    assert cameron.is_in_practice()
    cameron.logs_out_at_dispatch()
    assert not cameron.is_in_practice()
    assert not any(cameron.ticks()[name] for name in FAULTS), "no lab was started"


def test_faults_are_of_settings_and_conditions_that_exist() -> None:
    assert set(FAULTS) == set(CHECKS) & set(FAULTS)
    for fault in FAULTS.values():
        for setting in ALL:
            assert fault.values.get(setting.name, setting.right) in dict(setting.choices)
        assert set(fault.values) <= set(RIGHT)
        assert set(fault.conditions) <= set(CONDITIONS)


@pytest.mark.thorough
@pytest.mark.parametrize("lab", SESSION_LABS)
def test_lab_is_red_while_its_fault_is_there_and_green_after_it_was_mended(
    lab: str, cameron: Learner, clock: Clock
) -> None:
    cameron.starts(lab)
    cameron.logs_out_at_dispatch()
    assert cameron.is_in_practice(), "the fault keeps the session"
    assert not cameron.ticks()[lab]
    clock.turn(300)  # the IdP has made its further attempts
    cameron.mends(lab)
    assert not cameron.ticks()[lab], "nothing was shown yet"
    cameron.signs_in_to_both()
    cameron.logs_out_at_dispatch()
    assert not cameron.is_in_practice()
    assert [name for name, seen in cameron.ticks().items() if seen and name in FAULTS] == [lab]


def test_stopped_app_gets_the_logout_that_it_missed_without_another_one(cameron: Learner, clock: Clock) -> None:
    cameron.starts("app-stopped")
    cameron.logs_out_at_dispatch()
    cameron.goes("/practice/")
    assert (cameron.browser.page.status, cameron.ticks()["app-stopped"]) == (503, False)
    cameron.mends("app-stopped")
    assert cameron.is_in_practice()
    clock.turn(100)
    cameron.pickup.idp.background.poll()
    settle(cameron.pickup.idp.outbox)
    assert not cameron.is_in_practice()
    assert cameron.ticks()["app-stopped"]


def test_slow_app_is_too_slow_for_the_idp_until_it_was_mended(
    cameron: Learner, clock: Clock, monkeypatch: pytest.MonkeyPatch, network: Network
) -> None:
    slept: list[int] = []
    monkeypatch.setattr(backchannel, "sleep", slept.append)
    receiver = f"{cameron.url}/practice/bclogout"
    cameron.starts("slow-app")
    network.time_out(receiver)  # what the IdP sees of an answer that takes longer than its patience
    cameron.logs_out_at_dispatch()
    network.heal(receiver)
    assert not cameron.ticks()["slow-app"]
    clock.turn(100)
    cameron.pickup.idp.background.poll()
    settle(cameron.pickup.idp.outbox)
    assert slept == [6], "the fault is there"
    assert not cameron.is_in_practice(), "it works slowly, but it works"
    cameron.signs_in_to_both()
    clock.turn(100)
    cameron.mends("slow-app")
    cameron.logs_out_at_dispatch()
    assert slept == [6], "it answers at once"
    assert cameron.ticks()["slow-app"]


def test_silent_tab_is_done_when_a_tab_was_told(cameron: Learner, clock: Clock) -> None:
    cameron.starts("silent-tab")
    cameron.goes("/practice/")
    assert "practice.js" not in cameron.browser.page.html
    cameron.logs_out_at_dispatch()
    assert not cameron.ticks()["silent-tab"]
    clock.turn(10)
    cameron.signs_in_to_both()
    cameron.mends("silent-tab")
    cameron.goes("/practice/")
    assert "practice.js" in cameron.browser.page.html
    cameron.logs_out_at_dispatch()
    assert not cameron.ticks()["silent-tab"]
    assert not cameron.is_in_practice()  # as the tab asks
    assert cameron.ticks()["silent-tab"]


def test_fault_is_only_at_the_practice_of_the_person_who_started_the_lab(
    cameron: Learner, pickup: Pickup, collector: Collector
) -> None:
    alex = Learner(pickup, collector, "alex")
    alex.signs_in_to_both()
    cameron.starts("audience")
    assert alex.settings() == RIGHT
    alex.logs_out_at_dispatch()
    assert not alex.is_in_practice()
    assert cameron.is_in_practice()
    assert not any(alex.ticks()[name] for name in FAULTS)


def test_lab_is_started_and_reset_only_by_a_person_who_is_signed_in(pickup: Pickup, collector: Collector) -> None:
    stranger = Learner(pickup, collector)
    stranger.goes("/labs/audience")
    assert "Sign in to it" in stranger.browser.page.text
    assert not stranger.browser.page.forms
    stranger.goes("/practice/settings")
    assert "Sign in to see yours." in stranger.browser.page.text


@pytest.mark.thorough
@pytest.mark.parametrize("lab", FAULTS)
def test_reset_restores_the_right_settings(lab: str, cameron: Learner) -> None:
    cameron.starts(lab)
    assert cameron.settings() == {**RIGHT, **FAULTS[lab].values}
    cameron.resets(lab)
    cameron.goes("/practice/login")  # a restart has emptied the memory of the app
    assert cameron.settings() == RIGHT
    assert "This lab simulates" not in cameron.browser.page.text
