"""The logout token, checked by the pure function: Back-Channel Logout 1.0 §2.6, the vectors V01 … V28."""

import re
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jwt import PyJWK

from relying_party import jws as relying_party_jws
from relying_party import logout_token
from relying_party.claims import check_times
from relying_party.errors import InvalidToken, UnknownKey
from relying_party.jws import KEY_TYPES, usable_keys, verify
from relying_party.logout_token import LogoutToken, check_jti, check_subject_or_session, validate_logout_token
from tests.conftest import START
from tests.relying_party.conftest import CLIENT_ID, ISSUER
from tests.relying_party.vectors import BAD, Bad, Good, each_bad, each_good
from tests.thorough import examples
from tests.tokens import LOGOUT_EVENT, TokenMaker, ec_key, jws, read, rsa_key

# The return values of the checks that a test disables.
NO_OBJECTION = {check_times: (0, 0), check_subject_or_session: ("a user", None), check_jti: "j"}


def keys() -> list[PyJWK]:
    """The provider's keys; the elliptic curve key is genuine too."""
    jwks = [rsa_key("first").public_jwk(), ec_key("elliptic").public_jwk()]
    return [key for algorithm in ("RS256", "ES256") for key in usable_keys(jwks, algorithm)]


def validate(raw: str, given_keys: Sequence[PyJWK] | None = None, issuer: str = ISSUER) -> LogoutToken:
    """Validates as the route does."""
    return validate_logout_token(
        raw,
        keys() if given_keys is None else given_keys,
        issuer=issuer,
        client_id=CLIENT_ID,
        algorithm="RS256",
        now=START,
    )


@each_good
def test_accepts(good: Good, make: TokenMaker) -> None:
    """BCL-51, BCL-52: the checks require only what the specification requires."""
    assert isinstance(validate(good.make(make)), LogoutToken)


@each_bad
def test_refuses(bad: Bad, make: TokenMaker) -> None:
    """BCL-39 … BCL-48, BCL-53: one thing is wrong, and the error names it."""
    with pytest.raises(InvalidToken, match=re.escape(bad.says)):
        validate(bad.make(make))


@pytest.mark.parametrize("bad", [pytest.param(bad, id=bad.id) for bad in BAD if bad.check not in (None, verify)])
def test_control_only_the_named_check_rejects_the_token(
    bad: Bad, make: TokenMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the check is disabled, the token passes, so no other check rejects it."""
    assert bad.check
    monkeypatch.setattr(logout_token, bad.check.__name__, lambda *_, **__: NO_OBJECTION.get(bad.check))
    assert isinstance(validate(bad.make(make)), LogoutToken)


@pytest.mark.parametrize("bad", [pytest.param(bad, id=bad.id) for bad in BAD if bad.check is verify])
def test_control_only_the_signature_is_wrong(bad: Bad, make: TokenMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A receiver that does not verify the signature accepts it, as a widely copied sample does (TRAP-05)."""
    monkeypatch.setattr(relying_party_jws, "verify", lambda raw, *_: read(raw))
    assert isinstance(validate(bad.make(make)), LogoutToken)


def test_result_identifies_the_sessions_to_end(make: TokenMaker) -> None:
    """BCL §2.4: the unchanged claims, and the message for the user."""
    raw = make.logout_token(jti="j 1", sub="u 1", sid="s 1", reason_user={"en": "You logged out of the shop."})
    wanted = LogoutToken(ISSUER, "u 1", "s 1", "j 1", START, START + 120, "You logged out of the shop.")
    assert validate(raw) == wanted


@pytest.mark.parametrize(
    ("reason", "sentence"),
    [({"en": "x" * 300}, "x" * 200), ({"en": 1}, None), ({"de": "?"}, None), ("?", None), ({"en": ""}, None)],
    ids=["endless", "number", "another-language", "text", "empty"],
)
def test_malformed_reason_is_ignored(make: TokenMaker, reason: object, sentence: str | None) -> None:
    """BCL-52: unknown or malformed members are ignored."""
    assert validate(make.logout_token(reason_user=reason)).reason == sentence


def test_trailing_slash_makes_another_issuer(make: TokenMaker) -> None:
    """BCL-42, V20: compared code point by code point, in both directions."""
    with pytest.raises(InvalidToken, match="iss is not the issuer"):
        validate(make.logout_token(), issuer=ISSUER + "/")
    assert validate(make.logout_token(iss=ISSUER + "/"), issuer=ISSUER + "/").sid == "a session"


def test_token_without_kid_is_verified_with_each_matching_key(make: TokenMaker) -> None:
    """RP-11, V19: any of several keys may have signed; the right one is found at any position."""
    several = usable_keys([rsa_key("never published").public_jwk(), rsa_key("first").public_jwk()], "RS256")
    assert validate(make.logout_token(header={"kid": ...}), several).sid == "a session"


def test_token_without_kid_costs_a_limited_number_of_tries(make: TokenMaker) -> None:
    """BCL-71: a large key set must not allow a denial of service."""
    stranger = usable_keys([rsa_key("never published").public_jwk()], "RS256")
    many = stranger * relying_party_jws.MAX_KEYS_TRIED + usable_keys([rsa_key("first").public_jwk()], "RS256")
    with pytest.raises(InvalidToken, match="signature"):
        validate(make.logout_token(header={"kid": ...}), many)


def test_unknown_kid_has_its_own_error(make: TokenMaker) -> None:
    """BCL-40: only then may the caller fetch new keys."""
    with pytest.raises(UnknownKey):
        validate(make.logout_token(header={"kid": "new"}, key=rsa_key("never published")))
    with pytest.raises(InvalidToken) as refusal:
        validate(make.logout_token(key=rsa_key("never published")))
    assert not isinstance(refusal.value, UnknownKey), "the kid is known, so new keys would not help"


@pytest.mark.parametrize("algorithm", ["ES256", "PS256", "RS512"])
def test_registered_algorithm_is_accepted(make: TokenMaker, algorithm: str) -> None:
    """BCL-41: tokens rejected as unexpected pass if their algorithm is the registered one (V15's control)."""
    key = ec_key("elliptic") if algorithm == "ES256" else rsa_key("first")
    raw = make.logout_token(header={"alg": algorithm, "kid": key.kid}, key=key)
    its_keys = usable_keys([key.public_jwk()], algorithm)
    token = validate_logout_token(raw, its_keys, issuer=ISSUER, client_id=CLIENT_ID, algorithm=algorithm, now=START)
    assert token.sid == "a session"


def test_algorithms_without_a_private_key_are_not_supported() -> None:
    """RFC 8725 §3.1: neither none nor HS… can be registered."""
    assert not [name for name in KEY_TYPES if name == "none" or name.startswith("HS")]


def test_times_are_compared_with_the_given_clock_and_leeway(make: TokenMaker) -> None:
    """BCL-44: the token is valid until exp plus a minute, and no longer."""
    raw = make.logout_token(exp=START + 120)

    def at(now: int) -> LogoutToken:
        return validate_logout_token(raw, keys(), issuer=ISSUER, client_id=CLIENT_ID, algorithm="RS256", now=now)

    assert at(START + 179).sid == "a session"
    with pytest.raises(InvalidToken, match="exp has passed"):
        at(START + 180)


@pytest.mark.parametrize("name", ["iat", "exp"])
@pytest.mark.parametrize("value", [10**400, -(10**400), float("inf"), float("nan")], ids=lambda value: str(value)[:5])
def test_number_that_no_float_holds_is_rejected(make: TokenMaker, name: str, value: Any) -> None:
    """BCL-63: JSON has numbers of any length, and such a token is rejected, never a 500."""
    with pytest.raises(InvalidToken):
        validate(make.logout_token(**{name: value}))


TEXT = st.text("a/:é\x00", max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=examples(15, 50))
@given(name=st.sampled_from(["iss", "aud", "iat", "exp", "jti", "events", "sub", "sid", "nonce"]), value=JSON)
def test_any_claim_value_is_accepted_or_rejected(name: str, value: Any) -> None:
    """BCL-63: a correctly signed token with any content is accepted or rejected, never a 500."""
    make = TokenMaker(ISSUER, CLIENT_ID, rsa_key("first"), START)
    try:
        token = validate(make.logout_token(**{name: value}))
    except InvalidToken:
        return
    assert token.iss == ISSUER
    assert token.sid or token.sub


@settings(max_examples=examples(15, 50))
@given(raw=TEXT | st.from_regex(r"[A-Za-z0-9_-]{0,20}\.[A-Za-z0-9_-]{0,20}\.[A-Za-z0-9_-]{0,20}", fullmatch=True))
def test_any_malformed_text_is_rejected_with_a_message(raw: str) -> None:
    """BCL-63: garbage is rejected with a message, never a 500."""
    with pytest.raises(InvalidToken):
        validate(raw)


def test_both_sides_use_the_same_event() -> None:
    """BCL §2.4: the name begins with http, not https, and has no slash at the end."""
    assert logout_token.LOGOUT_EVENT == LOGOUT_EVENT


def test_token_of_our_idp_passes_our_checks() -> None:
    """``idp/flow/logout_token.py`` and ``relying_party/logout_token.py`` mirror each other."""
    from idp.flow.logout_token import TYPE, logout_token_claims

    claims = logout_token_claims(issuer=ISSUER, client_id=CLIENT_ID, sub="u", sid="s", now=START, reason="Because.")
    token = validate(jws({"alg": "RS256", "kid": "first", "typ": TYPE}, claims, rsa_key("first")))
    assert (token.sub, token.sid, token.reason) == ("u", "s", "Because.")
