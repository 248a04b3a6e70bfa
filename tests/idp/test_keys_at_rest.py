"""The database stores the private signing keys encrypted, so read access does not allow signing."""

import pytest
from joserfc import jwt
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from idp.encryption import use_key
from idp.models import SigningKey
from idp.seed import follow_settings
from idp.tokens.signing_keys import AFTER_SIGNING_SECONDS, RELOAD_SECONDS, SigningKeys, make_key, rotate
from pickup_web.database import engine_of
from tests.conftest import ALGORITHMS, START, Clock
from tests.idp.conftest import Provider
from tests.tokens import read


@pytest.fixture
def engine(provider: Provider) -> Engine:
    return engine_of(provider.app)


def signer(ring: SigningKeys, alg: str) -> str:
    return str(read(ring.sign({}, alg=alg, typ="JWT"))[0]["kid"])


def private_parts(ring: SigningKeys) -> list[str]:
    """The private members of a key."""
    return [str(loaded.key.as_dict(private=True)["d"]) for loaded in ring._keys()]


def files_of(provider: Provider) -> bytes:
    """The content of all database files, including the newest writes."""
    return b"".join(path.read_bytes() for path in provider.settings.data_dir.glob("idp.db*"))


def test_database_contains_no_private_key(provider: Provider, engine: Engine) -> None:
    """Neither those of the first start nor those of a rotation."""
    with Session(engine) as db:
        rotate(db, ALGORITHMS)
    parts = private_parts(SigningKeys(engine, ALGORITHMS))
    assert len(parts) == 2 * len(ALGORITHMS)
    content = files_of(provider)
    assert [part for part in parts if part.encode() in content] == []


def test_start_encrypts_keys_of_an_earlier_version(provider: Provider, engine: Engine) -> None:
    """They keep their kids, and existing signatures stay valid."""
    clear = make_key("ES256", START)
    kid, jwk = clear.kid, dict(clear.private_jwk)
    with Session(engine) as db, db.begin():
        db.add(clear)
    before = SigningKeys(engine, ALGORITHMS).jwks()
    follow_settings(engine, provider.settings)
    with Session(engine) as db:
        row = db.get(SigningKey, kid)
        assert row
        assert "d" not in row.private_jwk
        assert jwk["d"] not in str(row.private_jwk)
    assert SigningKeys(engine, ALGORITHMS).jwks() == before
    assert jwk["d"] in private_parts(SigningKeys(engine, ALGORITHMS))


def test_unencrypted_keys_of_an_earlier_version_are_readable(engine: Engine) -> None:
    """Another replica may not have been restarted yet."""
    with Session(engine) as db, db.begin():
        for row in db.query(SigningKey):
            db.delete(row)
        db.add(make_key("RS256", START))
    ring = SigningKeys(engine, ALGORITHMS)
    assert jwt.decode(ring.sign({"a": 1}, alg="RS256", typ="JWT"), ring.public_keys()).claims == {"a": 1}


def test_new_secret_key_creates_keys_and_keeps_the_old_ones_for_verifying(
    provider: Provider, engine: Engine, clock: Clock
) -> None:
    """A user who loses .env keeps the data: existing signatures stay valid as long as after a rotation."""
    old = SigningKeys(engine, ALGORITHMS)
    token, kids = old.sign({"a": 1}, alg="RS256", typ="JWT"), {signer(old, alg) for alg in ALGORITHMS}
    use_key(engine, "another key")
    try:
        follow_settings(engine, provider.settings)
        ring = SigningKeys(engine, ALGORITHMS)
        assert not {signer(ring, alg) for alg in ALGORITHMS} & kids
        assert jwt.decode(token, ring.public_keys()).claims == {"a": 1}
        assert not any(name in key for key in ring.jwks()["keys"] for name in ("d", "encrypted"))
        clock.turn(AFTER_SIGNING_SECONDS + RELOAD_SECONDS + 1)
        assert not kids & {key["kid"] for key in ring.jwks()["keys"]}
    finally:
        use_key(engine, provider.settings.secret_key.get_secret_value())


def test_restart_creates_no_new_keys(provider: Provider, engine: Engine) -> None:
    """A restart does not rotate the keys."""
    before = SigningKeys(engine, ALGORITHMS).jwks()
    follow_settings(engine, provider.settings)
    assert SigningKeys(engine, ALGORITHMS).jwks() == before
