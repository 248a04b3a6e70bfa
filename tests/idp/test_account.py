"""/account: users see and end their own sessions, change their password, and get a confirmation."""

import re
from html import unescape

import pytest
from sqlalchemy import insert
from werkzeug.test import TestResponse

from idp.account import PAGE
from idp.models import Client, Participation, SsoSession
from idp.sign_in.sso_session import COOKIE
from tests.conftest import PASSWORD, START, Clock, SiteClient
from tests.idp.conftest import DISPATCH, MANAGER, Provider
from tests.idp.operations.test_people import CAMERON

IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) Version/19.0 Mobile Safari/604.1"
ACTS = ["/account/end-others", "/account/log-out-everywhere", "/account/password"]


def alive(provider: Provider) -> set[str]:
    """The sids of active sessions."""
    return {row.sid for row in provider.rows(SsoSession) if row.ended_at is None}


def words(page: TestResponse) -> str:
    """The text of a page, without markup."""
    main = page.text.partition("<main")[2]
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", main)).split())


def answer(browser: SiteClient, path: str, **fields: str) -> TestResponse:
    """Open the confirmation page, and confirm."""
    browser.get(path)
    return browser.submit(path, **fields)


def notices(browser: SiteClient) -> str:
    """The message on the account page."""
    return " ".join(re.findall(r'role="status">.*?<p>(.*?)</p>', browser.get("/account").text, re.DOTALL))


@pytest.fixture
def phone(provider: Provider, cameron: SiteClient) -> SiteClient:
    """Cameron's other browser, signed in at Manager. ``cameron`` signed in first."""
    del cameron
    browser = provider.browser()
    browser.environ_base["HTTP_USER_AGENT"] = IPHONE
    provider.sign_in(browser)
    provider.tokens(browser, MANAGER)
    return browser


def sid_of(provider: Provider, user_agent: str) -> str:
    """The session of that browser."""
    return next(row.sid for row in provider.rows(SsoSession) if row.user_agent == user_agent)


# --- the page ---


def test_page_shows_browser_times_and_apps_of_each_session(cameron: SiteClient, phone: SiteClient) -> None:
    """The current session is marked and listed first."""
    del phone
    page = words(cameron.get("/account"))
    assert "In 2 browsers." in page
    assert re.search(
        "This browser .* Pickup Dispatch, Pickup Manager Log out Safari on iPhone .* Pickup Manager End", page
    )
    assert page.count("2027-01-15 08:00:00 UTC") == 4, "signed in and last seen"
    assert page.count("This browser") == 1


def test_other_users_sessions_are_inaccessible(provider: Provider, cameron: SiteClient) -> None:
    """It is neither shown nor ended, and its existence is not disclosed."""
    browser = provider.sign_in(username="alex")
    assert "In this browser only." in words(browser.get("/account"))
    (sid,) = (row.sid for row in provider.rows(SsoSession) if row.sub == CAMERON)
    browser.get("/account/password")  # has a form whose token is valid here
    for path in (f"/account/sessions/{sid}/end", "/account/sessions/no-such/end"):
        assert browser.get(path).status_code == 404
        assert browser.submit(path).status_code == 404
    browser.submit("/account/log-out-everywhere")
    assert alive(provider) == {sid}
    del cameron


def test_user_agent_is_escaped(provider: Provider) -> None:
    """Another user's User-Agent must not become markup here."""
    browser = provider.browser()
    browser.environ_base["HTTP_USER_AGENT"] = "<script>alert(1)</script> Firefox/143.0"
    provider.sign_in(browser)
    page = browser.get("/account")
    assert "<script>alert" not in page.text
    assert "Firefox" in words(page)


def test_many_sessions_are_paged(provider: Provider, cameron: SiteClient) -> None:
    """With links that work without a script; any number in the URL is accepted."""
    with provider.database() as rows:
        row = {"sub": CAMERON, "auth_time": START, "amr": ["pwd"], "user_agent": "", "expires_at": START + 999}
        times = {"created_at": START - 5, "last_seen_at": START - 5}
        many = [{"sid": f"s{i}", "cookie_hash": f"c{i}", **row, **times} for i in range(PAGE + 9)]
        rows.execute(insert(SsoSession), many)
    first = cameron.get("/account")
    assert "This browser" in first.text
    assert first.text.count('data-label="Last seen"') == PAGE
    second = cameron.get(f"/account?skip={PAGE}")
    assert second.text.count('data-label="Last seen"') == 10
    for wrong in ("-1", "9" * 30, "x", ""):
        assert cameron.get(f"/account?skip={wrong}").status_code == 200


# --- ending ---


def test_nothing_ends_without_confirmation(provider: Provider, cameron: SiteClient, phone: SiteClient) -> None:
    """A link can be followed by a prefetching browser; the page shows the consequences."""
    both, sid = alive(provider), sid_of(provider, IPHONE)
    assert "Your session in Safari on iPhone ends." in words(cameron.get(f"/account/sessions/{sid}/end"))
    assert "One session ends; this browser stays signed in." in words(cameron.get("/account/end-others"))
    assert "All your 2 sessions end, in this browser, too." in words(cameron.get("/account/log-out-everywhere"))
    assert alive(provider) == both
    del phone


@pytest.mark.parametrize("token", ["", "made up"])
def test_other_site_cannot_end_a_session(token: str, provider: Provider, cameron: SiteClient) -> None:
    """Each form needs its own token."""
    sid = provider.session().sid
    for path in (*ACTS, f"/account/sessions/{sid}/end"):
        assert cameron.post(path, data={"csrf_token": token}).status_code == 400
    assert alive(provider) == {sid}


def test_confirmation_lists_which_apps_are_notified_and_why_not(provider: Provider, cameron: SiteClient) -> None:
    """So that users know in which apps they stay signed in."""
    provider.change_client(MANAGER, backchannel_logout_uri=None)
    page = words(cameron.get(f"/account/sessions/{provider.session().sid}/end"))
    assert "Also logged out Pickup Dispatch" in page
    assert "Pickup Manager: you may still be signed in there. The client has no back-channel logout URI." in page
    assert "Pickup Manager (not notified of a logout)" in words(cameron.get("/account"))


def test_ending_another_session_keeps_this_one(provider: Provider, cameron: SiteClient, phone: SiteClient) -> None:
    """The page confirms it; a second click reports that it had ended."""
    sid = sid_of(provider, IPHONE)
    done = answer(cameron, f"/account/sessions/{sid}/end")
    assert (done.status_code, done.location) == (303, "/account")
    assert "The session of Safari on iPhone has ended." in notices(cameron)
    assert phone.get("/account").status_code == 302
    answer(cameron, f"/account/sessions/{sid}/end")
    assert "That session has already ended." in notices(cameron)
    assert cameron.get(f"/account/sessions/{sid}/end").status_code == 303, "an old confirmation page too"


def test_ending_this_session_shows_the_logged_out_page(provider: Provider, cameron: SiteClient) -> None:
    """Its cookie is deleted, and the page has no link back."""
    page = answer(cameron, f"/account/sessions/{provider.session().sid}/end")
    assert "You are logged out" in words(page)
    assert cameron.get_cookie(COOKIE, "idp.localhost") is None
    assert page.headers["Cache-Control"] == "no-store"
    assert cameron.get("/account").status_code == 302
    assert len(provider.logout_tokens(DISPATCH)) == 1


def test_ending_all_others_reports_their_number(provider: Provider, cameron: SiteClient, phone: SiteClient) -> None:
    """Without other sessions there is nothing to end."""
    provider.sign_in()
    answer(cameron, "/account/end-others")
    assert "2 other sessions have ended. Only this browser is signed in." in notices(cameron)
    assert phone.get("/account").status_code == 302
    assert "You have no other session" in words(cameron.get("/account/end-others"))
    answer(cameron, "/account/end-others")
    assert "No other session has ended." in notices(cameron)


def test_log_out_everywhere_includes_this_session(provider: Provider, cameron: SiteClient, phone: SiteClient) -> None:
    """The logged-out page shows their number."""
    page = answer(cameron, "/account/log-out-everywhere")
    assert "You are logged out everywhere All your 2 sessions have ended" in words(page)
    assert alive(provider) == set()
    assert phone.get("/account").status_code == cameron.get("/account").status_code == 302
    assert len(provider.logout_tokens(MANAGER)) == 2


def test_app_that_could_not_be_notified_is_named(provider: Provider, cameron: SiteClient, phone: SiteClient) -> None:
    """On the account page and on the logged-out page; the logout itself succeeds."""
    provider.apps[MANAGER].status = 503
    answer(cameron, "/account/end-others")
    assert "Not notified yet: Pickup Manager." in notices(cameron)
    provider.apps[DISPATCH].status = 503
    page = words(answer(cameron, "/account/log-out-everywhere"))
    assert "Not notified yet: Pickup Dispatch, Pickup Manager." in page
    assert alive(provider) == set()
    del phone


def test_confirmation_page_offers_log_out_everywhere(provider: Provider, cameron: SiteClient) -> None:
    """A user who means one browser may prefer all."""
    assert 'href="/account/log-out-everywhere"' in provider.end_session(cameron).text


# --- users who are not signed in ---


@pytest.mark.parametrize("path", ACTS)
def test_account_requires_a_session(path: str, provider: Provider, cameron: SiteClient, clock: Clock) -> None:
    """A GET redirects to the sign-in and back; a POST is rejected."""
    clock.turn(3 * 3600)
    asked = cameron.get(path)
    assert (asked.status_code, asked.location) == (302, f"/login?next={path}")
    cameron.get(asked.location)
    assert cameron.submit(path).status_code == 401
    assert len(alive(provider)) == 1, "until the background loop ends it"


# --- the password ---


def change(
    browser: SiteClient, old: str = PASSWORD, new: str = "another one", again: str = "another one"
) -> TestResponse:
    """Fill in the password form."""
    return answer(browser, "/account/password", old=old, new=new, again=again)


def test_password_change_keeps_this_session_and_ends_the_others(
    provider: Provider, cameron: SiteClient, phone: SiteClient
) -> None:
    """The page says how many ended."""
    assert change(cameron).status_code == 303
    assert "Your password is changed. One other session has ended." in notices(cameron)
    assert phone.get("/account").status_code == 302
    browser = provider.browser()
    assert provider.enter_password(browser, provider.authorize(browser)).status_code == 401
    assert provider.enter_password(browser, provider.authorize(browser), "cameron", "another one").status_code == 303


@pytest.mark.parametrize(
    ("given", "field", "sentence"),
    [
        ({"old": "wrong"}, "old", "That is not your password."),
        ({"new": "seven77", "again": "seven77"}, "new", "Use at least 8 characters"),
        ({"new": "x" * 1025, "again": "x" * 1025}, "new", "Use 1024 characters at most."),
        ({"again": "something else"}, "again", "This is not the same as the new password above."),
        ({"old": "", "new": "", "again": ""}, "old", "That is not your password."),
    ],
    ids=["wrong-old", "too-short", "too-long", "not-the-same", "nothing"],
)
def test_invalid_password_form_shows_errors_and_changes_nothing(
    given: dict[str, str], field: str, sentence: str, provider: Provider, cameron: SiteClient, phone: SiteClient
) -> None:
    """The typed passwords are not sent back."""
    page = change(cameron, **given)
    assert page.status_code == 422
    assert re.search(rf'id="{field}-error">.*?{sentence}', page.text, re.DOTALL)
    assert re.search(rf'name="{field}"[^>]*aria-invalid="true"[^>]*autofocus', page.text)
    assert "something else" not in page.text
    assert len(alive(provider)) == 2
    del phone


@pytest.mark.parametrize("password", ["ünïcödé 🚕 cab", "        ", "x" * 1024])
def test_password_can_contain_any_characters(password: str, provider: Provider, cameron: SiteClient) -> None:
    """Only length matters; spaces at the ends count."""
    assert change(cameron, new=password, again=password).status_code == 303
    browser = provider.browser()
    done = provider.enter_password(browser, provider.authorize(browser), "cameron", password)
    assert "code=" in done.location


@pytest.mark.usefixtures("phone")
def test_message_names_a_limited_number_of_apps(provider: Provider, cameron: SiteClient) -> None:
    """They are sent in a cookie, and browsers drop one larger than 4 kB, so the message would be lost."""
    empty: list[str] = []
    names = ("redirect_uris", "post_logout_redirect_uris", "scopes", "grant_types", "response_types")
    sid = sid_of(provider, IPHONE)
    with provider.database() as db:
        for number in range(400):  # half of them do not answer, the others cannot be notified
            uri = "https://nobody.example/" if number % 2 else None
            name = f"App {number} {hash(str(number))}"
            db.add(Client(client_id=name, name=name, backchannel_logout_uri=uri, **dict.fromkeys(names, empty)))
            db.flush()
            db.add(Participation(sid=sid, client_id=name, sub=CAMERON, since=START))
    done = answer(cameron, "/account/end-others")
    assert len(done.headers["Set-Cookie"]) < 4000
    assert notices(cameron).count("and 190 more.") == 2
