"""The outbox: notifies each client in parallel, with retries, and without delaying the user."""

import asyncio
import json
import threading
import time
from dataclasses import replace
from typing import Any, cast

import pytest
import requests
from sqlalchemy.orm import Session
from werkzeug import Response

from idp.flow import delivery
from idp.flow.delivery import MAX_ANSWER
from idp.flow.session_ending import end_session
from idp.models import Client, Delivery
from idp.operations.deliveries import send_again
from idp.outbox.http import BODY_SECONDS, LOOK_UP_SECONDS, Answer, GuardedHttpClient
from idp.outbox.ledger import (
    GIVE_UP_SECONDS,
    LEASE_SECONDS,
    LONGEST_PAUSE,
    MAX_CONNECT_SECONDS,
    MAX_READ_SECONDS,
    RECORD_SECONDS,
    Attempt,
    Job,
    Outcome,
    claim_due,
    record_attempts,
)
from idp.outbox.reasons import Reason
from idp.tokens.signing_keys import SigningKeys
from pickup_web import events
from pickup_web.database import engine_of
from tests.conftest import START, Clock, SiteClient, eventually, settle
from tests.idp.conftest import DISPATCH, MANAGER, PaperApp, Provider
from tests.network import Request
from tests.statements import at_statement


def log_out(provider: Provider, browser: SiteClient) -> None:
    """Cameron logs out of Dispatch."""
    hint = provider.tokens(browser)["id_token"]
    assert provider.end_session(browser, id_token_hint=hint).status_code == 200


def look(provider: Provider, tries: int) -> None:
    """The worker's poll, done once a second; waits until Manager has had this many attempts."""
    provider.state.background.poll()
    eventually(lambda: provider.delivery(MANAGER).tries == tries, f"there was no try number {tries}")


def manager_uri(provider: Provider) -> str:
    """Manager's back-channel logout URI."""
    return f"{provider.url(MANAGER)}/bclogout"


# --- the request ---


def test_logout_request_follows_the_specification(provider: Provider, cameron: SiteClient) -> None:
    """BCL-27, BCL-28: a POST with exactly one form parameter in the body."""
    log_out(provider, cameron)
    (exchange,) = provider.network.to(manager_uri(provider))
    sent = exchange.request
    assert (sent.method, sent.url) == ("POST", manager_uri(provider))
    assert sent.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert set(sent.form) == {"logout_token"}
    assert "Cookie" not in sent.headers
    assert "Authorization" not in sent.headers


def test_query_of_the_logout_uri_is_kept(provider: Provider, cameron: SiteClient) -> None:
    """BCL-07."""
    provider.change_client(MANAGER, backchannel_logout_uri=manager_uri(provider) + "?tenant=1")
    log_out(provider, cameron)
    (exchange,) = provider.network.to(manager_uri(provider))
    assert exchange.request.url.endswith("/bclogout?tenant=1")


def test_each_client_has_its_own_timeouts(provider: Provider, cameron: SiteClient) -> None:
    """BCL-32: short timeouts."""
    provider.change_client(MANAGER, connect_timeout=0.5, read_timeout=1.5)
    log_out(provider, cameron)
    assert patience(provider, MANAGER) == (0.5, 1.5)
    assert patience(provider, DISPATCH) == (2.0, 5.0)


def patience(provider: Provider, client_id: str) -> tuple[float, float]:
    """The timeouts passed to the HTTP client for one client: connect, and read."""
    asked = provider.network.to(f"{provider.url(client_id)}/bclogout")[-1].request.options["asked"]
    return asked.connect_seconds, asked.answer_seconds


def test_timeouts_are_shorter_than_the_lease(provider: Provider, cameron: SiteClient) -> None:
    """Otherwise another worker would claim a row during its attempt, or before its result is recorded."""
    provider.change_client(MANAGER, connect_timeout=100, read_timeout=100)
    log_out(provider, cameron)
    assert patience(provider, MANAGER) == (MAX_CONNECT_SECONDS, MAX_READ_SECONDS)
    assert LOOK_UP_SECONDS + sum(patience(provider, MANAGER)) + BODY_SECONDS + RECORD_SECONDS < LEASE_SECONDS


def test_app_with_a_private_ca_is_trusted(provider: Provider, cameron: SiteClient) -> None:
    """The operator's CA setting for one app applies to no other app."""
    provider.change_client(MANAGER, ca_certificates="-----BEGIN CERTIFICATE-----")
    log_out(provider, cameron)
    asked = [exchange.request.options["asked"] for exchange in provider.network.exchanges]
    assert [one.ca_certificates for one in asked if "manager" in one.url] == ["-----BEGIN CERTIFICATE-----"]
    assert [one.ca_certificates for one in asked if "dispatch" in one.url] == [None]


# --- the response ---

ANSWERS = [
    # status, state of the delivery afterwards, outcome of the attempt
    (200, "delivered", "delivered"),
    (204, "delivered", "delivered"),
    (201, "refused", "refused"),
    (400, "pending", "refused"),
    (401, "refused", "refused"),
    (404, "refused", "refused"),
    (405, "refused", "refused"),
    (302, "refused", "redirect"),
    (307, "refused", "redirect"),
    (308, "refused", "redirect"),
    (408, "pending", "server error"),
    (429, "pending", "server error"),
    (500, "pending", "server error"),
    (502, "pending", "server error"),
    (503, "pending", "server error"),
]


@pytest.mark.parametrize(("status", "state", "outcome"), ANSWERS)
def test_response_determines_the_state(
    status: int, state: str, outcome: str, provider: Provider, cameron: SiteClient, clock: Clock
) -> None:
    """BCL-31, BCL-33, BCL-35: 200 and 204 are success, temporary errors are retried, everything else is final."""
    provider.apps[MANAGER] = app = PaperApp(status, "", {"Location": "https://evil.example/"})
    provider.network.add(provider.url(MANAGER), app)
    log_out(provider, cameron)
    row = provider.delivery(MANAGER)
    assert (row.state, row.tries) == (state, 1)
    attempt = next(attempt for attempt in provider.attempts() if attempt.delivery_id == row.id)
    assert (attempt.status, attempt.outcome) == (status, outcome)
    assert not provider.network.to("https://evil.example"), "BCL-31: the token is sent to the registered address only"
    clock.turn(GIVE_UP_SECONDS - 60)
    provider.state.background.poll()
    settle(provider.state.outbox)
    assert (provider.delivery(MANAGER).tries > 1) is (state == "pending")


def test_400_is_retried_twice(provider: Provider, cameron: SiteClient, clock: Clock) -> None:
    """BCL §2.8: 400 can be temporary, for instance if keys could not be fetched. Each attempt is recorded."""
    provider.apps[MANAGER].status, provider.apps[MANAGER].body = 400, '{"error": "invalid_request"}'
    log_out(provider, cameron)
    pauses = []
    for tries in (1, 2):
        row = provider.delivery(MANAGER)
        assert (row.state, row.outcome, row.tries) == ("pending", "refused", tries)
        pauses.append(row.next_try_at - int(clock()))
        clock.turn(pauses[-1])
        look(provider, tries + 1)
    assert 0 < pauses[0] < pauses[1]
    assert provider.delivery(MANAGER).state == "refused"
    clock.turn(LONGEST_PAUSE)
    provider.state.background.poll()
    settle(provider.state.outbox)
    attempts = [attempt for attempt in provider.attempts() if attempt.delivery_id == provider.delivery(MANAGER).id]
    assert [(one.status, one.outcome, one.answer) for one in attempts] == [(400, "refused", "invalid_request")] * 3
    assert len({one.jti for one in attempts}) == 3
    told = [event.name for event in provider.events() if event.client_id == MANAGER and event.outcome == "refused"]
    assert told == ["op.logout.retrying", "op.logout.retrying", "op.logout.refused"]


def test_app_whose_first_key_fetch_fails_is_notified_by_the_retry(
    provider: Provider, cameron: SiteClient, clock: Clock
) -> None:
    """A temporary 400; attempts that did not reach the app do not count as rejections."""
    provider.network.refuse(provider.url(MANAGER))
    log_out(provider, cameron)
    for tries in (2, 3, 4):
        clock.turn(LONGEST_PAUSE)
        look(provider, tries)
    provider.network.heal(provider.url(MANAGER))
    provider.apps[MANAGER].status = 400
    clock.turn(LONGEST_PAUSE)
    look(provider, 5)
    assert provider.delivery(MANAGER).state == "pending"
    provider.apps[MANAGER].status = 200
    clock.turn(LONGEST_PAUSE)
    look(provider, 6)
    assert provider.delivery(MANAGER).state == "delivered"


def test_400_at_the_retry_deadline_is_a_rejection(provider: Provider, cameron: SiteClient, clock: Clock) -> None:
    """The app answered, so it was not unreachable until the deadline."""
    provider.apps[MANAGER].status = 400
    log_out(provider, cameron)
    clock.turn(GIVE_UP_SECONDS - 1)
    look(provider, 2)
    assert provider.delivery(MANAGER).state == "refused"


def test_resent_delivery_has_all_its_attempts_again(provider: Provider, cameron: SiteClient, clock: Clock) -> None:
    """An operator resends it after three rejections; a 400 is again retried twice."""
    provider.apps[MANAGER].status = 400
    log_out(provider, cameron)
    refuse_until_final(provider, clock)
    with provider.app.app_context(), Session(engine_of(provider.app)) as db:
        send_again(db, provider.delivery(MANAGER).id, "admin")
    assert provider.delivery(MANAGER).state == "pending"


def refuse_until_final(provider: Provider, clock: Clock) -> None:
    """Two more attempts to notify Manager."""
    for tries in (2, 3):
        clock.turn(LONGEST_PAUSE)
        look(provider, tries)
    assert provider.delivery(MANAGER).state == "refused"


FAULTS: dict[str, Any] = {
    "connection refused": lambda network, url: network.refuse(url),
    "timeout": lambda network, url: network.time_out(url),
    "name unknown": lambda network, url: network._sites.pop(url.rpartition("/pickup-manager")[0]),
    "TLS": lambda network, url: network.replace(
        url, raising(requests.exceptions.SSLError("certificate verify failed"))
    ),
    "connection broken": lambda network, url: network.replace(url, raising(requests.ConnectionError("reset by peer"))),
}


def raising(error: Exception) -> Any:
    """An exception instead of a response."""

    def fault(_: Request) -> Any:
        raise error

    return fault


@pytest.mark.parametrize("fault", FAULTS)
def test_network_error_is_recorded_and_retried(fault: str, provider: Provider, cameron: SiteClient) -> None:
    """BCL-34, BCL-35: in words an operator understands; the logout itself is not delayed."""
    FAULTS[fault](provider.network, provider.url(MANAGER))
    log_out(provider, cameron)
    row = provider.delivery(MANAGER)
    assert row.state == "pending"
    attempt = next(attempt for attempt in provider.attempts() if attempt.delivery_id == row.id)
    assert (attempt.status, attempt.outcome) == (None, fault)
    (event,) = provider.events("op.logout.retrying")
    assert (event.client_id, event.outcome, event.jti) == (MANAGER, fault, attempt.jti)
    assert provider.delivery(DISPATCH).state == "delivered", "one app's error does not affect another"


@pytest.mark.parametrize("odd", ["\\ud800", "\\u0000", "\\u001b[2J"])
def test_rejection_with_unstorable_text_is_recorded(provider: Provider, cameron: SiteClient, odd: str) -> None:
    """A lone surrogate, a NUL, a terminal escape: the attempt is recorded without them."""
    provider.apps[MANAGER].status, provider.apps[MANAGER].body = 400, f'{{"error": "bad{odd}"}}'
    provider.end_session(cameron, id_token_hint=provider.tokens(cameron)["id_token"])
    assert provider.delivery(MANAGER).outcome == "refused"
    assert next(attempt.answer for attempt in provider.attempts() if attempt.answer).startswith(
        "bad\N{REPLACEMENT CHARACTER}"
    )


@pytest.mark.usefixtures("cameron")
def test_unrecordable_result_does_not_affect_others(provider: Provider) -> None:
    """It is recorded without the app's text; if that fails too, only this row waits for the next poll."""
    end_without_sending(provider)
    rows = [provider.delivery(client_id) for client_id in (DISPATCH, MANAGER)]
    good, odd = (
        Attempt(job_of(row), Outcome("refused", "refused", 401, "no"), START, "refused", START, 5, row.client_id)
        for row in rows
    )
    provider.state.outbox._write([odd._replace(outcome=replace(odd.outcome, answer="\ud800")), good])
    assert {row.state for row in provider.rows(Delivery)} == {"refused"}
    assert {attempt.jti: attempt.answer for attempt in provider.attempts()} == {MANAGER: "", DISPATCH: "no"}
    gone = odd._replace(jti="of nobody", job=odd.job._replace(id="a row that is gone"))
    provider.state.outbox._write([gone, good._replace(jti="another")])
    assert {attempt.jti for attempt in provider.attempts()} == {MANAGER, DISPATCH, "another"}


def test_long_outcome_is_shortened(provider_on_postgres: Provider) -> None:
    """PostgreSQL rejects a text that SQLite accepts; the row must not stay pending because of it."""
    provider = provider_on_postgres
    provider.change_client(MANAGER, backchannel_logout_uri=manager_uri(provider) + "/\u00fc")
    browser = provider.sign_in()
    provider.end_session(browser, id_token_hint=provider.tokens(browser, MANAGER)["id_token"])
    settle(provider.state.outbox)
    row, (attempt,) = provider.delivery(MANAGER), provider.attempts()
    assert (row.state, row.tries) == ("refused", 1)
    assert row.outcome == attempt.outcome == "the logout URI contains characters that…"
    (event,) = provider.events("op.logout.refused")
    assert event.outcome == "the logout URI contains characters that no URL has"


def test_rejection_is_recorded_with_the_apps_text(provider: Provider, cameron: SiteClient) -> None:
    """BCL-34, BCL §2.8: operators see the reason, shortened; only the two defined members."""
    words = {"error": "invalid_request", "error_description": "x" * 500, "other": "never kept"}
    provider.apps[MANAGER].status, provider.apps[MANAGER].body = 400, json.dumps(words)
    log_out(provider, cameron)
    attempt = next(attempt for attempt in provider.attempts() if attempt.status == 400)
    assert attempt.answer == "invalid_request: " + "x" * 200
    assert provider.events("op.logout.retrying")[0].detail["answer"] == attempt.answer


@pytest.mark.parametrize("body", ["", "<p>", "[1]", "7", "null", "[" * 3000, '{"error": {"a": 1}}', "\xff"])
def test_text_of_a_rejection_does_not_change_retries(body: str, provider: Provider, cameron: SiteClient) -> None:
    """BCL-66: the text is only for the ledger; every 400 is retried, whatever its body."""
    provider.apps[MANAGER].status, provider.apps[MANAGER].body = 400, body
    log_out(provider, cameron)
    row = provider.delivery(MANAGER)
    assert (row.state, row.outcome, row.tries) == ("pending", "refused", 1)


def test_oversized_body_is_noted_and_the_status_counts(provider: Provider, cameron: SiteClient) -> None:
    """BCL-32, BCL §2.8: at most a few kilobytes are read. 200 counts as delivered, but the URI may be wrong."""
    for app in provider.apps.values():
        app.body = "x" * 1_000_000
    provider.apps[DISPATCH].status = 400
    log_out(provider, cameron)
    outcomes = {row.client_id: (row.state, row.outcome) for row in provider.rows(Delivery)}
    assert outcomes == {MANAGER: ("delivered", "response too large"), DISPATCH: ("pending", "refused")}
    (asked,) = (exchange.request.options["asked"] for exchange in provider.network.to(manager_uri(provider)))
    assert asked.limit == MAX_ANSWER


# --- the user is not delayed ---


def test_hanging_app_delays_neither_the_user_nor_other_apps(
    provider: Provider, cameron: SiteClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """BCL-26: the redirect comes while the app hangs; the app is notified when it answers again."""
    monkeypatch.setattr(provider.state.outbox, "redirect_wait", 0.05)
    gate = provider.network.hold(manager_uri(provider))
    log_out(provider, cameron)
    gate.wait_for_request()
    assert provider.delivery(MANAGER).state == "pending", "the user has been redirected, the app still hangs"
    eventually(lambda: provider.delivery(DISPATCH).state == "delivered", "the other app waits, too")
    assert provider.delivery(MANAGER).state == "pending"
    gate.open()
    eventually(lambda: provider.delivery(MANAGER).state == "delivered")


def test_process_that_stops_waits_for_its_last_answers_but_not_for_ever(
    provider: Provider, cameron: SiteClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the app would be notified twice at each restart."""
    outbox = provider.state.outbox
    monkeypatch.setattr(outbox, "redirect_wait", 0.05)
    gate = provider.network.hold(manager_uri(provider))
    log_out(provider, cameron)
    gate.wait_for_request()
    outbox.drain(0.1)
    assert provider.delivery(MANAGER).state == "pending"
    stopping = threading.Thread(target=outbox.drain)
    stopping.start()
    gate.open()
    stopping.join()
    assert provider.delivery(MANAGER).state == "delivered"


def test_control_redirect_waits_for_apps_that_answer(provider: Provider, cameron: SiteClient) -> None:
    """BCL-29: without an error all apps are notified before the redirect."""
    log_out(provider, cameron)
    assert {row.state for row in provider.rows(Delivery)} == {"delivered"}


def test_apps_are_notified_in_parallel(provider: Provider, cameron: SiteClient) -> None:
    """BCL-26: each app answers only after the other was called, so sequential calls would deadlock."""
    both = threading.Barrier(2, timeout=5)

    def meet(_: Request) -> Any:
        both.wait()
        return Response("")

    for client_id in (DISPATCH, MANAGER):
        provider.network.replace(f"{provider.url(client_id)}/bclogout", meet)
    log_out(provider, cameron)
    assert {row.state for row in provider.rows(Delivery)} == {"delivered"}


@pytest.mark.usefixtures("cameron")
def test_unexpected_error_is_logged_and_the_row_stays_pending(
    provider: Provider, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    """Neither the user nor the outbox is affected."""
    with monkeypatch.context() as broken:
        broken.setattr(SigningKeys, "sign", lambda *_, **__: 1 / 0)
        end_without_sending(provider)
        provider.state.outbox.send([row.id for row in provider.rows(Delivery)])
    assert {row.state for row in provider.rows(Delivery)} == {"pending"}
    clock.turn(LEASE_SECONDS)
    provider.state.background.poll()
    eventually(lambda: [row.state for row in provider.rows(Delivery)] == ["delivered", "delivered"])


def end_without_sending(provider: Provider) -> None:
    """A process that is killed right after the session ended."""
    with Session(engine_of(provider.app)) as db:
        end_session(db, provider.session().sid, Reason.LOGOUT, "session", initiator=db.get_one(Client, DISPATCH))


def test_internal_error_after_the_ending_does_not_reach_the_user(
    provider: Provider, cameron: SiteClient, clock: Clock
) -> None:
    """The session has ended; the apps are notified at the next poll."""
    hint = provider.tokens(cameron)["id_token"]
    with at_statement(engine_of(provider.app), "SELECT delivery.id", lambda _: 1 / 0):  # the outbox reads its work
        assert provider.end_session(cameron, id_token_hint=hint).status_code == 200
    assert {row.state for row in provider.rows(Delivery)} == {"pending"}
    clock.turn(LEASE_SECONDS)
    provider.state.background.poll()
    eventually(lambda: [row.state for row in provider.rows(Delivery)] == ["delivered", "delivered"])


# --- the record ---


def test_every_attempt_is_recorded(provider: Provider, cameron: SiteClient, clock: Clock) -> None:
    """BCL-34: time, outcome, status and the token's jti; the events have the same data."""
    provider.network.answer(manager_uri(provider), 503)
    log_out(provider, cameron)
    provider.network.heal(manager_uri(provider))
    clock.turn(5)
    look(provider, 2)
    row = provider.delivery(MANAGER)
    attempts = [attempt for attempt in provider.attempts() if attempt.delivery_id == row.id]
    assert [(attempt.outcome, attempt.status) for attempt in attempts] == [("server error", 503), ("delivered", 200)]
    assert [attempt.jti for attempt in attempts] == [token["jti"] for token in provider.logout_tokens(MANAGER)]
    told = [event for event in provider.events() if event.client_id == MANAGER and event.name.startswith("op.logout.")]
    assert [event.name for event in told] == ["op.logout.queued", "op.logout.retrying", "op.logout.delivered"]
    assert [event.detail.get("attempt") for event in told] == [None, 1, 2]
    assert {event.sid for event in told} == {row.sid}


def test_records_and_logs_contain_no_token(
    provider: Provider, cameron: SiteClient, capsys: pytest.CaptureFixture[str]
) -> None:
    """BCL-34, BCL-70, TRAP-05: not after a success, a rejection or an error."""
    provider.network.refuse(provider.url(DISPATCH))
    provider.apps[MANAGER].status, provider.apps[MANAGER].body = 400, '{"error": "invalid_request"}'
    log_out(provider, cameron)
    sent = [
        token
        for client_id in (DISPATCH, MANAGER)
        for token in provider.network.logout_tokens(f"{provider.url(client_id)}/bclogout")
    ]
    with provider.database() as db:
        dump = "\n".join(db.connection().connection.driver_connection.iterdump())  # type: ignore[union-attr] # sqlite3's
    logged = "".join(capsys.readouterr())
    assert len(sent) == 2
    for token in sent:
        signature = token.rpartition(".")[2]
        assert signature not in dump
        assert signature not in logged
        assert token.split(".")[1] not in logged


def test_failed_logins_cannot_fill_the_disk(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    """BCL-71: the IdP also keeps only the newest events; each poll deletes the others."""
    monkeypatch.setattr(events, "KEEP", 5)
    browser = provider.browser()
    for _ in range(12):
        provider.authorize(browser, prompt="none")
    provider.state.background.poll()
    assert len(provider.events()) == 5


def test_400_with_retry_after_is_retried(provider: Provider, cameron: SiteClient, clock: Clock) -> None:
    """BCL-35: it could not fetch our keys. A 400 with Retry-After is not final."""
    app = provider.apps[MANAGER]
    app.status, app.headers = 400, {"Retry-After": "10"}
    log_out(provider, cameron)
    eventually(lambda: [attempt.outcome for attempt in provider.attempts()].count("asked to come back") == 1)
    app.status, app.headers = 200, {}
    clock.turn(LONGEST_PAUSE)
    provider.state.background.poll()
    eventually(lambda: provider.delivery(MANAGER).state == "delivered")


def test_slow_attempt_does_not_undo_a_later_one(provider: Provider, cameron: SiteClient) -> None:
    """A delivered row stays delivered."""
    log_out(provider, cameron)
    eventually(lambda: provider.delivery(MANAGER).state == "delivered")
    late(provider, Outcome("timeout", "pending"), taken_until=2**40)
    assert provider.delivery(MANAGER).state == "delivered"


@pytest.mark.usefixtures("cameron")
def test_slow_attempt_does_not_release_another_workers_claim(provider: Provider, clock: Clock) -> None:
    """Its lease was over; but if the app was notified, the delivery counts."""
    end_without_sending(provider)
    clock.turn(LEASE_SECONDS)
    with Session(engine_of(provider.app)) as db:
        claim_due(db, 10)
    late(provider, Outcome("timeout", "pending"), taken_until=START + LEASE_SECONDS)
    row = provider.delivery(MANAGER)
    assert (row.tries, row.taken_until) == (0, START + 2 * LEASE_SECONDS)
    late(provider, Outcome("delivered", "delivered", 200), taken_until=START + LEASE_SECONDS)
    assert provider.delivery(MANAGER).state == "delivered"


def late(provider: Provider, outcome: Outcome, taken_until: int) -> None:
    """A process records its result long after its lease ended."""
    row = provider.delivery(MANAGER)
    attempt = Attempt(job_of(row)._replace(taken_until=taken_until), outcome, START, outcome.state, START)
    with provider.database() as db:
        record_attempts(db, [attempt])


def job_of(row: Delivery) -> Job:
    """A delivery as a process claimed it."""
    return Job(
        row.id, row.client_id, row.sid, row.sub, row.host, row.reason, row.tries, row.created_at, row.give_up_at,
        row.taken_until, row.refusals, "https://x.example/", "RS256", False, 1, 1, None,
    )  # fmt: skip


def test_attempt_time_starts_when_its_token_is_signed(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger shows how long the app took, not how long the token waited to be signed."""
    steady = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: steady[0])

    async def sign(*_: object) -> str:
        steady[0] += 7
        clock.turn(7)
        return "token"

    class App:
        async def ask(self, _request: object) -> Answer:
            steady[0] += 0.5
            return Answer(200)

    end = START + 99
    uri = "https://app.example/"
    job = Job("id", DISPATCH, "sid", "s", "h", "", 0, START, end, end, 0, uri, "RS256", False, 1, 1, None)
    step = delivery.deliver(job, issuer="https://op.example", sign=sign, http=cast(GuardedHttpClient, App()))
    attempt = asyncio.run(step)
    assert (attempt.milliseconds, attempt.at) == (500, START + 7)
