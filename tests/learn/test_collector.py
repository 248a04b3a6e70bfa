"""The collector: each service may be down, be reset or record nothing, and the others are read all the same."""

import pytest

from pickup_learn import collector, record
from tests.learn.rows import SID, Story, four_clicks
from tests.learn.services import World


def up(world: World) -> dict[str, bool]:
    return {service["name"]: service["up"] for service in world.get("messages")["services"]}


def test_both_edges_of_each_message_are_read_once(world: World) -> None:
    story = four_clicks()
    world.tell(story)
    world.poll()
    world.poll()
    assert len(world.titles()) == len(story.keys())
    both = {message["kind"] for message in world.get("messages")["messages"] if len(message["seen_by"]) == 2}
    assert both == {"discovery", "token_request", "userinfo", "backchannel_logout"}


def test_service_that_is_down_is_noted_and_read_later(world: World) -> None:
    world.tell(four_clicks())
    world.sources["idp"].is_down = True
    world.poll()
    assert up(world) == {"idp": False, "dispatch": True, "manager": True}
    assert "sign_in" not in world.titles()
    assert "log_out" in world.titles()

    world.sources["idp"].is_down = False
    world.poll()
    assert up(world)["idp"]
    assert "sign_in" in world.titles()


def test_newest_open_tabs_of_each_app_are_kept_until_it_is_down(world: World) -> None:
    manager = world.sources["manager"]
    manager.open_tabs = {SID: 1}
    world.poll()
    assert world.collector.tabs() == {"manager": {SID: 1}}
    manager.open_tabs = {}
    world.poll()
    assert world.collector.tabs() == {"manager": {}}
    manager.is_down = True
    world.poll()
    assert world.collector.tabs() == {}


def test_change_of_the_open_tabs_wakes_the_streams_and_no_change_does_not(world: World) -> None:
    world.poll()
    for tabs in ({SID: 1}, {}):
        world.sources["manager"].open_tabs = tabs
        version = world.record.version
        world.poll()
        assert world.record.version == version + 1
        world.poll()
        assert world.record.version == version + 1


def test_after_a_reset_of_a_service_its_new_rows_are_read_although_their_ids_begin_again(world: World) -> None:
    world.tell(four_clicks())
    world.poll()
    later = Story()
    later.now += 3_600_000
    later.sign_in("dispatch", asked=True)
    world.tell(later)
    world.poll()
    # The earlier messages stay. The story's traces are the same each time, so these messages are.
    assert len(world.titles()) == len({*four_clicks().keys(), *later.keys()})


def test_service_that_records_nothing_is_up(world: World) -> None:
    world.tell(four_clicks())
    world.poll()
    world.sources["manager"].has_record = False
    world.poll()
    assert all(up(world).values())


def test_more_rows_than_one_answer_holds_are_read_in_one_poll(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(collector.PAGE, "messages", 3)
    monkeypatch.setitem(collector.PAGE, "events", 2)
    story = four_clicks()
    world.tell(story)
    world.poll()
    assert len(world.titles()) == len(story.keys())
    assert len(world.record.events_after(0)) == sum(len(events) for events in story.events.values())


def test_only_the_newest_messages_are_kept(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "KEEP", 5)
    world.tell(four_clicks())
    world.poll()
    assert len(world.titles()) == 5


def test_after_a_reset_of_its_own_everything_is_read_again_and_open_pages_are_told(world: World) -> None:
    world.tell(four_clicks())
    world.poll()
    world.app.test_cli_runner().invoke(args=["reset"])
    assert world.titles() == []
    world.poll()
    assert len(world.titles()) == len(four_clicks().keys())
    assert world.record.resets == 1


def test_ending_by_an_operator_names_the_act_when_its_event_arrives(world: World) -> None:
    story = Story()
    story.tell("manager", "j1", 200)
    world.tell(story)
    world.poll()
    story.event("idp", "op.session.ended", outcome="operator")
    world.poll()
    acts = {message["act"]["name"] for message in world.get("messages")["messages"]}
    assert acts == {"Logout by an operator"}
    assert {message["act"]["sid"] for message in world.get("messages")["messages"]} == {SID}


def test_row_that_cannot_be_stored_is_left_out_and_later_ones_are_read(world: World) -> None:
    story = four_clicks()
    bad = next(row for row in story.rows["idp"] if row["kind"] == "sign_in")
    bad["sid"] = "\ud800"  # half of a surrogate pair: no database stores it
    world.tell(story)
    world.poll()
    assert len(world.titles()) == len(story.keys()) - 1
    world.poll()
    assert world.record.place("idp/messages") == (story.rows["idp"][-1]["id"], story.rows["idp"][-1]["at"])
