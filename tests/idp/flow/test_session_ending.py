"""Ending, revoking and queueing are one transaction; one caller ends a session, and every app gets the reason."""

import threading
from typing import Any

import pytest
from sqlalchemy import Connection, event
from sqlalchemy.orm import Session

from idp.flow.session_ending import end_participations, end_session
from idp.models import IDLE_SECONDS, Client, Delivery, Participation, SsoSession, Token
from idp.outbox.ledger import LEASE_SECONDS
from idp.outbox.reasons import Reason, sentence_for
from idp.sign_in.sso_session import ABSOLUTE_SECONDS
from pickup_web.database import engine_of
from tests.conftest import START, Clock, SiteClient, eventually
from tests.idp.conftest import DISPATCH, MANAGER, Provider, hidden
from tests.network import query_of
from tests.statements import at_statement


def end(
    provider: Provider, reason: Reason = Reason.LOGOUT, *, policy: str = "session", by: str | None = None
) -> list[str]:
    """Ends sessions as all callers do; nothing is sent."""
    (sid,) = (session.sid for session in provider.rows(SsoSession) if session.ended_at is None)
    with Session(engine_of(provider.app)) as db:
        return end_session(db, sid, reason, policy, initiator=db.get(Client, by) if by else None)


def tokens_with_consent(
    provider: Provider, browser: SiteClient, client_id: str = DISPATCH, **changes: str
) -> dict[str, Any]:
    """A login in which the app requests consent, as offline_access requires (Core §11)."""
    page = provider.authorize(browser, client_id, prompt="consent", **changes)
    response = browser.submit("/consent", request=hidden(page, "request"), answer="allow")
    code = query_of(browser.get(response.location).location)["code"]
    return dict(provider.redeem(code, client_id).get_json())


def works(provider: Provider, tokens: dict[str, Any], client_id: str = DISPATCH) -> tuple[bool, bool]:
    """Whether the access token and the refresh token are valid."""
    return provider.works(tokens["access_token"]), provider.refresh(
        tokens["refresh_token"], client_id
    ).status_code == 200


# --- one transaction ---


def killed(_: Connection) -> None:
    """Ends the process, as far as a test can."""
    raise KeyboardInterrupt


STEPS = ["UPDATE sso_session", "UPDATE token", "FROM participation", "INSERT INTO delivery", "INSERT INTO event"]


@pytest.mark.parametrize("step", [*STEPS, "COMMIT"])
def test_crash_before_the_commit_changes_nothing(step: str, provider: Provider, cameron: SiteClient) -> None:
    """After a crash between any two steps, the session, its tokens and its participants are unchanged."""
    tokens, events = provider.tokens(cameron), len(provider.events())
    with at_statement(engine_of(provider.app), step, killed), pytest.raises(KeyboardInterrupt):
        end(provider)
    assert provider.session().ended_at is None
    assert provider.rows(Delivery) == []
    assert len(provider.events()) == events
    assert provider.works(tokens["access_token"])
    assert len(end(provider)) == 2, "and the next caller can end it"


@pytest.mark.usefixtures("cameron")
def test_another_worker_sends_after_a_crash(provider: Provider, clock: Clock) -> None:
    """The deliveries are in the outbox; another process sends them when the lease is over."""
    end(provider)  # … and the process is gone
    provider.state.background.poll()
    assert provider.logout_tokens(MANAGER) == [], "until the lease ends, the first process still owns them"
    clock.turn(LEASE_SECONDS)
    provider.state.background.poll()
    eventually(lambda: [row.state for row in provider.rows(Delivery)] == ["delivered", "delivered"])


@pytest.mark.usefixtures("cameron")
def test_exactly_one_caller_ends_the_session(provider: Provider) -> None:
    """Two tabs, an operator and the expiry at the same moment: one set of deliveries, one event."""
    sid, together, results = provider.session().sid, threading.Barrier(4), []

    def caller() -> None:
        together.wait()
        with Session(engine_of(provider.app)) as db:
            results.append(len(end_session(db, sid, Reason.OPERATOR, "session")))

    threads = [threading.Thread(target=caller) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [0, 0, 0, 2]
    assert len(provider.rows(Delivery)) == 2
    assert len(provider.events("op.session.ended")) == 1


@pytest.mark.usefixtures("cameron")
def test_ended_session_is_not_ended_again(provider: Provider, clock: Clock) -> None:
    """The first reason is kept."""
    sid = provider.session().sid
    end(provider, Reason.LOGOUT)
    clock.turn(5)
    with Session(engine_of(provider.app)) as db:
        assert end_session(db, sid, Reason.OPERATOR, "session") == []
        assert end_session(db, "no such session", Reason.OPERATOR, "session") == []
    assert (provider.session().end_reason, provider.session().ended_at) == ("logout", START)


# --- which clients are notified ---


def test_only_clients_that_received_an_id_token_are_notified(provider: Provider) -> None:
    """BCL-24: not a client that only got a code, and not a plain OAuth client."""
    browser = provider.sign_in()
    provider.code(browser, MANAGER)
    provider.tokens(browser, DISPATCH, scope="fleet.read")
    assert end(provider) == []
    again = provider.sign_in()
    provider.tokens(again, MANAGER)
    assert len(end(provider)) == 1
    assert provider.delivery(MANAGER).state == "pending"


@pytest.mark.parametrize(
    ("values", "note"),
    [
        ({"backchannel_logout_uri": None}, "The client has no back-channel logout URI."),
        ({"delete_tokens_on_logout": "none"}, "Its policy is to keep tokens and to send no logout request."),
    ],
    ids=["no-uri", "policy-none"],
)
def test_unnotified_client_has_a_row_with_the_reason(
    values: dict[str, Any], note: str, provider: Provider, cameron: SiteClient
) -> None:
    """BCL-34: the ledger is complete; the other app is notified as usual."""
    provider.change_client(MANAGER, **values)
    provider.end_session(cameron, id_token_hint=provider.tokens(cameron)["id_token"])
    row = provider.delivery(MANAGER)
    assert (row.state, row.note, row.tries) == ("not_sent", note, 0)
    assert provider.logout_tokens(MANAGER) == []
    assert provider.delivery(DISPATCH).state == "delivered"
    (event,) = provider.events("op.logout.not_sent")
    assert (event.client_id, event.outcome) == (MANAGER, note)


def test_other_sessions_of_the_user_are_not_notified(provider: Provider, cameron: SiteClient) -> None:
    """Two browsers of one user: only the session with that sid."""
    elsewhere = provider.sign_in()
    provider.tokens(elsewhere)
    provider.end_session(cameron, id_token_hint=provider.tokens(cameron)["id_token"])
    (token,) = provider.logout_tokens(DISPATCH)
    alive = [session.sid for session in provider.rows(SsoSession) if session.ended_at is None]
    assert len(alive) == 1
    assert token["sid"] not in alive


# --- delete tokens on logout ---


@pytest.mark.parametrize(
    ("policy", "ordinary", "offline", "told"),
    [
        ("none", (True, False), (True, True), 0),
        ("session", (False, False), (True, True), 2),
        ("all", (False, False), (False, False), 2),
    ],
)
@pytest.mark.parametrize("of_whom", ["provider", "client"])
def test_delete_tokens_on_logout(
    of_whom: str, policy: str, ordinary: tuple[bool, bool], offline: tuple[bool, bool], told: int, provider: Provider,
    cameron: SiteClient,
) -> None:  # fmt: skip
    """BCL-58: none, session, all; of the IdP, or of the client, whose setting has priority.

    With ``none`` the access token stays valid, but a refresh token still needs an active session.
    """
    provider.change_client(DISPATCH, scopes=["openid", "offline_access"])
    session_tokens = provider.tokens(cameron, scope="openid")
    offline_tokens = tokens_with_consent(provider, cameron, scope="openid offline_access")
    default = policy
    if of_whom == "client":
        default = "all" if policy == "none" else "none"
        for client_id in (DISPATCH, MANAGER):
            provider.change_client(client_id, delete_tokens_on_logout=policy)
    assert len(end(provider, policy=default)) == told
    assert works(provider, session_tokens) == ordinary
    assert works(provider, offline_tokens) == offline


def test_each_client_has_its_own_policy(provider: Provider, cameron: SiteClient) -> None:
    """One keeps its tokens, the other loses them, in the same logout."""
    provider.change_client(MANAGER, delete_tokens_on_logout="none")
    mine, theirs = provider.tokens(cameron, DISPATCH), provider.tokens(cameron, MANAGER)
    end(provider)
    assert not provider.works(mine["access_token"])
    assert provider.works(theirs["access_token"])


def test_tokens_of_plain_oauth_clients_are_revoked(provider: Provider) -> None:
    """The IdP's policy applies to them, although they are not notified."""
    browser = provider.sign_in()
    provider.tokens(browser, DISPATCH, scope="fleet.read")
    end(provider)
    assert [row.revoked_at for row in provider.rows(Token)] == [START]
    assert provider.rows(Participation) == []


def test_tokens_of_other_sessions_stay_valid(provider: Provider, cameron: SiteClient) -> None:
    """BCL-58."""
    elsewhere = provider.tokens(provider.sign_in(username="alex"))
    mine = provider.tokens(cameron)
    provider.end_session(cameron, id_token_hint=mine["id_token"])
    assert provider.works(elsewhere["access_token"])
    assert not provider.works(mine["access_token"])


def test_unnotified_client_has_its_own_policy(provider: Provider) -> None:
    """Its setting applies to tokens of plain OAuth too."""
    provider.change_client(DISPATCH, delete_tokens_on_logout="none")
    browser = provider.sign_in()
    provider.tokens(browser, DISPATCH, scope="fleet.read")
    end(provider)
    assert [row.revoked_at for row in provider.rows(Token)] == [None]


# --- a client is removed ---


def remove(provider: Provider, client_id: str) -> list[str]:
    """As an operator does; nothing is sent."""
    with Session(engine_of(provider.app)) as db:
        client = db.get_one(Client, client_id)
        client.removed_at = START
        return end_participations(db, client, Reason.CLIENT_REMOVED, "session")


def test_removed_client_is_notified_of_all_its_sessions(provider: Provider, cameron: SiteClient) -> None:
    """All its tokens are revoked, offline ones too; the sessions continue for the other clients."""
    provider.change_client(MANAGER, scopes=["openid", "offline_access"])
    offline = tokens_with_consent(provider, cameron, client_id=MANAGER, scope="openid offline_access")
    mine = provider.tokens(cameron, DISPATCH)
    elsewhere = provider.sign_in()
    provider.tokens(elsewhere, MANAGER)
    deliveries = remove(provider, MANAGER)
    assert len(deliveries) == 2
    assert not provider.works(offline["access_token"])
    assert provider.works(mine["access_token"])
    assert [session.ended_at for session in provider.rows(SsoSession)] == [None, None]
    provider.state.outbox.send(deliveries)
    tokens = provider.logout_tokens(MANAGER)
    assert {token["sid"] for token in tokens} == {session.sid for session in provider.rows(SsoSession)}
    assert {token["reason_user"]["en"] for token in tokens} == {
        "This app was removed from the identity provider (IdP)."
    }
    assert provider.logout_tokens(DISPATCH) == []


@pytest.mark.usefixtures("cameron")
def test_removed_client_is_not_notified_again(provider: Provider) -> None:
    """Its participation has ended; the other client's has not."""
    remove(provider, MANAGER)
    end(provider)
    rows = sorted((row.client_id, row.reason) for row in provider.rows(Delivery))
    removed = (MANAGER, "This app was removed from the identity provider (IdP).")
    assert rows == [(DISPATCH, "You logged out at the identity provider (IdP)."), removed]


def test_removed_client_is_not_notified_of_ended_sessions(provider: Provider, cameron: SiteClient) -> None:
    """It was notified when they ended."""
    provider.end_session(cameron, id_token_hint=provider.tokens(cameron)["id_token"])
    assert remove(provider, MANAGER) == []


# --- the reason ---


@pytest.mark.parametrize(
    ("reason", "by", "sentence"),
    [
        (Reason.LOGOUT, DISPATCH, "You logged out of Pickup Dispatch."),
        (Reason.LOGOUT, None, "You logged out at the identity provider (IdP)."),
        (Reason.REPLACED, None, "A different user signed in with this browser."),
        (Reason.EXPIRED, None, "Your session expired."),
        (Reason.OPERATOR, None, "An operator ended your session."),
    ],
    ids=lambda value: str(value),
)
@pytest.mark.usefixtures("cameron")
def test_reason_is_sent_as_a_sentence_for_the_user(
    reason: Reason, by: str | None, sentence: str, provider: Provider
) -> None:
    """Manager's tab shows the reason."""
    end(provider, reason, by=by)
    assert provider.delivery(MANAGER).reason == sentence
    assert provider.session().end_reason == reason


def test_every_reason_has_a_sentence() -> None:
    """A new reason without a sentence would fail during a logout."""
    for reason in Reason:
        assert sentence_for(reason, None).endswith(".")


# --- expiry ---


@pytest.mark.parametrize(
    ("by", "reason", "sentence"),
    [
        ("idle", "idle", "Your session expired because it was not used for a while."),
        ("absolute", "expired", "Your session expired."),
    ],
)
def test_expired_session_is_ended_and_its_apps_notified(
    by: str, reason: str, sentence: str, provider: Provider, cameron: SiteClient, clock: Clock
) -> None:
    """Idle and absolute expiry end it like any other reason."""
    provider.state.background.poll()
    assert provider.session().ended_at is None
    if by == "idle":
        clock.turn(IDLE_SECONDS)
    else:
        while clock() < START + ABSOLUTE_SECONDS:
            clock.turn(3600)
            cameron.get("/")
            provider.state.background.poll()
    provider.state.background.poll()
    assert provider.session().end_reason == reason
    eventually(lambda: [row.state for row in provider.rows(Delivery)] == ["delivered", "delivered"])
    assert provider.logout_tokens(MANAGER)[0]["reason_user"] == {"en": sentence}


@pytest.mark.usefixtures("cameron")
def test_poll_without_expired_sessions_writes_nothing(provider: Provider) -> None:
    """Every process polls once a second, and on SQLite a writer blocks the others."""
    sent: list[str] = []
    event.listen(engine_of(provider.app), "before_cursor_execute", lambda *args: sent.append(args[2].split()[0]))
    provider.state.background.poll()
    assert set(sent) == {"SELECT"}
