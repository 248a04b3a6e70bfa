"""Sessions are rows on the server: opaque cookies, two timeouts, and an end that cannot be undone."""

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


def test_table_stores_only_the_hash_of_the_cookie(shop: Shop) -> None:
    """RP-25: read access to the database does not give access to sessions."""
    cookie = cookie_of(shop.sign_in())
    (row,) = shop.rows()
    assert row.id_hash == hash_of(cookie)
    assert cookie not in str(shop.everything())


def test_cookie_is_opaque_random_and_protected(shop: Shop) -> None:
    """RP-25: 256 random bits; HttpOnly, Secure, SameSite=Lax; deleted when the browser closes."""
    request = shop.start_login(browser := shop.browser())
    shop.provider.nonce = request["nonce"]
    response = shop.answer(browser, code="c", state=request["state"], iss=ISSUER)
    (header,) = response.headers.getlist("Set-Cookie")
    value, *attributes = header.partition("=")[2].split("; ")
    assert len(value) == 43
    assert set(attributes) == {"Secure", "HttpOnly", "SameSite=Lax", "Path=/"}


def test_cookie_is_not_secure_over_plain_http(database: Path | URL) -> None:
    """The demo over plain http: the browser would not send a Secure cookie back."""
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
def test_cookie_has_the_host_prefix_where_possible(settings: dict[str, Any], name: str, database: Path | URL) -> None:
    """RFC 6265bis §4.1.3.2: ``__Host-`` requires https, Path=/ and no Domain; browsers otherwise drop the cookie."""
    shop = make_shop(database, **settings)
    response = shop.browser().get("/cart")
    assert response.headers["Set-Cookie"].startswith(f"{name}=")
    shop.engine.dispose()


def test_visit_without_session_data_creates_no_cookie_and_no_row(shop: Shop) -> None:
    """Visiting pages cannot fill the table."""
    response = shop.browser().get("/")
    assert "Set-Cookie" not in response.headers
    assert shop.everything()["rp_session"] == []


@pytest.mark.parametrize("cookie", ["", "x", "made-up" * 6, "x" * 4000, '"; DROP TABLE rp_session', "ü"])
def test_unknown_cookie_is_anonymous(cookie: str, shop: Shop) -> None:
    """An unknown value identifies no user, and never becomes the name of a new session."""
    client = shop.browser()
    client.set_cookie(COOKIE, cookie, domain="shop.example")
    assert who(client) == "anonymous"
    client.get("/cart")
    assert cookie_of(client) != cookie


def test_session_data_stays_on_the_server(shop: Shop) -> None:
    """RP-25: the value is stored in the row and loaded again; the cookie does not contain it."""
    browser = shop.browser()
    assert browser.get("/cart").text == "a hat"
    assert browser.get("/cart").text == "a hat"
    with Session(shop.engine) as db:
        (row,) = db.scalars(select(StoredSession))
    assert "a hat" in row.data
    assert row.expires_at == START + ANONYMOUS_SECONDS


# --- the timeouts ---


def test_unused_session_ends_after_half_an_hour(shop: Shop, clock: Clock) -> None:
    """RP-26: the idle timeout; the browser is told the reason."""
    browser = shop.sign_in()
    clock.turn(IDLE_SECONDS - 1)
    assert session_of(shop, browser).login
    clock.turn(1)
    assert who(browser) == "anonymous"
    assert browser.get("/session/status").json == {
        "signed_in": False,
        "reason": EXPIRED,
        "at": START + IDLE_SECONDS,
        "by_logout_token": False,
    }


def test_used_session_ends_at_the_absolute_timeout(shop: Shop, clock: Clock) -> None:
    """RP-26: each use restarts the idle timeout, but not the absolute one."""
    browser = shop.sign_in()
    while clock() < START + ABSOLUTE_SECONDS - 1200:
        clock.turn(1200)
        assert who(browser) == "a user"
    clock.turn(1200)
    assert who(browser) == "anonymous"
    assert browser.get("/session/status").json == {
        "signed_in": False,
        "reason": EXPIRED,
        "by_logout_token": False,
        "at": START + ABSOLUTE_SECONDS,
    }


def test_use_writes_at_most_once_a_minute(shop: Shop, clock: Clock) -> None:
    """Most page views write nothing."""
    browser = shop.sign_in()
    clock.turn(TOUCH_SECONDS)
    who(browser)
    assert shop.rows()[0].last_seen_at == START
    clock.turn(1)
    who(browser)
    assert shop.rows()[0].last_seen_at == START + TOUCH_SECONDS + 1


# --- ended sessions stay ended ---


@pytest.mark.parametrize("end", ["back channel", "here"])
def test_running_request_does_not_revive_the_session(end: str, shop: Shop) -> None:
    """BCL-57: the logout arrives during a request that writes."""
    browser = shop.sign_in()
    session = session_of(shop, browser)  # a request starts …
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


def test_control_active_session_is_saved(shop: Shop) -> None:
    """The same steps without a logout: the value is stored."""
    browser = shop.sign_in()
    session = session_of(shop, browser)
    session["cart"] = "a hat"
    shop.state.sessions.save(session)
    assert session_of(shop, browser)["cart"] == "a hat"


def test_ended_session_keeps_its_reason_for_a_day(shop: Shop, clock: Clock) -> None:
    """A tab left open still learns the reason the next morning; then the row is deleted."""
    browser = shop.sign_in()
    shop.log_out(shop.provider.maker().logout_token(reason_user={"en": "You logged out of Dispatch."}))
    clock.turn(FORGET_SECONDS - 60)
    shop.state.sessions.clean_up()
    told = {"signed_in": False, "reason": "You logged out of Dispatch.", "at": START, "by_logout_token": True}
    assert browser.get("/session/status").json == told
    clock.turn(3600 + 61)
    shop.state.sessions.clean_up()
    assert shop.rows() == []
    assert browser.get("/session/status").json == {
        "signed_in": False,
        "reason": "You are logged out.",
        "at": None,
        "by_logout_token": False,
    }


def test_second_end_keeps_the_first_reason(shop: Shop, clock: Clock) -> None:
    """BCL-56: the second logout finds no session."""
    browser = shop.sign_in()
    shop.log_out(shop.provider.maker().logout_token(reason_user={"en": "First."}))
    clock.turn(5)
    shop.log_out(shop.provider.maker().logout_token(reason_user={"en": "Second."}))
    assert browser.get("/session/status").json == {
        "signed_in": False,
        "reason": "First.",
        "at": START,
        "by_logout_token": True,
    }


# --- cleaning up ---


def old_rows(number: int, at: int) -> list[StoredSession]:
    """Sessions that expired at ``at``."""
    return [StoredSession(id_hash=f"{n:064}", created_at=at, last_seen_at=at, expires_at=at) for n in range(number)]


def test_clean_up_deletes_a_limited_number_of_rows(shop: Shop) -> None:
    """BCL-71: a login deletes a limited number of rows, however many expired; active ones stay."""
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


def test_login_cleans_up(shop: Shop) -> None:
    """No separate job is needed: logins keep the tables small, including the record of logouts."""
    long_ago = START - 10 * FORGET_SECONDS
    with Session(shop.engine) as db, db.begin():
        db.add_all(old_rows(3, long_ago))
        db.add(CarriedOutLogout(iss=ISSUER, jti="j", sid="s", iat=long_ago, received_at=long_ago, keep_until=long_ago))
    shop.sign_in()
    tables = shop.everything()
    assert not [row for row in tables["rp_session"] if long_ago in row]
    assert tables["rp_logout"] == []


def test_no_operation_scans_a_table(shop: Shop) -> None:
    """BCL-71: looking up, ending, signing in and cleaning up cost the same for any number of rows."""
    if shop.engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL scans small tables by design; `make bench` uses large ones")
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


def test_two_stores_share_one_database(shop: Shop) -> None:
    """BCL-60: a process caches nothing; another worker's store returns the same."""
    browser = shop.sign_in()
    other = shop.another_store()
    assert other.load(cookie_of(browser)).login
    shop.log_out(shop.provider.maker().logout_token())
    assert other.load(cookie_of(browser)).login is None


def test_extension_pages_need_no_layout(shop: Shop) -> None:
    """Its pages render in an application without a layout and without filters."""
    page = shop.sign_in(sid="s 1").get("/profile")
    assert page.status_code == 200
    assert '<p class="value mono" id="session-sid" data-copy="session identifier">s 1</p>' in page.text
    assert "2027-01-15 08:00:00 UTC" in page.text


def test_profile_begins_with_the_sid(shop: Shop) -> None:
    """Also on a phone, where the columns are stacked."""
    page = shop.sign_in(sid="s 1").get("/profile").text.partition("<h1>")[2]
    assert page.index('id="session-sid"') < page.index("<h2")
