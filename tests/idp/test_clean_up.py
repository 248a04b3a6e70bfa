"""What nobody can need any more goes, a little at each sign-in."""

from idp.clean_up import BATCH, CODE_SECONDS, LEDGER_SECONDS, UNUSED_SECONDS
from idp.models import AuthorizationCode, Client, Delivery, DeliveryAttempt, Participation, SsoSession, Token
from idp.oauth_server import REFRESH_SECONDS
from tests.conftest import Clock, SiteClient
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
    assert client_ids(provider) == {*by_hand, fresh.id}, "only the forgotten one is gone"
    assert forgotten.id not in client_ids(provider)


def test_control_a_client_that_is_used_stays(register: Registrar, provider: Provider, clock: Clock) -> None:
    """REG-17: as long as something that was issued to it lives."""
    used = register.of_type("code", "code token")
    clock.turn(UNUSED_SECONDS - 60)
    browser = provider.browser()
    provider.sign_in(browser)
    used.answer(browser, response_type="code token", nonce="n")
    clock.turn(120)
    register()
    assert used.id in client_ids(provider)


def test_dead_tokens_and_old_codes_go(provider: Provider, cameron: SiteClient, clock: Clock) -> None:
    """A used code is kept as long as what came of it can live, to notice a second use; then both go."""
    provider.tokens(cameron)
    assert provider.rows(Token)
    first = {code.code_hash for code in provider.rows(AuthorizationCode)}
    clock.turn(REFRESH_SECONDS + 1)
    provider.sign_in(provider.browser())
    assert not provider.rows(Token)
    assert first <= {code.code_hash for code in provider.rows(AuthorizationCode)}, "codes are remembered for longer"
    clock.turn(CODE_SECONDS)
    provider.sign_in(provider.browser())
    assert not first & {code.code_hash for code in provider.rows(AuthorizationCode)}


def test_it_is_done_in_small_pieces(register: Registrar, provider: Provider, clock: Clock) -> None:
    """Never a stop; the rest goes the next time."""
    before = len(client_ids(provider))
    for _ in range(BATCH + 2):
        register()
    clock.turn(UNUSED_SECONDS + 1)
    register()
    assert len(client_ids(provider)) == before + 3
    register()
    assert len(client_ids(provider)) == before + 2


# --- the ledger ---


def sign_in_later(provider: Provider, clock: Clock, seconds: int) -> None:
    """Somebody comes, and what is old goes; a few times, as each time it is a little."""
    clock.turn(seconds)
    for _ in range(3):
        provider.sign_in(provider.browser())


def test_the_ledger_and_its_sessions_go_after_three_months(
    provider: Provider, cameron: SiteClient, clock: Clock
) -> None:
    """Not a day before; with every try and every app's part."""
    sid = provider.session().sid
    provider.end_session(cameron, id_token_hint=provider.tokens(cameron)["id_token"])
    sign_in_later(provider, clock, LEDGER_SECONDS - 60)
    assert len(provider.rows(Delivery)) == len(provider.attempts()) == 2
    sign_in_later(provider, clock, 120)
    assert (provider.rows(Delivery), provider.rows(DeliveryAttempt)) == ([], [])
    assert sid not in {row.sid for row in provider.rows(SsoSession)}
    assert sid not in {row.sid for row in provider.rows(Participation)}


def test_what_is_still_to_be_told_stays(provider: Provider, cameron: SiteClient, clock: Clock) -> None:
    """However old; and so does its session."""
    sid = provider.session().sid
    provider.network.refuse(provider.url(MANAGER))
    provider.end_session(cameron, id_token_hint=provider.tokens(cameron)["id_token"])
    sign_in_later(provider, clock, LEDGER_SECONDS + 60)
    assert [row.client_id for row in provider.rows(Delivery)] == [MANAGER]
    assert sid in {row.sid for row in provider.rows(SsoSession)}


def test_a_removed_client_goes_when_the_ledger_no_longer_tells_of_it(
    provider: Provider, cameron: SiteClient, clock: Clock
) -> None:
    """It has a name there until then, and an address for its last logouts."""
    provider.end_session(cameron, id_token_hint=provider.tokens(cameron)["id_token"])
    provider.change_client(MANAGER, removed_at=int(clock()))
    sign_in_later(provider, clock, 60)
    assert MANAGER in client_ids(provider)
    sign_in_later(provider, clock, LEDGER_SECONDS)
    assert MANAGER not in client_ids(provider)
    assert DISPATCH in client_ids(provider), "the other one was not removed"
