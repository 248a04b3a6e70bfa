"""What nobody can need any more goes, a little each minute; what was left unfinished is finished."""

import pytest
from sqlalchemy import select

from idp.background.clean_up import BATCH, CODE_SECONDS, LEDGER_SECONDS, UNUSED_SECONDS
from idp.models import AuthorizationCode, Client, Delivery, DeliveryAttempt, Participation, SsoSession, Token, hash_of
from idp.tokens.token_store import REFRESH_SECONDS
from tests.conftest import Clock, SiteClient, eventually, settle
from tests.idp.conftest import DISPATCH, MANAGER, Provider
from tests.idp.parties import Registrar


def client_ids(provider: Provider) -> set[str]:
    return {client.client_id for client in provider.rows(Client)}


def test_a_client_that_registered_itself_and_is_not_used_goes(
    register: Registrar, provider: Provider, clock: Clock
) -> None:
    """REG-17: many are made and forgotten; those that an operator registered stay."""
    by_hand, forgotten = client_ids(provider), register()
    clock.turn(UNUSED_SECONDS + 1)
    fresh = register()
    provider.state.background.run_maintenance()
    assert client_ids(provider) == {*by_hand, fresh.id}, "only the forgotten one is gone"
    assert forgotten.id not in client_ids(provider)


@pytest.mark.parametrize("response_type", ["code", "id_token", "code id_token"])
def test_control_a_client_that_was_used_stays(
    response_type: str, register: Registrar, provider: Provider, clock: Clock
) -> None:
    """REG-17: also if nobody has signed in for a night, or for a season, and nothing else is left of it."""
    used, browser = register.of_type(response_type), provider.sign_in()
    if response_type == "code":
        used.tokens(browser)
    else:
        used.answer(browser, response_type=response_type, nonce="n")
    for _ in range(4):
        provider.state.background.poll()  # it ends what has expired,
        settle(provider.state.outbox)  # and the apps are told
        look_later(provider, clock, LEDGER_SECONDS + CODE_SECONDS)
    assert not [row for kind in (Token, Participation, Delivery) for row in provider.rows(kind)]
    assert used.id in client_ids(provider)
    used.answer(provider.sign_in(), response_type=response_type, nonce="n")


def test_control_a_client_that_was_only_asked_for_goes(
    register: Registrar, provider: Provider, cameron: SiteClient, clock: Clock
) -> None:
    """A code that it never redeemed is no use of it."""
    forgotten = register.of_type("code")
    forgotten.answer(cameron)
    look_later(provider, clock, UNUSED_SECONDS + 1)
    assert forgotten.id not in client_ids(provider)


def test_a_client_of_an_earlier_version_stays_while_there_is_a_trace_of_it(
    register: Registrar, provider: Provider, cameron: SiteClient, clock: Clock
) -> None:
    """Its use was not noted then; but it takes part in a session, or the ledger tells of it."""
    used = register.of_type("code")
    used.tokens(cameron)
    provider.change_client(used.id, used_at=None)
    look_later(provider, clock, UNUSED_SECONDS + 1)
    assert not provider.rows(Token), "control"
    assert used.id in client_ids(provider)


def test_dead_tokens_and_old_codes_go(provider: Provider, cameron: SiteClient, clock: Clock) -> None:
    """A used code is kept as long as what came of it can live, to notice a second use; then both go."""
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


def test_a_used_code_stays_as_long_as_a_token_of_its_family(
    provider: Provider, cameron: SiteClient, clock: Clock
) -> None:
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


def test_it_is_done_in_small_pieces(register: Registrar, provider: Provider, clock: Clock) -> None:
    """Never a stop; the rest goes the next time."""
    before = len(client_ids(provider))
    for _ in range(BATCH + 2):
        register()
    clock.turn(UNUSED_SECONDS + 1)
    provider.state.background.run_maintenance()
    assert len(client_ids(provider)) == before + 2
    provider.state.background.run_maintenance()
    assert len(client_ids(provider)) == before


# --- the ledger ---


def look_later(provider: Provider, clock: Clock, seconds: int) -> None:
    """What is old goes; a few times, as each time it is a little."""
    clock.turn(seconds)
    for _ in range(3):
        provider.state.background.run_maintenance()


def test_the_ledger_and_its_sessions_go_after_three_months(
    provider: Provider, cameron: SiteClient, clock: Clock
) -> None:
    """Not a day before; with every try and every app's part."""
    sid = provider.session().sid
    provider.end_session(cameron, id_token_hint=provider.tokens(cameron)["id_token"])
    look_later(provider, clock, LEDGER_SECONDS - 60)
    assert len(provider.rows(Delivery)) == len(provider.attempts()) == 2
    look_later(provider, clock, 120)
    assert (provider.rows(Delivery), provider.rows(DeliveryAttempt)) == ([], [])
    assert sid not in {row.sid for row in provider.rows(SsoSession)}
    assert sid not in {row.sid for row in provider.rows(Participation)}


def test_pending_deliveries_are_not_deleted(provider: Provider, cameron: SiteClient, clock: Clock) -> None:
    """However old; and so does its session."""
    sid = provider.session().sid
    provider.network.refuse(provider.url(MANAGER))
    provider.end_session(cameron, id_token_hint=provider.tokens(cameron)["id_token"])
    look_later(provider, clock, LEDGER_SECONDS + 60)
    assert [row.client_id for row in provider.rows(Delivery)] == [MANAGER]
    assert sid in {row.sid for row in provider.rows(SsoSession)}


def test_a_removed_client_goes_when_the_ledger_no_longer_tells_of_it(
    provider: Provider, cameron: SiteClient, clock: Clock
) -> None:
    """It has a name there until then, and an address for its last logouts."""
    provider.end_session(cameron, id_token_hint=provider.tokens(cameron)["id_token"])
    provider.change_client(MANAGER, removed_at=int(clock()))
    look_later(provider, clock, 60)
    assert MANAGER in client_ids(provider)
    look_later(provider, clock, LEDGER_SECONDS)
    assert MANAGER not in client_ids(provider)
    assert DISPATCH in client_ids(provider), "the other one was not removed"


# --- a client that was removed during a code exchange ---


def test_the_parts_of_a_removed_client_are_ended_though_the_process_was_killed(
    provider: Provider, cameron: SiteClient, clock: Clock
) -> None:
    """The session goes on without it."""
    provider.tokens(cameron)
    provider.change_client(DISPATCH, removed_at=int(clock()))
    provider.state.background.run_maintenance()
    eventually(lambda: provider.delivery(DISPATCH).state == "delivered")
    assert provider.session().ended_at is None
    assert not [row for row in provider.rows(Participation) if row.client_id == DISPATCH]
