"""The test vectors of requirements 1.9 (V01 … V32) as data, used for the pure function and for the route.

Each bad token differs from a good one in one thing. ``says`` is a part of the error text; ``check`` names the
function that rejects the token. If that function is disabled, the token passes, as test_logout_token.py proves.
``check`` is None if several checks reject the token, or if it could never pass.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from relying_party.claims import check_audience, check_issuer, check_times
from relying_party.jws import verify
from relying_party.logout_token import (
    check_events,
    check_jti,
    check_no_nonce,
    check_subject_or_session,
    check_type,
)
from tests.relying_party.conftest import CLIENT_SECRET, ISSUER
from tests.tokens import LOGOUT_EVENT, TokenMaker, b64, ec_key, jws, rsa_key, unb64

OTHER_KEY = "never published"


@dataclass(frozen=True)
class Bad:
    """A token that must be rejected."""

    id: str
    make: Callable[[TokenMaker], str]
    says: str
    check: Callable[..., Any] | None = None


@dataclass(frozen=True)
class Good:
    """A token that must be accepted."""

    id: str
    make: Callable[[TokenMaker], str]


def header(**members: Any) -> Callable[[TokenMaker], str]:
    """A valid token except for members of its header."""
    return lambda make: make.logout_token(header=members)


def claims(**values: Any) -> Callable[[TokenMaker], str]:
    """A valid token except for some claims."""
    return lambda make: make.logout_token(**values)


def without(*names: str) -> Callable[[TokenMaker], str]:
    """A valid token without some claims."""
    return lambda make: make.logout_token(without=names)


def aged(**seconds: Any) -> Callable[[TokenMaker], str]:
    """A valid token except for its times, given in seconds from now."""
    return lambda make: make.logout_token(**{name: make.now + value for name, value in seconds.items()})


def signed_with(alg: str, key: str, kind: Callable[[str], Any] = rsa_key) -> Callable[[TokenMaker], str]:
    """A valid token except for the algorithm; the key is one of the provider's own."""
    return lambda make: make.logout_token(header={"alg": alg, "kid": key}, key=kind(key))


def with_secret(secret: Callable[[TokenMaker], bytes]) -> Callable[[TokenMaker], str]:
    """HS256 with a public value, or one the client knows."""
    return lambda make: make.logout_token(header={"alg": "HS256"}, key=secret(make))


def unsigned(signature: str, alg: str = "none") -> Callable[[TokenMaker], str]:
    """``alg: none``."""
    return lambda make: jws({"alg": alg, "kid": make.key.kid}, make.logout_claims(), None) + signature


def one_bit_off(make: TokenMaker) -> str:
    """A valid signature except for one bit."""
    signed, _, signature = make.logout_token().rpartition(".")
    changed = bytearray(unb64(signature))
    changed[100] ^= 1
    return f"{signed}.{b64(bytes(changed))}"


def other_payload(make: TokenMaker) -> str:
    """A valid signature of other claims."""
    head, _, signature = make.logout_token().split(".")
    return f"{head}.{b64(json.dumps(make.logout_claims()).encode())}.{signature}"


def raw_payload(payload: bytes) -> Callable[[TokenMaker], str]:
    """Correctly signed, but the payload is not a set of claims."""
    return lambda make: jws({"alg": "RS256", "kid": make.key.kid}, payload, make.key)


def twice(name: str) -> Callable[[TokenMaker], str]:
    """A claim that occurs twice; which one counts depends on the parser."""

    def build(make: TokenMaker) -> str:
        whole = json.dumps(make.logout_claims())
        return raw_payload(f'{{"{name}": "first", {whole[1:]}'.encode())(make)

    return build


def encrypted(_make: TokenMaker) -> str:
    """The shape of an encrypted token."""
    return ".".join([b64(b'{"alg":"RSA-OAEP","enc":"A128GCM"}'), "a", "b", "c", "d"])


SIGNATURE = "signature of the token is wrong"
ALGORITHM = "not signed with the registered algorithm"
NOT_A_JWT = "not a signed JSON Web Token"
EVENTS = "events is not a JSON object"
EVENT = "does not contain the back-channel logout event"
NONCE = "must not have a nonce"
SUBJECT = "Both sub and sid are missing"
AUDIENCE, STRANGER = "aud does not name this client", "aud also names another audience"

GOOD = [
    Good("V01-no-typ", claims()),
    Good("V02-typ-logout+jwt", header(typ="logout+jwt")),
    Good("V02-typ-in-capitals", header(typ="Logout+JWT")),
    Good("V02-typ-as-media-type", header(typ="application/logout+jwt")),
    Good("V03-sid-only", without("sub")),
    Good("V04-sub-only", without("sid")),
    Good("V12-another-event-beside", claims(events={LOGOUT_EVENT: {}, "urn:another": None})),
    Good("V12-event-with-content", claims(events={LOGOUT_EVENT: {"a": 1}})),
    Good("V19-no-kid", header(kid=...)),
    Good("V21-aud-array-of-ours", lambda make: make.logout_token(aud=[make.client_id])),
    Good("V23-iat-within-leeway", aged(iat=30, exp=100)),
    Good("V23-iat-an-hour-old", aged(iat=-3600)),
    Good("V24-exp-within-leeway", aged(exp=-30)),
    Good("V24-times-with-fractions", lambda make: make.logout_token(iat=make.now + 0.5, exp=make.now + 9.5)),
    Good("V26-typ-JWT", header(typ="JWT")),
    Good("V28-claim-nobody-knows", claims(ignored_claim={"a": [1]}, toe=1)),
    Good("BCL-52-reason-of-odd-shape", claims(reason_user=["?"])),
]

BAD = [
    Bad("V06-neither-sub-nor-sid", without("sub", "sid"), SUBJECT, check_subject_or_session),
    Bad("V06-sub-empty", claims(sub=""), "sub is not a non-empty string", check_subject_or_session),
    Bad("V06-sid-empty", claims(sid=""), "sid is not a non-empty string", check_subject_or_session),
    Bad("V06-sid-null", claims(sid=None), "sid is not a non-empty string", check_subject_or_session),
    Bad("V06-sid-number", claims(sid=7), "sid is not a non-empty string", check_subject_or_session),
    Bad("V06-sid-endless", claims(sid="s" * 256), "longer than 255", check_subject_or_session),
    Bad(
        "V07-event-for-events",
        lambda make: make.logout_token(without=["events"], event={LOGOUT_EVENT: {}}),
        EVENTS,
        check_events,
    ),
    Bad("V08-events-array", claims(events=[LOGOUT_EVENT]), EVENTS, check_events),
    Bad("V08-events-string", claims(events=LOGOUT_EVENT), EVENTS, check_events),
    Bad("V09-member-null", claims(events={LOGOUT_EVENT: None}), EVENT, check_events),
    Bad("V09-member-true", claims(events={LOGOUT_EVENT: True}), EVENT, check_events),
    Bad("V09-member-array", claims(events={LOGOUT_EVENT: []}), EVENT, check_events),
    Bad("V09-member-string", claims(events={LOGOUT_EVENT: ""}), EVENT, check_events),
    Bad("V10-member-https", claims(events={LOGOUT_EVENT.replace("http", "https"): {}}), EVENT, check_events),
    Bad("V10-member-trailing-text", claims(events={LOGOUT_EVENT + "/": {}}), EVENT, check_events),
    Bad("V10-events-empty", claims(events={}), EVENT, check_events),
    Bad("V11-events-missing", without("events"), EVENTS, check_events),
    Bad("V13-nonce-text", claims(nonce="n-0S6_WzA2Mj"), NONCE, check_no_nonce),
    Bad("V13-nonce-empty", claims(nonce=""), NONCE, check_no_nonce),
    Bad("V13-nonce-null", claims(nonce=None), NONCE, check_no_nonce),
    Bad("V14-none-without-signature", unsigned(""), ALGORITHM, verify),
    Bad("V14-none-with-garbage", unsigned("Z2FyYmFnZQ"), ALGORITHM, verify),
    Bad("V14-none-in-odd-letters", unsigned("", alg="nOnE"), ALGORITHM, verify),
    Bad("V15-ES256-with-a-genuine-key", signed_with("ES256", "elliptic", ec_key), ALGORITHM, verify),
    Bad("V15-PS256-with-a-genuine-key", signed_with("PS256", "first"), ALGORITHM, verify),
    Bad("V15-RS512-with-a-genuine-key", signed_with("RS512", "first"), ALGORITHM, verify),
    Bad("V16-HS256-with-the-public-pem", with_secret(lambda make: make.key.public_pem()), ALGORITHM, verify),
    Bad(
        "V16-HS256-with-the-jwk",
        with_secret(lambda make: json.dumps(make.key.public_jwk()).encode()),
        ALGORITHM,
        verify,
    ),
    Bad("V16-HS256-with-the-client-secret", with_secret(lambda _: CLIENT_SECRET.encode()), ALGORITHM, verify),
    Bad("V17-signature-one-bit-off", one_bit_off, SIGNATURE, verify),
    Bad("V17-signature-of-other-claims", other_payload, SIGNATURE, verify),
    Bad("V17-other-key-same-kid", lambda make: make.logout_token(key=rsa_key(OTHER_KEY)), SIGNATURE, verify),
    Bad(
        "V17-other-key-no-kid",
        lambda make: make.logout_token(header={"kid": ...}, key=rsa_key(OTHER_KEY)),
        SIGNATURE,
        verify,
    ),
    Bad("V18-kid-unknown", signed_with("RS256", OTHER_KEY), "does not publish the key that signed", verify),
    Bad("V20-iss-other", claims(iss="https://other.example"), "iss is not the issuer", check_issuer),
    Bad("V20-iss-with-slash", claims(iss=ISSUER + "/"), "iss is not the issuer", check_issuer),
    Bad("V20-iss-in-capitals", claims(iss=ISSUER.upper()), "iss is not the issuer", check_issuer),
    Bad("V20-iss-missing", without("iss"), "iss is not the issuer", check_issuer),
    Bad("V21-aud-other", claims(aud="another shop"), AUDIENCE, check_audience),
    Bad("V21-aud-missing", without("aud"), AUDIENCE, check_audience),
    Bad("V21-aud-empty-array", claims(aud=[]), AUDIENCE, check_audience),
    Bad("V21-aud-object", lambda make: make.logout_token(aud={make.client_id: 1}), AUDIENCE, check_audience),
    Bad("V21-aud-part-of-ours", lambda make: make.logout_token(aud=make.client_id[:-1]), AUDIENCE, check_audience),
    Bad("V22-aud-with-a-stranger", lambda make: make.logout_token(aud=[make.client_id, "x"]), STRANGER, check_audience),
    Bad("V23-iat-missing", without("iat"), "iat is missing or not a number", check_times),
    Bad("V23-iat-text", claims(iat="1800000000"), "iat is missing or not a number", check_times),
    Bad("V23-iat-true", claims(iat=True), "iat is missing or not a number", check_times),
    Bad("V23-iat-future", aged(iat=3600, exp=3700), "iat lies in the future", check_times),
    Bad("V23-iat-two-days-old", aged(iat=-2 * 86400), "iat lies too far in the past", check_times),
    Bad("V24-exp-missing", without("exp"), "exp is missing or not a number", check_times),
    Bad("V24-exp-null", claims(exp=None), "exp is missing or not a number", check_times),
    Bad("V24-exp-past", aged(iat=-300, exp=-61), "exp has passed", check_times),
    Bad("V24-exp-beyond-all-dates", claims(exp=1e300), "exp is out of range", check_times),
    Bad("V25-jti-missing", without("jti"), "jti is missing", check_jti),
    Bad("V25-jti-empty", claims(jti=""), "jti is not a non-empty string", check_jti),
    Bad("V25-jti-number", claims(jti=12), "jti is not a non-empty string", check_jti),
    Bad("V26-typ-at+jwt", header(typ="at+jwt"), "typ is not logout+jwt", check_type),
    Bad("V26-typ-secevent+jwt", header(typ="secevent+jwt"), "typ is not logout+jwt", check_type),
    Bad("V26-typ-no-text", header(typ=1), "typ is not logout+jwt", check_type),
    Bad("V27-an-id-token", lambda make: make.id_token(header={"typ": "JWT"}), EVENTS),
    Bad("V27-an-id-token-with-jti", lambda make: make.id_token(jti="j"), EVENTS),
    Bad("V27-an-access-token", lambda make: make.id_token(header={"typ": "at+jwt"}, jti="j"), "typ is not logout"),
    Bad("V27-an-opaque-access-token", lambda _: "SlAV32hkKG", NOT_A_JWT),
    Bad("V29-not-a-jwt", lambda _: "a.b", NOT_A_JWT),
    Bad("V29-three-empty-parts", lambda _: "..", NOT_A_JWT),
    Bad("V29-not-ascii", lambda _: "ä.ö.ü", NOT_A_JWT),
    Bad("V29-encrypted", encrypted, "is encrypted"),
    Bad("BCL-71-endless-token", lambda make: make.logout_token(filler="x" * 20_000), "too long", verify),
    Bad("BCL-40-kid-no-text", header(kid=["first"]), NOT_A_JWT),
    Bad("BCL-40-crit-not-understood", header(crit=["urn:x"], **{"urn:x": 1}), NOT_A_JWT),
    Bad("BCL-40-crit-empty", header(crit=[]), NOT_A_JWT),
    Bad("BCL-40-crit-b64", header(crit=["b64"], b64=True), NOT_A_JWT),
    Bad(
        "JWK-08-key-brought-along",
        lambda make: make.logout_token(
            header={"kid": OTHER_KEY, "jwk": rsa_key(OTHER_KEY).public_jwk()}, key=rsa_key(OTHER_KEY)
        ),
        "does not publish the key that signed",
        verify,
    ),
    Bad("BCL-63-claims-are-a-list", raw_payload(b"[1]"), "payload is not a JSON object"),
    Bad("BCL-63-claims-are-no-json", raw_payload(b"{iss"), "payload is not a JSON object"),
    Bad("BCL-63-claims-are-no-text", raw_payload(b"\xff\xfe"), "payload is not a JSON object"),
    Bad("BCL-63-a-time-is-NaN", raw_payload(b'{"iat": NaN}'), "payload is not a JSON object"),
    Bad("BCL-63-claims-too-deep", raw_payload(b"[" * 9000), "payload is not a JSON object"),
    Bad("BCL-63-sid-twice", twice("sid"), "payload is not a JSON object"),
]

each_good = pytest.mark.parametrize("good", [pytest.param(vector, id=vector.id) for vector in GOOD])
each_bad = pytest.mark.parametrize("bad", [pytest.param(vector, id=vector.id) for vector in BAD])
