"""Sessions are rows on the server: opaque cookies, two clocks, and an end that nothing undoes."""

from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import URL, event, func, select
from sqlalchemy.orm import Session

from relying_party.models import CarriedOutLogout, StoredSession
from relying_party.sessions import (
    ABSOLUTE_SECONDS,
    ANONYMOUS_SECONDS,
    CLEANING_BATCH,
    EXPIRED,
    FORGET_SECONDS,
    IDLE_SECONDS,
    TOUCH_SECONDS,
    AppSession,
    hash_of,
)
from tests.conftest import START, Clock
from tests.relying_party.conftest import COOKIE, ISSUER, Shop, each_database, make_shop, who

pytestmark = each_database


def cookie_of(browser: FlaskClient) -> str:
    """The session cookie's value."""
    cookie = browser.get_cookie(COOKIE, "shop.example")
    assert cookie
    return cookie.value


def session_of(shop: Shop, browser: FlaskClient) -> AppSession:
    """The session as a request would load it."""
    return shop.state.sessions.load(cookie_of(browser))


# --- the cookie ---


def test_the_table_knows_the_cookie_by_its_hash_only(shop: Shop) -> None:
    """RP-25: who reads the database cannot become its users."""
    cookie = cookie_of(shop.sign_in())
    (row,) = shop.rows()
    assert row.id_hash == hash_of(cookie)
    assert cookie not in str(shop.everything())


def test_the_cookie_is_opaque_random_and_out_of_reach(shop: Shop) -> None:
    """RP-25: 256 random bits; HttpOnly, Secure, SameSite=Lax; gone with the browser."""
    request = shop.start_login(browser := shop.browser())
    shop.provider.nonce = request["nonce"]
    response = shop.answer(browser, code="c", state=request["state"], iss=ISSUER)
    (header,) = response.headers.getlist("Set-Cookie")
    value, *attributes = header.partition("=")[2].split("; ")
    assert len(value) == 43
    assert set(attributes) == {"Secure", "HttpOnly", "SameSite=Lax", "Path=/"}


def test_the_cookie_is_not_said_to_be_secure_where_it_is_not(database: Path | URL) -> None:
    """The demonstration over plain http: a Secure cookie would never come back."""
    shop = make_shop(database, RELYING_PARTY_BASE_URL="http://shop.example", RELYING_PARTY_ALLOW_PLAIN_HTTP=True)
    response = shop.browser().get("/cart")
    assert "Secure" not in response.headers["Set-Cookie"]
    shop.engine.dispose()


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({}, "__Host-session"),
        ({"APPLICATION_ROOT": "/shop"}, "session"),
        ({"APPLICATION_ROOT": "/shop", "SESSION_COOKIE_PATH": "/"}, "__Host-session"),
        ({"SESSION_COOKIE_DOMAIN": "shop.example"}, "session"),
        ({"SESSION_COOKIE_NAME": "basket"}, "basket"),
        ({"RELYING_PARTY_BASE_URL": "http://shop.example", "RELYING_PARTY_ALLOW_PLAIN_HTTP": True}, "session"),
    ],
    ids=["https", "below-a-path", "path-set-to-root", "with-domain", "own-name", "plain-http"],
)
def test_no_neighbour_can_plant_the_cookie_where_the_browser_supports_that(
    settings: dict[str, Any], name: str, database: Path | URL
) -> None:
    """RFC 6265bis §4.1.3.2: ``__Host-`` wants https, Path=/ and no Domain; elsewhere the browser drops the cookie."""
    shop = make_shop(database, **settings)
    response = shop.browser().get("/cart")
    assert response.headers["Set-Cookie"].startswith(f"{name}=")
    shop.engine.dispose()


def test_a_visitor_without_anything_to_remember_gets_no_cookie_and_no_row(shop: Shop) -> None:
    """Nobody can fill the table by visiting pages."""
    response = shop.browser().get("/")
    assert "Set-Cookie" not in response.headers
    assert shop.everything()["rp_session"] == []


@pytest.mark.parametrize("cookie", ["", "x", "made-up" * 6, "x" * 4000, '"; DROP TABLE rp_session', "ü"])
def test_a_cookie_that_nobody_issued_is_a_stranger(cookie: str, shop: Shop) -> None:
    """An unknown value is nobody, and is never adopted as the name of a new session."""
    client = shop.browser()
    client.set_cookie(COOKIE, cookie, domain="shop.example")
    assert who(client) == "anonymous"
    client.get("/cart")
    assert cookie_of(client) != cookie


def test_what_the_application_keeps_in_the_session_stays_on_the_server(shop: Shop) -> None:
    """RP-25: the value is in the row and comes back; the cookie says nothing."""
    browser = shop.browser()
    assert browser.get("/cart").text == "a hat"
    assert browser.get("/cart").text == "a hat"
    with Session(shop.engine) as db:
        (row,) = db.scalars(select(StoredSession))
    assert "a hat" in row.data
    assert row.expires_at == START + ANONYMOUS_SECONDS


# --- the clocks ---


def test_a_session_nobody_uses_ends_after_half_an_hour(shop: Shop, clock: Clock) -> None:
    """RP-26: the idle clock; the browser is told why."""
    browser = shop.sign_in()
    clock.turn(IDLE_SECONDS - 1)
    assert session_of(shop, browser).login
    clock.turn(1)
    assert who(browser) == "anonymous"
    assert browser.get("/session/status").json == {"signed_in": False, "reason": EXPIRED, "at": START + IDLE_SECONDS}


def test_a_session_in_use_lives_on_but_not_for_ever(shop: Shop, clock: Clock) -> None:
    """RP-26: each use winds the idle clock up, the absolute one runs down."""
    browser = shop.sign_in()
    while clock() < START + ABSOLUTE_SECONDS - 1200:
        clock.turn(1200)
        assert who(browser) == "a user"
    clock.turn(1200)
    assert who(browser) == "anonymous"
    assert browser.get("/session/status").json == {
        "signed_in": False,
        "reason": EXPIRED,
        "at": START + ABSOLUTE_SECONDS,
    }


def test_using_a_session_writes_at_most_once_a_minute(shop: Shop, clock: Clock) -> None:
    """A page view costs no write."""
    browser = shop.sign_in()
    clock.turn(TOUCH_SECONDS)
    who(browser)
    assert shop.rows()[0].last_seen_at == START
    clock.turn(1)
    who(browser)
    assert shop.rows()[0].last_seen_at == START + TOUCH_SECONDS + 1


# --- the end is the end ---


@pytest.mark.parametrize("end", ["back channel", "here"])
def test_a_request_under_way_does_not_revive_the_session(end: str, shop: Shop) -> None:
    """BCL-57: the logout came between the beginning and the end of a request that writes."""
    browser = shop.sign_in()
    session = session_of(shop, browser)  # a request begins …
    if end == "here":
        shop.state.sessions.sign_out(session_of(shop, browser), "You logged out here.")
    else:
        shop.log_out(shop.provider.maker().logout_token())
    session["cart"] = "a hat"
    shop.state.sessions.save(session)  # … and ends
    shop.state.sessions.touch(session)
    shop.state.sessions.update_login(session, {"claims": {}})
    (row,) = shop.rows()
    assert (row.data, row.login, row.ended_at) == ("", None, START)
    assert who(browser) == "anonymous"


def test_control_a_living_session_is_saved(shop: Shop) -> None:
    """The same steps without a logout: what was written is there."""
    browser = shop.sign_in()
    session = session_of(shop, browser)
    session["cart"] = "a hat"
    shop.state.sessions.save(session)
    assert session_of(shop, browser)["cart"] == "a hat"


def test_an_ended_session_says_why_for_a_day(shop: Shop, clock: Clock) -> None:
    """The tab that was left open learns the reason, also the next morning; then the row goes."""
    browser = shop.sign_in()
    shop.log_out(shop.provider.maker().logout_token(reason_user={"en": "You logged out of Dispatch."}))
    clock.turn(FORGET_SECONDS - 60)
    shop.state.sessions.clean_up()
    told = {"signed_in": False, "reason": "You logged out of Dispatch.", "at": START}
    assert browser.get("/session/status").json == told
    clock.turn(3600 + 61)
    shop.state.sessions.clean_up()
    assert shop.rows() == []
    assert browser.get("/session/status").json == {"signed_in": False, "reason": "You are logged out.", "at": None}


def test_ending_is_idempotent_and_keeps_the_first_reason(shop: Shop, clock: Clock) -> None:
    """BCL-56: the second logout finds nothing to do."""
    browser = shop.sign_in()
    shop.log_out(shop.provider.maker().logout_token(reason_user={"en": "First."}))
    clock.turn(5)
    shop.log_out(shop.provider.maker().logout_token(reason_user={"en": "Second."}))
    assert browser.get("/session/status").json == {"signed_in": False, "reason": "First.", "at": START}


# --- cleaning up ---


def old_rows(number: int, at: int) -> list[StoredSession]:
    """Sessions that expired at ``at``."""
    return [StoredSession(id_hash=f"{n:064}", created_at=at, last_seen_at=at, expires_at=at) for n in range(number)]


def test_cleaning_up_is_work_in_small_pieces(shop: Shop) -> None:
    """BCL-71: a login deletes a bounded number of rows, however many there are; living ones stay."""
    browser = shop.sign_in()
    long_ago = START - FORGET_SECONDS - 1
    with Session(shop.engine) as db, db.begin():
        db.add_all(old_rows(2 * CLEANING_BATCH + 1, long_ago))
    left = []
    for _ in range(3):
        shop.state.sessions.clean_up()
        with Session(shop.engine) as db:
            old = select(func.count()).where(StoredSession.expires_at == long_ago)
            left.append(db.scalar(old))
    assert left == [CLEANING_BATCH + 1, 1, 0]
    assert who(browser) == "a user"


def test_logging_in_cleans_up(shop: Shop) -> None:
    """No job to be forgotten: the table stays small by itself, the record of logouts too."""
    long_ago = START - 10 * FORGET_SECONDS
    with Session(shop.engine) as db, db.begin():
        db.add_all(old_rows(3, long_ago))
        db.add(CarriedOutLogout(iss=ISSUER, jti="j", sid="s", iat=long_ago, received_at=long_ago, keep_until=long_ago))
    shop.sign_in()
    tables = shop.everything()
    assert not [row for row in tables["rp_session"] if long_ago in row]
    assert tables["rp_logout"] == []


def test_no_act_reads_a_whole_table(shop: Shop) -> None:
    """BCL-71, looking up, ending, signing in and cleaning up cost the same however many rows there are."""
    if shop.engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL rightly reads small tables whole; `make bench` shows it with large ones")
    asked: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        asked.append((statement, parameters))

    event.listen(shop.engine, "before_cursor_execute", note)
    browser = shop.sign_in()
    assert who(browser) == "a user"
    for without in ("sub", "sid", ""):
        shop.log_out(shop.provider.maker().logout_token(without=[without]))
    event.remove(shop.engine, "before_cursor_execute", note)
    with shop.engine.connect() as connection:
        plans = {
            (statement, step[3])
            for statement, parameters in asked
            for step in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        }
    assert len(plans) > 10
    assert sorted(plan for plan in plans if plan[1].startswith("SCAN") and "rp_" in plan[1]) == []


def test_two_stores_over_one_database_are_one(shop: Shop) -> None:
    """BCL-60: nothing is kept in a process; another worker's store answers the same."""
    browser = shop.sign_in()
    other = shop.another_store()
    assert other.load(cookie_of(browser)).login
    shop.log_out(shop.provider.maker().logout_token())
    assert other.load(cookie_of(browser)).login is None


def test_the_extensions_own_pages_need_no_design_but_their_own(shop: Shop) -> None:
    """The extension stands alone: its pages render in an application that brings no layout and no filters."""
    page = shop.sign_in(sid="s 1").get("/profile")
    assert page.status_code == 200
    assert '<p class="value mono" id="session-sid" data-copy="session identifier">s 1</p>' in page.text
    assert "2027-01-15 08:00:00 UTC" in page.text


def test_the_profile_begins_with_the_sid(shop: Shop) -> None:
    """On a phone too, where one column follows the other."""
    page = shop.sign_in(sid="s 1").get("/profile").text.partition("<h1>")[2]
    assert page.index('id="session-sid"') < page.index("<h2")
