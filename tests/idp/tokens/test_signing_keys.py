"""Signing keys: created once, stored, rotated without a restart, never disclosed."""

from dataclasses import replace
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
    """Another key with the same key material, which is already created."""
    with provider.database() as db:
        first = db.query(SigningKey).filter_by(alg="RS256").one()
        private = {**first.private_jwk, "kid": kid}
        row = {"alg": "RS256", "private_jwk": private, "created_at": START + 1, "signs_from": signs_from}
        db.add(SigningKey(kid=kid, published_until=published_until, **row))


def kids(ring: SigningKeys, alg: str = "RS256") -> list[str]:
    """The kids of the published keys of one algorithm."""
    return [key["kid"] for key in ring.jwks()["keys"] if key["alg"] == alg]


def signer(ring: SigningKeys) -> str:
    """The kid of the key that signs."""
    return str(read(ring.sign({}, alg="RS256", typ="JWT"))[0]["kid"])


@pytest.fixture
def ring(provider: Provider) -> SigningKeys:
    """The keys, as a process knows them."""
    return provider.state.keys


def test_new_idp_creates_one_key_per_algorithm_and_keeps_it(provider: Provider, ring: SigningKeys) -> None:
    """JWK-05: created at the first start only, so existing tokens stay verifiable."""
    before = [kids(ring, alg) for alg in ALGORITHMS]
    with provider.database() as db:
        make_first_keys(db, ALGORITHMS)
    assert [kids(SigningKeys(engine_of(provider.app), ALGORITHMS), alg) for alg in ALGORITHMS] == before
    assert [len(names) for names in before] == [1, 1, 1]


def test_missing_keys_are_added_to_data_of_an_earlier_version(provider: Provider, ring: SigningKeys) -> None:
    """JWK-05: it had only RS256; its signatures stay verifiable, and clients can register the other algorithms."""
    (first,) = kids(ring)
    with provider.database() as db:
        db.execute(delete(SigningKey).where(SigningKey.alg != "RS256"))
    follow_settings(engine_of(provider.app), provider.settings)
    after = SigningKeys(engine_of(provider.app), ALGORITHMS)
    assert kids(after) == [first]
    assert after.algorithms() == list(ALGORITHMS)


def test_new_key_is_published_before_it_signs(provider: Provider, ring: SigningKeys, clock: Clock) -> None:
    """JWK-05: so that clients with a cached key set know it in time."""
    (first,) = kids(ring)
    add_key(provider, "second", signs_from=START + 300)
    clock.turn(RELOAD_SECONDS + 1)
    assert kids(ring) == [first, "second"]
    assert signer(ring) == first
    clock.turn(300)
    assert signer(ring) == "second"
    assert kids(ring) == [first, "second"], "signatures of the first key stay verifiable"


def test_retired_key_is_removed_from_the_set_on_time(provider: Provider, ring: SigningKeys, clock: Clock) -> None:
    """JWK-05."""
    add_key(provider, "old", signs_from=START - 10, published_until=START + 3600)
    assert "old" in kids(ring)
    clock.turn(3600)
    assert "old" not in kids(ring)


def test_key_of_another_worker_is_loaded_automatically(provider: Provider, ring: SigningKeys, clock: Clock) -> None:
    """JWK-07: the keys are in the database; a process reads them periodically, not for every token."""
    kids(ring)
    add_key(provider, "second", signs_from=START)
    assert "second" not in kids(ring)
    clock.turn(RELOAD_SECONDS + 1)
    assert "second" in kids(ring)


def test_private_key_is_imported_once_per_process(
    ring: SigningKeys, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An import takes 27 milliseconds; a reload reuses known keys."""
    ring.jwks()
    monkeypatch.setattr(RSAKey, "import_key", None)
    clock.turn(RELOAD_SECONDS + 1)
    assert signer(ring)


def test_published_keys_verify_and_are_public(ring: SigningKeys) -> None:
    """JWK-01, JWK-03: no private member leaves the process."""
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


def test_clock_ahead_at_the_first_start_does_not_prevent_sign_in(
    provider: Provider, cameron: SiteClient, clock: Clock
) -> None:
    """By the right clock the key is not valid yet; it is the only one, and it is published."""
    with provider.database() as db:
        db.query(SigningKey).update({"signs_from": START + 3600, "created_at": START + 3600})
    clock.turn(RELOAD_SECONDS + 1)
    provider.state.keys.loaded.clear()
    response = provider.redeem(provider.code(cameron))
    assert response.status_code == 200, response.text
    (kid,) = kids(provider.state.keys)
    assert read(response.get_json()["id_token"])[0]["kid"] == kid


# --- the algorithms that are offered ---


def test_eddsa_is_off_by_default() -> None:
    """Some key libraries fail on a key of its type."""
    assert Settings.model_fields["signing_algorithms"].default == ("RS256", "ES256")


def test_only_offered_algorithms_are_published_and_sign(provider: Provider) -> None:
    """The other key stays in the database, in case its algorithm is enabled again."""
    fewer = SigningKeys(engine_of(provider.app), ["RS256", "ES256"])
    assert [key["alg"] for key in fewer.jwks()["keys"]] == ["RS256", "ES256"]
    assert fewer.algorithms() == ["RS256", "ES256"]
    with pytest.raises(NoSigningKeyError, match="EdDSA"):
        fewer.sign({}, alg="EdDSA", typ="JWT")


def test_enabled_algorithm_gets_a_published_key(tmp_path: Path) -> None:
    """At the next start."""
    app = create_app(make_settings(tmp_path, signing_algorithms=("RS256", "ES256")))
    assert [key["alg"] for key in app.extensions["idp"].keys.jwks()["keys"]] == ["RS256", "ES256"]
    close(app)
    app = create_app(make_settings(tmp_path, signing_algorithms=ALGORITHMS))
    assert [key["alg"] for key in app.extensions["idp"].keys.jwks()["keys"]] == ["RS256", "ES256", "EdDSA"]
    close(app)


def test_client_of_a_disabled_algorithm_gets_an_error_message(
    provider: Provider, cameron: SiteClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a server error: the operator finds the reason in the app's error and at the token endpoint."""
    provider.change_client(DISPATCH, id_token_signed_response_alg="EdDSA")
    tokens = provider.tokens(cameron, DISPATCH)
    fewer = ("RS256", "ES256")
    monkeypatch.setattr(provider.settings, "signing_algorithms", fewer)
    keys = SigningKeys(engine_of(provider.app), fewer)
    monkeypatch.setitem(provider.app.extensions, "idp", replace(provider.state, keys=keys))
    refused = provider.refresh(tokens["refresh_token"], client_id=DISPATCH)
    assert (refused.status_code, refused.get_json()["error"]) == (400, "unauthorized_client")
    assert "does not sign with EdDSA" in refused.get_json()["error_description"]
    location = provider.authorize(cameron, client_id=DISPATCH).location
    assert "error=unauthorized_client" in location
