"""Retries of a logout notification, by any process, whatever the clock says."""

import threading

import pytest
from sqlalchemy.orm import Session

from idp.flow import delivery
from idp.flow.delivery import FIRST_PAUSE
from idp.models import Delivery
from idp.outbox.ledger import (
    GIVE_UP_SECONDS,
    LEASE_SECONDS,
    LONGEST_PAUSE,
    claim_due,
)
from pickup_web.database import engine_of
from tests.conftest import Clock, SiteClient, eventually, settle
from tests.idp.conftest import DISPATCH, MANAGER, Provider, another_worker
from tests.idp.flow.test_delivery import end_without_sending, log_out, look

# --- retries ---


def test_retry_pauses_grow_within_bounds(provider: Provider, cameron: SiteClient, clock: Clock) -> None:
    """BCL-35: about 1, 2, 4, 8 … seconds, at most about a minute, each with jitter."""
    provider.network.refuse(provider.url(MANAGER))
    log_out(provider, cameron)
    pauses = []
    for tries in range(1, 11):
        row = provider.delivery(MANAGER)
        assert (row.state, row.tries) == ("pending", tries)
        pauses.append(row.next_try_at - int(clock()))
        clock.turn(pauses[-1] - 1)
        provider.state.background.poll()
        assert provider.delivery(MANAGER).tries == tries, "not before next_try_at"
        clock.turn(1)
        look(provider, tries + 1)
    for number, pause in enumerate(pauses):
        expected = min(FIRST_PAUSE * 2**number, LONGEST_PAUSE)
        assert expected <= pause <= round(expected * 1.3)


def test_each_attempt_has_a_new_token(provider: Provider, cameron: SiteClient, clock: Clock) -> None:
    """BCL-35: a new jti, iat and exp, so a retry is neither a replay nor expired; the same sid."""
    provider.network.refuse(provider.url(MANAGER))
    log_out(provider, cameron)
    for tries in (2, 3):
        clock.turn(LONGEST_PAUSE)
        look(provider, tries)
    tokens = provider.logout_tokens(MANAGER)
    assert len({token["jti"] for token in tokens}) == 3
    assert [token["iat"] for token in tokens] == [
        attempt.at for attempt in provider.attempts() if attempt.status is None
    ]
    assert {token["exp"] - token["iat"] for token in tokens} == {120}
    assert len({(token["sid"], token["sub"]) for token in tokens}) == 1


def test_recovered_app_is_notified(provider: Provider, cameron: SiteClient, clock: Clock) -> None:
    """Manager was down when the user logged out; a retry delivers the logout."""
    provider.network.refuse(provider.url(MANAGER))
    log_out(provider, cameron)
    provider.network.heal(provider.url(MANAGER))
    clock.turn(2)
    look(provider, 2)
    assert provider.delivery(MANAGER).state == "delivered"
    clock.turn(GIVE_UP_SECONDS)
    provider.state.background.poll()
    assert provider.delivery(MANAGER).tries == 2, "a delivered logout is not sent again"


def test_delivery_is_given_up_at_the_deadline(provider: Provider, cameron: SiteClient, clock: Clock) -> None:
    """At the deadline an event is recorded, and nothing more is sent."""
    provider.network.refuse(provider.url(MANAGER))
    log_out(provider, cameron)
    clock.turn(GIVE_UP_SECONDS - 1)
    look(provider, 2)
    assert provider.delivery(MANAGER).state == "given_up"
    assert [event.client_id for event in provider.events("op.logout.given_up")] == [MANAGER]
    clock.turn(3600)
    provider.state.background.poll()
    assert provider.delivery(MANAGER).tries == 2


@pytest.mark.usefixtures("cameron")
def test_unsendable_delivery_is_given_up_at_the_deadline(
    provider: Provider, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of our own, such as no signing key for the algorithm, is not retried after the deadline."""
    provider.change_client(MANAGER, id_token_signed_response_alg="PS512")
    end_without_sending(provider)
    monkeypatch.setattr(delivery.LOG, "exception", lambda *_, **__: None, raising=False)
    clock.turn(GIVE_UP_SECONDS + 60)
    provider.state.background.poll()
    eventually(lambda: provider.delivery(MANAGER).state == "given_up", "it is tried for ever")


def test_delivery_without_a_uri_is_given_up(provider: Provider, cameron: SiteClient, clock: Clock) -> None:
    """BCL-34: the operator removed it between two attempts."""
    provider.network.refuse(provider.url(MANAGER))
    log_out(provider, cameron)
    provider.change_client(MANAGER, backchannel_logout_uri=None)
    clock.turn(10)
    look(provider, 2)
    row = provider.delivery(MANAGER)
    assert (row.state, row.note) == ("not_sent", "The client no longer has a back-channel logout URI.")
    assert provider.events("op.logout.not_sent")[0].outcome == row.note


# --- several processes ---


@pytest.mark.usefixtures("cameron")
def test_another_process_takes_over_after_the_lease_ends(provider: Provider, clock: Clock) -> None:
    """Killed right after the logout; the process that polls after the lease sends it, once."""
    end_without_sending(provider)
    survivor = another_worker(engine_of(provider.app), provider.state.http, provider.issuer)
    survivor.poll()
    clock.turn(LEASE_SECONDS - 1)
    survivor.poll()
    assert provider.logout_tokens(MANAGER) == []
    clock.turn(1)
    survivor.poll()
    eventually(lambda: [row.state for row in provider.rows(Delivery)] == ["delivered", "delivered"])
    assert len(provider.logout_tokens(MANAGER)) == 1
    settle(survivor.outbox)


@pytest.mark.usefixtures("cameron")
def test_attempt_of_a_killed_process_is_repeated(provider: Provider, clock: Clock) -> None:
    """BCL-35: its process was killed during the attempt; the row says until when it is claimed."""
    end_without_sending(provider)
    clock.turn(LEASE_SECONDS)
    with Session(engine_of(provider.app)) as db:
        row = db.get_one(Delivery, provider.delivery(MANAGER).id)
        row.taken_until = int(clock()) + LEASE_SECONDS  # … and it is never heard of again
        db.commit()
    clock.turn(LEASE_SECONDS - 1)
    provider.state.background.poll()
    eventually(lambda: provider.delivery(DISPATCH).state == "delivered")
    assert provider.logout_tokens(MANAGER) == []
    clock.turn(1)
    look(provider, 1)
    assert provider.delivery(MANAGER).state == "delivered"


@pytest.mark.usefixtures("cameron")
def test_delivery_is_claimed_by_one_process(provider: Provider, clock: Clock) -> None:
    """BCL-35: claimed by one conditional update; no app is notified twice."""
    end_without_sending(provider)
    clock.turn(LEASE_SECONDS)
    together = threading.Barrier(4)
    taken: list[str] = []

    def process() -> None:
        with Session(engine_of(provider.app)) as db:
            together.wait()
            taken.extend(claim_due(db, 10))

    threads = [threading.Thread(target=process) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(row.id for row in provider.rows(Delivery))


# --- the clock ---


@pytest.mark.parametrize("column", ["next_try_at", "taken_until"])
def test_clock_set_back_delays_no_delivery(column: str, provider: Provider, cameron: SiteClient, clock: Clock) -> None:
    """It was set back by an hour after an attempt, or during one."""
    provider.network.refuse(provider.url(MANAGER))
    log_out(provider, cameron)
    provider.network.heal(provider.url(MANAGER))
    clock.turn(5)
    with provider.database() as db:
        setattr(db.get_one(Delivery, provider.delivery(MANAGER).id), column, int(clock()) + 3600)
    look(provider, 2)
    assert provider.delivery(MANAGER).state == "delivered"


@pytest.mark.parametrize(("column", "ahead"), [("next_try_at", LONGEST_PAUSE * 1.3), ("taken_until", LEASE_SECONDS)])
def test_control_scheduled_times_are_respected(
    column: str, ahead: float, provider: Provider, cameron: SiteClient, clock: Clock
) -> None:
    """BCL-35: the longest pause and a whole lease."""
    provider.network.refuse(provider.url(MANAGER))
    log_out(provider, cameron)
    clock.turn(5)
    with provider.database() as db:
        setattr(db.get_one(Delivery, provider.delivery(MANAGER).id), column, int(clock()) + round(ahead))
        assert claim_due(db, 10) == []
