"""The open tab: an event stream that reports the end of the session, and its reason, immediately."""

import json
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from relying_party import live
from relying_party.live import HEARTBEAT_SECONDS, LOOK_SECONDS, STREAM_SECONDS
from relying_party.sessions import IDLE_SECONDS, TOUCH_SECONDS
from tests.conftest import START, Clock
from tests.relying_party.conftest import COOKIE, Shop, who


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The stream's pauses: each is recorded, takes no time, and advances the stream's clock."""
    taken: list[float] = []
    monkeypatch.setattr(time, "sleep", taken.append)
    monkeypatch.setattr(time, "monotonic", lambda: sum(taken))
    return taken


def watch(shop: Shop) -> Iterator[str]:
    """The stream of the only session."""
    (row,) = shop.rows()
    return live.watch(shop.state.sessions, row.id_hash)


def stream(browser: FlaskClient, *, threads: bool = True) -> TestResponse:
    """The stream, still unread, of a server with or without threads."""
    return browser.get("/session/live", buffered=False, environ_overrides={"wsgi.multithread": threads})


def is_signed_in(browser: FlaskClient) -> bool:
    """The answer to a polling tab."""
    return bool(json.loads(browser.get("/session/status").text)["signed_in"])


def events_in(text: str) -> list[tuple[str, Any]]:
    """The named events of a stream."""
    blocks = [dict(line.split(": ", 1) for line in block.split("\n") if line) for block in text.split("\n\n") if block]
    return [(block["event"], json.loads(block["data"])) for block in blocks if "event" in block]


def test_stream_reports_the_end_of_the_session_and_its_reason(
    shop: Shop, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any worker may receive the logout token; the stream polls the row, and sees it at the next poll."""
    shop.sign_in()
    told = watch(shop)
    assert next(told) == "retry: 1000\n\n"

    def logout_comes_meanwhile(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            shop.log_out(shop.provider.maker().logout_token(reason_user={"en": "You logged out of Dispatch."}))

    monkeypatch.setattr(time, "sleep", logout_comes_meanwhile)
    (only,) = told
    assert events_in(only) == [
        ("signed-out", {"reason": "You logged out of Dispatch.", "at": START, "by_logout_token": True})
    ]
    assert pauses == [LOOK_SECONDS] * 3, "it polls often enough that users notice no delay"


def test_control_active_session_gets_only_heartbeats(shop: Shop, pauses: list[float]) -> None:
    """The stream ends after a while without an event, and the browser reconnects."""
    shop.sign_in()
    told = list(watch(shop))
    assert set(told[1:]) == {live.event("beat", {})}, "an event, not a comment: a tab notices when they stop"
    assert len(told) - 1 == STREAM_SECONDS // HEARTBEAT_SECONDS - 1
    assert sum(pauses) == STREAM_SECONDS


def test_open_tab_does_not_keep_the_session_alive(shop: Shop, pauses: list[float], clock: Clock) -> None:
    """RP-26: the stream only reads; an idle user is signed out even if a tab is open."""
    shop.sign_in()
    told = watch(shop)
    next(told)
    clock.turn(IDLE_SECONDS)
    assert events_in(next(told)) == [
        ("signed-out", {"reason": "Your session expired.", "at": START + IDLE_SECONDS, "by_logout_token": False})
    ]
    assert pauses == []


@pytest.mark.parametrize("look", ["stream", "status"])
def test_polling_does_not_count_as_use(look: str, shop: Shop, clock: Clock) -> None:
    """RP-26: a tab that reconnects every few minutes, or polls every two seconds, does not keep it alive either."""
    browser = shop.sign_in()
    while clock() < START + IDLE_SECONDS - TOUCH_SECONDS:
        clock.turn(TOUCH_SECONDS + 1)
        if look == "stream":
            stream(browser).close()
        else:
            assert is_signed_in(browser)
    clock.turn(TOUCH_SECONDS)
    assert browser.get("/session/status").json["reason"] == "Your session expired."  # type: ignore[index]


def test_deleted_session_counts_as_ended(shop: Shop, pauses: list[float]) -> None:  # noqa: ARG001 # no waiting
    """A deleted row means that the session ended; it is not an error."""
    assert events_in(list(live.watch(shop.state.sessions, "no such key"))[1])[0][0] == "signed-out"


def test_stream_is_neither_cached_nor_buffered(shop: Shop) -> None:
    """The media type of EventSource; no caching, no proxy buffering."""
    response = stream(shop.sign_in())
    assert response.mimetype == "text/event-stream"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-Accel-Buffering"] == "no"
    response.close()


def test_signed_out_browser_is_told_immediately(shop: Shop) -> None:
    """The page was already outdated when it opened the stream: it gets the reason why its session ended."""
    browser = shop.sign_in()
    shop.log_out(shop.provider.maker().logout_token(reason_user={"en": "Because."}))
    assert events_in(stream(browser).text) == [
        ("signed-out", {"reason": "Because.", "at": START, "by_logout_token": True})
    ]
    stranger = stream(shop.browser()).text
    assert events_in(stranger) == [
        ("signed-out", {"reason": "You are logged out.", "at": None, "by_logout_token": False})
    ]


def test_streams_are_limited_and_other_tabs_poll(shop: Shop) -> None:
    """Each stream occupies a thread, so some stay reserved for pages. A tab without a stream may poll the status."""
    browser = shop.sign_in()
    streams = [stream(browser) for _ in range(shop.state.config.live_streams)]
    refused = stream(browser)
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "2")
    assert is_signed_in(browser)
    assert who(browser) == "a user"
    streams.pop().close()
    streams.append(again := stream(browser))
    assert again.status_code == 200, "a closed tab frees its place"
    for response in streams:
        response.close()


def test_server_without_threads_offers_no_streams(shop: Shop) -> None:
    """One open tab would occupy its only thread, so its tabs poll."""
    browser = shop.sign_in()
    refused = stream(browser, threads=False)
    assert (refused.status_code, refused.headers["Cache-Control"]) == (503, "no-store")
    assert is_signed_in(browser)


def test_ended_stream_frees_its_place(shop: Shop) -> None:
    """After twice as many ended streams as there are places, every place is free."""
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
def test_status_reports_the_same_as_the_stream(end: Callable[[Shop], Any], reason: str, shop: Shop) -> None:
    """For polling; not cacheable."""
    browser = shop.sign_in()
    response = browser.get("/session/status")
    assert json.loads(response.text)["signed_in"] is True
    assert response.headers["Cache-Control"] == "no-store"
    end(shop)
    assert browser.get("/session/status").json == {
        "signed_in": False,
        "reason": reason,
        "at": START,
        "by_logout_token": True,
    }


def test_only_pages_of_signed_in_users_have_both_cards(shop: Shop) -> None:
    """The script only swaps elements of the document; without a session there is nothing to watch."""
    page = shop.sign_in().get("/profile").text
    assert 'data-live="/session/live"' in page
    assert 'data-status="/session/status"' in page
    assert "live.js" in page
    assert "live.js" not in shop.browser().get("/logged-out").text


def test_kept_input_card_has_one_primary_button(shop: Shop) -> None:
    """Discarding the text must not look like the default action."""
    card = shop.sign_in().get("/profile").text.partition('<template id="kept-input">')[2].partition("</template>")[0]
    assert re.findall(r'<button class="([^"]+)"', card) == ["button", "button quiet"]


# --- typed text belongs to one user ---


def marks(page: str) -> dict[str, str]:
    """The marks by which the page's script distinguishes users and sessions."""
    return dict(re.findall(r'data-(person|session)="([0-9a-f]{32})"', page))


def test_page_marks_its_user_without_identifying_them(shop: Shop) -> None:
    """Text typed by one user is never offered to another; the marks are hashes."""
    browser = shop.sign_in(sub="Ann", sid="s 1")
    cookie = browser.get_cookie(COOKIE, "shop.example")
    assert cookie
    first = marks(browser.get("/profile").text)
    assert set(first) == {"person", "session"}
    assert marks(browser.get("/profile").text) == first, "they stay the same during the session"
    assert json.loads(browser.get("/session/status").text) == {"signed_in": True, **first}
    assert cookie.value not in browser.get("/profile").text
    key = shop.rows()[0].id_hash
    assert key not in browser.get("/profile").text


def test_each_user_has_a_constant_unique_mark(shop: Shop) -> None:
    """By issuer and subject; the session's mark is new with each sign-in."""
    ann, again, bob = (marks(shop.sign_in(sub=sub).get("/profile").text) for sub in ("Ann", "Ann", "Bob"))
    assert ann["person"] == again["person"] != bob["person"]
    assert len({ann["session"], again["session"], bob["session"]}) == 3


def test_signed_out_response_has_no_marks(shop: Shop) -> None:
    """Without a session, the response discloses nothing about the previous one."""
    browser = shop.sign_in()
    shop.log_out(shop.provider.maker().logout_token())
    assert set(json.loads(browser.get("/session/status").text)) == {"signed_in", "reason", "at", "by_logout_token"}


def test_pages_of_signed_in_users_are_not_cached(shop: Shop) -> None:
    """BCL-57: the Back button must not show them from a cache; an explicit Cache-Control of a page is kept."""
    browser = shop.sign_in()
    assert browser.get("/profile").headers["Cache-Control"] == "no-store"
    assert "Cache-Control" not in shop.browser().get("/").headers
    script = browser.get("/rp-static/live.js")
    assert script.headers["Cache-Control"] == "no-cache", "Flask's default for files"
    script.close()
