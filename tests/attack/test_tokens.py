"""The bench's own tokens: what is called good must be good for others, too."""

import json

import jwt
import pytest

from attack.tokens import ALGORITHMS, KeyRing, Tokens, make_key


@pytest.mark.parametrize("alg", [alg for alg in ALGORITHMS if alg[:2] != "RS" or alg == "RS256"])
def test_good_token_passes_another_library(alg: str) -> None:
    """Signature, header and claims, in every algorithm (BCL §2.4)."""
    key = make_key(alg, "main")
    ring = KeyRing.__new__(KeyRing)
    ring.alg, ring.main = alg, key
    token = Tokens("https://op.example", "shop", "", ring, "alice", "s1").logout()
    claims = jwt.decode(
        token,
        jwt.PyJWK(key.jwk(), alg),
        algorithms=[alg],
        audience="shop",
        issuer="https://op.example",
        options={"require": ["iss", "aud", "iat", "exp", "jti", "events", "sub", "sid"]},
    )
    assert claims["exp"] - claims["iat"] == 120, "BCL §2.4: two minutes at most"
    assert jwt.get_unverified_header(token) == {"alg": alg, "kid": key.kid}


def test_forged_token_differs_in_its_key_only() -> None:
    """Otherwise it would be refused for another reason than the one that is tested."""
    ring = KeyRing("ES256")
    tokens = Tokens("https://op.example", "shop", "", ring, "alice", "s1")
    good, forged = (
        jwt.decode(token, options={"verify_signature": False}) for token in (tokens.logout(), tokens.forged())
    )
    assert set(good) == set(forged)
    assert {name for name in good if good[name] != forged[name]} <= {"jti", "iat", "exp"}
    public = ring.attacker.jwk()
    jwt.PyJWS().decode(tokens.forged(), jwt.PyJWK(json.loads(json.dumps(public))), algorithms=["ES256"])
