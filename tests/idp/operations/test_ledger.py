"""The ledger: search, read, export, and send a delivery again."""

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO

import pytest
from sqlalchemy.orm import Session

from idp.models import Delivery, DeliveryAttempt
from idp.operations import NotFoundError, OperationError, deliveries
from idp.operations.deliveries import COLUMNS, LAST_TRIES, Search, export_csv, get_delivery, search, send_again
from idp.outbox.ledger import GIVE_UP_SECONDS, LEASE_SECONDS
from pickup_web.database import db
from tests.conftest import START, Clock, SiteClient
from tests.idp.conftest import DISPATCH, MANAGER, Provider


def log_out(provider: Provider, browser: SiteClient) -> None:
    """Cameron logs out of Dispatch."""
    provider.end_session(browser, id_token_hint=provider.tokens(browser)["id_token"])


@contextmanager
def operator(provider: Provider) -> Iterator[Session]:
    """A request of the console."""
    with provider.app.app_context():
        yield db.session


# --- read ---


def test_ledger_line_shows_app_user_time_and_outcome(provider: Provider, cameron: SiteClient) -> None:
    """One line per app and ending, with every attempt and with display names."""
    log_out(provider, cameron)
    with operator(provider) as session:
        entries, total = search(session, Search())
    assert total == 2
    (entry,) = (entry for entry in entries if entry.delivery.client_id == MANAGER)
    assert (entry.client_name, entry.username) == ("Pickup Manager", "cameron")
    assert (entry.delivery.state, entry.delivery.outcome, entry.delivery.created_at) == ("delivered",) * 2 + (START,)
    assert [(attempt.outcome, attempt.status) for attempt in entry.attempts] == [("delivered", 200)]


def test_list_shows_the_last_attempts_and_the_line_page_all(provider: Provider, cameron: SiteClient) -> None:
    """An unreachable app gets hundreds of attempts a night, and a page of the ledger has fifty lines."""
    log_out(provider, cameron)
    row = provider.delivery(MANAGER)
    values = {"delivery_id": row.id, "milliseconds": 1, "outcome": "timeout", "answer": ""}
    with provider.database() as session:
        session.add_all(DeliveryAttempt(jti=f"try {number}", at=START - number, **values) for number in range(1, 13))
        session.commit()
    with operator(provider) as session:
        (entry,) = search(session, Search(client_id=MANAGER))[0]
        whole = get_delivery(session, row.id)
    assert (len(entry.attempts), entry.all_attempts) == (LAST_TRIES, 13)
    assert entry.attempts[-1].outcome == "delivered"
    assert (len(whole.attempts), whole.all_attempts) == (13, 13)


def test_ledger_search_filters_the_lines(provider: Provider, cameron: SiteClient, clock: Clock) -> None:
    """By app, user, session, state, outcome and time; each filter excludes the others' rows."""
    provider.network.refuse(provider.url(MANAGER))
    log_out(provider, cameron)
    sid = provider.session().sid
    clock.turn(100)
    other = provider.sign_in(username="alex")
    provider.tokens(other)
    log_out(provider, other)

    def found(**wanted: object) -> list[tuple[str, int]]:
        with operator(provider) as session:
            entries, total = search(session, Search(**wanted))  # type: ignore[arg-type] # any of them
        assert total == len(entries)
        return sorted((entry.delivery.client_id, entry.delivery.created_at - START) for entry in entries)

    first, second, alexs = (DISPATCH, 0), (MANAGER, 0), (DISPATCH, 100)
    assert found() == sorted([first, second, alexs])
    assert found(client_id=DISPATCH) == [first, alexs]
    assert found(sid=sid) == [first, second]
    assert found(state="pending") == [second]
    assert found(outcome="connection refused") == [second]
    assert found(since=START + 1) == [alexs]
    assert found(until=START + 1) == [first, second]
    (sub,) = {row.sub for row in provider.rows(Delivery) if row.sid != sid}
    assert found(sub=sub) == [alexs]
    assert found(sub=sub, client_id=MANAGER) == []


def test_ledger_is_paged(provider: Provider, cameron: SiteClient) -> None:
    """Newest first; with the total number."""
    log_out(provider, cameron)
    with operator(provider) as session:
        first, total = search(session, Search(limit=1))
        second, _ = search(session, Search(limit=1, offset=1))
    assert total == 2
    assert {first[0].delivery.client_id, second[0].delivery.client_id} == {DISPATCH, MANAGER}


def test_unknown_ledger_line_is_not_found(provider: Provider) -> None:
    """With a message."""
    with operator(provider) as session, pytest.raises(NotFoundError, match="no such delivery"):
        get_delivery(session, "0" * 32)


def test_export_contains_every_attempt(provider: Provider, cameron: SiteClient, clock: Clock) -> None:
    """One line per attempt; an app's text is quoted, and a spreadsheet does not interpret it as a formula."""
    provider.change_client(DISPATCH, backchannel_logout_uri=None)
    provider.network.answer(f"{provider.url(MANAGER)}/bclogout", 503)
    log_out(provider, cameron)
    words = '{"error": "=cmd()", "error_description": "a \\"b\\", c"}'
    provider.network.answer(f"{provider.url(MANAGER)}/bclogout", 400, words)
    clock.turn(5)
    with operator(provider) as session:
        send_again(session, provider.delivery(MANAGER).id, "the test")
        lines = list(csv.DictReader(StringIO("".join(export_csv(session, Search())))))
    assert tuple(lines[0]) == COLUMNS
    untold, *told = sorted(lines, key=lambda line: (line["app"], line["attempt"]))
    assert (untold["state"], untold["attempt"]) == ("not_sent", "")
    assert untold["note"] == "The client has no back-channel logout URI."
    assert [(line["outcome"], line["status"]) for line in told] == [("server error", "503"), ("refused", "400")]
    assert told[1]["answer"] == '\'=cmd(): a "b", c'
    assert (told[0]["ended"], told[1]["attempt"]) == ("2027-01-15T08:00:00Z", "2027-01-15T08:00:05Z")
    assert {(line["app_name"], line["person"]) for line in told} == {("Pickup Manager", "cameron")}


def test_large_ledger_is_exported_completely(
    provider: Provider, cameron: SiteClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In pages, without duplicates."""
    monkeypatch.setattr(deliveries, "PAGE", 1)
    log_out(provider, cameron)
    with operator(provider) as session:
        lines = list(csv.DictReader(StringIO("".join(export_csv(session, Search(client_id=None))))))
    assert sorted(line["app"] for line in lines) == [DISPATCH, MANAGER]


# --- send again ---


@pytest.mark.parametrize("state", ["delivered", "refused", "given_up", "not_sent", "pending"])
def test_delivery_can_be_resent_in_any_final_state(
    state: str, provider: Provider, cameron: SiteClient, clock: Clock
) -> None:
    """With a new token; the earlier attempts stay in the ledger."""
    uri = f"{provider.url(MANAGER)}/bclogout"
    if state == "not_sent":
        provider.change_client(MANAGER, backchannel_logout_uri=None)
    elif state != "delivered":
        provider.network.answer(uri, 401 if state == "refused" else 503)
        provider.change_client(MANAGER, retry_seconds=0 if state == "given_up" else None)
    log_out(provider, cameron)
    assert provider.delivery(MANAGER).state == state
    before = len(provider.logout_tokens(MANAGER))
    provider.change_client(MANAGER, backchannel_logout_uri=uri, retry_seconds=None)
    provider.network.answer(uri, 200)
    clock.turn(GIVE_UP_SECONDS)
    with operator(provider) as session:
        entry = send_again(session, provider.delivery(MANAGER).id, "alex")
    assert (entry.delivery.state, entry.delivery.note) == ("delivered", "")
    assert len(entry.attempts) == before + 1
    assert len({token["jti"] for token in provider.logout_tokens(MANAGER)}) == before + 1
    (event,) = provider.events("op.logout.sent_again")
    assert (event.client_id, event.detail["by"]) == (MANAGER, "alex")


def test_resent_delivery_restarts_its_retries(provider: Provider, cameron: SiteClient, clock: Clock) -> None:
    """With short pauses, and a new deadline."""
    log_out(provider, cameron)
    provider.network.refuse(provider.url(MANAGER))
    clock.turn(GIVE_UP_SECONDS * 2)
    with operator(provider) as session:
        row = send_again(session, provider.delivery(MANAGER).id, "alex").delivery
    assert (row.state, row.tries) == ("pending", 1)
    assert row.next_try_at <= int(clock()) + 2
    assert row.give_up_at == int(clock()) + GIVE_UP_SECONDS


def test_delivery_without_an_address_cannot_be_resent(provider: Provider, cameron: SiteClient) -> None:
    """With a message, and nothing changes."""
    log_out(provider, cameron)
    provider.change_client(MANAGER, backchannel_logout_uri=None)
    with operator(provider) as session, pytest.raises(OperationError, match="nowhere to send"):
        send_again(session, provider.delivery(MANAGER).id, "alex")
    assert provider.delivery(MANAGER).state == "delivered"


def test_claimed_delivery_cannot_be_resent(provider: Provider, cameron: SiteClient, clock: Clock) -> None:
    """Two workers never have the same row; a row whose lease is over can be claimed."""
    provider.network.refuse(provider.url(MANAGER))
    log_out(provider, cameron)
    with provider.database() as session:
        session.get_one(Delivery, provider.delivery(MANAGER).id).taken_until = START + LEASE_SECONDS
    with operator(provider) as session, pytest.raises(OperationError, match="being sent now"):
        send_again(session, provider.delivery(MANAGER).id, "alex")
    clock.turn(LEASE_SECONDS)
    with operator(provider) as session:
        assert len(send_again(session, provider.delivery(MANAGER).id, "alex").attempts) == 2
