"""Signing keys: made once, kept, rotated without a restart, private for ever."""

from pathlib import Path

import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey
from sqlalchemy import delete
from sqlalchemy.orm import Session

from idp import create_app
from idp.models import SigningKey
from idp.seed import follow_settings
from idp.tokens.signing_keys import RELOAD_SECONDS, NoSigningKeyError, SigningKeys, make_first_keys
from pickup_web.database import engine_of
from pickup_web.settings import Settings
from tests.conftest import ALGORITHMS, START, Clock, SiteClient, close, make_settings
from tests.idp.conftest import DISPATCH, Provider
from tests.tokens import read


def add_key(provider: Provider, kid: str, *, signs_from: int, published_until: int | None = None) -> None:
    """Another key: its material is the first one's, which is made already."""
    with provider.database() as db:
        first = db.query(SigningKey).filter_by(alg="RS256").one()
        private = {**first.private_jwk, "kid": kid}
        row = {"alg": "RS256", "private_jwk": private, "created_at": START + 1, "signs_from": signs_from}
        db.add(SigningKey(kid=kid, published_until=published_until, **row))


def kids(ring: SigningKeys, alg: str = "RS256") -> list[str]:
    """The names of the published keys of one algorithm."""
    return [key["kid"] for key in ring.jwks()["keys"] if key["alg"] == alg]


def signer(ring: SigningKeys) -> str:
    """Which key signs."""
    return str(read(ring.sign({}, alg="RS256", typ="JWT"))[0]["kid"])


@pytest.fixture
def ring(provider: Provider) -> SigningKeys:
    """The keys, as a process knows them."""
    return provider.state.keys


def test_a_new_provider_has_one_key_for_each_algorithm_and_keeps_it(provider: Provider, ring: SigningKeys) -> None:
    """JWK-05: made at the first start and not again: tokens out there stay verifiable."""
    before = [kids(ring, alg) for alg in ALGORITHMS]
    with provider.database() as db:
        make_first_keys(db, ALGORITHMS)
    assert [kids(SigningKeys(engine_of(provider.app), ALGORITHMS), alg) for alg in ALGORITHMS] == before
    assert [len(names) for names in before] == [1, 1, 1]


def test_data_of_an_earlier_version_get_the_keys_they_lack(provider: Provider, ring: SigningKeys) -> None:
    """JWK-05: it had RS256 only; what it signed stays verifiable, and a client may register the others."""
    (first,) = kids(ring)
    with provider.database() as db:
        db.execute(delete(SigningKey).where(SigningKey.alg != "RS256"))
    follow_settings(engine_of(provider.app), provider.settings)
    after = SigningKeys(engine_of(provider.app), ALGORITHMS)
    assert kids(after) == [first]
    assert after.algorithms() == list(ALGORITHMS)


def test_a_new_key_is_published_before_it_signs(provider: Provider, ring: SigningKeys, clock: Clock) -> None:
    """JWK-05: so that whoever keeps the key set for a while knows it in time."""
    (first,) = kids(ring)
    add_key(provider, "second", signs_from=START + 300)
    clock.turn(RELOAD_SECONDS + 1)
    assert kids(ring) == [first, "second"]
    assert signer(ring) == first
    clock.turn(300)
    assert signer(ring) == "second"
    assert kids(ring) == [first, "second"], "what the first one signed is still verifiable"


def test_a_retired_key_leaves_the_set_at_its_time(provider: Provider, ring: SigningKeys, clock: Clock) -> None:
    """JWK-05."""
    add_key(provider, "old", signs_from=START - 10, published_until=START + 3600)
    assert "old" in kids(ring)
    clock.turn(3600)
    assert "old" not in kids(ring)


def test_another_workers_key_is_noticed_by_itself(provider: Provider, ring: SigningKeys, clock: Clock) -> None:
    """JWK-07: the keys are in the database; a process looks there now and then, and not for every token."""
    kids(ring)
    add_key(provider, "second", signs_from=START)
    assert "second" not in kids(ring)
    clock.turn(RELOAD_SECONDS + 1)
    assert "second" in kids(ring)


def test_a_private_key_is_imported_once_a_process(
    ring: SigningKeys, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """27 milliseconds an import; a reload takes those it knows."""
    ring.jwks()
    monkeypatch.setattr(RSAKey, "import_key", None)
    clock.turn(RELOAD_SECONDS + 1)
    assert signer(ring)


def test_published_keys_verify_and_are_public(ring: SigningKeys) -> None:
    """JWK-01, JWK-03: nothing of the private part leaves the process."""
    raw = ring.sign({"a": 1}, alg="RS256", typ="JWT")
    assert jwt.decode(raw, ring.public_keys(), algorithms=["RS256"]).claims == {"a": 1}
    assert not {"d", "p", "q", "dp", "dq", "qi"} & set(ring.jwks()["keys"][0])


def test_two_processes_that_start_together_agree(provider: Provider) -> None:
    """JWK-07."""
    engine = engine_of(provider.app)
    assert kids(SigningKeys(engine, ALGORITHMS)) == kids(SigningKeys(engine, ALGORITHMS))
    with Session(engine) as db:
        assert db.query(SigningKey).count() == len(ALGORITHMS)


# --- the clock ---


def test_a_clock_that_was_ahead_at_the_first_start_stops_no_sign_in(
    provider: Provider, cameron: SiteClient, clock: Clock
) -> None:
    """The key's time has not come yet by the right clock; it is the only one, and it is published."""
    with provider.database() as db:
        db.query(SigningKey).update({"signs_from": START + 3600, "created_at": START + 3600})
    clock.turn(RELOAD_SECONDS + 1)
    provider.state.keys._loaded.clear()
    response = provider.redeem(provider.code(cameron))
    assert response.status_code == 200, response.text
    (kid,) = kids(provider.state.keys)
    assert read(response.get_json()["id_token"])[0]["kid"] == kid


# --- the algorithms that are offered ---


def test_eddsa_is_neither_offered_nor_published_unless_the_settings_say_so() -> None:
    """Older key libraries stumble over a key of its kind."""
    assert Settings.model_fields["signing_algorithms"].default == ("RS256", "ES256")


def test_only_offered_algorithms_are_published_and_sign(provider: Provider) -> None:
    """A key that is in the database stays there, for the day it is switched on again."""
    fewer = SigningKeys(engine_of(provider.app), ["RS256", "ES256"])
    assert [key["alg"] for key in fewer.jwks()["keys"]] == ["RS256", "ES256"]
    assert fewer.algorithms() == ["RS256", "ES256"]
    with pytest.raises(NoSigningKeyError, match="EdDSA"):
        fewer.sign({}, alg="EdDSA", typ="JWT")


def test_switching_an_algorithm_on_makes_and_publishes_its_key(tmp_path: Path) -> None:
    """At the next start."""
    app = create_app(make_settings(tmp_path, signing_algorithms=("RS256", "ES256")))
    assert [key["alg"] for key in app.extensions["idp"].keys.jwks()["keys"]] == ["RS256", "ES256"]
    close(app)
    app = create_app(make_settings(tmp_path, signing_algorithms=ALGORITHMS))
    assert [key["alg"] for key in app.extensions["idp"].keys.jwks()["keys"]] == ["RS256", "ES256", "EdDSA"]
    close(app)


def test_a_client_of_an_algorithm_that_was_switched_off_is_refused_in_words(
    provider: Provider, cameron: SiteClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a fault of the server: the operator reads why, in the app's own error and at the token endpoint."""
    provider.change_client(DISPATCH, id_token_signed_response_alg="EdDSA")
    tokens = provider.tokens(cameron, DISPATCH)
    monkeypatch.setattr(provider.state.settings, "signing_algorithms", ("RS256", "ES256"))
    monkeypatch.setattr(provider.state.keys, "_algorithms", ("RS256", "ES256"))
    monkeypatch.setattr(provider.state.keys, "_loaded", {})
    refused = provider.refresh(tokens["refresh_token"], client_id=DISPATCH)
    assert (refused.status_code, refused.get_json()["error"]) == (400, "unauthorized_client")
    assert "does not sign with EdDSA" in refused.get_json()["error_description"]
    location = provider.authorize(cameron, client_id=DISPATCH).location
    assert "error=unauthorized_client" in location
