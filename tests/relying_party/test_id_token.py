"""The ID token, checked by the pure function: OpenID Connect Core §3.1.3.7."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from relying_party import id_token as module
from relying_party import jws as relying_party_jws
from relying_party.claims import check_audience, check_issuer, check_times, text
from relying_party.errors import InvalidToken
from relying_party.id_token import check_not_a_logout_token, validate_id_token
from relying_party.jws import usable_keys, verify
from tests.conftest import START
from tests.relying_party.conftest import CLIENT_ID, CLIENT_SECRET, ISSUER
from tests.tokens import LOGOUT_EVENT, TokenMaker, ec_key, jws, read, rsa_key

NO_OBJECTION = {check_times: (0, 0), text: "a user"}


def validate(raw: str, *, nonce: str | None = "a nonce") -> dict[str, Any]:
    """Validates as the callback does."""
    keys = usable_keys([rsa_key("first").public_jwk()], "RS256") + usable_keys(
        [ec_key("elliptic").public_jwk()], "ES256"
    )
    return validate_id_token(raw, keys, issuer=ISSUER, client_id=CLIENT_ID, algorithm="RS256", now=START, nonce=nonce)


@dataclass(frozen=True)
class Bad:
    """A token that must be rejected; ``check`` is the function that rejects it, or None for the view itself."""

    id: str
    make: Callable[[TokenMaker], str]
    says: str
    check: Callable[..., Any] | None = None


def claims(**values: Any) -> Callable[[TokenMaker], str]:
    """A valid token except for some claims."""
    return lambda make: make.id_token(**values)


def without(name: str) -> Callable[[TokenMaker], str]:
    """A valid token without one claim."""
    return lambda make: make.id_token(without=[name])


def typed(typ: str) -> Callable[[TokenMaker], str]:
    """A valid token except for the type in its header."""
    return lambda make: make.id_token(header={"typ": typ})


def signed_with(alg: str, key: Callable[[TokenMaker], Any], kid: str = "first") -> Callable[[TokenMaker], str]:
    """A valid token except for its signature."""
    return lambda make: make.id_token(header={"alg": alg, "kid": kid}, key=key(make))


BAD = [
    Bad("RP-10-alg-none", lambda _: jws({"alg": "none"}, {"iss": ISSUER, "sub": "a user"}, None), "algorithm"),
    Bad("RP-10-ES256-genuine", signed_with("ES256", lambda _: ec_key("elliptic"), "elliptic"), "algorithm", verify),
    Bad("RP-10-HS256-with-the-secret", signed_with("HS256", lambda _: CLIENT_SECRET.encode()), "algorithm", verify),
    Bad("RP-10-HS256-with-the-public-key", signed_with("HS256", lambda m: m.key.public_pem()), "algorithm", verify),
    Bad("RP-11-other-key-same-kid", signed_with("RS256", lambda _: rsa_key("never published")), "signature", verify),
    Bad("RP-11-kid-unknown", signed_with("RS256", lambda m: m.key, "unknown"), "does not publish", verify),
    Bad("RP-12-iss-other", claims(iss="https://other.example"), "iss is not the issuer", check_issuer),
    Bad("RP-12-iss-with-slash", claims(iss=ISSUER + "/"), "iss is not the issuer", check_issuer),
    Bad("RP-12-iss-missing", without("iss"), "iss is not the issuer", check_issuer),
    Bad("RP-13-aud-other", claims(aud="another client"), "aud does not name", check_audience),
    Bad("RP-13-aud-missing", without("aud"), "aud does not name", check_audience),
    Bad("RP-13-aud-with-a-stranger", claims(aud=[CLIENT_ID, "x"]), "another audience", check_audience),
    Bad("RP-13-azp-other", claims(azp="another client"), "azp is not this client"),
    Bad("RP-13-azp-null", claims(azp=None), "azp is not this client"),
    Bad("RP-14-sub-missing", without("sub"), "sub is missing"),
    Bad("RP-14-sub-empty", claims(sub=""), "sub is not a non-empty string", text),
    Bad("RP-14-sub-number", claims(sub=7), "sub is not a non-empty string", text),
    Bad("RP-26-sid-number", claims(sid=7), "sid is not a non-empty string", text),
    Bad("RP-15-iat-missing", without("iat"), "iat is missing", check_times),
    Bad("RP-15-iat-text", claims(iat="now"), "iat is missing or not a number", check_times),
    Bad("RP-15-iat-future", claims(iat=START + 61), "iat lies in the future", check_times),
    Bad("RP-15-iat-an-hour-old", claims(iat=START - 3600), "too far in the past", check_times),
    Bad("RP-16-exp-missing", without("exp"), "exp is missing", check_times),
    Bad("RP-16-exp-past", claims(exp=START - 60), "exp has passed", check_times),
    Bad("RP-17-nonce-missing", without("nonce"), "nonce is not the one"),
    Bad("RP-17-nonce-other", claims(nonce="another nonce"), "nonce is not the one"),
    Bad("RP-17-nonce-null", claims(nonce=None), "nonce is not the one"),
    Bad("BCL-67-a-logout-token", lambda make: make.logout_token(header={"typ": "logout+jwt"}), "another kind of token"),
    Bad("BCL-67-events-in-it", claims(events={LOGOUT_EVENT: {}}), "another kind", check_not_a_logout_token),
    Bad("BCL-67-typ-logout+jwt", typed("logout+jwt"), "another kind", check_not_a_logout_token),
    Bad("BCL-67-typ-at+jwt", typed("at+jwt"), "another kind", check_not_a_logout_token),
    Bad("RP-10-no-jwt", lambda _: "", "not a signed JSON Web Token"),
    Bad("RP-10-encrypted", lambda _: "a.b.c.d.e", "encrypted"),
]  # fmt: skip


@pytest.mark.parametrize(
    "make_good",
    [
        pytest.param(claims(), id="RP-10-without-typ"),
        pytest.param(lambda make: make.id_token(header={"typ": "JWT"}), id="IDT-11-typ-JWT"),
        pytest.param(claims(aud=[CLIENT_ID]), id="RP-13-aud-array"),
        pytest.param(claims(azp=CLIENT_ID), id="RP-13-azp"),
        pytest.param(without("sid"), id="BCL-03-no-sid"),
        pytest.param(claims(iat=START + 60), id="RP-15-clock-a-minute-ahead"),
        pytest.param(claims(exp=START - 59), id="RP-16-clock-a-minute-behind"),
        pytest.param(claims(unknown={"a": 1}), id="Core-2-unknown-claim"),
    ],
)
def test_accepts(make_good: Callable[[TokenMaker], str], make: TokenMaker) -> None:
    """Tokens that the specification allows must not be rejected."""
    assert validate(make_good(make))["sub"] == "a user"


@pytest.mark.parametrize("bad", [pytest.param(bad, id=bad.id) for bad in BAD])
def test_refuses(bad: Bad, make: TokenMaker) -> None:
    """RP-10 … RP-17, BCL-67: one thing is wrong, and the error names it."""
    with pytest.raises(InvalidToken, match=re.escape(bad.says)):
        validate(bad.make(make))


@pytest.mark.parametrize("bad", [pytest.param(bad, id=bad.id) for bad in BAD if bad.check])
def test_control_only_the_named_check_rejects_the_token(
    bad: Bad, make: TokenMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the check is disabled, the token passes, so no other check rejects it."""
    assert bad.check
    if bad.check is verify:
        monkeypatch.setattr(relying_party_jws, "verify", lambda raw, *_: read(raw))
    else:
        monkeypatch.setattr(module, bad.check.__name__, lambda *_, **__: NO_OBJECTION.get(bad.check))
    assert validate(bad.make(make))


def test_refreshed_token_needs_everything_but_a_nonce(make: TokenMaker) -> None:
    """RP-24, Core §12.2: a refresh request has no nonce, so there is none to compare."""
    assert validate(make.id_token(without=["nonce"]), nonce=None)["sid"] == "a session"
    with pytest.raises(InvalidToken, match="aud does not name"):
        validate(make.id_token(without=["nonce"], aud="another client"), nonce=None)
