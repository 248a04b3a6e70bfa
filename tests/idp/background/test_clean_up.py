"""Unneeded rows are deleted each minute, in small transactions; unfinished work is completed."""

from typing import Any

import pytest
from sqlalchemy import event, select

from idp.background import clean_up
from idp.background.clean_up import BATCH, CODE_SECONDS, LEDGER_SECONDS, UNUSED_SECONDS
from idp.models import AuthorizationCode, Client, Delivery, DeliveryAttempt, Participation, SsoSession, Token, hash_of
from idp.tokens.token_store import REFRESH_SECONDS
from pickup_web.database import engine_of
from tests.conftest import Clock, SiteClient, eventually, settle
from tests.idp.conftest import DISPATCH, MANAGER, Provider
from tests.idp.parties import Registrar


def client_ids(provider: Provider) -> set[str]:
    return {client.client_id for client in provider.rows(Client)}


def test_unused_self_registered_client_is_deleted(register: Registrar, provider: Provider, clock: Clock) -> None:
    """REG-17: many are created and never used; clients of an operator are kept."""
    by_hand, forgotten = client_ids(provider), register()
    clock.turn(UNUSED_SECONDS + 1)
    fresh = register()
    provider.state.background.run_maintenance()
    assert client_ids(provider) == {*by_hand, fresh.id}, "only the forgotten one is gone"
    assert forgotten.id not in client_ids(provider)


@pytest.mark.parametrize("response_type", ["code", "id_token", "code id_token"])
def test_control_used_client_is_kept(response_type: str, register: Registrar, provider: Provider, clock: Clock) -> None:
    """REG-17: even if no user has signed in for months, and no other trace of it exists."""
    used, browser = register.of_type(response_type), provider.sign_in()
    if response_type == "code":
        used.tokens(browser)
    else:
        used.answer(browser, response_type=response_type, nonce="n")
    for _ in range(4):
        provider.state.background.poll()  # ends expired sessions,
        settle(provider.state.outbox)  # and notifies the apps
        look_later(provider, clock, LEDGER_SECONDS + CODE_SECONDS)
    assert not [row for kind in (Token, Participation, Delivery) for row in provider.rows(kind)]
    assert used.id in client_ids(provider)
    used.answer(provider.sign_in(), response_type=response_type, nonce="n")


def test_control_client_without_a_redeemed_code_is_deleted(
    register: Registrar, provider: Provider, cameron: SiteClient, clock: Clock
) -> None:
    """A code that was never redeemed does not count as use."""
    forgotten = register.of_type("code")
    forgotten.answer(cameron)
    look_later(provider, clock, UNUSED_SECONDS + 1)
    assert forgotten.id not in client_ids(provider)


def test_client_of_an_earlier_version_is_kept_while_referenced(
    register: Registrar, provider: Provider, cameron: SiteClient, clock: Clock
) -> None:
    """Its use was not recorded then, but it has a participation or a ledger entry."""
    used = register.of_type("code")
    used.tokens(cameron)
    provider.change_client(used.id, used_at=None)
    look_later(provider, clock, UNUSED_SECONDS + 1)
    assert not provider.rows(Token), "control"
    assert used.id in client_ids(provider)


def test_invalid_tokens_and_old_codes_are_deleted(provider: Provider, cameron: SiteClient, clock: Clock) -> None:
    """A used code is kept as long as its tokens can be valid, to detect reuse; then both are deleted."""
    provider.tokens(cameron)
    assert provider.rows(Token)
    first = {code.code_hash for code in provider.rows(AuthorizationCode)}
    clock.turn(REFRESH_SECONDS + 1)
    provider.state.background.run_maintenance()
    assert not provider.rows(Token)
    assert first <= {code.code_hash for code in provider.rows(AuthorizationCode)}, "codes are remembered for longer"
    clock.turn(CODE_SECONDS)
    provider.state.background.run_maintenance()
    assert not first & {code.code_hash for code in provider.rows(AuthorizationCode)}


def test_used_code_is_kept_as_long_as_its_tokens(provider: Provider, cameron: SiteClient, clock: Clock) -> None:
    """CODE-04, RFC 6749 §4.1.2: offline access is renewed for months, and a second use still revokes it."""
    code = provider.code(cameron)
    provider.redeem(code)
    with provider.database() as db:
        tokens = db.scalars(select(Token).where(Token.family == hash_of(code)))
        for token in tokens:
            token.refresh_expires_at = int(clock()) + 2 * CODE_SECONDS
    look_later(provider, clock, CODE_SECONDS + 3600)
    assert {row.code_hash for row in provider.rows(AuthorizationCode)} == {hash_of(code)}
    look_later(provider, clock, CODE_SECONDS)
    assert not provider.rows(AuthorizationCode)


def test_clean_up_works_in_small_batches(register: Registrar, provider: Provider, clock: Clock) -> None:
    """It never blocks for long, and deletes all of them: a fixed number per minute could be less than what is added."""
    before = len(client_ids(provider))
    for _ in range(BATCH + 2):
        register()
    clock.turn(UNUSED_SECONDS + 1)
    deleted: list[int] = []
    event.listen(engine_of(provider.app), "after_cursor_execute", lambda *args: deleted.append(rows_deleted(*args)))
    provider.state.background.run_maintenance()
    assert [count for count in deleted if count] == [BATCH, 2]
    assert len(client_ids(provider)) == before


def test_clean_up_stops_after_a_while(
    register: Registrar, provider: Provider, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same thread looks for due deliveries; the rest is deleted the next time."""
    before = len(client_ids(provider))
    for _ in range(BATCH + 2):
        register()
    clock.turn(UNUSED_SECONDS + 1)
    monkeypatch.setattr(clean_up, "SECONDS", 0.0)
    provider.state.background.run_maintenance()
    assert len(client_ids(provider)) == before + 2
    provider.state.background.run_maintenance()
    assert len(client_ids(provider)) == before


def rows_deleted(_connection: Any, cursor: Any, statement: str, *_: Any) -> int:
    """For SQLAlchemy's event ``after_cursor_execute``."""
    return int(cursor.rowcount) if statement.startswith("DELETE FROM client") else 0


# --- the ledger ---


def look_later(provider: Provider, clock: Clock, seconds: int) -> None:
    """Deletes old rows; called a few times, because some rows are kept as long as others."""
    clock.turn(seconds)
    for _ in range(3):
        provider.state.background.run_maintenance()


def test_ledger_and_sessions_are_deleted_after_three_months(
    provider: Provider, cameron: SiteClient, clock: Clock
) -> None:
    """Not a day earlier; with all attempts and participations."""
    sid = provider.session().sid
    provider.end_session(cameron, id_token_hint=provider.tokens(cameron)["id_token"])
    look_later(provider, clock, LEDGER_SECONDS - 60)
    assert len(provider.rows(Delivery)) == len(provider.attempts()) == 2
    look_later(provider, clock, 120)
    assert (provider.rows(Delivery), provider.rows(DeliveryAttempt)) == ([], [])
    assert sid not in {row.sid for row in provider.rows(SsoSession)}
    assert sid not in {row.sid for row in provider.rows(Participation)}


def test_pending_deliveries_are_not_deleted(provider: Provider, cameron: SiteClient, clock: Clock) -> None:
    """However old they are; their sessions are kept too."""
    sid = provider.session().sid
    provider.network.refuse(provider.url(MANAGER))
    provider.end_session(cameron, id_token_hint=provider.tokens(cameron)["id_token"])
    look_later(provider, clock, LEDGER_SECONDS + 60)
    assert [row.client_id for row in provider.rows(Delivery)] == [MANAGER]
    assert sid in {row.sid for row in provider.rows(SsoSession)}


def test_removed_client_is_deleted_after_its_ledger_entries(
    provider: Provider, cameron: SiteClient, clock: Clock
) -> None:
    """Until then its name is shown, and its address is needed for its last logouts."""
    provider.end_session(cameron, id_token_hint=provider.tokens(cameron)["id_token"])
    provider.change_client(MANAGER, removed_at=int(clock()))
    look_later(provider, clock, 60)
    assert MANAGER in client_ids(provider)
    look_later(provider, clock, LEDGER_SECONDS)
    assert MANAGER not in client_ids(provider)
    assert DISPATCH in client_ids(provider), "the other one was not removed"


# --- a client that was removed during a code exchange ---


def test_participations_of_a_removed_client_end_after_a_crash(
    provider: Provider, cameron: SiteClient, clock: Clock
) -> None:
    """The session continues without it."""
    provider.tokens(cameron)
    provider.change_client(DISPATCH, removed_at=int(clock()))
    provider.state.background.run_maintenance()
    eventually(lambda: provider.delivery(DISPATCH).state == "delivered")
    assert provider.session().ended_at is None
    assert not [row for row in provider.rows(Participation) if row.client_id == DISPATCH]
