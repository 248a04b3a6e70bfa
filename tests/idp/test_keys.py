"""Signing keys: made once, kept, rotated without a restart, private for ever."""

import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey
from sqlalchemy import delete
from sqlalchemy.orm import Session

from idp.keys import ALGORITHMS, RELOAD_SECONDS, KeyRing, make_first_keys
from idp.models import SigningKey
from idp.seed import follow_settings
from pickup_web.database import engine_of
from tests.conftest import START, Clock
from tests.idp.conftest import Provider
from tests.tokens import read


def add_key(provider: Provider, kid: str, *, signs_from: int, published_until: int | None = None) -> None:
    """Another key: its material is the first one's, which is made already."""
    with provider.database() as db:
        first = db.query(SigningKey).filter_by(alg="RS256").one()
        private = {**first.private_jwk, "kid": kid}
        row = {"alg": "RS256", "private_jwk": private, "created_at": START + 1, "signs_from": signs_from}
        db.add(SigningKey(kid=kid, published_until=published_until, **row))


def kids(ring: KeyRing, alg: str = "RS256") -> list[str]:
    """The names of the published keys of one algorithm."""
    return [key["kid"] for key in ring.jwks()["keys"] if key["alg"] == alg]


def signer(ring: KeyRing) -> str:
    """Which key signs."""
    return str(read(ring.sign({}, alg="RS256", typ="JWT"))[0]["kid"])


@pytest.fixture
def ring(provider: Provider) -> KeyRing:
    """The keys, as a process knows them."""
    return provider.state.keys


def test_a_new_provider_has_one_key_for_each_algorithm_and_keeps_it(provider: Provider, ring: KeyRing) -> None:
    """JWK-05: made at the first start and not again: tokens out there stay verifiable."""
    before = [kids(ring, alg) for alg in ALGORITHMS]
    with provider.database() as db:
        make_first_keys(db)
    assert [kids(KeyRing(engine_of(provider.app)), alg) for alg in ALGORITHMS] == before
    assert [len(names) for names in before] == [1, 1, 1]


def test_data_of_an_earlier_version_get_the_keys_they_lack(provider: Provider, ring: KeyRing) -> None:
    """JWK-05: it had RS256 only; what it signed stays verifiable, and a client may register the others."""
    (first,) = kids(ring)
    with provider.database() as db:
        db.execute(delete(SigningKey).where(SigningKey.alg != "RS256"))
    follow_settings(engine_of(provider.app), provider.settings)
    after = KeyRing(engine_of(provider.app))
    assert kids(after) == [first]
    assert after.algorithms() == list(ALGORITHMS)


def test_a_new_key_is_published_before_it_signs(provider: Provider, ring: KeyRing, clock: Clock) -> None:
    """JWK-05: so that whoever keeps the key set for a while knows it in time."""
    (first,) = kids(ring)
    add_key(provider, "second", signs_from=START + 300)
    clock.turn(RELOAD_SECONDS + 1)
    assert kids(ring) == [first, "second"]
    assert signer(ring) == first
    clock.turn(300)
    assert signer(ring) == "second"
    assert kids(ring) == [first, "second"], "what the first one signed is still verifiable"


def test_a_retired_key_leaves_the_set_at_its_time(provider: Provider, ring: KeyRing, clock: Clock) -> None:
    """JWK-05."""
    add_key(provider, "old", signs_from=START - 10, published_until=START + 3600)
    assert "old" in kids(ring)
    clock.turn(3600)
    assert "old" not in kids(ring)


def test_another_workers_key_is_noticed_by_itself(provider: Provider, ring: KeyRing, clock: Clock) -> None:
    """JWK-07: the keys are in the database; a process looks there now and then, and not for every token."""
    kids(ring)
    add_key(provider, "second", signs_from=START)
    assert "second" not in kids(ring)
    clock.turn(RELOAD_SECONDS + 1)
    assert "second" in kids(ring)


def test_a_private_key_is_imported_once_a_process(ring: KeyRing, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """27 milliseconds an import; a reload takes those it knows."""
    ring.jwks()
    monkeypatch.setattr(RSAKey, "import_key", None)
    clock.turn(RELOAD_SECONDS + 1)
    assert signer(ring)


def test_what_is_published_verifies_and_is_public(ring: KeyRing) -> None:
    """JWK-01, JWK-03: nothing of the private part leaves the process."""
    raw = ring.sign({"a": 1}, alg="RS256", typ="JWT")
    assert jwt.decode(raw, ring.public_keys(), algorithms=["RS256"]).claims == {"a": 1}
    assert not {"d", "p", "q", "dp", "dq", "qi"} & set(ring.jwks()["keys"][0])


def test_two_processes_that_start_together_agree(provider: Provider) -> None:
    """JWK-07."""
    engine = engine_of(provider.app)
    assert kids(KeyRing(engine)) == kids(KeyRing(engine))
    with Session(engine) as db:
        assert db.query(SigningKey).count() == len(ALGORITHMS)
