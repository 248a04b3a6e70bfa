"""Operations concurrent with sign-ins and refreshes, or interrupted by kill -9, on both databases."""

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import select

from idp.flow import login
from idp.models import Delivery, Participation, SsoSession, Token, User, hash_of
from idp.operations import OperationError, people, sessions
from idp.outbox.ledger import LEASE_SECONDS
from idp.outbox.reasons import Reason
from idp.sign_in.sso_session import COOKIE
from idp.tokens.refresh_grant import RefreshGrant
from pickup_web.database import db
from tests.conftest import PASSWORD, START, Clock, SiteClient, settle
from tests.idp.conftest import DISPATCH, MANAGER, Provider
from tests.idp.flow.test_session_ending import remove, tokens_with_consent
from tests.idp.operations.test_people import ADMIN, ALEX, CAMERON, operate, person
from tests.thorough import examples

EMPTY: list[str] = []


def sign_in_often(provider: Provider, number: int) -> list[str]:
    """Cameron in several browsers, each signed in at Dispatch; a browser's cookie is its session's ``sid``."""
    sids, at = [f"sid{index}" for index in range(number)], {"auth_time": START, "amr": EMPTY}
    with provider.database() as rows:
        for sid in sids:
            times = {"created_at": START, "last_seen_at": START, "expires_at": START + 36000}
            rows.add(SsoSession(sid=sid, cookie_hash=hash_of(sid), sub=CAMERON, user_agent="", **at, **times))
            rows.flush()
            rows.add(Participation(sid=sid, client_id=DISPATCH, sub=CAMERON, since=START))
            token = {"client_id": DISPATCH, "sid": sid, "sub": CAMERON, "scope": "openid", **at}
            rows.add(
                Token(access_hash=hash_of(sid), family=sid, issued_at=START, access_expires_at=START + 600, **token)
            )
    return sids


def is_signed_in(provider: Provider, sid: str) -> bool:
    """Whether the cookie of that browser opens a page."""
    browser = provider.browser()
    browser.set_cookie(COOKIE, sid, domain="idp.localhost")
    return browser.get("/account").status_code == 200


def keep_signing_in(provider: Provider, password: str, stop: threading.Event, offline: str) -> None:
    """A user who retries repeatedly, and has an offline token from before."""
    while True:
        is_last = stop.is_set()
        browser = provider.browser()
        answer = provider.enter_password(browser, provider.authorize(browser, scope="openid"), password=password)
        if answer.status_code == 303 and "code=" in answer.location:
            provider.redeem(answer.location.partition("code=")[2].partition("&")[0])
        refreshed = provider.refresh(offline)
        offline = refreshed.get_json().get("refresh_token", offline)
        if is_last:
            return


@pytest.mark.parametrize("act", ["disable", "remove", "reset"])
def test_no_session_or_token_is_created_while_access_is_removed(act: str, either: Provider) -> None:
    """Whatever a sign-in or a refresh had read before, no session and no token exists afterwards."""
    either.change_client(DISPATCH, scopes=["openid", "offline_access"])
    browser = either.sign_in(scope="openid")
    offline = tokens_with_consent(either, browser, scope="openid offline_access")["refresh_token"]
    stop, faults = threading.Event(), []

    def run(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as fault:  # a thread's fault is the test's
            faults.append(fault)

    busy = [
        threading.Thread(target=run, args=(lambda: keep_signing_in(either, PASSWORD, stop, offline),)) for _ in range(3)
    ]
    for one in busy:
        one.start()
    for _ in range(3 if act == "disable" else 0):
        operate(either, people.disable_person, CAMERON, "admin")
        operate(either, people.enable_person, CAMERON, "admin")
    acts: dict[str, Callable[..., object]]
    acts = {"disable": people.disable_person, "remove": people.remove_person, "reset": people.reset_password}
    operate(either, acts[act], CAMERON, "admin")
    stop.set()
    for one in busy:
        one.join()
    assert faults == []
    assert [row.sid for row in either.rows(SsoSession) if row.ended_at is None] == []
    alive = [row for row in either.rows(Token) if row.revoked_at is None]
    assert [row for row in alive if act != "reset" or not row.is_offline] == []


@pytest.mark.parametrize("act", ["end", "disable"])
def test_ending_waits_for_a_concurrent_refresh_and_revokes_its_tokens(
    act: str, either: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither fails: both lock the session or the person first, and the token after it."""
    either.change_client(DISPATCH, scopes=["openid", "offline_access"])
    browser = either.sign_in(scope="openid")
    tokens = either.tokens(browser, DISPATCH, scope="openid")
    if act == "disable":
        tokens = tokens_with_consent(either, browser, scope="openid offline_access")
    sid, ended, claim = either.session().sid, threading.Event(), RefreshGrant.authenticate_refresh_token

    def end() -> None:
        if act == "end":
            operate(either, sessions.end_one, sid, Reason.OPERATOR, "admin")
        else:
            operate(either, people.disable_person, CAMERON, "admin")
        ended.set()

    ending = threading.Thread(target=end)

    def claim_and_dawdle(grant: RefreshGrant, refresh_token: str) -> Token | None:
        found = claim(grant, refresh_token)
        ending.start()
        assert not ended.wait(0.3), "the ending waits for the refresh's commit"
        return found

    monkeypatch.setattr(RefreshGrant, "authenticate_refresh_token", claim_and_dawdle)
    refreshed = either.refresh(tokens["refresh_token"])
    ending.join()
    assert ended.is_set(), "and is not refused by the database"
    assert refreshed.status_code == 200
    assert not either.works(refreshed.get_json()["access_token"])
    assert not [row for row in either.rows(Token) if row.revoked_at is None]


def test_client_removed_during_a_refresh_keeps_no_token(either: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    """In either order: the new token belongs to the client, and is revoked with the others."""
    refresh_token = either.tokens(either.sign_in(), DISPATCH)["refresh_token"]
    removal, claim = threading.Thread(target=remove, args=(either, DISPATCH)), RefreshGrant.authenticate_refresh_token

    def claim_and_dawdle(grant: RefreshGrant, refresh_token: str) -> Token | None:
        found = claim(grant, refresh_token)
        removal.start()
        removal.join(0.3)
        return found

    monkeypatch.setattr(RefreshGrant, "authenticate_refresh_token", claim_and_dawdle)
    refreshed = either.refresh(refresh_token)
    removal.join()
    token = refreshed.get_json()["access_token"]
    assert not either.works(token)
    assert not either.post("/oauth2/introspect", MANAGER, token=token).get_json()["active"]
    assert not [row for row in either.rows(Token) if row.revoked_at is None]


def test_two_operators_cannot_lock_out_each_other(either: Provider) -> None:
    """One operator remains, whichever request was faster."""
    operate(either, people.set_role, ALEX, "operator", "admin")
    together = threading.Barrier(2)

    def disable(sub: str, by: str) -> None:
        together.wait()
        with suppress(OperationError):  # one of the two is refused
            operate(either, people.disable_person, sub, by)

    both = [threading.Thread(target=disable, args=each) for each in ((ALEX, "admin"), (ADMIN, "alex"))]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert sorted(person(either, sub).disabled_at is None for sub in (ADMIN, ALEX)) == [False, True]


def test_lists_searches_and_endings_work_on_either_database(either: Provider) -> None:
    """JSON, patterns and grouping differ between databases."""
    browser = either.sign_in()
    either.tokens(browser, DISPATCH)
    either.sign_in(SiteClient(either.app))
    assert operate(either, people.list_people, "REYES")[1] == operate(either, people.list_people, "n@pick")[1] - 1 == 1
    (first, _), total = operate(either, sessions.list_sessions, search="reyes", sub=CAMERON)
    assert total == 2
    assert sum(app.tokens_revoked for app in first.apps) in (0, 2)
    assert operate(either, people.count_sessions, [CAMERON]) == {CAMERON: 2}
    assert operate(either, sessions.end_all_of, CAMERON, Reason.OPERATOR, "admin") == 2
    assert len(either.logout_tokens(DISPATCH)) == 1
    with either.database() as rows:
        assert set(rows.scalars(select(SsoSession.end_reason).join(User))) == {"operator"}
    with either.app.app_context():
        assert people.add_person(db.session, "kim", "Kim", "", "eight or more", "user", "admin").username == "kim"


@pytest.mark.parametrize(
    "scope", ["maps.offline_access", "offline_access.maps", "maps.offline-access", "offline-access", "Offline_Access"]
)
def test_only_the_exact_scope_keeps_a_token_valid_after_its_session(scope: str, either: Provider) -> None:
    """A scope that only looks like offline_access does not count (Core §11), whatever the database's LIKE matches."""
    either.change_client(DISPATCH, scopes=["openid", scope])
    tokens = either.tokens(either.sign_in(), DISPATCH, scope=f"openid {scope}")
    sid = either.session().sid
    ((app,),) = (view.apps for view in operate(either, sessions.dry_run, [sid]))
    assert (app.tokens_revoked, app.tokens_kept) == (2, 0), "and so it is foretold"
    refreshed = either.refresh(tokens["refresh_token"])
    assert refreshed.get_json()["scope"] == f"openid {scope}", "control"
    operate(either, sessions.end_one, sid, Reason.OPERATOR, "admin")
    assert not either.works(refreshed.get_json()["access_token"])
    assert either.refresh(refreshed.get_json()["refresh_token"]).get_json()["error"] == "invalid_grant"
    assert not [row for row in either.rows(Token) if row.revoked_at is None]


# --- who is killed on the way ---


def change_own_password(provider: Provider) -> None:
    with provider.app.app_context():
        people.change_own_password(db.session, db.session.get_one(User, CAMERON), PASSWORD, "another one", "")


ACTS: dict[str, tuple[Callable[[Provider], object], str]] = {
    "disable": (lambda provider: operate(provider, people.disable_person, CAMERON, "admin"), "user_disabled"),
    "remove": (lambda provider: operate(provider, people.remove_person, CAMERON, "admin"), "user_removed"),
    "reset": (lambda provider: operate(provider, people.reset_password, CAMERON, "admin"), "password_changed"),
    "change": (change_own_password, "password_changed"),
    "end all": (
        lambda provider: operate(provider, sessions.end_all_of, CAMERON, Reason.OPERATOR, "admin"),
        "operator",
    ),
}


def is_done(provider: Provider, act: str) -> bool:
    """Whether the operation is in the database."""
    them = person(provider, CAMERON)
    if act == "end all":
        return len(provider.events("op.session.end_requested")) == 1
    if act in ("reset", "change"):
        with provider.app.app_context():
            return login.authenticate("cameron", PASSWORD) is None
    return (them.disabled_at, them.removed_at) == (START, START if act == "remove" else None)


def assert_all_hear_of_it_once(provider: Provider, sids: list[str], reason: str) -> None:
    """Another worker sends the rest; a second round finds nothing to do."""
    for _ in range(2):
        provider.state.background.poll()
        settle(provider.state.outbox)
    once = dict.fromkeys(sids, 1)
    assert Counter(row.sid for row in provider.rows(Delivery)) == once
    assert Counter(event.sid for event in provider.events("op.session.ended")) == once
    assert {event.outcome for event in provider.events("op.session.ended")} == {reason}
    assert Counter(token["sid"] for token in provider.logout_tokens(DISPATCH)) == once


@pytest.mark.parametrize("act", ACTS)
def test_crash_after_the_commit_has_ended_all_sessions(
    act: str, either: Provider, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The operation, the end of every session and the deliveries are one transaction; only sending remains."""
    sids = sign_in_often(either, examples(12, 120))
    assert is_signed_in(either, sids[-1]), "control"
    do, reason = ACTS[act]
    with monkeypatch.context() as broken:
        broken.setattr(either.state.outbox, "send", killed)
        with pytest.raises(KeyboardInterrupt):
            do(either)
    assert is_done(either, act)
    assert {(row.end_reason, row.ended_at) for row in either.rows(SsoSession)} == {(reason, START)}
    assert not [row for row in either.rows(Token) if row.revoked_at is None]
    if act == "disable":
        operate(either, people.enable_person, CAMERON, "admin")
    assert not any(is_signed_in(either, sid) for sid in sids), "what has ended stays ended"
    clock.turn(LEASE_SECONDS)
    assert_all_hear_of_it_once(either, sids, reason)


def killed(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


VICTIM = """
import os, signal, sys, time
time.time = lambda: float(sys.argv[2])
from sqlalchemy.orm import Session
from idp import create_app
from idp.operations import people
from idp.outbox.sender import Outbox
from pickup_web.database import db

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

app = create_app()
if sys.argv[1] == "before the commit":
    Session.commit = die
else:
    Outbox.send = die
with app.app_context():
    people.disable_person(db.session, sys.argv[3], "admin")
"""


@pytest.mark.thorough
@pytest.mark.parametrize("step", ["before the commit", "after the commit"])
def test_kill_9_never_ends_only_some_sessions(step: str, either: Provider, clock: Clock) -> None:
    """A real process: either nothing has happened, or all sessions have ended and each app will be notified."""
    sids, settings = sign_in_often(either, examples(12, 120)), either.settings
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "PICKUP_DATA_DIR": str(settings.data_dir),
        "PICKUP_IDP_DATABASE_URL": settings.idp_database_url,
        "PICKUP_SECRET_KEY": settings.secret_key.get_secret_value(),
        "PICKUP_DISPATCH_CLIENT_SECRET": settings.dispatch_client_secret.get_secret_value(),
        "PICKUP_MANAGER_CLIENT_SECRET": settings.manager_client_secret.get_secret_value(),
        "PICKUP_DEMO_PASSWORD": PASSWORD,
        "PICKUP_DEMO_PLAIN_HTTP": "true",
    }
    command = [sys.executable, "-c", VICTIM, step, str(START), CAMERON]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert is_done(either, "disable") == (step == "after the commit")
    if step == "before the commit":
        assert is_signed_in(either, sids[-1])
        operate(either, people.disable_person, CAMERON, "admin")
    operate(either, people.enable_person, CAMERON, "admin")
    assert not any(is_signed_in(either, sid) for sid in sids)
    clock.turn(LEASE_SECONDS)
    assert_all_hear_of_it_once(either, sids, "user_disabled")
