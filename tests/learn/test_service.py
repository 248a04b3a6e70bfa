"""The pages, the API and the stream of Pickup Learn."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pickup_learn
from pickup_learn import stream
from pickup_learn.stream import news, watch
from pickup_web.database import engine_of
from tests.conftest import close, make_settings
from tests.learn.rows import SID, Story, four_clicks
from tests.learn.services import World


@pytest.mark.parametrize("path", ["/", "/inspector", "/sessions"])
def test_each_page_is_shown(world: World, path: str) -> None:
    answer = world.client.get(path)
    assert answer.status_code == 200
    assert "<h1>" in answer.text


def test_without_the_demo_switch_the_page_says_how_to_turn_it_on_and_nothing_else_exists(tmp_path: Path) -> None:
    app = pickup_learn.create_app(make_settings(tmp_path, demo_events=False))
    client = app.test_client()
    assert "PICKUP_DEMO_EVENTS=true" in client.get("/").text
    for path in ("/inspector", "/sessions", "/api/messages", "/api/stream", "/api/sessions", "/api/tokens"):
        assert client.get(path).status_code == 404
    assert "collector" not in app.extensions
    close(app)


def test_messages_after_a_number_are_the_newer_ones(after_four_clicks: World) -> None:
    everything = after_four_clicks.get("messages")
    numbers = [message["seq"] for message in everything["messages"]]
    assert numbers == sorted(numbers)
    assert everything["last"] >= numbers[-1]
    later = after_four_clicks.get(f"messages?after={numbers[-3]}")
    assert [message["seq"] for message in later["messages"]] == numbers[-2:]
    assert after_four_clicks.get("messages?after=0&limit=2")["last"] == numbers[1]


def test_number_of_before_a_reset_gets_the_newest_messages(after_four_clicks: World) -> None:
    last = after_four_clicks.get("messages")["last"]
    assert len(after_four_clicks.get(f"messages?after={last + 10**9}")["messages"]) == len(four_clicks().keys())


def test_session_map_has_the_session_with_its_apps(after_four_clicks: World) -> None:
    (session,) = after_four_clicks.get("sessions")
    assert (session["sid"], session["person"], session["reason"]) == (SID, "cameron", "Logout")
    assert {app["name"] for app in session["apps"]} == {"dispatch", "manager"}


def test_session_map_shows_the_open_tabs_of_an_active_session(world: World) -> None:
    story = Story()
    story.sign_in("dispatch", asked=True)
    world.tell(story)
    world.sources["dispatch"].open_tabs = {SID: 1}
    world.poll()
    assert world.get("sessions")[0]["apps"][0]["sessions"][0]["tabs"] == 1


def test_each_logout_token_can_be_chosen_and_stands_beside_the_id_token_of_its_session(
    after_four_clicks: World,
) -> None:
    tokens = after_four_clicks.get("tokens")["tokens"]
    assert [token["to"] for token in tokens] == ["dispatch", "manager"], "the newest first"
    found = after_four_clicks.get(f"checks/{tokens[1]['key']}")
    assert (found["receiver"], found["token"]["name"]) == ("manager", "logout_token")
    other = after_four_clicks.get(f"checks/{found['beside']}")
    assert (other["receiver"], other["token"]["name"], other["beside"]) == ("manager", "id_token", found["key"])
    assert other["token"]["claims"]["sid"] == SID


def test_forgery_that_names_no_session_stands_beside_the_receivers_newest_id_token(after_four_clicks: World) -> None:
    story = after_four_clicks.sources["manager"].story
    story.tell("manager", "forged", 400, outcome="refused", error_description="Both sub and sid are missing.", sid=None)
    after_four_clicks.poll()
    found = after_four_clicks.get(f"checks/{after_four_clicks.get('tokens')['tokens'][0]['key']}")
    assert found["refusal"] == "Both sub and sid are missing."
    assert after_four_clicks.get(f"checks/{found['beside']}")["receiver"] == "manager"


def test_inspector_has_the_address_of_the_source_that_each_check_names(after_four_clicks: World) -> None:
    found = re.search(r'data-source="([^"]+)"', after_four_clicks.client.get("/inspector").text)
    assert found
    key = after_four_clicks.get("tokens")["tokens"][0]["key"]
    for check in after_four_clicks.get(f"checks/{key}")["checks"]:
        page = after_four_clicks.client.get(found[1] + check["file"])
        assert f'id="L{check["line"]}"' in page.text


def test_message_without_a_token_has_no_checks(after_four_clicks: World) -> None:
    key = next(one["key"] for one in after_four_clicks.get("messages")["messages"] if one["kind"] == "sign_in")
    for wanted in (key, "nothing"):
        assert after_four_clicks.client.get(f"/api/checks/{wanted}").status_code == 404


def events_of(stream: Iterator[str], count: int) -> list[tuple[str, Any]]:
    """The next events of a stream: name and data."""
    found: list[tuple[str, Any]] = []
    while len(found) < count:
        for part in next(stream).strip().split("\n\n"):
            lines = dict(line.split(": ", 1) for line in part.splitlines())
            if "event" in lines:
                found.append((lines["event"], json.loads(lines["data"])))
    return found


def test_stream_tells_of_messages_events_tabs_services_and_resets_as_they_come(world: World) -> None:
    stream = watch(world.record, world.collector, 0, None)
    assert [name for name, _ in events_of(stream, 1)] == ["services"]
    story = Story()
    story.add("idp", "sign_in", "browser → idp", sid=SID)
    story.event("idp", "op.session.created")
    world.tell(story)
    world.poll()
    (first, message), (second, events) = events_of(stream, 2)
    assert (first, message["kind"], message["act"]["sid"]) == ("message", "sign_in", SID)
    assert (second, [event["name"] for event in events]) == ("events", ["op.session.created"])

    world.sources["manager"].open_tabs = {SID: 1}
    world.poll()
    assert events_of(stream, 1) == [("tabs", {"manager": {SID: 1}})]

    world.sources["idp"].is_down = True
    world.poll()
    ((name, services),) = events_of(stream, 1)
    assert (name, [service["name"] for service in services if not service["up"]]) == ("services", ["idp"])

    world.app.test_cli_runner().invoke(args=["reset"])
    world.sources["idp"].is_down = False
    world.poll()
    assert "reset" in [name for name, _ in events_of(stream, 2)]


def test_stream_begins_behind_the_last_event_that_the_browser_got(after_four_clicks: World) -> None:
    numbers = [message["seq"] for message in after_four_clicks.get("messages")["messages"]]
    stream = watch(after_four_clicks.record, after_four_clicks.collector, numbers[-2], None)
    name, message = events_of(stream, 2)[1]
    assert (name, message["seq"]) == ("message", numbers[-1])


def test_stream_tells_each_of_many_messages_and_events_once(
    after_four_clicks: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "BATCH", 2)
    record = after_four_clicks.record
    numbers = sorted(one["seq"] for one in [*record.messages_after(0), *record.events_after(0)])
    assert [number for number, _ in news(record, 0)] == numbers


def test_stream_tells_a_message_that_comes_while_it_reads(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message and then an event are committed between the two queries."""
    read, story = world.record.messages_after, Story()
    story.add("idp", "sign_in", "browser → idp", sid=SID)
    story.event("idp", "op.session.created")
    world.tell(story)

    def read_and_commit(seq: int, limit: int) -> list[Any]:
        found: list[Any] = read(seq, limit)
        world.poll()
        return found

    monkeypatch.setattr(world.record, "messages_after", read_and_commit)
    told = [*news(world.record, 0)]
    told += news(world.record, max((number for number, _ in told), default=0))
    assert [number for number, _ in told] == sorted(one["seq"] for one in [*read(0), *world.record.events_after(0)])
    assert len(told) == 2, "control: both came"


def test_connection_keeps_little_of_the_database_in_memory(world: World) -> None:
    """Each open page may need one."""
    engine = engine_of(world.app)
    engine.dispose()  # as gunicorn.conf.py does in its worker
    with engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA cache_size").scalar() == -256


@pytest.mark.parametrize("after", ["-1", "-" + "9" * 30, "9" * 30, "9" * 5000, "x", "²"])
def test_any_number_may_be_asked_for(after_four_clicks: World, after: str) -> None:
    client = after_four_clicks.client
    assert client.get("/api/messages", query_string={"after": after}).status_code == 200
    stream = client.get("/api/stream", query_string={"after": after})
    assert stream.status_code == 200
    assert "retry:" in str(next(iter(stream.response)))
    stream.close()
