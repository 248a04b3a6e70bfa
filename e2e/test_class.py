"""A class: two learners at their seats, the instructor's board on the wall, a reset, and the slides."""

import json
import re

import pytest
from playwright.sync_api import Page, expect

from e2e.conftest import NewDevice
from e2e.device import Device
from e2e.operator import Operator, Person
from e2e.record import Record
from e2e.stack import Stack, StackControl

pytestmark = pytest.mark.needs("pickup_idp", "pickup_app")

IN_A_WHILE = 20_000  # milliseconds: the board looks every two seconds, a seat every ten
COMMAND = "import {module}; {module}.create_app().test_cli_runner().invoke(args={arguments}, catch_exceptions=False)"


class Room:
    """What the instructor does on the machine, as scripts/class does it."""

    def __init__(self, stack: Stack, hands: StackControl) -> None:
        self.url, self._hands = stack.learn_url, hands

    def open(self, *people: Person) -> None:
        """Put them on the board."""
        self._run("pickup_learn", "learn", "class", "open", *(person.username for person in people))

    def reset(self, person: Person) -> None:
        """End the person's sessions and clear their ticks."""
        self._run("idp", "idp", "person", "end-sessions", person.username)
        self._run("pickup_learn", "learn", "class", "reset", person.username)

    def _run(self, module: str, service: str, *arguments: str) -> None:
        self._hands.python(service, COMMAND.format(module=module, arguments=json.dumps(arguments)))


class Board:
    """The board on the wall."""

    def __init__(self, tab: Page, url: str) -> None:
        self.tab = tab
        tab.goto(f"{url}/board")
        tab.locator("[data-ready]").wait_for()

    def expect(self, person: Person, step: str, *, done: bool) -> None:
        """The person's cell has its tick, or not."""
        cell = self.tab.locator(f"[data-seat='{person.username}'] [data-step={step}]")
        expect(cell).to_have_text("✓" if done else "", timeout=IN_A_WHILE)


@pytest.fixture
def room(stack: Stack, hands: StackControl, record: Record) -> Room:  # noqa: ARG001 # skips without a record
    return Room(stack, hands)


@pytest.mark.thorough
def test_board_shows_each_seats_steps_and_a_reset_touches_one_seat_only(
    new_device: NewDevice, stack: Stack, room: Room, operator: Operator
) -> None:
    first, second = operator.add_person("Seat One"), operator.add_person("Seat Two")
    room.open(first, second)
    board = Board(new_device(viewport={"width": 1920, "height": 1080}).context.new_page(), room.url)
    learner, neighbour = new_device(), new_device()
    tutorial = learner.context.new_page()
    tutorial.goto(f"{room.url}/tutorial?person={first.username}")
    ticks = tutorial.locator("[data-tick=start]")
    board.expect(first, "start", done=False)

    (page,) = learner.sign_in_at(stack.dispatch, user=first.username, password=first.password)
    board.expect(first, "id-token", done=True)
    board.expect(second, "start", done=False)
    expect(ticks).to_have_attribute("data-done", "")
    (app,) = neighbour.sign_in_at(stack.dispatch, user=second.username, password=second.password)
    app.open_other_app(stack.manager)
    board.expect(second, "single-sign-on", done=True)
    board.expect(first, "single-sign-on", done=False)

    room.reset(first)
    board.expect(first, "id-token", done=False)
    board.expect(second, "single-sign-on", done=True)
    expect(page.signed_out_card).to_be_visible()
    app.expect_signed_in(second.name)
    expect(tutorial.locator("[data-tick][data-done]")).to_have_count(0, timeout=IN_A_WHILE)


def test_slides_are_turned_by_keys_and_their_picture_is_the_running_stack(laptop: Device, stack: Stack) -> None:
    tab = laptop.context.new_page()
    tab.goto(f"{stack.learn_url}/slides")
    number = tab.locator("[data-part=number]")
    expect(number).to_have_text(re.compile("^1 / "))
    for _ in range(2):
        tab.keyboard.press("ArrowRight")
    expect(tab.locator(".slide[data-shown] h2")).to_have_text("Watch it: sign in, then open Manager")
    laptop.sign_in(stack.dispatch, "cameron")
    picture = tab.frame_locator(".slide[data-shown] iframe")
    expect(picture.locator("[data-kind=authorization_response][data-to=dispatch]").first).to_be_visible()
    tab.keyboard.press("Home")
    expect(number).to_have_text(re.compile("^1 / "))
    assert tab.locator("iframe[src]").count() == 0, "a hidden slide follows no stream"
    tab.emulate_media(media="print")
    assert tab.locator(".slide:visible").count() == tab.locator(".slide").count()
