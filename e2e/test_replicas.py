"""Several replicas of each service: one may be killed or replaced at any moment, and the others continue its work."""

import re
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from html import unescape
from urllib.parse import urlsplit

import pytest
import requests

from e2e.apps import App
from e2e.conftest import Figure
from e2e.pages.profile import ProfilePage
from e2e.plain import http, is_signed_in, wait_until_signed_out
from e2e.plain_browser import PlainBrowser, form_of
from e2e.record import Record
from e2e.replicas import Replica, Stream, replicas_of
from e2e.stack import ComposeHands, Stack, StackControl

pytestmark = [pytest.mark.needs("pickup_idp", "pickup_app"), pytest.mark.replicas]

SERVICES = ("idp", "dispatch", "manager")
BROWSERS = 20
IN_A_WHILE = 40  # seconds: a delivery that a killed replica had claimed is free after 20
TAB_SECONDS = 3  # until an open tab knows
RELOAD_SECONDS = 30  # how soon a process of the IdP reads the keys again
START_SECONDS = 60  # PostgreSQL on a busy machine
HEALTHCHECK = "python -IS scripts/healthcheck.py"
SENTENCE = "The database does not answer at the moment."


@pytest.fixture(autouse=True)
def replicas(stack: Stack) -> dict[str, list[Replica]]:
    """By service."""
    found = {service: replicas_of(stack, service) for service in SERVICES}
    if not all(len(each) > 1 for each in found.values()):
        pytest.skip("not applicable: the services have replicas (make up SCALE=2)")
    return found


class Person:
    """A person with a browser, who signs in at Dispatch, opens Manager and logs out."""

    def __init__(self, stack: Stack, user: str = "cameron", at_callback: Callable[[], None] = lambda: None) -> None:
        self._stack, self._user, self._at_callback = stack, user, at_callback
        self.browser = PlainBrowser(before_redirect=self._look)

    def _look(self, address: str) -> None:
        if urlsplit(address).path.endswith("/oauth2client"):
            self._at_callback()

    def sign_in(self) -> None:
        """At Dispatch, with the password."""
        page = self.browser.open(self._stack.dispatch.url + self._stack.dispatch.front)
        self.give_password(page)

    def give_password(self, page: requests.Response) -> None:
        """On the IdP's page."""
        self.expect(self.browser.send(page, username=self._user, password=self._stack.password), self._stack.dispatch)

    def open(self, app: App) -> None:
        """A page that needs a session; the first time without the password."""
        self.expect(self.browser.open(app.url + app.front), app)

    def log_out(self) -> None:
        """At Dispatch."""
        page = self.browser.open(self._stack.dispatch.url + self._stack.dispatch.front)
        token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page.text)
        assert token, f"no form to log out at {page.url}, which has status {page.status_code}"
        done = self.browser.post(f"{self._stack.dispatch.url}/logout", csrf_token=token[1])
        assert done.status_code == 200, f"logging out: {done.url} has status {done.status_code}"

    def cookie(self, app: App) -> str:
        """Of the session at the app."""
        return self.browser.cookie(app.url)

    @staticmethod
    def expect(page: requests.Response, app: App) -> None:
        """The app's page, and no error page."""
        assert page.status_code == 200, f"{page.url} has status {page.status_code}: {page.text[-600:]}"
        assert page.url.startswith(app.url), f"the sign-in ended at {page.url}"


def sid_of(person: Person, app: App) -> str:
    """The session's name, from the claims on the profile page."""
    page = person.browser.open(app.url + ProfilePage.PATH)
    found = re.search(r'"sid": "([^"]+)"', unescape(page.text))
    assert found, f"the profile page of {app.title} shows no sid: status {page.status_code}"
    return found[1]


def one_that_wrote(replicas: list[Replica], *words: str) -> Replica:
    """The first replica with such a line in its log. Docker may show a line a moment later."""
    deadline = time.monotonic() + IN_A_WHILE
    while not (found := [each for each in replicas if each.wrote(*words)]):
        assert time.monotonic() < deadline, f"no replica wrote {words}"
        time.sleep(0.1)  # between two looks
    return found[0]


# --- a replica is killed ---


@pytest.mark.parametrize("service", ["idp", "dispatch"])
@pytest.mark.parametrize("number", [0, 1])
def test_replica_killed_in_the_middle_of_a_sign_in(
    stack: Stack, replicas: dict[str, list[Replica]], service: str, number: int
) -> None:
    person = Person(stack)
    page = person.browser.open(stack.dispatch.url + stack.dispatch.front)
    assert form_of(page).was_found, "the IdP asks for the password"
    with replicas[service][number].killed():
        person.give_password(page)
        person.open(stack.manager)
        person.log_out()


@pytest.mark.parametrize("service", ["idp", "dispatch"])
def test_replica_killed_between_the_code_and_the_token(
    stack: Stack, replicas: dict[str, list[Replica]], service: str
) -> None:
    killed = ExitStack()
    with killed:
        person = Person(stack, at_callback=lambda: killed.enter_context(replicas[service][0].killed()))
        person.sign_in()
        person.log_out()


def test_replica_killed_between_a_logout_and_its_delivery(
    stack: Stack, replicas: dict[str, list[Replica]], record: Record, hands: StackControl
) -> None:
    """The replica has claimed the delivery and waits for the answer. Another one delivers it."""
    person = Person(stack)
    person.sign_in()
    person.open(stack.manager)
    sid, cookie = sid_of(person, stack.manager), person.cookie(stack.manager)
    with hands.frozen("manager"):
        person.log_out()
        claimant = one_that_wrote(replicas["idp"], "op.logout.queued", sid)
        claimant.kill()
    try:
        wait_until_signed_out(stack.manager, cookie, within=IN_A_WHILE)
        delivered = record.wait_for(
            "idp", "op.logout.delivered", sid=sid, client_id="pickup-manager", within=IN_A_WHILE
        )
        assert delivered.client_id == "pickup-manager"
        assert one_that_wrote(replicas["idp"], "op.logout.delivered", sid, '"pickup-manager"') != claimant
        assert not is_signed_in(stack.manager, cookie)
    finally:
        claimant.start()


# --- all replicas are one service ---


def test_open_tabs_at_each_replica_notice_the_logout(stack: Stack, replicas: dict[str, list[Replica]]) -> None:
    """One replica receives the logout token. The others read the session's row."""
    person = Person(stack)
    person.sign_in()
    person.open(stack.manager)
    cookie = person.cookie(stack.manager)
    streams = [Stream(each.url(f"{stack.manager.url}/session/live"), cookie) for each in replicas["manager"]]
    for stream in streams:
        stream.wait_for("event: beat", TAB_SECONDS)
    person.log_out()
    for stream in streams:
        stream.wait_for("event: signed-out", TAB_SECONDS)


def test_keys_rotated_at_one_replica_are_published_by_the_others(
    stack: Stack, replicas: dict[str, list[Replica]], hands: StackControl
) -> None:
    def kids(replica: Replica) -> frozenset[str]:
        # Over a connection of its own, so that either of its two workers may answer.
        answer = http.get(replica.url(f"{stack.idp_url}/oauth2/jwks"), headers={"Connection": "close"})
        return frozenset(key["kid"] for key in answer.json()["keys"])

    def all_kids() -> set[frozenset[str]]:
        return {kids(each) for each in replicas["idp"] for _ in range(10)}

    before = kids(replicas["idp"][0])
    hands.python("idp", "import idp; idp.create_app().test_cli_runner().invoke(args=['keys', 'rotate'])")
    deadline = time.monotonic() + RELOAD_SECONDS + 5
    while len(published := all_kids()) > 1 or before in published:
        assert time.monotonic() < deadline, f"the replicas do not publish the same new keys: {published}"
        time.sleep(1)  # between two looks
    person = Person(stack)
    person.sign_in()
    person.log_out()


def test_flow_page_shows_the_messages_of_all_replicas(stack: Stack, replicas: dict[str, list[Replica]]) -> None:
    marks = [secrets.token_hex(8) for _ in replicas["idp"]]
    for replica, mark in zip(replicas["idp"], marks, strict=True):
        http.get(replica.url(f"{stack.idp_url}/oauth2/authorize?client_id=pickup-dispatch&state={mark}"))
    deadline = time.monotonic() + 15
    while missing := [mark for mark in marks if mark not in http.get(f"{stack.learn_url}/api/messages").text]:
        assert time.monotonic() < deadline, f"Learn did not collect {len(missing)} of {len(marks)} messages"
        time.sleep(0.5)  # between two looks


# --- under load ---


class Crowd:
    """People who sign in and out until told to stop."""

    def __init__(self, stack: Stack) -> None:
        self._stack, self._over, self._may_begin = stack, threading.Event(), threading.Event()
        self._may_begin.set()
        self._visitors: set[int] = set()
        self.faults: list[str] = []
        self.ended: list[str] = []  # cookies of Manager's sessions after the logout
        self._threads = [threading.Thread(target=self._run, args=[number]) for number in range(BROWSERS)]

    def __enter__(self) -> "Crowd":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._may_begin.set()
        for thread in self._threads:
            thread.join()

    def rest(self) -> None:
        """Let no new visit begin, and wait until those under way have ended."""
        self._may_begin.clear()
        deadline = time.monotonic() + IN_A_WHILE
        while self._visitors:
            assert time.monotonic() < deadline, "a visit does not end"
            time.sleep(0.1)  # between two looks

    def go_on(self) -> None:
        """The end of :meth:`rest`."""
        self._may_begin.set()

    def wait_for_logouts(self, number: int) -> None:
        """Wait until so many more visits have ended with a logout."""
        wanted, deadline = len(self.ended) + number, time.monotonic() + IN_A_WHILE
        while len(self.ended) < wanted:
            assert time.monotonic() < deadline, f"only {len(self.ended)} logouts instead of {wanted}: {self.faults}"
            time.sleep(0.1)  # between two looks

    def _run(self, number: int) -> None:
        self._over.wait(number / 2)  # people do not come at the same moment
        while not self._over.is_set():
            self._visitors.add(number)  # before it looks, so that rest() never misses a visit
            if self._may_begin.is_set():
                try:
                    self._visit("cameron" if number % 2 else "alex")
                except (AssertionError, requests.RequestException) as fault:
                    self.faults.append(str(fault))
            self._visitors.discard(number)
            self._may_begin.wait()
            self._over.wait(4)

    def _visit(self, user: str) -> None:
        person = Person(self._stack, user)
        person.sign_in()
        person.open(self._stack.manager)
        cookie = person.cookie(self._stack.manager)
        self._over.wait(1)
        person.log_out()
        self.ended.append(cookie)


def wait_until_healthy(hands: ComposeHands) -> None:
    """Each replica says that its database answers. Nothing is started again."""
    deadline = time.monotonic() + START_SECONDS
    for container in [one for service in SERVICES for one in hands.containers(service)]:
        while hands.docker("exec", container, "sh", "-c", f"{HEALTHCHECK} && echo yes || echo no").strip() != "yes":
            assert time.monotonic() < deadline, f"{container} does not recover"
            time.sleep(0.5)  # between two looks


def test_rolling_restart_of_every_service_fails_no_request_and_loses_no_logout(
    stack: Stack, hands: StackControl, figure: Figure
) -> None:
    assert isinstance(hands, ComposeHands)
    with Crowd(stack) as crowd:
        for service in SERVICES:
            hands.roll(service)
    assert "\n".join(crowd.faults) == ""
    for cookie in crowd.ended:
        wait_until_signed_out(stack.manager, cookie, within=IN_A_WHILE)
    assert len(crowd.ended) >= BROWSERS
    figure("sign-ins and logouts during a rolling restart", str(len(crowd.ended)))


def test_postgresql_restarted_under_load_gives_clear_errors_and_recovers(stack: Stack, hands: StackControl) -> None:
    assert isinstance(hands, ComposeHands)
    (postgres,) = hands.containers("postgres")
    person = Person(stack)
    person.sign_in()
    with Crowd(stack) as crowd:
        crowd.wait_for_logouts(3)
        hands.docker("stop", postgres)
        pages = [
            person.browser.open(url)
            for url in (f"{stack.dispatch.url}/bookings", f"{stack.idp_url}/oauth2/authorize?client_id=pickup-dispatch")
        ]
        hands.docker("start", postgres)
        wait_until_healthy(hands)
        crowd.rest()  # visits that were interrupted end
        crowd.faults.clear()
        crowd.go_on()
        crowd.wait_for_logouts(BROWSERS)
    assert [(page.status_code, SENTENCE in page.text) for page in pages] == [(503, True)] * len(pages)
    assert "\n".join(crowd.faults) == "", "everyone can sign in again"
    for cookie in crowd.ended:
        wait_until_signed_out(stack.manager, cookie, within=IN_A_WHILE)
    person.log_out()
