"""A password creates the session that all apps share."""

from html import unescape
from urllib.parse import urlsplit

import pytest
from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError
from sqlalchemy import Connection, update

from idp.authorization.pending import PENDING_SECONDS
from idp.models import IDLE_SECONDS, ActiveSession, SsoSession, User, hash_of
from idp.sign_in import sso_session
from idp.sign_in.passwords import MAX_PASSWORD
from idp.sign_in.sso_session import ABSOLUTE_SECONDS, COOKIE, TOUCH_SECONDS
from pickup_web.database import engine_of
from tests.conftest import PASSWORD, START, Clock, SiteClient
from tests.idp.conftest import DISPATCH, MANAGER, Provider, hidden
from tests.network import query_of
from tests.statements import at_statement

WRONG = "Wrong username or password."


def cookie_of(browser: SiteClient) -> str:
    """The session cookie's value."""
    cookie = browser.get_cookie(COOKIE, "idp.localhost")
    assert cookie
    return cookie.value


def is_signed_in(provider: Provider, browser: SiteClient) -> bool:
    """Whether an app gets a code without a page."""
    answer = query_of(provider.authorize(browser, prompt="none").location)
    assert ("code" in answer) == (answer.get("error") != "login_required")
    return "code" in answer


# --- the page ---


def test_login_page_has_fixed_ids_and_security_headers(provider: Provider) -> None:
    """DEC-06, AUTH-22, BCP-06, BCP-08: fixed ids, no framing, referrer or caching; forms can lead to the app."""
    page = provider.authorize(provider.browser())
    for element in ('id="username"', 'id="password"', 'id="login"'):
        assert element in page.text
    policy = page.headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in policy
    origin = "{0.scheme}://{0.netloc}".format(urlsplit(provider.settings.dispatch_url))
    assert f"form-action 'self' {origin}" in policy
    assert page.headers["X-Frame-Options"] == "DENY"
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert page.headers["Cache-Control"] == "no-store"


def test_login_hint_is_prefilled_and_escaped(provider: Provider) -> None:
    """AUTH-18: any value; escaped."""
    page = provider.authorize(provider.browser(), login_hint='"><script>alert(1)</script>')
    assert "<script>alert" not in page.text
    assert 'value="&#34;&gt;&lt;script&gt;' in page.text


@pytest.mark.parametrize(
    ("username", "password"),
    [
        ("cameron", "wrong"),
        ("nobody", PASSWORD),
        ("", ""),
        ("cameron", ""),
        ("' OR 1=1 --", "x"),
        ("nobody", "x" * 5000),
    ],
    ids=["wrong-password", "unknown-name", "nothing", "no-password", "injection", "endless-password"],
)
def test_wrong_password_and_unknown_name_look_the_same(username: str, password: str, provider: Provider) -> None:
    """AUTH-22: an attacker cannot find out which accounts exist: same status, same message, no cookie."""
    browser = provider.browser()
    response = provider.enter_password(browser, provider.authorize(browser), username, password)
    assert response.status_code == 401
    assert WRONG in response.text
    assert browser.get_cookie(COOKIE, "idp.localhost") is None
    assert provider.rows(SsoSession) == []


def test_unknown_name_takes_as_long_as_a_known_one(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    """AUTH-22: one hash is computed in either case, so the time discloses nothing; the password's length is limited."""
    verified: list[tuple[bool, int]] = []

    def verify(_hasher: PasswordHasher, password_hash: str, password: str) -> bool:
        verified.append((bool(password_hash), len(password)))
        raise VerifyMismatchError

    monkeypatch.setattr(PasswordHasher, "verify", verify)
    for username in ("cameron", "nobody"):
        browser = provider.browser()
        provider.enter_password(browser, provider.authorize(browser), username, "x" * 5000)
    assert verified == [(True, MAX_PASSWORD)] * 2


def test_disabled_user_looks_unknown(provider: Provider, clock: Clock) -> None:
    """Like BCL-06: no new session, and the old one no longer works."""
    browser = provider.sign_in()
    with provider.database() as db:
        db.get_one(User, provider.session().sub).disabled_at = int(clock())
    assert not is_signed_in(provider, browser)
    again = provider.browser()
    response = provider.enter_password(again, provider.authorize(again))
    assert WRONG in response.text


def test_username_ignores_case_and_spaces(provider: Provider) -> None:
    """Phones add them."""
    browser = provider.browser()
    provider.enter_password(browser, provider.authorize(browser), " Cameron ")
    assert is_signed_in(provider, browser)


def test_failed_login_event_contains_no_secret(provider: Provider) -> None:
    """BCL-70: people type passwords into the username field."""
    browser = provider.browser()
    provider.enter_password(browser, provider.authorize(browser), "my password", "not this one")
    (event,) = provider.events("op.login.failed")
    assert event.client_id == DISPATCH
    assert "password" not in str(event.as_dict())


# --- the form ---


@pytest.mark.parametrize("token", ["", "made up"])
def test_other_site_cannot_sign_a_user_in(token: str, provider: Provider) -> None:
    """AUTH-22: login CSRF; the form's own token is required."""
    browser = provider.browser()
    page = provider.authorize(browser)
    fields = {"request": hidden(page, "request"), "username": "cameron", "password": PASSWORD, "csrf_token": token}
    assert browser.post("/login", data=fields).status_code == 400
    assert provider.rows(SsoSession) == []


@pytest.mark.parametrize(
    ("site", "status"),
    [("same-site", 400), ("cross-site", 400), ("anything else", 400), ("same-origin", 303), ("none", 303), (None, 303)],
)
def test_sibling_domain_cannot_sign_a_user_in(site: str | None, status: int, provider: Provider) -> None:
    """AUTH-22: a sibling domain can set the cookie of its own form token; the browser sends the form's origin.

    ``none`` is a user action, such as resubmitting the form. Browsers before 2023 and other programs send no header.
    """
    browser = provider.browser()
    page = provider.authorize(browser)
    fields = {"request": hidden(page, "request"), "username": "cameron", "password": PASSWORD}
    headers = {} if site is None else {"Sec-Fetch-Site": site}
    response = browser.post("/login", data={**fields, "csrf_token": browser.csrf_token}, headers=headers)
    assert response.status_code == status
    assert (browser.get_cookie(COOKIE, "idp.localhost") is not None) is (status == 303)
    assert len(provider.rows(SsoSession)) == (status == 303)


@pytest.mark.parametrize("spoil", ["", "a.b.c", "{}AA", "AA{}"], ids=["empty", "other", "longer", "shifted"])
def test_tampered_request_is_rejected(spoil: str, provider: Provider) -> None:
    """AUTH-02: the signed parameters cannot be replaced after they were checked."""
    browser = provider.browser()
    page = provider.authorize(browser)
    spoiled = spoil.format(hidden(page, "request"))
    response = browser.submit("/login", request=spoiled, username="cameron", password=PASSWORD)
    assert response.status_code == 400
    assert provider.rows(SsoSession) == []


def test_login_page_open_for_too_long_says_so(provider: Provider, clock: Clock) -> None:
    """After an hour, the app must start again."""
    browser = provider.browser()
    page = provider.authorize(browser)
    clock.turn(PENDING_SECONDS + 1)
    response = provider.enter_password(browser, page)
    assert response.status_code == 400
    assert "open for too long" in response.text


# --- the session ---


def test_cookie_is_random_protected_and_not_the_sid(provider: Provider) -> None:
    """BCL-04, AUTH-22: HttpOnly, SameSite=Lax; the table stores its hash; the sid is random and independent of it."""
    browser = provider.browser()
    page = provider.authorize(browser)
    response = browser.submit("/login", request=hidden(page, "request"), username="cameron", password=PASSWORD)
    header = next(value for value in response.headers.getlist("Set-Cookie") if value.startswith(COOKIE))
    value, *attributes = header.partition("=")[2].split("; ")
    session = provider.session()
    assert len(value) == 43
    assert set(attributes) == {"HttpOnly", "Path=/", "SameSite=Lax"}, "Secure is added if the issuer is https"
    assert session.cookie_hash == hash_of(value)
    assert len(session.sid) >= 22, "at least 128 bits"
    assert session.sid.isascii()
    assert session.sid.isprintable()
    assert session.sid not in (value, session.cookie_hash)
    assert response.status_code == 303, "never 307 after a password: AUTH-24"


def test_planted_cookie_is_replaced_at_sign_in(provider: Provider) -> None:
    """AUTH-22: the cookie is new at the sign-in."""
    browser = provider.browser()
    browser.set_cookie(COOKIE, "planted", domain="idp.localhost")
    provider.sign_in(browser)
    assert cookie_of(browser) != "planted"


def test_each_sign_in_has_its_own_sid(provider: Provider) -> None:
    """BCL-05: two browsers of one user are two sessions."""
    provider.sign_in()
    provider.sign_in()
    sids = {session.sid for session in provider.rows(SsoSession)}
    assert len(sids) == 2


def test_same_user_signing_in_again_keeps_the_sid(provider: Provider, clock: Clock) -> None:
    """BCL-06: a new auth_time and cookie, the same session; no app is notified."""
    browser = provider.sign_in()
    provider.tokens(browser)
    before, old_cookie = provider.session(), cookie_of(browser)
    clock.turn(600)
    provider.sign_in(browser, prompt="login")
    after = provider.session()
    assert (after.sid, after.ended_at) == (before.sid, None)
    assert (before.auth_time, after.auth_time) == (START, START + 600)
    assert provider.logout_tokens(DISPATCH) == []
    thief = provider.browser()
    thief.set_cookie(COOKIE, old_cookie, domain="idp.localhost")
    assert not is_signed_in(provider, thief)


def test_other_user_signing_in_ends_the_old_session(provider: Provider, cameron: SiteClient, clock: Clock) -> None:
    """BCL-06: a new session with a new sid; the old session's apps get the reason."""
    (old,) = provider.rows(SsoSession)
    clock.turn(600)
    provider.sign_in(cameron, username="alex", prompt="login")
    ended, new = sorted(provider.rows(SsoSession), key=lambda session: session.created_at)
    assert (ended.sid, ended.end_reason) == (old.sid, "replaced")
    assert new.sid != old.sid
    for client_id in (DISPATCH, MANAGER):
        (token,) = provider.logout_tokens(client_id)
        assert (token["sid"], token["sub"]) == (old.sid, old.sub)
        assert token["reason_user"] == {"en": "A different user signed in with this browser."}


def test_idle_session_ends(provider: Provider, clock: Clock) -> None:
    """BCL-05: after two hours without use."""
    browser = provider.sign_in()
    clock.turn(IDLE_SECONDS - 1)
    assert is_signed_in(provider, browser)
    clock.turn(IDLE_SECONDS)
    assert not is_signed_in(provider, browser)


def test_used_session_ends_after_the_absolute_limit(provider: Provider, clock: Clock) -> None:
    """BCL-05: ten hours after the sign-in."""
    browser = provider.sign_in()
    while clock() < START + ABSOLUTE_SECONDS - 3600:
        clock.turn(3600)
        assert is_signed_in(provider, browser)
    clock.turn(3600)
    assert not is_signed_in(provider, browser)


def test_use_writes_at_most_once_a_minute(provider: Provider, clock: Clock) -> None:
    """Opening the start page usually writes nothing."""
    browser = provider.sign_in()
    clock.turn(TOUCH_SECONDS)
    browser.get("/")
    assert provider.session().last_seen_at == START
    clock.turn(1)
    browser.get("/")
    assert provider.session().last_seen_at == START + TOUCH_SECONDS + 1


def test_start_page_shows_who_is_signed_in(provider: Provider) -> None:
    """It lists the apps in either case."""
    stranger, browser = provider.browser(), provider.sign_in()
    assert "You are not signed in" in stranger.get("/").text
    page = unescape(browser.get("/").text)
    assert "Cameron Reyes" in page
    assert "Go to Pickup Dispatch" in page


def test_session_of_the_browser_is_what_its_type_says(either: Provider) -> None:
    """And no row of whatever the statement reads."""
    cookie = cookie_of(either.sign_in())
    with either.app.test_request_context(headers={"Cookie": f"{COOKIE}={cookie}"}):
        session = sso_session.current_sso_session()
    assert type(session) is ActiveSession
    stored = either.session()
    assert session._asdict() == {name: getattr(stored, name) for name in ActiveSession._fields}
    assert (session.amr, session.auth_time) == (["pwd"], START)


def test_session_ended_during_the_password_check_stays_ended(provider: Provider, cameron: SiteClient) -> None:
    """Its apps were already notified of its end. The password creates a new session."""
    old = provider.session().sid

    def end(_: Connection) -> None:
        with provider.database() as db:
            db.execute(update(SsoSession).where(SsoSession.sid == old).values(ended_at=START))

    cameron.get("/login?next=/account")
    with at_statement(engine_of(provider.app), "UPDATE user_account", end):  # the session was read before
        assert cameron.submit("/login", next="/account", username="cameron", password=PASSWORD).status_code == 303
    assert cameron.get("/account").status_code == 200
    (new,) = (row for row in provider.rows(SsoSession) if row.ended_at is None)
    assert new.sid != old
