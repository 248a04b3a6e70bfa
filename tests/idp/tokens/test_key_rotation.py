"""``flask --app idp keys rotate``: the new key is published before it signs, the old one as long as needed."""

import functools
import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OKPKey, RSAKey

from idp.models import SigningKey
from idp.tokens import signing_keys as module
from idp.tokens.signing_keys import AFTER_SIGNING_SECONDS, BEFORE_SIGNING_SECONDS, RELOAD_SECONDS, SigningKeys
from pickup_web.database import engine_of
from tests.conftest import ALGORITHMS, Clock, SiteClient
from tests.idp.conftest import Provider
from tests.idp.parties import Party, Registrar
from tests.tokens import read

LATER = BEFORE_SIGNING_SECONDS + RELOAD_SECONDS + 1


@pytest.fixture(autouse=True)
def quick_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Creating RSA keys takes time, so a few are created for all tests here and reused in turn."""
    made = itertools.cycle(rsa_keys())
    monkeypatch.setattr(RSAKey, "generate_key", lambda *_, **__: next(made))


@functools.cache
def rsa_keys() -> list[RSAKey]:
    """The created keys."""
    return [RSAKey.generate_key(2048, private=True) for _ in range(3)]


def rotate(provider: Provider) -> str:
    """Runs the command; returns its output."""
    result = provider.app.test_cli_runner().invoke(args=["keys", "rotate"])
    assert result.exit_code == 0, result.output
    return str(result.output)


def published(provider: Provider) -> dict[str, dict[str, Any]]:
    """The published key set."""
    return {key["kid"]: key for key in provider.browser().get("/oauth2/jwks").get_json()["keys"]}


def signer(provider: Provider, alg: str) -> str:
    """The kid of the key that signs."""
    return str(read(provider.state.keys.sign({}, alg=alg, typ="JWT"))[0]["kid"])


def test_command_reports_the_new_keys(provider: Provider) -> None:
    """JWK-05: a new key for each algorithm, each an event."""
    said = rotate(provider)
    for alg in ALGORITHMS:
        assert f"({alg}): every worker publishes it within 30 seconds, and signs with it in 2 minutes." in said
    assert [event.outcome for event in provider.events("op.key.published")] == list(ALGORITHMS)


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_new_key_is_published_before_it_signs_and_the_old_one_stays(alg: str, provider: Provider, clock: Clock) -> None:
    """JWK-05, JWK-06: a new kid and a new key; clients that cache the set for a minute know it in time."""
    (old,) = (key for key in published(provider).values() if key["alg"] == alg)
    rotate(provider)
    clock.turn(RELOAD_SECONDS + 1)
    (new,) = (key for key in published(provider).values() if key["alg"] == alg and key["kid"] != old["kid"])
    material = "n" if alg == "RS256" else "x"
    assert new[material] != old[material]
    assert signer(provider, alg) == old["kid"], "published, and not signing yet"
    clock.turn(LATER)
    assert signer(provider, alg) == new["kid"]
    assert old["kid"] in published(provider), "its tokens are still in use"


def test_pause_is_longer_than_all_caches() -> None:
    """JWK-05, JWK-06, JWK-07: our own processes, and clients that cache the key set for its max-age."""
    assert BEFORE_SIGNING_SECONDS >= RELOAD_SECONDS + 60


def test_old_key_stays_published_as_long_as_its_tokens_are_hints(
    provider: Provider, cameron: SiteClient, clock: Clock
) -> None:
    """JWK-05, RPL-11: an older ID token is a valid hint until the longest session ends; then the key is removed."""
    hint = provider.tokens(cameron)["id_token"]
    old = read(hint)[0]["kid"]
    rotate(provider)
    clock.turn(LATER)
    assert old in published(provider)
    response = provider.end_session(cameron, id_token_hint=hint)
    assert "You are logged out" in response.text
    clock.turn(AFTER_SIGNING_SECONDS)
    assert old not in published(provider)
    browser = provider.sign_in()
    assert provider.end_session(browser, id_token_hint=hint).status_code == 400
    assert len(published(provider)) == len(ALGORITHMS)


def test_every_process_loads_the_new_key_in_time(provider: Provider, clock: Clock) -> None:
    """JWK-07: the keys are in the database; a worker reads them every half minute."""
    other = SigningKeys(engine_of(provider.app), ALGORITHMS)
    assert len(other.jwks()["keys"]) == len(ALGORITHMS)
    rotate(provider)
    clock.turn(RELOAD_SECONDS + 1)
    assert len(other.jwks()["keys"]) == 2 * len(ALGORITHMS)
    assert {key["kid"] for key in other.jwks()["keys"]} == set(published(provider))
    clock.turn(LATER)
    for alg in ALGORITHMS:
        assert read(other.sign({}, alg=alg, typ="JWT"))[0]["kid"] == signer(provider, alg)


def test_two_rotations_in_a_row_work(provider: Provider, clock: Clock) -> None:
    """JWK-05: three sets at once; the newest that may sign does."""
    rotate(provider)
    clock.turn(10)
    rotate(provider)
    clock.turn(LATER)
    assert len(published(provider)) == 3 * len(ALGORITHMS)
    youngest = max((row for row in provider.rows(SigningKey) if row.alg == "RS256"), key=lambda row: row.signs_from)
    assert signer(provider, "RS256") == youngest.kid
    clock.turn(AFTER_SIGNING_SECONDS + LATER)
    assert len(published(provider)) == len(ALGORITHMS)


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_client_with_a_cached_key_set_verifies_every_token(
    alg: str, register: Registrar, cameron: SiteClient, clock: Clock
) -> None:
    """JWK-05, JWK-06: during a whole rotation, with logins every ten seconds, it can verify every ID token."""
    provider, party = register.provider, register(id_token_signed_response_alg=alg)
    known = KeySet.import_key_set({"keys": list(published(provider).values())})
    used = set()
    for second in range(0, 2 * LATER, 10):
        if second == 20:
            rotate(provider)
        if second % 60 == 0:
            known = KeySet.import_key_set({"keys": list(published(provider).values())})
        raw = party.tokens(cameron)["id_token"]
        used.add(read(raw)[0]["kid"])
        assert jwt.decode(raw, known, algorithms=[alg]).claims["aud"] == party.id
        clock.turn(10)
    assert len(used) == 2


def test_requests_during_a_rotation_succeed(provider: Provider, clock: Clock) -> None:
    """Several threads sign and publish during the rotation."""
    ring, stop = SigningKeys(engine_of(provider.app), ALGORITHMS), threading.Event()

    def traffic() -> None:
        while not stop.is_set():
            for alg in ALGORITHMS:
                kid = read(ring.sign({"a": 1}, alg=alg, typ="JWT"))[0]["kid"]
                assert kid in {key["kid"] for key in ring.jwks()["keys"]}

    with ThreadPoolExecutor(4) as pool:
        workers = [pool.submit(traffic) for _ in range(4)]
        for _ in range(3):
            rotate(provider)
            for _ in range(5):
                clock.turn(RELOAD_SECONDS + 1)
                ring.jwks()
        stop.set()
    assert [worker.exception() for worker in workers] == [None] * 4


def test_logout_tokens_use_the_new_key(provider: Provider, cameron: SiteClient, clock: Clock) -> None:
    """BCL-11: signed like ID tokens, with the current key; also for a session from before the rotation."""
    hint = provider.tokens(cameron)["id_token"]
    rotate(provider)
    clock.turn(LATER)
    provider.end_session(cameron, id_token_hint=hint)
    (raw,) = provider.network.logout_tokens(f"{provider.settings.manager_url}/bclogout")
    assert read(raw)[0]["kid"] == signer(provider, "RS256") != read(hint)[0]["kid"]


def test_private_members_are_never_published(provider: Provider, clock: Clock) -> None:
    """JWK-01: neither before nor during a rotation."""
    rotate(provider)
    clock.turn(RELOAD_SECONDS + 1)
    for key in published(provider).values():
        assert not {"d", "p", "q", "dp", "dq", "qi", "k"} & set(key)
        assert key["kty"] in ("RSA", "EC", "OKP")


def test_keys_have_the_required_strength(provider: Provider, shop: Party) -> None:
    """JWK-04."""
    del provider, shop
    for alg, kind in (("ES256", ECKey), ("EdDSA", OKPKey)):
        assert kind.import_key(module.make_key(alg, 0).private_jwk).curve_name in ("P-256", "Ed25519")
    assert module.RSA_BITS >= 2048
