"""``GET /fclogout`` of a running application: Front-Channel Logout 1.0 (FCL), the receiving side. Off by default."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import URL
from werkzeug.test import TestResponse

from relying_party import EndedSession, session_ended
from relying_party.registration import metadata
from relying_party.sessions import FRONT_CHANNEL
from tests.conftest import START
from tests.network import Network
from tests.relying_party.conftest import BASE_URL, COOKIE, ISSUER, PaperProvider, Shop, make_shop, who

GOOD = {"iss": ISSUER, "sid": "a session"}
NAME, PATH = "__Host-session_frontchannel", "/fclogout"
PLACE: dict[str, Any] = {"domain": "shop.example", "path": "/"}  # of the cookie


@pytest.fixture
def front_shop(database: Path | URL, network: Network, provider: PaperProvider) -> Iterator[Shop]:
    """The shop with the receiving side switched on."""
    made = make_shop(database, RELYING_PARTY_FRONTCHANNEL_LOGOUT=True)
    made.provider = provider
    network.add(BASE_URL, made.app)
    yield made
    made.engine.dispose()


@pytest.fixture
def ann(front_shop: Shop) -> FlaskClient:
    """The browser of a signed-in user: sub "a user", sid "a session"."""
    return front_shop.sign_in()


def in_a_frame(shop: Shop, browser: FlaskClient, *, blocked: bool = False, **query: Any) -> TestResponse:
    """The provider's page loads the address: the browser sends only the cookie with SameSite=None, if that."""
    frame = shop.app.test_client()
    cookie = browser.get_cookie(NAME, **PLACE)
    if cookie and not blocked:
        frame.set_cookie(NAME, cookie.value, **PLACE)
    return frame.get(PATH, query_string={**GOOD, **query})


# --- off by default ---


def test_route_does_not_exist_and_no_cookie_is_set_by_default(shop: Shop) -> None:
    browser = shop.sign_in()
    assert browser.get(PATH, query_string=GOOD).status_code == 404
    assert browser.get_cookie(NAME, **PLACE) is None
    assert who(browser) == "a user"


@pytest.mark.parametrize("is_on", [True, False])
def test_app_registers_its_address_only_if_switched_on(is_on: bool, front_shop: Shop, shop: Shop) -> None:
    """FCL §2."""
    request = metadata((front_shop if is_on else shop).state.config, "client_secret_basic")
    assert request.get("frontchannel_logout_uri") == (f"{BASE_URL}/fclogout" if is_on else None)
    assert request.get("frontchannel_logout_session_required") is (True if is_on else None)


# --- the logout ---


def test_frame_ends_the_session_of_its_browser(front_shop: Shop, ann: FlaskClient) -> None:
    """FCL §2: the RP clears state associated with the session."""
    assert in_a_frame(front_shop, ann).status_code == 200
    assert who(ann) == "anonymous"
    (row,) = front_shop.rows()
    assert (row.login, row.data, row.ended_at, row.end_reason) == (None, "", START, FRONT_CHANNEL)
    assert front_shop.outcomes("rp.frontchannel_logout.accepted") == ["1 ended"]


def test_frame_ends_no_session_of_another_browser(front_shop: Shop, ann: FlaskClient) -> None:
    """Not even with the same sid: the back channel ends both, a frame only its own."""
    phone = front_shop.sign_in()
    in_a_frame(front_shop, ann)
    assert (who(ann), who(phone)) == ("anonymous", "a user")


def test_browser_that_blocks_the_cookie_ends_nothing_and_the_record_says_so(front_shop: Shop, ann: FlaskClient) -> None:
    """FCL §4.1: user agents may block third-party content."""
    response = in_a_frame(front_shop, ann, blocked=True)
    assert response.status_code == 200
    assert "No session of this browser was ended." in response.text
    assert who(ann) == "a user"
    assert front_shop.outcomes("rp.frontchannel_logout.failed") == ["The browser sent no cookie for this address."]


def test_session_that_has_ended_already_is_a_success(front_shop: Shop, ann: FlaskClient) -> None:
    """FCL §2: if the user is already logged out, the logout is considered to have succeeded."""
    for _ in range(2):
        assert "Logged out." in in_a_frame(front_shop, ann).text
    assert front_shop.outcomes("rp.frontchannel_logout.accepted") == ["1 ended", "0 ended"]


@pytest.mark.parametrize(
    "query",
    [
        {"iss": None},
        {"sid": None},
        {"iss": None, "sid": None},  # any site could end the session with such a frame
        {"sid": ""},
        {"iss": ISSUER + "/"},
        {"iss": "https://other.example"},
        {"iss": [ISSUER, ISSUER]},
        {"sid": "another session"},
        {"sid": "a session\0"},
        {"sid": "x" * 256},
        {"sid": ["a session", "another session"]},
    ],
    ids=str,
)
def test_request_for_another_session_or_issuer_is_ignored(
    query: dict[str, Any], front_shop: Shop, ann: FlaskClient
) -> None:
    """FCL §2: both iss and sid, and those of the session's ID token."""
    assert in_a_frame(front_shop, ann, **query).status_code == 400
    assert who(ann) == "a user"
    assert len(front_shop.outcomes("rp.frontchannel_logout.rejected")) == 1


def test_post_is_not_taken(ann: FlaskClient) -> None:
    """FCL §2: the provider renders the URL, which is a GET."""
    assert ann.post(PATH, query_string=GOOD).status_code in (400, 405)
    assert who(ann) == "a user"


def test_head_ends_no_session(ann: FlaskClient) -> None:
    """RFC 9110 §9.2.1: HEAD is safe."""
    assert ann.head(PATH, query_string=GOOD).status_code == 405
    assert who(ann) == "a user"


def test_app_is_told_once(front_shop: Shop, ann: FlaskClient) -> None:
    told: list[tuple[str, str]] = []

    def receive(_: object, ended: EndedSession, reason: str) -> None:
        told.append((ended.sid or "", reason))

    with session_ended.connected_to(receive):
        in_a_frame(front_shop, ann)
        in_a_frame(front_shop, ann)
    assert told == [("a session", FRONT_CHANNEL)]


# --- the response ---


@pytest.mark.parametrize("query", [{}, {"sid": "another"}], ids=["good", "bad"])
def test_only_the_provider_may_frame_the_response_and_no_cache_keeps_it(
    query: dict[str, Any], front_shop: Shop, ann: FlaskClient
) -> None:
    """FCL §2: the response SHOULD have Cache-Control: no-store."""
    response = in_a_frame(front_shop, ann, **query)
    assert response.mimetype == "text/html"
    assert response.headers["Content-Security-Policy"] == f"default-src 'none'; frame-ancestors {ISSUER}"
    assert response.headers["Cache-Control"] == "no-store"
    assert "X-Frame-Options" not in response.headers


# --- the cookie ---


def test_cookie_is_sent_only_by_https_and_the_sessions_own_stays_lax(front_shop: Shop) -> None:
    """As the session's cookie, no neighbouring host can set it (RFC 6265bis §4.1.3.2)."""
    browser = front_shop.sign_in()
    cookie = browser.get_cookie(NAME, **PLACE)
    assert cookie is not None
    assert (cookie.path, cookie.secure, cookie.http_only, cookie.same_site) == ("/", True, True, "None")
    session = browser.get_cookie(COOKIE, "shop.example")
    assert session is not None
    assert session.same_site == "Lax"
    assert session.value not in cookie.value


def test_cookie_gives_no_access(front_shop: Shop, ann: FlaskClient) -> None:
    thief, cookie = front_shop.browser(), ann.get_cookie(NAME, **PLACE)
    assert cookie is not None
    thief.set_cookie(COOKIE, cookie.value, domain="shop.example")
    thief.set_cookie(NAME, cookie.value, domain="shop.example")
    assert who(thief) == "anonymous"


@pytest.mark.parametrize("value", ["", "x", "0" * 64, '"\\000"'])
def test_cookie_of_no_session_ends_nothing(value: str, front_shop: Shop, ann: FlaskClient) -> None:
    frame = front_shop.app.test_client()
    assert frame.get(PATH, query_string=GOOD, headers={"Cookie": f"{NAME}={value}"}).status_code == 200
    assert who(ann) == "a user"


def test_successful_logout_deletes_the_cookie(front_shop: Shop, ann: FlaskClient) -> None:
    """FCL §2: the RP clears cookies, too."""
    (set_cookie,) = in_a_frame(front_shop, ann).headers.getlist("Set-Cookie")
    assert set_cookie.startswith(f"{NAME}=; ")
    assert "Max-Age=0" in set_cookie
