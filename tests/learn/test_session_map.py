"""The session map: what is over, what should be over and is not, and why."""

from typing import Any

from pickup_learn.session_map import Tabs, sessions
from tests.learn.rows import AT, SID, SUB, Story, four_clicks


def mapped(story: Story, tabs: Tabs | None = None) -> dict[str, Any]:
    """The one session of the story."""
    events = [
        {**event, "service": service, "seq": number}
        for service, events in story.events.items()
        for number, event in enumerate(events, 1)
    ]
    (found,) = sessions(events, story.all_rows(), {SUB: "cameron"}, tabs or {})
    return found


def test_session_in_which_two_apps_take_part() -> None:
    story = Story()
    story.sign_in("dispatch", asked=True)
    story.sign_in("manager", asked=False)
    found = mapped(story)
    assert (found["sid"], found["person"], found["ended_at"], found["reason"]) == (SID, "cameron", None, None)
    assert found["started_at"] == AT
    assert [(app["label"], app["delivery"]) for app in found["apps"]] == [("Dispatch", None), ("Manager", None)]
    assert all(app["sessions"] == [{"started_at": AT, "ended_at": None, "tabs": None}] for app in found["apps"])


def test_after_the_logout_everything_is_over() -> None:
    found = mapped(four_clicks())
    assert found["reason"] == "Logout"
    assert all(session["ended_at"] and session["tabs"] == 1 for app in found["apps"] for session in app["sessions"])
    assert {app["delivery"]["state"] for app in found["apps"]} == {"delivered"}


def test_active_session_of_an_app_shows_how_many_browsers_have_a_tab_open() -> None:
    """Manager says that it has none in this session; an app that says nothing has no number."""
    story = Story()
    story.sign_in("dispatch", asked=True)
    story.sign_in("manager", asked=False)
    found = mapped(story, {"dispatch": {SID: 1, "another session": 5}, "manager": {}})
    assert [app["sessions"][0]["tabs"] for app in found["apps"]] == [1, 0]
    found = mapped(story, {"manager": {SID: 2}})
    assert [app["sessions"][0]["tabs"] for app in found["apps"]] == [None, 2]


def test_second_sign_in_takes_the_open_tab_with_it() -> None:
    story = Story()
    story.sign_in("dispatch", asked=True)
    story.event("dispatch", "rp.session.created", client_id="pickup-dispatch")
    (app,) = mapped(story, {"dispatch": {SID: 1}})["apps"]
    assert [bool(session["ended_at"]) for session in app["sessions"]] == [True, False]
    assert [session["tabs"] for session in app["sessions"]] == [None, 1]


def test_stream_that_is_not_closed_yet_does_not_count_after_the_end() -> None:
    found = mapped(four_clicks(), {"dispatch": {SID: 7}, "manager": {SID: 7}})
    assert [app["sessions"][0]["tabs"] for app in found["apps"]] == [1, 1]


def test_app_that_is_down_is_not_over_and_says_when_it_is_told_again() -> None:
    story = four_clicks()
    story.events["manager"] = story.events["manager"][:1]  # it was told nothing
    story.tell("manager", "late", None, attempt=3, next_try_at=AT // 1000 + 4)
    manager = next(app for app in mapped(story)["apps"] if app["name"] == "manager")
    assert manager["sessions"][0]["ended_at"] is None
    assert manager["delivery"] == {"state": "waiting", "attempt": 3, "next_at": AT + 4000, "why": "no answer"}


def test_app_that_records_nothing_itself_is_known_from_the_idp() -> None:
    story = Story()
    story.event("idp", "op.session.created")
    story.event("idp", "op.id_token.issued", client_id="fleet-radio")
    story.event("idp", "op.session.ended", outcome="logout")
    story.event("idp", "op.logout.refused", client_id="fleet-radio", outcome="refused", detail={"answer": "bad token"})
    (app,) = mapped(story)["apps"]
    assert (app["name"], app["delivery"]["state"], app["delivery"]["why"]) == (
        "fleet-radio",
        "failed",
        "refused: bad token",
    )
    assert app["sessions"][0]["ended_at"] is None


def test_tokens_end_with_the_session_but_for_offline_ones() -> None:
    for scope, alive in (("openid", False), ("openid offline_access", True)):
        story = four_clicks()
        for row in story.all_rows():
            if row["kind"] == "token_request":
                row["response"]["parameters"] = {"access_token": "abc…", "refresh_token": "def…", "scope": scope}
        found = mapped(story)["tokens"]
        assert (found["alive"], bool(found["offline"])) == (alive, alive)
