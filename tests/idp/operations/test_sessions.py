"""The view of sessions: user, device, the apps that share them, and which apps would be notified of the end."""

from typing import Any

import pytest
from sqlalchemy import event

from idp.models import Client, SsoSession
from idp.operations import NotFoundError, sessions
from idp.operations.sessions import AppInSession, device_of
from idp.outbox.reasons import Reason
from pickup_web.database import engine_of
from tests.conftest import Clock, SiteClient, eventually
from tests.idp.conftest import DISPATCH, MANAGER, Provider, hidden
from tests.idp.flow.test_session_ending import tokens_with_consent
from tests.idp.operations.test_people import ALEX, CAMERON, operate
from tests.idp.parties import NO_PKCE, Party

LINUX = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"


def the_app(provider: Provider, client_id: str = DISPATCH) -> AppInSession:
    """This app in the only session."""
    view = operate(provider, sessions.get_session, provider.session().sid)
    (app,) = (app for app in view.apps if app.client.client_id == client_id)
    assert isinstance(app, AppInSession)
    return app


# --- the list ---


@pytest.mark.usefixtures("cameron")
def test_list_shows_user_device_and_apps(provider: Provider, clock: Clock) -> None:
    """The most recently used first."""
    clock.turn(90)
    other = provider.browser()
    other.environ_base["HTTP_USER_AGENT"] = LINUX
    provider.sign_in(other, username="alex")
    provider.tokens(other, MANAGER)
    (alex, cameron), total = operate(provider, sessions.list_sessions)
    assert total == 2
    assert (alex.user.username, alex.device) == ("alex", "Chrome on Linux")
    assert [app.client.client_id for app in alex.apps] == [MANAGER], "an unredeemed code is not a participation"
    assert [app.client.client_id for app in cameron.apps] == [DISPATCH, MANAGER]


@pytest.mark.usefixtures("cameron")
def test_list_can_be_filtered_by_person_and_paged(provider: Provider) -> None:
    """Ended ones only on request, with the reason."""
    provider.sign_in(username="alex")
    (only,), total = operate(provider, sessions.list_sessions, sub=CAMERON)
    assert (only.user.username, total) == ("cameron", 1)
    operate(provider, sessions.end_one, only.session.sid, Reason.OPERATOR, "admin")
    assert operate(provider, sessions.list_sessions, sub=CAMERON) == ([], 0)
    (ended,), _ = operate(provider, sessions.list_sessions, sub=CAMERON, alive_only=False)
    assert ended.ended_why == "Ended by an operator"
    page, total = operate(provider, sessions.list_sessions, alive_only=False, offset=1, limit=5)
    assert (len(page), total) == (1, 2)


@pytest.mark.usefixtures("cameron")
@pytest.mark.parametrize(("search", "count"), [("CAMER", 1), ("reyes", 1), ("alex", 0), ("%", 0), ("\0", 0), (" ", 1)])
def test_search_covers_name_device_and_sid(search: str, count: int, provider: Provider) -> None:
    """As a user would type it."""
    assert operate(provider, sessions.list_sessions, search=search)[1] == count
    assert operate(provider, sessions.list_sessions, search=provider.session().sid)[1] == 1


def test_number_of_queries_is_independent_of_the_list_length(provider: Provider, cameron: SiteClient) -> None:
    """Otherwise the console would become slow on a busy day."""
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    def queries() -> int:
        statements.clear()
        operate(provider, sessions.list_sessions)
        return len(statements)

    event.listen(engine_of(provider.app), "before_cursor_execute", note)
    try:
        few = queries()
        for _ in range(5):
            browser = provider.sign_in(username="alex")
            provider.tokens(browser, DISPATCH)
            provider.tokens(browser, MANAGER)
        assert operate(provider, sessions.list_sessions)[1] == 6
        assert queries() == few <= 6
    finally:
        event.remove(engine_of(provider.app), "before_cursor_execute", note)
    del cameron


@pytest.mark.parametrize(
    ("user_agent", "device"),
    [
        (LINUX, "Chrome on Linux"),
        (LINUX.replace("Chrome/", "HeadlessChrome/"), "Chromium on Linux"),
        (LINUX + " Edg/141.0", "Edge on Linux"),
        ("Mozilla/5.0 (Windows NT 10.0; rv:143.0) Gecko/20100101 Firefox/143.0", "Firefox on Windows"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) Version/19.0 Mobile Safari/604.1", "Safari on iPhone"),
        ("Mozilla/5.0 (Linux; Android 16) Chrome/141.0 Mobile Safari/537.36", "Chrome on Android"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) Version/19.0 Safari/605.1.15", "Safari on macOS"),
        ("curl/8.5.0", "A browser"),
        ("", "A browser"),
    ],
)
def test_device_has_a_familiar_name(user_agent: str, device: str) -> None:
    """An unknown user agent is shown as "a browser"."""
    assert device_of(user_agent) == device


# --- one session ---


@pytest.mark.parametrize("sid", ["no such", "", "\0", "x" * 300])
def test_unknown_session_is_not_found(sid: str, provider: Provider) -> None:
    """It cannot be ended either."""
    with pytest.raises(NotFoundError):
        operate(provider, sessions.get_session, sid)
    with pytest.raises(NotFoundError):
        operate(provider, sessions.end_one, sid, Reason.OPERATOR, "admin")


def test_valid_tokens_of_an_app_are_counted_by_kind(provider: Provider, cameron: SiteClient, clock: Clock) -> None:
    """Offline tokens are counted separately, because the policy decides whether the logout revokes them."""
    assert (the_app(provider).access_alive, the_app(provider).refresh_alive, the_app(provider).offline_alive) == (
        1,
        1,
        0,
    )
    provider.change_client(DISPATCH, scopes=["openid", "offline_access"])
    tokens_with_consent(provider, cameron, scope="openid offline_access")
    refreshed = provider.refresh(provider.tokens(cameron, DISPATCH, scope="openid")["refresh_token"])
    assert refreshed.status_code == 200
    app = the_app(provider)
    assert (app.access_alive, app.refresh_alive, app.offline_alive) == (3, 2, 1), "one refresh token was replaced"
    clock.turn(601)
    app = the_app(provider)
    assert (app.access_alive, app.refresh_alive, app.offline_alive) == (0, 2, 1)


@pytest.mark.parametrize(
    ("policy", "revoked", "kept"), [("none", 0, 5), ("session", 4, 1), ("all", 5, 0), (None, 4, 1)]
)
def test_dry_run_predicts_the_revoked_tokens(
    policy: str | None, revoked: int, kept: int, provider: Provider, cameron: SiteClient
) -> None:
    """For each policy; by default the IdP's own, which is session."""
    provider.change_client(DISPATCH, scopes=["openid", "offline_access"], delete_tokens_on_logout=policy)
    tokens_with_consent(provider, cameron, scope="openid offline_access")
    provider.tokens(cameron, DISPATCH, scope="openid")
    (view,) = operate(provider, sessions.dry_run, [provider.session().sid, "no such"])
    (app,) = (app for app in view.apps if app.client.client_id == DISPATCH)
    assert (app.policy, app.tokens_revoked, app.tokens_kept) == (policy or "session", revoked, kept)
    operate(provider, sessions.end_one, provider.session().sid, Reason.OPERATOR, "admin")
    after = the_app(provider)
    assert after.access_alive + after.refresh_alive + after.offline_alive == kept
    assert operate(provider, sessions.dry_run, [provider.session().sid]) == [], "it has ended"


# --- which apps are not notified, and why ---


@pytest.mark.usefixtures("cameron")
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({}, ""),
        ({"backchannel_logout_uri": None}, "The client has no back-channel logout URI."),
        ({"delete_tokens_on_logout": "none"}, "Its policy is to keep tokens and to send no logout request."),
        ({"removed_at": 1}, "It was removed from this identity provider (IdP)."),
    ],
    ids=["all-right", "no-uri", "policy-none", "removed"],
)
def test_reason_why_an_app_is_not_notified_is_known(change: dict[str, Any], sentence: str, provider: Provider) -> None:
    """Before the end."""
    provider.change_client(DISPATCH, **change)
    assert (the_app(provider).told, the_app(provider).why_not) == (not sentence, sentence)


def test_plain_oauth_client_is_listed_but_not_notified(provider: Provider) -> None:
    """It has tokens of the session, but never received an ID token."""
    browser = provider.sign_in()
    provider.tokens(browser, DISPATCH, scope="fleet.read")
    app = the_app(provider)
    assert (app.told, app.access_alive) == (False, 1)
    assert app.why_not == "It got no ID token, so it takes no part in the session."
    operate(provider, sessions.end_one, provider.session().sid, Reason.OPERATOR, "admin")
    assert provider.logout_tokens(DISPATCH) == []


def test_implicit_client_is_listed_but_not_notified(provider: Provider, cameron: SiteClient, shop: Party) -> None:
    """It got its ID token in the front channel."""
    answer = cameron.get(
        "/oauth2/authorize", query_string=shop.parameters(response_type="id_token token", prompt="consent", **NO_PKCE)
    )
    answer = cameron.submit("/consent", request=hidden(answer, "request"), answer="allow")
    cameron.get(answer.location)
    app = the_app(provider, shop.id)
    assert not app.told
    assert "implicit flow" in app.why_not


def test_client_that_removed_itself_is_listed_by_name(provider: Provider, cameron: SiteClient) -> None:
    """RFC 7592 §2.3: its row is deleted; the page still has its name."""
    with provider.database() as rows:
        rows.delete(rows.get_one(Client, DISPATCH))
    app = the_app(provider)
    assert (app.client.name, app.why_not) == (DISPATCH, "It was removed from this identity provider (IdP).")
    del cameron


@pytest.mark.usefixtures("cameron")
def test_ended_session_shows_which_apps_were_notified(provider: Provider) -> None:
    """Delivered, rejected, pending."""
    provider.apps[MANAGER].status = 401
    operate(provider, sessions.end_one, provider.session().sid, Reason.OPERATOR, "admin")
    eventually(lambda: {provider.delivery(app).state for app in (DISPATCH, MANAGER)} == {"delivered", "refused"})
    assert (the_app(provider).told, the_app(provider).why_not) == (True, "")
    assert (the_app(provider, MANAGER).told, the_app(provider, MANAGER).why_not) == (
        False,
        "It refused the logout request.",
    )
    assert the_app(provider).delivery


# --- ending ---


@pytest.mark.usefixtures("cameron")
def test_ending_a_session_notifies_its_apps_and_records_the_operator(provider: Provider) -> None:
    """Others are unaffected."""
    sid = provider.session().sid
    provider.sign_in()
    operate(provider, sessions.end_one, sid, Reason.OPERATOR, "admin")
    reasons = {session.sid: session.end_reason for session in provider.rows(SsoSession)}
    assert reasons.pop(sid) == "operator"
    assert list(reasons.values()) == [None]
    assert [token["sid"] for token in provider.logout_tokens(DISPATCH)] == [sid]
    (requested,) = provider.events("op.session.end_requested")
    assert (requested.sid, requested.outcome, requested.detail) == (sid, "operator", {"by": "admin"})
    with pytest.raises(NotFoundError):
        operate(provider, sessions.end_one, sid, Reason.OPERATOR, "admin")
    assert len(provider.events("op.session.end_requested")) == 1


@pytest.mark.usefixtures("cameron")
def test_ending_all_sessions_of_a_person_affects_only_them(provider: Provider) -> None:
    """One can be kept; the number of ended sessions is returned."""
    kept = provider.session().sid
    for username in ("cameron", "cameron", "alex"):
        provider.sign_in(username=username)
    assert operate(provider, sessions.end_all_of, CAMERON, Reason.ELSEWHERE, "cameron", keep_sid=kept) == 2
    assert {(row.sub, row.sid == kept) for row in provider.rows(SsoSession) if row.ended_at is None} == {
        (CAMERON, True),
        (ALEX, False),
    }
    assert operate(provider, sessions.end_all_of, CAMERON, Reason.OPERATOR, "admin") == 1
    assert operate(provider, sessions.end_all_of, CAMERON, Reason.OPERATOR, "admin") == 0
    first, second = provider.events("op.session.end_requested")
    assert (first.detail["sessions"], second.detail["by"]) == (2, "admin")
