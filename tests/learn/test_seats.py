"""The board: each seat has the ticks of its own messages, and no act of one seat gives or takes a tick of another."""

import json
import re
from typing import Any

import pytest
from click.testing import Result

from pickup_learn import acts, record, seats, tutorial
from pickup_learn.acts import people_in
from pickup_learn.labs import CHECKS
from tests.conftest import Clock
from tests.learn.rows import AT, SID, SUB, Story, four_clicks
from tests.learn.services import World

FOUR_CLICKS = {"start", "password", "code", "id-token", "single-sign-on", "same-sid", "log-out", "order", "push"}
ROUND_MS = 60_000  # from the first message of one person's story to the first of the next


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seats, "PAUSE_SECONDS", 0.0)


def story_of(*names: str) -> Story:
    """Each of them does the four clicks, one after the other."""
    story = Story()
    for round_, name in enumerate(names):
        one = four_clicks()
        for kept, rows in ((story.rows, one.rows), (story.events, one.events)):
            later = ROUND_MS * round_ // (1 if rows is one.rows else 1000)  # events have seconds
            for service, its_rows in rows.items():
                for row in json.loads(renamed(json.dumps(its_rows, ensure_ascii=False), name, round_)):
                    kept[service].append({**row, "id": len(kept[service]) + 1, "at": row["at"] + later})
    return story


def renamed(rows: str, name: str, round_: int) -> str:
    """The rows of another person: own session, state, codes and traces."""
    for old, new in ((SID, f"sid-{name}-{round_}"), (SUB, f"sub-{name}"), ("cameron", name)):
        rows = rows.replace(old, new)
    rows = re.sub(r'"(state-|out-|t)((?:out|dis|man)[^"]*)"', rf'"\1{name}{round_}\2"', rows)
    return re.sub(r'"(\w{3}xyz…)"', rf'"{name}{round_}\1"', rows)


def run(world: World, *arguments: str, lines: str = "") -> Result:
    """``flask class …``."""
    return world.app.test_cli_runner().invoke(args=["class", *arguments], input=lines)


def collect(world: World, story: Story) -> None:
    """The services have recorded this, and Learn has read it."""
    world.tell(story)
    world.poll()


def board(world: World) -> dict[str, set[str]]:
    """The ticks by seat; the empty name is nobody's."""
    return {row["name"]: set(row["done"]) for row in world.get("board")}


def outside(story: Story, **known: Any) -> None:
    """Someone sends garbage to Manager."""
    story.add("manager", "backchannel_logout", "outside ⇒ manager", status=400, outcome="refused", **known)


# --- whose ticks ---


def test_without_a_class_the_board_is_empty(world: World) -> None:
    collect(world, four_clicks())
    assert board(world) == {}
    assert "make class SEATS=30" in world.client.get("/board").text


def test_each_seat_gets_the_ticks_of_its_own_messages(world: World) -> None:
    run(world, "open", "seat01", "seat02", "seat03")
    collect(world, story_of("seat01", "seat02"))
    found = board(world)
    assert list(found) == ["seat01", "seat02", "seat03", ""]
    assert found["seat01"] >= FOUR_CLICKS
    assert found["seat02"] == found["seat01"]
    assert found["seat03"] == found[""] == set()


def test_sign_in_that_is_not_over_ticks_no_other_seat(world: World) -> None:
    """Until the password was accepted, the messages have no person."""
    run(world, "open", "seat01", "seat02")
    story = Story()
    story.add("idp", "authorization_request", "browser → idp", state="s", client_id="pickup-dispatch")
    collect(world, story)
    assert world.get("steps?person=seat01")["steps"]["start"]["seen"] is False
    assert world.get("steps?person=cameron")["steps"]["start"]["seen"] is True


def test_ticks_come_one_by_one_and_stay_when_the_messages_are_deleted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(world, "open", "seat01")
    whole = story_of("seat01", "cameron")
    part = Story()
    part.rows.update({name: rows[:4] for name, rows in whole.rows.items()})
    collect(world, part)
    first = board(world)["seat01"]
    assert first
    collect(world, whole)
    second = board(world)["seat01"]
    assert second > first
    monkeypatch.setattr(record, "KEEP", 1)
    story = story_of("seat01", "cameron", "alex")
    collect(world, story)
    assert len(world.record.newest()) <= 2
    assert board(world)["seat01"] == second


def test_requests_from_outside_are_nobodys_on_the_board_and_everybodys_in_the_browser(world: World) -> None:
    """curl sends them without an account, so no one knows whose they are."""
    run(world, "open", "seat01", "seat02")
    story = story_of("seat01")
    outside(story)
    collect(world, story)
    found = board(world)
    assert found[""] == {"garbage"}
    assert "garbage" not in found["seat01"]
    assert world.get("steps?person=seat02")["steps"]["garbage"]["seen"] is True


def test_nobody_acts_in_the_name_of_another_seat(world: World) -> None:
    """A request from outside may claim any ``sub`` and name; it is nobody's all the same."""
    run(world, "open", "seat01", "seat02")
    story = story_of("seat01")
    claims = {"sub": "sub-seat01", "preferred_username": "seat02", "sid": "sid-seat01-0"}
    token = {"name": "logout_token", "where": "request", "header": {"alg": "none"}, "claims": claims}
    outside(story, sub="sub-seat01", sid="sid-seat01-0", tokens=[token])
    collect(world, story)
    before = board(world)
    assert "unsigned" in before[""]
    assert before["seat02"] == set()
    collect(world, story_of("seat01", "seat01"))
    assert board(world)["seat02"] == set(), "the name of a sub is still the one that the IdP told"


def test_name_is_learnt_from_the_idps_answers_only() -> None:
    token = {"name": "id_token", "where": "response", "claims": {"sub": "s", "preferred_username": "seat01"}}
    message: dict[str, Any] = {"to": "idp", "tokens": [token], "response": {}}
    assert people_in(message) == {"s": "seat01"}
    assert people_in({**message, "tokens": [{**token, "where": "request"}]}) == {}
    assert people_in({**message, "to": "manager"}) == {}


# --- reset ---


def test_reset_clears_one_seat_and_no_other(world: World, clock: Clock) -> None:
    run(world, "open", "seat01", "seat02")
    collect(world, story_of("seat01", "seat02"))
    before = board(world)
    clock.turn(2 * ROUND_MS / 1000)
    assert run(world, "reset", "seat01").output.endswith("seat01: its ticks are cleared\n")
    assert board(world) == {**before, "seat01": set()}
    answer = world.get("steps?person=seat01&since=0")
    assert not any(step["seen"] for step in answer["steps"].values())
    assert answer["since"] == AT + 2 * ROUND_MS, "the learner's browser clears its own ticks by this"
    assert world.get("steps?person=seat02")["since"] == AT


def test_late_messages_of_a_session_before_the_reset_give_no_tick(world: World, clock: Clock) -> None:
    """The reset ends the sessions, and the IdP may need several tries to tell the apps."""
    run(world, "open", "seat01")
    story = story_of("seat01")
    collect(world, story)
    clock.turn(ROUND_MS / 1000)
    run(world, "reset", "seat01")
    late = story_of("seat01")
    late.now += 2 * ROUND_MS
    late.tell("manager", "late", status=200, sid="sid-seat01-0", sub="sub-seat01")
    collect(world, late)
    assert board(world)["seat01"] == set()
    collect(world, story_of("seat01", "seat01"))
    assert board(world)["seat01"] >= FOUR_CLICKS, "a new session counts"


def test_unknown_seat_cannot_be_reset(world: World) -> None:
    result = run(world, "reset", "seat99")
    assert result.exit_code != 0
    assert "There is no seat 'seat99'." in result.output


# --- the sheet ---


def test_sheet_has_a_card_for_each_new_seat_only(world: World) -> None:
    sheet = run(world, "open", "seat01", "seat02", lines="seat02 amber-apple-0002\n").output
    assert sheet.count("<section") == 1
    assert "amber-apple-0002" in sheet
    assert f"{world.app.jinja_env.globals['addresses']['learn']}/tutorial?person=seat02" in sheet  # type: ignore[index]
    assert sheet.count("<svg") == 1
    assert list(board(world)) == ["seat01", "seat02", ""]


def test_opening_again_keeps_ticks_and_prints_nothing(world: World) -> None:
    run(world, "open", "seat01")
    collect(world, story_of("seat01"))
    before = board(world)["seat01"]
    assert "<section" not in run(world, "open", "seat01", "seat02").output
    assert board(world)["seat01"] == before


def test_no_page_shows_a_password(world: World) -> None:
    run(world, "open", "seat01", lines="seat01 amber-apple-0001\n")
    for path in ("/board", "/api/board", "/tutorial?person=seat01"):
        assert "amber-apple" not in world.client.get(path).text


# --- the page ---


def test_board_has_a_column_for_each_step_and_each_lab(world: World) -> None:
    columns = re.findall(r'data-step="([a-z0-9-]+)"', world.client.get("/board").text)
    assert columns == [step.name for chapter in tutorial.chapters() for step in chapter.steps] + list(CHECKS)


def test_board_is_computed_once_for_all_who_look(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seats, "PAUSE_SECONDS", 60.0)
    run(world, "open", "seat01")
    asked: list[int] = []
    found = world.record.people_since

    def people_since(seq: int) -> Any:
        asked.append(seq)
        return found(seq)

    monkeypatch.setattr(world.record, "people_since", people_since)
    first = world.client.get("/api/board")
    assert world.client.get("/api/board", headers={"If-None-Match": first.headers["ETag"]}).status_code == 304
    assert len(asked) == 1


def test_after_a_reset_of_learn_the_board_begins_again(world: World) -> None:
    run(world, "open", "seat01")
    collect(world, story_of("seat01"))
    assert board(world)["seat01"]
    world.app.test_cli_runner().invoke(args=["reset"])
    assert board(world) == {}


def test_person_of_an_act_from_outside_is_unknown() -> None:
    story = four_clicks()
    outside(story, sub=SUB)
    collected = [{**row, "key": str(row["id"]), "edges": {}} for row in story.rows["manager"][-1:]]
    (act,) = acts.assign(collected, {}, {SUB: "cameron"}, "a1").values()
    assert act["person"] is None
