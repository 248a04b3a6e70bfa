"""/account: a person sees and ends their own sessions, changes their password, and is told what happened."""

import re
from html import unescape

import pytest
from sqlalchemy import insert
from werkzeug.test import TestResponse

from idp.account import PAGE
from idp.logged_out import Unconfirmed
from idp.models import SsoSession
from idp.sign_in.sso_session import COOKIE
from tests.conftest import PASSWORD, START, Clock, SiteClient
from tests.idp.conftest import DISPATCH, MANAGER, Provider
from tests.idp.operations.test_people import CAMERON

IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) Version/19.0 Mobile Safari/604.1"
ACTS = ["/account/end-others", "/account/log-out-everywhere", "/account/password"]


def alive(provider: Provider) -> set[str]:
    """The sids of sessions that live."""
    return {row.sid for row in provider.rows(SsoSession) if row.ended_at is None}


def words(page: TestResponse) -> str:
    """What a page says, without its markup."""
    main = page.text.partition("<main")[2]
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", main)).split())


def answer(browser: SiteClient, path: str, **fields: str) -> TestResponse:
    """Open the page that asks, and say yes."""
    browser.get(path)
    return browser.submit(path, **fields)


def notices(browser: SiteClient) -> str:
    """What the account page says that has happened."""
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


def test_the_page_shows_each_session_with_its_browser_times_and_apps(cameron: SiteClient, phone: SiteClient) -> None:
    """And marks the one it is looked at with, which comes first."""
    del phone
    page = words(cameron.get("/account"))
    assert "In 2 browsers." in page
    assert re.search(
        "This browser .* Pickup Dispatch, Pickup Manager Log out Safari on iPhone .* Pickup Manager End", page
    )
    assert page.count("2027-01-15 08:00:00 UTC") == 4, "signed in and last seen"
    assert page.count("This browser") == 1


def test_somebody_elses_sessions_are_nobodys_business(provider: Provider, cameron: SiteClient) -> None:
    """Not shown, not ended, not even known."""
    browser = provider.sign_in(username="alex")
    assert "In this browser only." in words(browser.get("/account"))
    (sid,) = (row.sid for row in provider.rows(SsoSession) if row.sub == CAMERON)
    browser.get("/account/password")  # has a form, whose token is good here
    for path in (f"/account/sessions/{sid}/end", "/account/sessions/no-such/end"):
        assert browser.get(path).status_code == 404
        assert browser.submit(path).status_code == 404
    browser.submit("/account/log-out-everywhere")
    assert alive(provider) == {sid}
    del cameron


def test_what_a_browser_calls_itself_is_only_text(provider: Provider) -> None:
    """Somebody else's User-Agent must not become markup here."""
    browser = provider.browser()
    browser.environ_base["HTTP_USER_AGENT"] = "<script>alert(1)</script> Firefox/143.0"
    provider.sign_in(browser)
    page = browser.get("/account")
    assert "<script>alert" not in page.text
    assert "Firefox" in words(page)


def test_many_sessions_come_in_pages(provider: Provider, cameron: SiteClient) -> None:
    """With links that need no script; any number in the address is fine."""
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


def test_nothing_ends_before_the_question_is_answered(
    provider: Provider, cameron: SiteClient, phone: SiteClient
) -> None:
    """A link may be followed by anything; the question says what will be."""
    both, sid = alive(provider), sid_of(provider, IPHONE)
    assert "Your session in Safari on iPhone ends." in words(cameron.get(f"/account/sessions/{sid}/end"))
    assert "One session ends; this browser stays signed in." in words(cameron.get("/account/end-others"))
    assert "All your 2 sessions end, in this browser, too." in words(cameron.get("/account/log-out-everywhere"))
    assert alive(provider) == both
    del phone


@pytest.mark.parametrize("token", ["", "made up"])
def test_another_site_can_end_nothing(token: str, provider: Provider, cameron: SiteClient) -> None:
    """Each form has a token of its own."""
    sid = provider.session().sid
    for path in (*ACTS, f"/account/sessions/{sid}/end"):
        assert cameron.post(path, data={"csrf_token": token}).status_code == 400
    assert alive(provider) == {sid}


def test_the_question_says_which_apps_are_told_and_which_are_not_and_why(
    provider: Provider, cameron: SiteClient
) -> None:
    """So that nobody believes to be logged out where they are not."""
    provider.change_client(MANAGER, backchannel_logout_uri=None)
    page = words(cameron.get(f"/account/sessions/{provider.session().sid}/end"))
    assert "Also logged out Pickup Dispatch" in page
    assert "Pickup Manager: you may still be signed in there. The client has no back-channel logout URI." in page
    assert "Pickup Manager (not notified of a logout)" in words(cameron.get("/account"))


def test_another_browser_is_signed_out_and_this_one_stays(
    provider: Provider, cameron: SiteClient, phone: SiteClient
) -> None:
    """The page says so; a second click says that it was over."""
    sid = sid_of(provider, IPHONE)
    done = answer(cameron, f"/account/sessions/{sid}/end")
    assert (done.status_code, done.location) == (303, "/account")
    assert "The session of Safari on iPhone has ended." in notices(cameron)
    assert phone.get("/account").status_code == 302
    answer(cameron, f"/account/sessions/{sid}/end")
    assert "That session has already ended." in notices(cameron)
    assert cameron.get(f"/account/sessions/{sid}/end").status_code == 303, "also of an old question"


def test_who_ends_the_session_in_hand_ends_at_the_logged_out_page(provider: Provider, cameron: SiteClient) -> None:
    """Without its cookie, and without a way back to the page."""
    page = answer(cameron, f"/account/sessions/{provider.session().sid}/end")
    assert "You are logged out" in words(page)
    assert cameron.get_cookie(COOKIE, "idp.localhost") is None
    assert page.headers["Cache-Control"] == "no-store"
    assert cameron.get("/account").status_code == 302
    assert len(provider.logout_tokens(DISPATCH)) == 1


def test_all_others_end_and_how_many_is_said(provider: Provider, cameron: SiteClient, phone: SiteClient) -> None:
    """With none there is nothing to end."""
    provider.sign_in()
    answer(cameron, "/account/end-others")
    assert "2 other sessions have ended. Only this browser is signed in." in notices(cameron)
    assert phone.get("/account").status_code == 302
    assert "You have no other session" in words(cameron.get("/account/end-others"))
    answer(cameron, "/account/end-others")
    assert "No other session has ended." in notices(cameron)


def test_log_out_everywhere_ends_this_one_too(provider: Provider, cameron: SiteClient, phone: SiteClient) -> None:
    """At the logged-out page, which counts them."""
    page = answer(cameron, "/account/log-out-everywhere")
    assert "You are logged out everywhere All your 2 sessions have ended" in words(page)
    assert alive(provider) == set()
    assert phone.get("/account").status_code == cameron.get("/account").status_code == 302
    assert len(provider.logout_tokens(MANAGER)) == 2


def test_an_app_that_could_not_be_told_is_named(provider: Provider, cameron: SiteClient, phone: SiteClient) -> None:
    """On the account page and on the logged-out page; the logout itself is done."""
    provider.apps[MANAGER].status = 503
    answer(cameron, "/account/end-others")
    assert "Not notified yet: Pickup Manager." in notices(cameron)
    provider.apps[DISPATCH].status = 503
    page = words(answer(cameron, "/account/log-out-everywhere"))
    assert "Not notified yet: Pickup Dispatch, Pickup Manager." in page
    assert alive(provider) == set()
    del phone


def test_the_question_whether_to_log_out_leads_to_everywhere(provider: Provider, cameron: SiteClient) -> None:
    """Who thinks of one browser may mean all."""
    assert 'href="/account/log-out-everywhere"' in provider.end_session(cameron).text


# --- who is not signed in ---


@pytest.mark.parametrize("path", ACTS)
def test_without_a_session_nothing_can_be_done(
    path: str, provider: Provider, cameron: SiteClient, clock: Clock
) -> None:
    """A question leads to the sign-in and back to itself; an answer is refused."""
    clock.turn(3 * 3600)
    asked = cameron.get(path)
    assert (asked.status_code, asked.location) == (302, f"/login?next={path}")
    cameron.get(asked.location)
    assert cameron.submit(path).status_code == 401
    assert len(alive(provider)) == 1, "until the clock looks"


# --- the password ---


def change(
    browser: SiteClient, old: str = PASSWORD, new: str = "another one", again: str = "another one"
) -> TestResponse:
    """Fill in the form."""
    return answer(browser, "/account/password", old=old, new=new, again=again)


def test_who_changes_the_password_stays_signed_in_and_the_others_go(
    provider: Provider, cameron: SiteClient, phone: SiteClient
) -> None:
    """And is told how many those were."""
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
def test_what_is_wrong_is_said_at_its_field_and_nothing_changes(
    given: dict[str, str], field: str, sentence: str, provider: Provider, cameron: SiteClient, phone: SiteClient
) -> None:
    """What was typed does not come back."""
    page = change(cameron, **given)
    assert page.status_code == 422
    assert re.search(rf'id="{field}-error">.*?{sentence}', page.text, re.DOTALL)
    assert re.search(rf'name="{field}"[^>]*aria-invalid="true"[^>]*autofocus', page.text)
    assert "something else" not in page.text
    assert len(alive(provider)) == 2
    del phone


@pytest.mark.parametrize("password", ["ünïcödé 🚕 cab", "        ", "x" * 1024])
def test_any_characters_will_do(password: str, provider: Provider, cameron: SiteClient) -> None:
    """Length is what counts; spaces at the ends are part of it."""
    assert change(cameron, new=password, again=password).status_code == 303
    browser = provider.browser()
    done = provider.enter_password(browser, provider.authorize(browser), "cameron", password)
    assert "code=" in done.location


def test_a_browser_is_not_sent_the_names_of_a_hundred_apps(
    cameron: SiteClient, phone: SiteClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They travel in a cookie, and beyond 4 kB a browser drops it, and what it says."""
    del phone
    names = [f"App {number} {hash(str(number))}" for number in range(200)]
    monkeypatch.setattr("idp.account.unconfirmed_since", lambda _: Unconfirmed(names, names))
    done = answer(cameron, "/account/end-others")
    assert len(done.headers["Set-Cookie"]) < 4000
    assert notices(cameron).count("and 190 more.") == 2
