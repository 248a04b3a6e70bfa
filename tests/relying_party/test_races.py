"""Races between two operations. Each test forces one interleaving, with both databases, and none sleeps.

SQLite allows one writer at a time, so the second one waits. PostgreSQL lets both continue and makes one of them
repeat. The guarantee is the same: a session that the provider ended is not active, and no other session ends.
"""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from flask import Flask, session
from flask.testing import FlaskClient
from sqlalchemy import Connection, event, text, update
from werkzeug.test import TestResponse

from relying_party import access_token, access_tokens
from relying_party.errors import LoginFailed, ReplayedToken
from relying_party.logout_token import LogoutToken
from relying_party.models import Base, StoredSession, make_tables
from relying_party.sessions import BACK_CHANNEL, RENEWAL_SECONDS, REPLACED, AppSession, SessionStore
from tests.conftest import START, Clock, eventually
from tests.network import MAX_WAIT, Gate, Network
from tests.relying_party.conftest import COOKIE, END_SESSION, ISSUER, Shop, each_database, who
from tests.statements import at_statement
from tests.tokens import TokenMaker

pytestmark = each_database


class Act(threading.Thread):
    """A function run in a separate thread; ``result`` waits for it."""

    def __init__(self, act: Callable[[], Any]) -> None:
        super().__init__()
        self._act = act
        self._outcome: Any = None
        self._error: Exception | None = None
        self.start()

    def run(self) -> None:
        """Runs in the thread."""
        try:
            self._outcome = self._act()
        except Exception as error:
            self._error = error

    def result(self) -> Any:
        """The function's result."""
        self.join(MAX_WAIT)
        assert not self.is_alive(), "the thread hangs"
        if self._error:
            raise self._error
        return self._outcome


# Statements at which an operation can be stopped.
RECORD_LOGOUT = "INSERT INTO rp_logout"  # the token's jti
LOOK_FOR_LOGOUT = "^SELECT rp_logout"  # for one that ends this login; its session is already written
WRITE_LOGINS = "UPDATE rp_session SET logins"


@contextmanager
def pause(shop: Shop, statement: str, *, after: bool = False) -> Iterator[Gate]:
    """The first thread that comes to such a statement waits at a gate, before or after it is executed."""
    gate, first = Gate(), threading.Lock()

    def wait(_: Connection) -> None:
        if first.acquire(blocking=False):
            gate.reached.release()
            gate.opened.wait(MAX_WAIT)

    with at_statement(shop.engine, statement, wait, after=after):
        try:
            yield gate
        finally:
            gate.open()


def waits_for_a_lock(shop: Shop) -> bool:
    """Whether a PostgreSQL transaction waits for another one; SQLite does not report that."""
    if shop.engine.dialect.name == "sqlite":
        return True
    with shop.engine.connect() as connection:
        asked = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return bool(connection.execute(asked).scalar())


def logout_of(**claims: Any) -> LogoutToken:
    """A validated logout token."""
    good = {"iss": ISSUER, "sub": "a user", "sid": "a session", "jti": "j", "iat": START, "exp": START + 120}
    return LogoutToken(**{**good, "reason": None, **claims})


def login_of(**claims: Any) -> dict[str, Any]:
    """The data of a login."""
    return {"claims": {"iss": ISSUER, "sub": "a user", "sid": "a session", "iat": START, **claims}, "userinfo": {}}


def living(shop: Shop) -> list[tuple[str | None, str | None]]:
    """Sub and sid of every active session."""
    return sorted((row.sub, row.sid) for row in shop.rows() if row.ended_at is None)


def ended(shop: Shop) -> list[tuple[str | None, str | None]]:
    """Sub and reason of every ended session; no other data of it remains."""
    over = [row for row in shop.rows() if row.ended_at is not None]
    assert not [row for row in over if row.login or row.data]
    return sorted((row.sub, row.end_reason) for row in over)


# --- a logout token before the callback has finished ---


@pytest.mark.parametrize("token", [{}, {"sub": None}, {"sid": None}], ids=["both", "sid-only", "sub-only"])
def test_logout_between_session_write_and_logout_check_wins(token: dict[str, Any], shop: Shop) -> None:
    """BCL-61: whichever comes first, the session does not stay active."""
    store, browser = shop.another_store(), AppSession()
    with pause(shop, LOOK_FOR_LOGOUT) as looking:
        login = Act(lambda: store.sign_in(browser, login_of()))
        looking.wait_for_request()
        with pause(shop, RECORD_LOGOUT) as recording:
            logout = Act(lambda: shop.another_store().apply_logout(logout_of(**token)))
            recording.wait_for_request()
        if shop.engine.dialect.name == "postgresql":
            logout.result()  # it does not wait, and cannot see the uncommitted session
        looking.open()
        with pytest.raises(LoginFailed) if shop.engine.dialect.name == "postgresql" else nothing():
            login.result()
        logout.result()
    assert living(shop) == []


@contextmanager
def nothing() -> Iterator[None]:
    """No expectation."""
    yield


@pytest.mark.parametrize("token", [{}, {"sub": None}, {"sid": None}], ids=["both", "sid-only", "sub-only"])
def test_session_written_before_the_logout_commits_is_ended(token: dict[str, Any], shop: Shop) -> None:
    """BCL-61: the logout found no session, and one appears before it commits."""
    with pause(shop, END_SESSION, after=True) as ending:
        logout = Act(lambda: shop.another_store().apply_logout(logout_of(**token)))
        ending.wait_for_request()
        with pause(shop, LOOK_FOR_LOGOUT) as looking:
            login = Act(lambda: shop.another_store().sign_in(AppSession(), login_of()))
            if shop.engine.dialect.name == "postgresql":
                looking.wait_for_request()
            looking.open()
            if shop.engine.dialect.name == "postgresql":
                login.join(MAX_WAIT)
        ending.open()
        logout.result()
        login.join(MAX_WAIT)
    assert living(shop) == []


def test_control_concurrent_login_of_another_user_succeeds(shop: Shop) -> None:
    """BCL-61: only the sessions the token names end, however the two operations overlap."""
    with pause(shop, LOOK_FOR_LOGOUT) as looking:
        login = Act(lambda: shop.another_store().sign_in(AppSession(), login_of(sub="Bob", sid="Bob's")))
        looking.wait_for_request()
        logout = Act(lambda: shop.another_store().apply_logout(logout_of()))
        if shop.engine.dialect.name == "postgresql":
            logout.result()
        looking.open()
        login.result()
        logout.result()
    assert living(shop) == [("Bob", "Bob's")]


@pytest.mark.parametrize("endpoint", ["token", "userinfo", "jwks"])
def test_logout_while_the_callback_waits_for_the_provider_wins(
    endpoint: str, shop: Shop, make: TokenMaker, network: Network
) -> None:
    """BCL-61: the whole route, stopped at each request. In the jwks case the token is checked with the same keys."""
    request = shop.start_login(browser := shop.browser())
    shop.provider.nonce = request["nonce"]
    gate = network.hold(f"{ISSUER}/{endpoint}")
    answer = Act(lambda: shop.answer(browser, code="c", state=request["state"], iss=ISSUER))
    gate.wait_for_request()
    logout = Act(lambda: shop.log_out(make.logout_token()))
    if endpoint != "jwks":
        assert logout.result().status_code == 200
    gate.open()
    assert logout.result().status_code == 200
    response: TestResponse = answer.result()
    if endpoint != "jwks":  # there the logout may also come a moment after the login
        assert response.status_code == 400
        assert "ended before the login was complete" in response.text
    assert who(browser) == "anonymous"
    assert living(shop) == []


# --- two logout tokens at once ---


def two_at_once(shop: Shop, first: LogoutToken, second: LogoutToken) -> list[Any]:
    """Both are applied; the second one starts when the first has ended its sessions but not yet committed."""
    with pause(shop, END_SESSION, after=True) as ending:
        acts = [Act(lambda: shop.another_store().apply_logout(first))]
        ending.wait_for_request()
        with pause(shop, RECORD_LOGOUT) as recording:
            acts.append(Act(lambda: shop.another_store().apply_logout(second)))
            recording.wait_for_request()
        eventually(lambda: waits_for_a_lock(shop), "the second one waits")
    outcomes: list[int | str] = []
    for act in acts:
        try:
            outcomes.append(len(act.result()))
        except ReplayedToken:
            outcomes.append("replayed")
    return outcomes


def test_two_tokens_for_one_session_end_it_once(shop: Shop) -> None:
    """BCL-56: a retry with a new jti overlaps the first attempt; both get 200, and the application gets one signal."""
    browser = shop.sign_in()
    assert two_at_once(shop, logout_of(jti="first"), logout_of(jti="second")) == [1, 0]
    assert who(browser) == "anonymous"


def test_same_token_sent_twice_is_applied_once(shop: Shop) -> None:
    """BCL-49: the second one waits for the first, and is a replay."""
    browser = shop.sign_in()
    assert two_at_once(shop, logout_of(), logout_of()) == [1, "replayed"]
    assert who(browser) == "anonymous"


def test_logout_by_sid_and_logout_by_sub_can_overlap(shop: Shop) -> None:
    """BCL-54, BCL-55: overlapping, in the order that could deadlock; every session of the user ends."""
    shop.sign_in()
    shop.sign_in(sid="another session")
    bob = shop.sign_in(sub="Bob", sid="Bob's session")
    assert two_at_once(shop, logout_of(jti="first"), logout_of(jti="second", sid=None)) == [1, 1]
    assert who(bob) == "Bob"
    assert living(shop) == [("Bob", "Bob's session")]


# --- a logout during a request of that session ---


@contextmanager
def slow_page(app: Flask) -> Iterator[Gate]:
    """The page /cart waits at a gate, and then writes into the session."""
    gate, really = Gate(), app.view_functions["cart"]

    def view() -> str:
        session["before"] = "x"
        gate.reached.release()
        gate.opened.wait(MAX_WAIT)
        session["cart"] = "a hat"
        return "done"

    app.view_functions["cart"] = view
    try:
        yield gate
    finally:
        gate.open()
        app.view_functions["cart"] = really


def test_late_save_does_not_revive_the_session(shop: Shop, make: TokenMaker) -> None:
    """BCL-57: the page responds with the session it loaded; afterwards its cookie is invalid, and nothing is stored."""
    browser = shop.sign_in()
    cookie = browser.get_cookie(COOKIE, "shop.example")
    with slow_page(shop.app) as gate:
        page = Act(lambda: browser.get("/cart"))
        gate.wait_for_request()
        assert shop.log_out(make.logout_token()).status_code == 200
        gate.open()
        response: TestResponse = page.result()
    assert response.text == "done"
    assert "Set-Cookie" not in response.headers
    assert browser.get_cookie(COOKIE, "shop.example") == cookie
    assert who(browser) == "anonymous"
    assert ended(shop) == [("a user", BACK_CHANNEL)]


def test_uncommitted_save_does_not_hide_the_session(shop: Shop) -> None:
    """BCL-57: the save holds the row lock when the logout wants to end it; the logout waits, and wins."""
    browser = shop.sign_in()
    (row,) = shop.rows()
    with shop.engine.connect() as saving, saving.begin():
        saving.execute(update(StoredSession).where(StoredSession.id_hash == row.id_hash).values(data='{"cart":"hat"}'))
        with pause(shop, RECORD_LOGOUT) as recording:
            logout = Act(lambda: shop.another_store().apply_logout(logout_of()))
            recording.wait_for_request()
        eventually(lambda: waits_for_a_lock(shop), "the logout waits")
    assert len(logout.result()) == 1
    assert who(browser) == "anonymous"
    assert ended(shop) == [("a user", BACK_CHANNEL)]


def test_save_that_waits_for_the_logout_writes_nothing(shop: Shop) -> None:
    """BCL-57: the reverse: the session's end is being written when the save starts."""
    browser = shop.sign_in()
    cookie = browser.get_cookie(COOKIE, "shop.example")
    assert cookie
    loaded = shop.another_store().load(cookie.value)
    loaded["cart"] = "a hat"
    with pause(shop, END_SESSION, after=True) as ending:
        logout = Act(lambda: shop.another_store().apply_logout(logout_of()))
        ending.wait_for_request()
        save = Act(lambda: shop.another_store().save(loaded))
        eventually(lambda: waits_for_a_lock(shop), "the save waits")
    logout.result()
    save.result()
    assert ended(shop) == [("a user", BACK_CHANNEL)]


# --- another user signs in with the same browser while the old session's token arrives ---


def begin_as(shop: Shop, browser: FlaskClient, sub: str, sid: str) -> dict[str, str]:
    """The browser is at the provider, where another user signs in."""
    request = shop.start_login(browser)
    shop.provider.nonce, shop.provider.id_token = request["nonce"], {"sub": sub, "sid": sid}
    shop.provider.userinfo = {"sub": sub}
    return request


@pytest.mark.parametrize("moment", ["at the provider", "in the callback"])
def test_new_user_is_signed_in_and_old_user_is_logged_out(
    moment: str, shop: Shop, make: TokenMaker, network: Network
) -> None:
    """BCL-06, BCL-61: the provider ends Ann's session because Bob signs in; its token arrives before Bob's response."""
    browser = shop.sign_in(sub="Ann", sid="Ann's")
    old = browser.get_cookie(COOKIE, "shop.example")
    assert old
    request = begin_as(shop, browser, "Bob", "Bob's")
    token = make.logout_token(sub="Ann", sid="Ann's")
    if moment == "at the provider":
        assert shop.log_out(token).status_code == 200
        response = shop.answer(browser, code="c", state=request["state"], iss=ISSUER)
    else:
        gate = network.hold(f"{ISSUER}/userinfo")
        answer = Act(lambda: shop.answer(browser, code="c", state=request["state"], iss=ISSUER))
        gate.wait_for_request()
        assert shop.log_out(token).status_code == 200
        gate.open()
        response = answer.result()
    assert response.status_code == 303, response.text
    assert who(browser) == "Bob"
    assert living(shop) == [("Bob", "Bob's")]
    assert ended(shop) == [("Ann", BACK_CHANNEL)], "with the actual reason"
    thief = shop.browser()
    thief.set_cookie(COOKIE, old.value, domain="shop.example")
    assert who(thief) == "anonymous"


def test_token_during_the_new_sessions_write_ends_only_the_old_one(shop: Shop) -> None:
    """Both want to end Ann's row; whichever is first, Ann's session ends once, and Bob is signed in."""
    browser = shop.sign_in(sub="Ann", sid="Ann's")
    cookie = browser.get_cookie(COOKIE, "shop.example")
    assert cookie
    store = shop.another_store()
    loaded = store.load(cookie.value)
    with pause(shop, LOOK_FOR_LOGOUT) as looking:
        login = Act(lambda: store.sign_in(loaded, login_of(sub="Bob", sid="Bob's")))
        looking.wait_for_request()
        logout = Act(lambda: shop.another_store().apply_logout(logout_of(sub="Ann", sid="Ann's")))
        if shop.engine.dialect.name == "postgresql":
            logout.result()
        looking.open()
        told = len(login.result()) + len(logout.result())
    assert told == 1, "the application gets one signal for Ann's session"
    assert living(shop) == [("Bob", "Bob's")]
    assert [sub for sub, _ in ended(shop)] == ["Ann"]
    assert {reason for _, reason in ended(shop)} <= {BACK_CHANNEL, REPLACED}


def test_two_responses_with_one_state_get_one_login(shop: Shop, network: Network) -> None:
    """RP-06: the same address opened in two tabs at once; one of them uses up the login."""
    browser = shop.browser()
    request = begin_as(shop, browser, "a user", "a session")
    cookie = browser.get_cookie(COOKIE, "shop.example")
    assert cookie
    other_tab = shop.browser()
    other_tab.set_cookie(COOKIE, cookie.value, domain="shop.example")
    gate = network.hold(f"{ISSUER}/token")
    answer = Act(lambda: shop.answer(browser, code="c", state=request["state"], iss=ISSUER))
    gate.wait_for_request()
    assert shop.answer(other_tab, code="c", state=request["state"], iss=ISSUER).status_code == 400
    gate.open()
    assert answer.result().status_code == 303
    assert len(network.to(f"{ISSUER}/token")) == 1


def test_two_tabs_that_start_at_once_both_sign_in(shop: Shop) -> None:
    """RP-06: neither tab's write overwrites the other's pending login."""
    browser = shop.browser()
    browser.get("/cart")
    cookie = browser.get_cookie(COOKIE, "shop.example")
    assert cookie
    stores = [shop.another_store() for _ in range(2)]
    tabs = [store.load(cookie.value) for store in stores]
    with pause(shop, WRITE_LOGINS) as writing:
        first = Act(lambda: stores[0].remember_login(tabs[0], {"state": "1"}, most=5))
        writing.wait_for_request()
        second = Act(lambda: stores[1].remember_login(tabs[1], {"state": "2"}, most=5))
        eventually(lambda: waits_for_a_lock(shop), "the second one waits")
    first.result()
    second.result()
    assert [login["state"] for login in stores[0].load(cookie.value).logins] == ["1", "2"]


# --- a crash between reserving the jti and ending the session ---


class Crashed(BaseException):
    """No handler catches it, as if the process had been killed."""


def test_retry_succeeds_after_a_crash(shop: Shop, make: TokenMaker) -> None:
    """The same token again is not a replay, and ends the session."""
    browser, token, before = shop.sign_in(), make.logout_token(), shop.everything()

    def crash(_: Connection) -> None:
        raise Crashed

    with at_statement(shop.engine, END_SESSION, crash), pytest.raises(Crashed):
        shop.log_out(token)
    assert shop.everything() == before
    assert who(browser) == "a user"
    assert shop.log_out(token).status_code == 200
    assert who(browser) == "anonymous"
    assert shop.log_out(token).status_code == 400, "control: now it is a replay"


def test_connection_lost_before_commit_changes_nothing(shop: Shop, make: TokenMaker) -> None:
    """Everything is done except the commit, and the database connection breaks."""
    browser, token, before = shop.sign_in(), make.logout_token(), shop.everything()

    def break_connection(connection: Connection) -> None:
        connection.invalidate()
        raise OSError("the connection is gone")

    with at_statement(shop.engine, "COMMIT", break_connection), pytest.raises(OSError, match="gone"):
        shop.log_out(token)
    assert shop.everything() == before
    assert shop.log_out(token).status_code == 200
    assert who(browser) == "anonymous"


# --- two requests, and one refresh token ---


def ask_for_access_token(shop: Shop, browser: FlaskClient) -> str:
    """The access token a view of the application would get."""
    cookie = browser.get_cookie(COOKIE, "shop.example")
    assert cookie
    with shop.app.test_request_context("/", headers={"Cookie": f"{COOKIE}={cookie.value}"}):
        return access_token()


def test_concurrent_requests_renew_the_access_token_once(
    shop: Shop, network: Network, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 9700 §4.14.2: the refresh token is used once; reuse would count as theft and revoke all tokens."""
    browser, waiting = shop.sign_in(), threading.Semaphore(0)
    clock.turn(590)
    shop.provider.tokens = {"access_token": "access 2", "refresh_token": "refresh 2", "id_token": None}
    monkeypatch.setattr(access_tokens, "RENEWAL_PAUSE", 0.01)
    really = SessionStore.reload_login

    def reload_login(self: SessionStore, session: AppSession) -> None:
        waiting.release()
        really(self, session)

    monkeypatch.setattr(SessionStore, "reload_login", reload_login)
    gate = network.hold(f"{ISSUER}/token")
    acts = [Act(lambda: ask_for_access_token(shop, browser)) for _ in range(3)]
    gate.wait_for_request()
    for _ in acts:
        assert waiting.acquire(timeout=MAX_WAIT)
    gate.open()
    assert [act.result() for act in acts] == ["access 2"] * 3
    assert len(network.to(f"{ISSUER}/token")) == 2, "one for the login, and one"


def test_waiting_request_uses_the_renewed_token(shop: Shop, network: Network, clock: Clock) -> None:
    """It loaded the session before; the refresh token it saw is used up."""
    browser = shop.sign_in()
    clock.turn(590)
    shop.provider.tokens = {"access_token": "access 2", "refresh_token": "refresh 2", "id_token": None}
    cookie = browser.get_cookie(COOKIE, "shop.example")
    assert cookie
    with shop.app.test_request_context("/", headers={"Cookie": f"{COOKIE}={cookie.value}"}):
        with ThreadPoolExecutor(1) as faster:
            assert faster.submit(ask_for_access_token, shop, browser).result() == "access 2"
        assert access_token() == "access 2"
    assert len(network.to(f"{ISSUER}/token")) == 2


def test_killed_renewal_blocks_other_requests_only_briefly(shop: Shop, network: Network, clock: Clock) -> None:
    """It holds the turn and does not release it."""
    browser = shop.sign_in()
    clock.turn(590)
    (row,) = shop.rows()
    died = shop.state.sessions.renewal(AppSession(row))
    assert died.__enter__()
    with shop.state.sessions.renewal(AppSession(row)) as is_ours:
        assert not is_ours, "control: another request has the turn"
    clock.turn(RENEWAL_SECONDS)
    shop.provider.tokens = {"access_token": "access 2", "id_token": None}
    assert ask_for_access_token(shop, browser) == "access 2"
    assert len(network.to(f"{ISSUER}/token")) == 2


# --- many operations at once ---


def test_many_concurrent_operations_all_succeed(shop: Shop) -> None:
    """BCL-60: many logins and logouts at once; every collision is retried, and no user sees an error."""
    store, number = shop.another_store(), 12
    for n in range(number):
        store.sign_in(AppSession(), login_of(sub=f"old {n}", sid=f"old {n}"))
    start = threading.Barrier(2 * number)

    def log_out(n: int) -> list[Any]:
        start.wait()
        return store.apply_logout(logout_of(sub=f"old {n}", sid=f"old {n}", jti=f"{n}"))

    def sign_in(n: int) -> list[Any]:
        start.wait()
        return store.sign_in(AppSession(), login_of(sub=f"new {n}", sid=f"new {n}"))

    acts = [Act(lambda n=n, act=act: act(n)) for n in range(number) for act in (log_out, sign_in)]  # type: ignore[misc] # mypy cannot tell a lambda's defaults
    assert sum(len(act.result()) for act in acts) == number
    assert living(shop) == sorted((f"new {n}", f"new {n}") for n in range(number))


def test_table_of_an_earlier_version_gets_new_columns(shop: Shop) -> None:
    """Also if two processes start at once: the second one finds the column."""
    with shop.engine.begin() as connection:
        connection.execute(text("ALTER TABLE rp_session DROP COLUMN logins"))
    starts = [Act(lambda: make_tables(shop.engine)) for _ in range(2)]
    for start in starts:
        start.result()
    assert who(shop.sign_in()) == "a user"


def test_starts_at_the_same_moment_make_the_tables_once(shop: Shop) -> None:
    """PostgreSQL's IF NOT EXISTS alone does not see a table that another process is just creating."""
    number = 4
    for _ in range(5):
        Base.metadata.drop_all(shop.engine)
        together = threading.Barrier(number)

        def start(together: threading.Barrier = together) -> None:
            together.wait()
            make_tables(shop.engine)

        for act in [Act(start) for _ in range(number)]:
            act.result()
    assert who(shop.sign_in()) == "a user"


def test_start_with_all_tables_changes_no_table(shop: Shop) -> None:
    """On PostgreSQL, each CREATE INDEX would wait for the sign-ins of the other replicas, and they for it."""
    sent: list[str] = []
    event.listen(shop.engine, "before_cursor_execute", lambda _c, _cursor, sql, *_: sent.append(sql))
    make_tables(shop.engine)
    assert [sql for sql in sent if sql.lstrip().startswith(("CREATE", "ALTER"))] == []
    Base.metadata.drop_all(shop.engine)
    make_tables(shop.engine)
    assert any(sql.lstrip().startswith("CREATE INDEX") for sql in sent), "the control"
