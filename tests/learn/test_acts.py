"""Acts: which messages belong together, and what that is called."""

import random
from typing import Any

import pytest

from pickup_learn import acts
from pickup_learn.join import Message, join, key_of
from tests.learn.rows import SID, SUB, Story, four_clicks


def joined(story: Story) -> list[Message]:
    """The story's messages."""
    messages: dict[str, Message] = {}
    for row in story.all_rows():
        messages[key_of(row)] = join(messages.get(key_of(row)), row)
    return list(messages.values())


def named(story: Story, reasons: dict[str, str] | None = None) -> dict[str, list[str]]:
    """The kinds of each act's messages, by the act's name."""
    messages = joined(story)
    given = acts.assign(messages, reasons or {}, {SUB: "cameron"}, "a1")
    found: dict[str, list[str]] = {}
    for message in acts.in_order(messages):
        found.setdefault(given[message["key"]]["name"], []).append(message["kind"])
    return found


def test_four_clicks_are_three_acts_and_the_background() -> None:
    sign_on = ["authorization_request", "token_request", "userinfo", "authorization_response"]
    assert named(four_clicks()) == {
        "Sign-in at Dispatch": ["start_sign_in", "authorization_request", "sign_in", *sign_on],
        "Single sign-on at Manager": ["start_sign_in", *sign_on],
        "Logout at Dispatch": ["log_out", "logout_request", *["backchannel_logout", "push"] * 2, "logged_out"],
        "Background": ["discovery", "discovery"],
    }


def test_each_act_says_whose_it_is() -> None:
    messages = joined(four_clicks())
    given = acts.assign(messages, {}, {SUB: "cameron"}, "a1")
    people = {(act["name"], act["person"], act["sid"]) for act in given.values()}
    assert people == {
        ("Sign-in at Dispatch", "cameron", SID),
        ("Single sign-on at Manager", "cameron", SID),
        ("Logout at Dispatch", "cameron", SID),
        ("Background", None, None),
    }
    assert len({act["id"] for act in given.values()}) == 4


@pytest.mark.parametrize("seed", range(5))
def test_order_in_which_messages_are_collected_makes_no_difference(seed: int) -> None:
    messages = joined(four_clicks())
    random.Random(seed).shuffle(messages)  # noqa: S311 # a shuffle for a test
    given = acts.assign(messages, {}, {}, "a1")
    assert {act["name"] for act in given.values()} == set(named(four_clicks()))


def test_act_keeps_its_id_when_more_of_it_arrives() -> None:
    messages = acts.in_order(joined(four_clicks()))
    known: dict[str, Any] = {}
    for count in range(1, len(messages) + 1):
        some = [
            {**message, **({"act": known[message["key"]]} if message["key"] in known else {})} for message in messages
        ]
        given = acts.assign(some[:count], {}, {}, f"a{count}")
        for key, act in known.items():
            assert given[key]["id"] == act["id"]
        known = given


def test_retry_is_an_act_of_its_own_and_its_push_belongs_to_it() -> None:
    story = Story()
    story.add("idp", "logout_request", "browser → idp", sid=SID, client_id="pickup-dispatch")
    story.tell("manager", "one", None)
    story.tell("dispatch", "two", 200)
    story.now += 2000
    story.tell("manager", "three", None, attempt=2)
    story.now += 4000
    story.tell("manager", "four", 200, attempt=3)
    story.add("manager", "push", "manager ↠ browser", sid=SID)
    assert named(story) == {
        "Logout at Dispatch": ["logout_request", "backchannel_logout", "backchannel_logout"],
        "Retry 1 to Manager": ["backchannel_logout"],
        "Retry 2 to Manager": ["backchannel_logout", "push"],
    }


def test_request_from_outside_is_an_act_of_its_own_and_no_attempt() -> None:
    """A browser that opens the address has the user's cookie, so the request has the session's sid."""
    story = Story()
    story.add("manager", "backchannel_logout", "outside ⇒ manager", sid=SID, status=405, outcome="refused")
    story.log_out("dispatch", "manager")
    assert named(story) == {
        "Request from outside to Manager": ["backchannel_logout"],
        "Logout at Dispatch": ["log_out", "logout_request", *["backchannel_logout", "push"] * 2, "logged_out"],
    }


@pytest.mark.parametrize(
    ("reason", "name"),
    [
        ("operator", "Logout by an operator"),
        ("user_disabled", "Logout: the account was disabled"),
        ("password_changed", "Logout after a password change"),
        ("idle", "Session ended: unused for too long"),
    ],
)
def test_ending_without_a_browser_is_named_by_its_event(reason: str, name: str) -> None:
    story = Story()
    story.tell("dispatch", "one", 200)
    story.tell("manager", "two", 200)
    assert set(named(story, {SID: reason})) == {name}


def test_two_people_who_log_out_at_once_are_two_acts() -> None:
    story = Story()
    for sid in ("s1", "s2"):
        story.add("idp", "logout_request", "browser → idp", sid=sid, state=sid, client_id="pickup-dispatch")
        story.both("backchannel_logout", "idp ⇒ manager", f"t{sid}-1", sid=sid)
    given = acts.assign(joined(story), {}, {}, "a1")
    assert {act["sid"] for act in given.values()} == {"s1", "s2"}
    assert len({act["id"] for act in given.values()}) == 2


def test_api_request_and_the_token_check_that_it_causes_are_one_act() -> None:
    story = Story()
    story.both("api_request", "dispatch ⇒ manager", "same-1")
    story.both("introspection", "manager ⇒ idp", "same-2")
    assert named(story) == {"API request from Dispatch to Manager": ["api_request", "introspection"]}


def test_sign_in_at_an_app_that_nobody_here_wrote_has_its_name() -> None:
    story = Story()
    story.add("idp", "authorization_request", "browser → idp", state="x", client_id="Fleet-Radio", got={"code": "abc"})
    assert set(named(story)) == {"Sign-in at Fleet-Radio"}
