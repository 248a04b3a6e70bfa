"""The open tab: an event stream that says "signed out", and why, the moment the session ends."""

import json
import re
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from relying_party import live
from relying_party.incoming import is_closed
from relying_party.live import HEARTBEAT_SECONDS, LOOK_SECONDS, STREAM_SECONDS
from relying_party.sessions import IDLE_SECONDS, TOUCH_SECONDS
from tests.conftest import START, Clock
from tests.relying_party.conftest import COOKIE, Shop, who


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The stream's pauses: each is written down, takes no time, and turns the stream's own clock."""
    taken: list[float] = []
    monkeypatch.setattr(time, "sleep", taken.append)
    monkeypatch.setattr(time, "monotonic", lambda: sum(taken))
    return taken


def watch(shop: Shop) -> Iterator[str]:
    """The stream of the one session there is."""
    (row,) = shop.rows()
    return live.watch(shop.state.sessions, row.id_hash, None)


def stream(browser: FlaskClient, *, threads: bool = True) -> TestResponse:
    """The stream, not read yet, of a server that has threads or has none."""
    return browser.get("/session/live", buffered=False, environ_overrides={"wsgi.multithread": threads})


def is_signed_in(browser: FlaskClient) -> bool:
    """What a tab learns that asks."""
    return bool(json.loads(browser.get("/session/status").text)["signed_in"])


def events_in(text: str) -> list[tuple[str, Any]]:
    """The named events of a stream."""
    blocks = [dict(line.split(": ", 1) for line in block.split("\n") if line) for block in text.split("\n\n") if block]
    return [(block["event"], json.loads(block["data"])) for block in blocks if "event" in block]


def test_the_stream_says_signed_out_and_why_once_the_row_ends(
    shop: Shop, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The logout token comes at any worker; the stream looks at the row, and sees it at its next look."""
    shop.sign_in()
    told = watch(shop)
    assert next(told) == "retry: 1000\n\n"

    def logout_comes_meanwhile(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            shop.log_out(shop.provider.maker().logout_token(reason_user={"en": "You logged out of Dispatch."}))

    monkeypatch.setattr(time, "sleep", logout_comes_meanwhile)
    (only,) = told
    assert events_in(only) == [("signed-out", {"reason": "You logged out of Dispatch.", "at": START})]
    assert pauses == [LOOK_SECONDS] * 3, "it looks often enough for nobody to notice the delay"


def test_control_a_living_session_gets_heartbeats_and_nothing_else(shop: Shop, pauses: list[float]) -> None:
    """The stream ends by itself after a while, without saying anything: the browser connects anew."""
    shop.sign_in()
    told = list(watch(shop))
    assert set(told[1:]) == {live.event("beat", {})}, "an event, not a comment: the tab notices when they stop"
    assert len(told) - 1 == STREAM_SECONDS // HEARTBEAT_SECONDS - 1
    assert sum(pauses) == STREAM_SECONDS


def test_an_open_tab_does_not_keep_the_session_alive(shop: Shop, pauses: list[float], clock: Clock) -> None:
    """RP-26: the stream looks, and does not touch; who went away is signed out, tab or no tab."""
    shop.sign_in()
    told = watch(shop)
    next(told)
    clock.turn(IDLE_SECONDS)
    assert events_in(next(told)) == [("signed-out", {"reason": "Your session expired.", "at": START + IDLE_SECONDS})]
    assert pauses == []


@pytest.mark.parametrize("look", ["stream", "status"])
def test_looking_is_no_use_of_the_session(look: str, shop: Shop, clock: Clock) -> None:
    """RP-26: a tab that connects anew every few minutes, or asks every two seconds, does not keep it alive either."""
    browser = shop.sign_in()
    while clock() < START + IDLE_SECONDS - TOUCH_SECONDS:
        clock.turn(TOUCH_SECONDS + 1)
        if look == "stream":
            stream(browser).close()
        else:
            assert is_signed_in(browser)
    clock.turn(TOUCH_SECONDS)
    assert browser.get("/session/status").json["reason"] == "Your session expired."  # type: ignore[index]


def test_a_session_that_was_cleaned_away_is_over(shop: Shop, pauses: list[float]) -> None:  # noqa: ARG001 # no waiting
    """A row that is gone is an end, not a fault."""
    assert events_in(list(live.watch(shop.state.sessions, "no such key", None))[1])[0][0] == "signed-out"


def test_the_answer_is_a_stream_that_nobody_stores_or_holds_back(shop: Shop) -> None:
    """The media type of EventSource; no cache, no proxy's buffer."""
    response = stream(shop.sign_in())
    assert response.mimetype == "text/event-stream"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-Accel-Buffering"] == "no"
    response.close()


def test_a_browser_that_is_signed_out_hears_it_at_once(shop: Shop) -> None:
    """The page was old already when it opened the stream: the reason of its own session is told."""
    browser = shop.sign_in()
    shop.log_out(shop.provider.maker().logout_token(reason_user={"en": "Because."}))
    assert events_in(stream(browser).text) == [("signed-out", {"reason": "Because.", "at": START})]
    stranger = stream(shop.browser()).text
    assert events_in(stranger) == [("signed-out", {"reason": "You are logged out.", "at": None})]


def test_streams_are_bounded_and_the_others_ask(shop: Shop) -> None:
    """Each stream holds a thread: some are always left for pages. Who gets no stream may ask for the status."""
    browser = shop.sign_in()
    streams = [stream(browser) for _ in range(shop.state.config.live_streams)]
    refused = stream(browser)
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "2")
    assert is_signed_in(browser)
    assert who(browser) == "a user"
    streams.pop().close()
    streams.append(again := stream(browser))
    assert again.status_code == 200, "a closed tab gives its place back"
    for response in streams:
        response.close()


def test_a_server_without_threads_carries_no_streams(shop: Shop) -> None:
    """One open tab would be the only one it ever answers; so its tabs ask."""
    browser = shop.sign_in()
    refused = stream(browser, threads=False)
    assert (refused.status_code, refused.headers["Cache-Control"]) == (503, "no-store")
    assert is_signed_in(browser)


def test_a_stream_that_ends_gives_its_place_back(shop: Shop) -> None:
    """However it ends: twice as many ended streams as there are places leave every place free."""
    browser = shop.sign_in()
    shop.log_out(shop.provider.maker().logout_token())
    for _ in range(2 * shop.state.config.live_streams):
        response = stream(browser)
        assert response.status_code == 200
        response.close()


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (
            lambda shop: shop.log_out(shop.provider.maker().logout_token()),
            "Your session was ended at the identity provider (IdP).",
        ),
        (lambda shop: shop.log_out(shop.provider.maker().logout_token(reason_user={"en": "Why."})), "Why."),
    ],
    ids=["no-reason-given", "reason-given"],
)
def test_the_status_says_the_same(end: Callable[[Shop], Any], reason: str, shop: Shop) -> None:
    """For asking now and then; not to be stored."""
    browser = shop.sign_in()
    response = browser.get("/session/status")
    assert json.loads(response.text)["signed_in"] is True
    assert response.headers["Cache-Control"] == "no-store"
    end(shop)
    assert browser.get("/session/status").json == {"signed_in": False, "reason": reason, "at": START}


def test_a_page_for_a_signed_in_person_brings_both_cards_and_another_page_neither(shop: Shop) -> None:
    """The script only swaps what is in the document; without a session there is nothing to watch."""
    page = shop.sign_in().get("/profile").text
    assert 'data-live="/session/live"' in page
    assert 'data-status="/session/status"' in page
    assert "live.js" in page
    assert "live.js" not in shop.browser().get("/logged-out").text


def test_the_kept_input_card_has_one_primary_button(shop: Shop) -> None:
    """Throwing text away must not look like the way on."""
    card = shop.sign_in().get("/profile").text.partition('<template id="kept-input">')[2].partition("</template>")[0]
    assert re.findall(r'<button class="([^"]+)"', card) == ["button", "button quiet"]


# --- what was typed belongs to one person ---


def marks(page: str) -> dict[str, str]:
    """By what the page's script tells persons and sessions apart."""
    return dict(re.findall(r'data-(person|session)="([0-9a-f]{32})"', page))


def test_the_page_says_whose_it_is_without_saying_who(shop: Shop) -> None:
    """What one person typed is never offered to another one; the marks are hashes."""
    browser = shop.sign_in(sub="Ann", sid="s 1")
    cookie = browser.get_cookie(COOKIE, "shop.example")
    assert cookie
    first = marks(browser.get("/profile").text)
    assert set(first) == {"person", "session"}
    assert marks(browser.get("/profile").text) == first, "they stay while the session lives"
    assert json.loads(browser.get("/session/status").text) == {"signed_in": True, **first}
    assert cookie.value not in browser.get("/profile").text
    key = shop.rows()[0].id_hash
    assert key not in browser.get("/profile").text


def test_the_same_person_has_the_same_mark_and_nobody_else_has(shop: Shop) -> None:
    """By issuer and subject; the session's mark is new with each sign-in."""
    ann, again, bob = (marks(shop.sign_in(sub=sub).get("/profile").text) for sub in ("Ann", "Ann", "Bob"))
    assert ann["person"] == again["person"] != bob["person"]
    assert len({ann["session"], again["session"], bob["session"]}) == 3


def test_a_signed_out_answer_holds_no_marks(shop: Shop) -> None:
    """Whoever asks without a session learns nothing about the one before."""
    browser = shop.sign_in()
    shop.log_out(shop.provider.maker().logout_token())
    assert set(json.loads(browser.get("/session/status").text)) == {"signed_in", "reason", "at"}


def test_pages_of_somebody_who_is_signed_in_are_not_stored(shop: Shop) -> None:
    """BCL-57: the Back button must not bring them out of a cache; a page that says otherwise keeps its word."""
    browser = shop.sign_in()
    assert browser.get("/profile").headers["Cache-Control"] == "no-store"
    assert "Cache-Control" not in shop.browser().get("/").headers
    script = browser.get("/rp-static/live.js")
    assert script.headers["Cache-Control"] == "no-cache", "what Flask says for files"
    script.close()


def test_a_tab_that_has_gone_gives_its_place_back_at_the_next_look() -> None:
    """An open stream holds a thread; somebody who flicks through pages must not use them all up."""
    ours, browsers = socket.socketpair()
    with ours, browsers:
        assert not is_closed(ours), "the tab is there, and has nothing to say"
        browsers.close()
        assert is_closed(ours), "the tab is gone"
    assert is_closed(ours), "a connection that is broken is no better"
    assert not is_closed(None), "a server that does not show the connection: the heartbeat will tell"
