"""Two edges of a server-to-server message are one message; a browser's message has one edge."""

from pickup_learn.join import join, key_of, shown
from tests.learn.rows import Story


def edges() -> tuple[dict, dict]:  # type: ignore[type-arg] # rows
    story = Story()
    story.both("backchannel_logout", "idp ⇒ manager", "abc-1", sid="s")
    return story.rows["idp"][0], story.rows["manager"][0]


def test_both_edges_have_one_key_and_become_one_message() -> None:
    sent, received = edges()
    assert key_of(sent) == key_of(received) == "abc-1"
    message = shown(join(join(None, sent), received))
    assert message["seen_by"] == ["idp", "manager"]
    assert message["title"] == "Logout token"
    assert not {"id", "service", "direction", "edges"} & message.keys()


def test_order_in_which_the_edges_arrive_makes_no_difference() -> None:
    sent, received = edges()
    received |= {"error": "invalid_request", "request": {"headers": {"accept": "*/*"}, "parameters": {}}}
    there, back = join(join(None, sent), received), join(join(None, received), sent)
    assert {**there, "edges": None} == {**back, "edges": None}
    assert there["edges"] == back["edges"]
    assert there["error"] == "invalid_request"
    assert there["request"]["headers"] == {"accept": "*/*"}
    assert there["at"] == sent["at"], "the message began when it was sent"


def test_sender_without_an_answer_says_so_although_the_receiver_answered() -> None:
    sent, received = edges()
    sent |= {"status": None, "outcome": "no_answer"}
    message = join(join(None, received), sent)
    assert message["outcome"] == "no_answer"
    assert message["status"] == 200, "what the receiver answered stays visible"


def test_row_that_is_read_twice_changes_nothing() -> None:
    sent, received = edges()
    message = join(join(None, sent), received)
    assert join(message, received) is message
    assert join(message, sent) is message


def test_browser_messages_are_one_each_also_when_a_reset_begins_the_ids_again() -> None:
    story = Story()
    first = story.add("idp", "sign_in", "browser → idp", trace="abc-1")
    second = story.add("idp", "sign_in", "browser → idp", trace="abc-1")
    assert len({key_of(first), key_of(second), key_of({**second, "id": first["id"]})}) == 3


def test_receiver_knows_best_who_it_is() -> None:
    """A token for another app must not make the message one to that app."""
    sent, received = edges()
    received["client_id"] = "pickup-manager"
    message = join(join(None, {**sent, "to": "dispatch", "client_id": "pickup-dispatch"}), received)
    assert (message["to"], message["client_id"]) == ("manager", "pickup-manager")
