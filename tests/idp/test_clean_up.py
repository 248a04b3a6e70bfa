"""What nobody can need any more goes, a little at each sign-in."""

from idp.clean_up import BATCH, CODE_SECONDS, UNUSED_SECONDS
from idp.models import AuthorizationCode, Client, Token
from idp.oauth_server import REFRESH_SECONDS
from tests.conftest import Clock, SiteClient
from tests.idp.conftest import Provider
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
