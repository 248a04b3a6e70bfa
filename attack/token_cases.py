"""The part of the table that is about one token: its key and algorithm, its claims, and its JSON."""

import json
from typing import Any

from attack import scenes, spoil
from attack.bench import Case
from attack.judge import Expect
from attack.scenes import accept, both, either, refuse, steps, strict
from attack.spoil import aged, claims, forged, header, payload, with_json, with_secret, without
from attack.tokens import LOGOUT_EVENT, KeyRing, b64, jws, number, unb64

REFUSED, ACCEPTED = "400, nothing changes", "200, the session is over"
CHOICE = "either way, but consistently"
EVENT: dict[str, Any] = {LOGOUT_EVENT: {}}
SECP256K1 = (  # the base point, which is a valid public key (SEC 2 §2.4.1)
    0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798,
    0x483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8,
)


def odd_keys(ring: KeyRing) -> list[dict[str, Any]]:
    """Well-formed keys that a receiver need not know or use. RFC 7517 §5: ignore key types that are not understood."""
    x, y = (number(value, 32) for value in SECP256K1)
    return [
        {"kty": "EC", "crv": "secp256k1", "x": x, "y": y, "use": "sig", "kid": "odd-1"},
        {"kty": "future", "kid": "odd-2"},
        {**ring.rsa.jwk(), "use": "enc", "alg": "RSA-OAEP-256", "kid": "odd-3"},
        {"kty": "OKP", "crv": "X25519", "x": b64(b"\x09" + bytes(31)), "use": "enc", "kid": "odd-4"},
    ]


def malformed_keys(_: KeyRing) -> list[dict[str, Any]]:
    """RFC 7517 §5: a receiver SHOULD ignore keys that lack members or have values out of range."""
    return [
        {"kid": "malformed-1"},
        {"kty": "RSA", "use": "sig", "e": "AQAB", "kid": "malformed-2"},
        {"kty": "EC", "crv": "P-256", "x": b64(b"1" * 32), "y": b64(b"2" * 32), "use": "sig", "kid": "malformed-3"},
    ]


# Values that a careless check mistakes for an object, or for a missing value.
ODD_EVENTS: list[Any] = [None, True, [], ""]


KEYS = [
    Case(
        "V19",
        "Core §10.1",
        "no kid, one matching key",
        ACCEPTED,
        "A provider with one key may omit the kid.",
        steps(accept("no kid", header(kid=...))),
    ),
    Case(
        "V18",
        "BCL §2.6 (2), Core §10.1.1",
        "a newly published key; an unpublished key",
        "200; 400",
        "Keys are rotated at any time. A client that fetches them once a day rejects every logout of that day.",
        both(scenes.rotated_in(expect=Expect.ACCEPTED), steps(refuse("never published", forged()))),
    ),
    Case(
        "K01",
        "RFC 7517 §5",
        "a new key, in a set with keys of unknown types and curves",
        ACCEPTED,
        "One unknown key must not make the others unusable, because real providers publish such sets.",
        scenes.rotated_in(odd_keys, expect=Expect.ACCEPTED),
    ),
    Case(
        "K07",
        "Core §10.1.1",
        "an unknown key while the key endpoint hangs, then tokens with a known key",
        "the latter are answered within 2 seconds",
        "While the key endpoint hangs, one forged token must not block all other tokens.",
        scenes.keys_hang,
    ),
    Case(
        "V31",
        "BCL §2.8",
        "an unknown key while the key endpoint fails: 503, no JSON, no keys",
        REFUSED,
        "A failure of the provider must cause neither a 500 nor an accepted token.",
        both(
            scenes.with_keys(scenes.keys_answer(503, "down"), "503"),
            scenes.with_keys(scenes.keys_answer(200, "<html>"), "no JSON"),
            scenes.with_keys(scenes.keys_answer(200, '{"keys": null}'), "no keys"),
        ),
    ),
    Case(
        "V14",
        "BCL §2.6 (3), RFC 8725 §3.1",
        "alg none and its spellings, without a signature and with garbage",
        REFUSED,
        "Otherwise anyone who can write JSON can log out any user.",
        steps(
            refuse("none", spoil.unsigned("none")),
            refuse("none with garbage", spoil.unsigned("none", "Z2FyYmFnZQ")),
            refuse("nOnE", spoil.unsigned("nOnE")),
            refuse("empty", spoil.unsigned("")),
            refuse("missing", spoil.unsigned(...)),
            refuse("a list", spoil.unsigned(["none"])),
            refuse("the right one, unsigned", lambda make: jws(make.header(), make.claims(), None)),
        ),
    ),
    Case(
        "V15",
        "BCL §2.6 (3), RFC 8725 §3.1",
        "the provider's genuine keys, other algorithms",
        REFUSED,
        "The client registered one algorithm. The list in the provider's metadata does not permit the others.",
        spoil.other_algorithms(),
    ),
    Case(
        "V16",
        "RFC 8725 §2.1, §3.1",
        "HS256 with the public key (PEM, JWK, modulus) or the client's secret",
        REFUSED,
        "The public key is not a secret. If it is used as one, anyone can sign.",
        steps(
            refuse("PEM", with_secret(lambda make: make.ring.main.pem())),
            refuse("PEM without line end", with_secret(lambda make: make.ring.main.pem().rstrip())),
            refuse("JWK", with_secret(lambda make: json.dumps(make.ring.main.jwk()).encode())),
            refuse(
                "number", with_secret(lambda make: unb64(make.ring.main.jwk().get("n") or make.ring.main.jwk()["x"]))
            ),
            refuse("client secret", with_secret(lambda make: make.client_secret.encode() or b"secret")),
            refuse("nothing", with_secret(lambda _: b"")),
        ),
    ),
    Case(
        "V17",
        "BCL §2.6 (2)",
        "an invalid signature: one bit, other claims, another key, empty, none",
        REFUSED,
        "The signature is the only credential of a logout request.",
        steps(
            refuse("one bit", spoil.one_bit_off),
            refuse("other claims", spoil.other_claims),
            refuse("another key, known kid", lambda make: make.forged()),
            refuse("another key, no kid", forged(kid=...)),
            refuse("cut short", lambda make: make.logout()[:-20]),
        ),
    ),
    Case(
        "K02",
        "RFC 7515 §4.1.4, RFC 8725 §3.10",
        "kid as a path, an SQL statement, a shell command",
        REFUSED,
        "The attacker chooses the key id. Used in a file path, a query or a command, it is an injection.",
        steps(
            refuse("path, empty secret", with_secret(lambda _: b"", kid="../../../../../../dev/null")),
            refuse("path", forged(kid="../../../../../../etc/passwd")),
            refuse("SQL, known secret", with_secret(lambda _: b"known", kid="x' UNION SELECT 'known' -- ")),
            refuse("SQL", forged(kid="'; DROP TABLE keys; --")),
            refuse("shell", forged(kid="$(sleep 9)|sleep 9;`sleep 9`")),
        ),
    ),
    Case(
        "K03",
        "RFC 7515 §4.1.4",
        "kid of 10 kB, as a number, list, object, null, empty",
        REFUSED,
        "A lookup with the wrong type often causes a 500.",
        steps(
            refuse("10 kB", forged(kid="k" * 10_000)),
            *(refuse(type(kid).__name__, forged(kid=kid)) for kid in (7, ["a"], {"a": 1}, True)),
            refuse("empty", forged(kid="")),
            refuse("null", forged(kid=None)),
        ),
    ),
    Case(
        "K04",
        "RFC 8725 §3.10, RFC 7515 §4.1.3",
        "the attacker's key in the header: jwk, x5c",
        REFUSED,
        "A token with its own key proves nothing, because anyone can create a key.",
        steps(
            refuse("jwk", lambda make: make.forged(kid=make.ring.attacker.kid, jwk=make.ring.attacker.jwk())),
            refuse("jwk, known kid", lambda make: make.forged(jwk=make.ring.attacker.jwk())),
            refuse("jwk, no kid", lambda make: make.forged(kid=..., jwk=make.ring.attacker.jwk())),
            refuse("x5c", spoil.attackers_certificate),
        ),
    ),
    Case(
        "K05",
        "RFC 8725 §3.10",
        "a URL in the header: jku, x5u, kid",
        "400, and the URL is not requested",
        "The URL returns the attacker's key, and fetching it is server-side request forgery.",
        scenes.never_fetched(spoil.addresses),
    ),
    Case(
        "K06",
        "RFC 7515 §4.1.11",
        "crit: an unknown extension, not a list; an empty list",
        "400, nothing changes (an empty list: either way)",
        "A receiver must reject critical extensions it does not understand.",
        steps(
            refuse("unknown", header(crit=["urn:example:rule"], **{"urn:example:rule": 1})),
            refuse("missing member", header(crit=["urn:example:rule"])),
            strict("empty", header(crit=[])),  # RFC 7515 §4.1.11 forbids it to the sender only
            refuse("no list", header(crit="exp")),
        ),
    ),
    Case(
        "K09",
        "RFC 7517 §5",
        "a new key, in a set with malformed keys",
        "200, or 400",
        "A receiver should ignore them, but need not. A 500 shows that it did not expect them.",
        scenes.rotated_in(malformed_keys, expect=Expect.LENIENT),
    ),
]

CLAIMS = [
    Case(
        "V06",
        "BCL §2.6 (5)",
        "neither sub nor sid; empty, null, a number",
        REFUSED,
        "A token without a subject must not become a query without conditions, which ends every session.",
        steps(
            refuse("neither", without("sub", "sid")),
            refuse("both empty", claims(sub="", sid="")),
            refuse("both null", claims(sub=None, sid=None)),
            refuse("numbers", claims(sub=1, sid=1)),
        ),
    ),
    Case(
        "V07",
        "BCL §2.6 (6)",
        "event in place of events",
        REFUSED,
        "A widely read tutorial has this error. The claim is events, not event.",
        steps(refuse("event", lambda make: make.logout(without=["events"], event=EVENT))),
    ),
    Case(
        "V08",
        "BCL §2.4, §2.6 (6)",
        "events as a list, as a string",
        REFUSED,
        "In both, a careless containment check finds the member's name.",
        steps(refuse("list", claims(events=[LOGOUT_EVENT])), refuse("string", claims(events=LOGOUT_EVENT))),
    ),
    Case(
        "V09",
        "BCL §2.4",
        "the event's value is null, true, a list, a string",
        REFUSED,
        "The value must be an object. Such tokens follow an old draft or have another purpose.",
        steps(*(refuse(json.dumps(value), claims(events={LOGOUT_EVENT: value})) for value in ODD_EVENTS)),
    ),
    Case(
        "V10",
        "BCL §2.6 (6)",
        "another event: https, trailing text, empty",
        REFUSED,
        "Other security events are signed with the same key but have another meaning.",
        steps(
            refuse("https", claims(events={LOGOUT_EVENT.replace("http:", "https:"): {}})),
            refuse("trailing text", claims(events={LOGOUT_EVENT + "2": {}})),
            refuse("foobar", claims(events={"http://schemas.openid.net/event/foobar": {}})),
            refuse("empty", claims(events={})),
        ),
    ),
    Case(
        "V11",
        "BCL §2.6 (6)",
        "no events",
        REFUSED,
        "Only events identifies a logout token.",
        steps(refuse("missing", without("events")), refuse("null", claims(events=None))),
    ),
    Case(
        "V13",
        "BCL §2.6 (7)",
        "nonce: a text, empty, null",
        REFUSED,
        "ID tokens have a nonce. Prohibiting it keeps the two apart.",
        steps(*(refuse(json.dumps(value), claims(nonce=value)) for value in ("n-0S6_WzA2Mj", "", None))),
    ),
    Case(
        "V20",
        "BCL §2.6 (4), Core §3.1.3.7 (2)",
        "another issuer, the issuer with or without a slash, in capitals",
        REFUSED,
        "With a loose comparison one tenant of a provider can log out another tenant's users.",
        steps(
            refuse("another", claims(iss="https://attacker.example")),
            refuse("slash", lambda make: make.logout(iss=spoil.toggled_slash(make.issuer))),
            refuse("longer", lambda make: make.logout(iss=make.issuer + ".attacker.example")),
            refuse("capitals", lambda make: make.logout(iss=make.issuer.upper())),
            refuse("list", lambda make: make.logout(iss=[make.issuer])),
            refuse("missing", without("iss")),
        ),
    ),
    Case(
        "V21",
        "BCL §2.6 (4), Core §3.1.3.7 (3)",
        "another audience, no audience; a list with only our own id",
        "400; 200",
        "An attacker can easily get a token for another client of the same provider.",
        steps(
            refuse("another", claims(aud="another-client")),
            refuse("missing", without("aud")),
            refuse("empty list", claims(aud=[])),
            refuse("part of ours", lambda make: make.logout(aud=make.client_id[:-1])),
            refuse("longer than ours", lambda make: make.logout(aud=make.client_id + "x")),
            accept("list", lambda make: make.logout(aud=[make.client_id])),
        ),
    ),
    Case(
        "V22",
        "Core §3.1.3.7 (3)",
        "another audience beside our own",
        REFUSED,
        "The other client may store the token and send it to us later.",
        steps(refuse("stranger", lambda make: make.logout(aud=[make.client_id, "https://stranger.example"]))),
    ),
    Case(
        "V23",
        "BCL §2.4, Core §3.1.3.7 (10)",
        "no iat; an hour ahead; two days old",
        "400; the range is the client's choice",
        "iat is required; the client should limit how far it may differ.",
        steps(
            refuse("missing", without("iat")),
            strict("an hour ahead", aged(iat=3600, exp=3720)),
            strict("two days old", aged(iat=-2 * 86400)),
        ),
    ),
    Case(
        "V24",
        "BCL §2.4, Core §3.1.3.7 (9)",
        "no exp; an hour past",
        REFUSED,
        "Older drafts had no exp. Such a token never expires, so a copy in a log stays usable.",
        steps(refuse("missing", without("exp")), refuse("past", aged(iat=-3700, exp=-3600))),
    ),
    Case(
        "V25",
        "BCL §2.4, §2.6 (8)",
        "no jti; the same token again",
        "either way, preferably 400; 200 or 400",
        "The provider must send jti, but BCL §2.6 lists no check of it. Rejecting a replay is optional, because the "
        "session has ended either way.",
        both(steps(strict("missing", without("jti"))), scenes.replayed),
    ),
    Case(
        "V26",
        "BCL §2.4, §4.1, RFC 8725 §3.11",
        "typ at+jwt, secevent+jwt; typ JWT",
        "either way, preferably 400; 200",
        "Rejecting other types is the better defence, but no rule. JWT says nothing, and providers send it.",
        steps(
            strict("at+jwt", header(typ="at+jwt")),
            strict("secevent+jwt", header(typ="secevent+jwt")),
            accept("JWT", header(typ="JWT")),
        ),
    ),
    Case(
        "V27",
        "BCL §4.1, RFC 8725 §2.8",
        "the session's own ID token; its access token",
        REFUSED,
        "Both are signed with the same key and are stored in more places than logout tokens.",
        steps(refuse("ID token", lambda make: make.id_token), refuse("access token", lambda make: make.access_token)),
    ),
    Case(
        "V32",
        "BCL §2.4, §2.6 (10), (11), §2.7",
        "sid of one user, sub of another",
        "200 or 400; at most the session that sid names ends",
        "Comparing both claims is optional. A token with sid never means all sessions of sub.",
        scenes.of_two_people,
    ),
]

JSON = [
    Case(
        "J01",
        "RFC 7519 §2",
        "times as text, true, null; 2^63, 1e400, minus; fractions",
        "400; 200 for fractions",
        "Oversized numbers become infinity, a database overflow, or a token that never expires.",
        steps(
            *(refuse(f"exp {text}", with_json(exp=text)) for text in ('"4102444800"', "true", "null", "[]", "-1", "0")),
            *(refuse(f"iat {text}", with_json(iat=text)) for text in ('"1"', "true", "{}")),
            *(strict(f"iat {text}", with_json(iat=text)) for text in ("9223372036854775808", "1e400", "-1e400")),
            *(strict(f"exp {text}", with_json(exp=text)) for text in ("9223372036854775808", "1e400", "1e15")),
            strict("exp of 5000 digits", with_json(exp="9" * 5000)),
            accept("fractions", aged(iat=-0.5, exp=90.5)),
        ),
    ),
    Case(
        "J02",
        "RFC 8259 §6",
        "NaN and Infinity as times and as other claims",
        REFUSED,
        "They are not JSON. Every comparison with NaN is false, so such a token never expires.",
        steps(
            refuse("exp NaN", with_json(exp="NaN")),
            refuse("iat NaN", with_json(iat="NaN")),
            refuse("exp Infinity", with_json(exp="Infinity")),
            refuse("iat -Infinity", with_json(iat="-Infinity")),
            refuse("elsewhere", with_json(unknown="NaN")),
        ),
    ),
    Case(
        "J03",
        "RFC 7519 §4",
        "sid two times",
        "400, or the last one counts",
        "Two parsers can read two sessions: the component that ends one may not be the one that checked it. The token "
        "has no sub, so only sid can decide.",
        scenes.last_member_wins,
    ),
    Case(
        "J04",
        "RFC 7519 §4, BCL §2.6 (6)",
        "events two times, iss two times: the last one is wrong",
        REFUSED,
        "The last one counts, or none. A receiver that uses the first checks a value that does not count.",
        steps(
            refuse("events", lambda make: scenes.doubled(make, "events", EVENT, {})),
            refuse("iss", lambda make: scenes.doubled(make, "iss", make.issuer, "https://attacker.example")),
        ),
    ),
    Case(
        "J05",
        "BCL §2.8, RFC 7515 §4",
        "JSON nested 5,000 levels deep: in the header, as the claims, in a claim",
        "400 (in the header and in a claim: either way)",
        "A recursive parser overflows its stack: a 500, or a crashed process.",
        steps(
            either("header", spoil.deep_header),  # RFC 7515 §4: members that are not understood are ignored
            refuse("claims", payload("[" * 5000 + "]" * 5000)),
            refuse("broken off", payload('{"a":' * 5000)),
            either("a claim", with_json(unknown="[" * 5000 + "]" * 5000)),
        ),
    ),
    Case(
        "J06",
        "RFC 7519 §7.2",
        "claims that are not an object: a list, a string, null, not JSON, not UTF-8, empty",
        REFUSED,
        "The signature is valid, but there are no claims.",
        steps(
            *(refuse(text, payload(text)) for text in ("[1]", '"text"', "null", "7", "{iss", "")),
            refuse("no UTF-8", payload(b'{"iss": "\xff\xfe"}')),
            refuse("UTF-16", lambda make: make.of_payload(json.dumps(make.claims()).encode("utf-16"))),
        ),
    ),
]
