"""Operations at the same moment as sign-ins and refreshes, on both databases: nothing slips through."""

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import select

import idp as idp_service
from idp.models import SsoSession, Token, User
from idp.oauth_server import RefreshGrant
from idp.operations import OperationError, people, sessions
from idp.session_ending import Reason
from pickup_web.database import db
from tests.conftest import PASSWORD, SiteClient, close, make_settings, prepared
from tests.idp.conftest import DISPATCH, MANAGER, PaperApp, Provider
from tests.idp.test_people import ADMIN, ALEX, CAMERON, operate, person
from tests.idp.test_session_ending import tokens_with_consent
from tests.network import Network


@pytest.fixture(params=["sqlite", "postgresql"])
def either(request: pytest.FixtureRequest, tmp_path: Path, network: Network) -> Iterator[Provider]:
    """The provider, on one database and on the other."""
    if request.param == "sqlite":
        yield request.getfixturevalue("provider")
        return
    url = request.getfixturevalue("postgres").new_database().render_as_string(hide_password=False)
    settings = make_settings(tmp_path, idp_database_url=url)
    app = prepared(idp_service.create_app(settings), settings.idp_url)
    apps = {DISPATCH: PaperApp(), MANAGER: PaperApp()}
    for address, there in ((settings.dispatch_url, apps[DISPATCH]), (settings.manager_url, apps[MANAGER])):
        network.add(address, there)
    yield Provider(app, settings, network, apps)
    close(app)


def keep_signing_in(provider: Provider, password: str, stop: threading.Event, offline: str) -> None:
    """Somebody who tries again and again, and has an offline token from before."""
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
def test_nobody_slips_in_while_they_are_shut_out(act: str, either: Provider) -> None:
    """Whatever a sign-in or a refresh had read before: afterwards there is no session and no token."""
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
def test_an_ending_waits_for_a_refresh_that_is_under_way_and_takes_its_tokens_too(
    act: str, either: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither fails: both take the session or the person first, and the token after it."""
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


def test_two_operators_cannot_shut_out_each_other(either: Provider) -> None:
    """One of them is left, whoever was faster."""
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


def test_lists_searches_and_ends_work_on_either_database(either: Provider) -> None:
    """JSON, patterns and groups are where databases differ."""
    browser = either.sign_in()
    either.tokens(browser, DISPATCH)
    either.sign_in(SiteClient(either.app))
    assert operate(either, people.list_people, "REYES")[1] == operate(either, people.list_people, "n@pick")[1] - 1 == 1
    (first, _), total = operate(either, sessions.list_sessions, search="reyes", sub=CAMERON)
    assert total == 2
    assert sum(app.dies for app in first.apps) in (0, 2)
    assert operate(either, people.count_sessions, [CAMERON]) == {CAMERON: 2}
    assert operate(either, sessions.end_all_of, CAMERON, Reason.OPERATOR, "admin") == 2
    assert len(either.logout_tokens(DISPATCH)) == 1
    with either.database() as rows:
        assert set(rows.scalars(select(SsoSession.end_reason).join(User))) == {"operator"}
    with either.app.app_context():
        assert people.add_person(db.session, "kim", "Kim", "", "eight or more", "user", "admin").username == "kim"
