"""The table: the request, what Back-Channel Logout 1.0 requires, the reason, and the code that runs it.

V01 to V32 are the vectors for every implementation; the others are K (keys), J (JSON), H (HTTP),
R (replays and races) and A (all answers of the run together).
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from attack import judge, scenes, spoil
from attack.bench import Bench, Case, Step
from attack.judge import Exchange, Expect, Finding
from attack.scenes import accept, both, either, odd_form, refuse, steps, strict, wrong_type
from attack.spoil import aged, body, claims, content_type, forged, header, payload, with_json, with_secret, without
from attack.tokens import LOGOUT_EVENT, KeyRing, b64, jws, number, unb64
from attack.wire import FORM, Request, form

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


def of_all(look: Callable[[Iterable[Exchange]], list[Finding]]) -> Callable[[Bench], list[Finding]]:
    """A check of every answer of the run."""
    return lambda bench: look(bench.exchanges)


GOOD = [
    Case(
        "V01",
        "BCL §2.6, §2.8",
        "sub and sid, no typ",
        ACCEPTED,
        "The simplest valid token. If it is rejected, no logout works.",
        steps(accept("no typ", spoil.good)),
    ),
    Case(
        "V02",
        "BCL §2.4",
        "typ logout+jwt",
        ACCEPTED,
        "The type that the specification recommends.",
        steps(accept("logout+jwt", header(typ="logout+jwt"))),
    ),
    Case(
        "V03",
        "BCL §2.7",
        "sid alone",
        "200, only that session ends",
        "sub is optional, and a logout in one browser must not log the user out everywhere.",
        scenes.only_that_session("sid only", without=("sub",)),
    ),
    Case(
        "V04",
        "BCL §2.4, §2.7",
        "sub alone",
        "200, all sessions of that user end, and no others",
        "Without sid it means all sessions, for instance after a theft or a password change.",
        scenes.all_sessions,
    ),
    Case(
        "V05",
        "BCL §2.7",
        "a session that is unknown or has ended",
        "200",
        "The logout has already succeeded. After a 400 the provider reports a failure and retries.",
        both(
            steps(Step("unknown", Expect.DONE, claims(sub="nobody here", sid="no such session"))),
            scenes.already_ended,
        ),
    ),
    Case(
        "V12",
        "BCL §2.4",
        "events with the right member and another one",
        ACCEPTED,
        "events may have several members; code that expects exactly one fails with some providers.",
        steps(accept("two events", claims(events={**EVENT, "https://example.com/another": {}}))),
    ),
    Case(
        "V28",
        "BCL §2.4, §2.5, RFC 7515 §4",
        "an unknown claim, header member and form parameter",
        ACCEPTED,
        "All must be ignored; otherwise any extension breaks the logout.",
        steps(
            accept("claim", claims(unknown={"a": [1, None]}, acr="2")),
            accept("header member", header(unknown={"a": [1, None]})),
            accept("parameter", lambda make: form(make.logout(), unknown="1")),
        ),
    ),
    Case(
        "H07",
        "BCL §2.5, RFC 9110",
        "variants of other senders: charset, capitals, chunks, Expect, Accept",
        ACCEPTED,
        "Providers use many HTTP libraries, and all of these are the same request.",
        steps(
            accept("charset", content_type(f"{FORM}; charset=UTF-8")),
            accept("capitals", content_type("Application/X-WWW-Form-URLencoded")),
            accept("chunked", spoil.posted(lambda request, _: replace(request, chunked=True))),
            accept("Expect", spoil.headers(Expect="100-continue")),
            accept("Accept", spoil.headers(Accept="application/xml")),
            accept("escaped", body(lambda token: "logout_token=" + token.replace(".", "%2E").replace("e", "%65"))),
        ),
    ),
    Case(
        "V33",
        "BCL §2.4, §2.7",
        "sub and sid, while the user has a second session",
        "200, only that session ends",
        "Only a token without sid means all sessions. Most providers send both claims, so a logout in one browser must "
        "not end the sessions in others.",
        scenes.only_that_session("sub and sid", without=()),
    ),
    Case(
        "V34",
        "BCL §2.7",
        "sub and sid; then the session's old cookies, several times",
        "200, and the session stays over",
        "A receiver that notes the logout for the next request, and then forgets the note, revives the session: a "
        "stolen cookie works again.",
        scenes.stays_ended,
    ),
    Case(
        "V35",
        "BCL §2.7",
        "two sessions of one user: the other is used first; both end before either is used",
        "200, the sessions that sid names are over, and no other",
        "A receiver that keeps one note for each user loses a logout when another session comes first.",
        scenes.two_of_one_person,
    ),
    Case(
        "V36",
        "BCL §2.7",
        "twelve sessions of twelve users, before any of them is used again",
        "200, all of them are over",
        "A receiver that keeps the logouts in a small cache loses them when it is full, and has answered 200.",
        scenes.of_many_people,
    ),
]

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
        "an audience besides us",
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

HTTP = [
    Case(
        "V29",
        "BCL §2.5, §2.8",
        "the token in the query, in JSON, twice, missing, empty, not a JWT, encrypted",
        "400, nothing changes (twice: either way, preferably 400)",
        "Exactly one logout_token in a form. URLs end up in logs; of two values, parsers pick different ones.",
        steps(
            refuse("query", spoil.posted(lambda _, token: Request(query=spoil.as_form(token)))),
            wrong_type(
                "JSON", content_type("application/json", lambda token: json.dumps({"logout_token": token}).encode())
            ),
            # No specification says what a second one means; RFC 6749 §3.2 forbids it at another endpoint.
            strict("twice", body(lambda token: f"{spoil.as_form(token)}&{spoil.as_form(token)}")),
            strict("twice, one is bad", body(lambda token: f"{spoil.as_form(token)}&logout_token=x")),
            refuse("missing", body(lambda _: "unknown=1")),
            refuse("no body", body(lambda _: "")),
            refuse("empty", body(lambda _: "logout_token=")),
            refuse("name only", body(lambda _: "logout_token")),
            *(refuse(repr(text), spoil.raw(text)) for text in ("x", ".", "..", "a.b", "a.b.c", "....", "a.b.c.d.e.f")),
            *(refuse(f"part {n} empty", spoil.without_part(n)) for n in range(3)),
            refuse("not ASCII", spoil.raw("ä.ö.ü")),
            refuse("encrypted", spoil.encrypted_to_secret),
        ),
    ),
    Case(
        "V30",
        "BCL §2.5",
        "GET, HEAD, PUT, PATCH, DELETE, OPTIONS with a good token",
        "405 or 400, nothing changes",
        "An image in an email or a prefetch can cause a GET.",
        both(
            steps(*(spoil.method(name) for name in ("GET", "HEAD", "PUT", "PATCH", "DELETE"))),
            spoil.options,
        ),
    ),
    Case(
        "H01",
        "BCL §2.5",
        "a valid token with a wrong content type, or none",
        "400 or 415, nothing changes",
        "Any web page can send text/plain without a preflight; the other types have their own parsers.",
        steps(
            wrong_type("text/plain", content_type("text/plain")),
            wrong_type("application/jwt", content_type("application/jwt", str.encode)),
            wrong_type("application/logout+jwt", content_type("application/logout+jwt", str.encode)),
            wrong_type(
                "XML", content_type("application/xml", lambda token: f"<logout_token>{token}</logout_token>".encode())
            ),
            wrong_type("none", content_type(None)),
            wrong_type("nonsense", content_type(";;;/")),
        ),
    ),
    Case(
        "H02",
        "BCL §2.5",
        "multipart: with the token; cut off, without a boundary",
        "either way, preferably 400; 400 or 415",
        "No provider sends it, so it is an unneeded parser with its own files and limits.",
        steps(
            odd_form("whole", content_type(f"multipart/form-data; boundary={spoil.BOUNDARY}", spoil.multipart)),
            wrong_type(
                "cut off",
                content_type(
                    f"multipart/form-data; boundary={spoil.BOUNDARY}", lambda token: spoil.multipart(token)[:-40]
                ),
            ),
            wrong_type("no boundary", content_type("multipart/form-data", spoil.multipart)),
        ),
    ),
    Case(
        "H03",
        "BCL §4, RFC 9110 §15.5.14",
        "a body of 10 MB; the same in chunks",
        "400, 413 or a closed connection",
        "A logout token has about a thousand bytes. Reading ten million lets anyone exhaust the memory.",
        steps(spoil.unread("10 MB", spoil.large(chunked=False)), spoil.unread("in chunks", spoil.large(chunked=True))),
    ),
    Case(
        "H04",
        "RFC 7516 §4.1.3, RFC 8725 §3.6",
        "expensive input: a zip bomb as JWE, a gzip body, 2^31 rounds of PBES2",
        REFUSED,
        "A few kilobytes become ten megabytes, or an hour of computing.",
        steps(
            refuse("zip in a JWE", spoil.zip_bomb),
            refuse("PBES2 rounds", spoil.endless_password),
            refuse(
                "zip in a JWS",
                lambda make: jws(make.header(zip="DEF"), scenes.deflated(b" " * 1_000_000), make.ring.main),
            ),
            spoil.unread("gzip body", spoil.gzip_bomb),
        ),
    ),
    Case(
        "H05",
        "BCL §4",
        "eight bodies sent byte by byte, a valid token meanwhile",
        "200 within 2 seconds",
        "Eight slow connections cost an attacker nothing. Threads help, or a proxy that buffers whole requests.",
        scenes.slow_bodies,
    ),
    Case(
        "H06",
        "BCL §2.5, §2.8",
        "unusual charsets: UTF-16, UTF-7, an unknown one; bytes that are not text",
        "400; a charset parameter and a zero byte at the end: either way",
        "The attacker chooses the charset, and an unknown one often causes a 500.",
        steps(
            *(
                odd_form(name, content_type(f"{FORM}; charset={name}"))
                for name in ("utf-16", "utf-7", "x-unknown", "base64")
            ),
            refuse("%ff", body(lambda token: f"logout_token=%ff{token}")),
            strict("%00", body(lambda token: f"logout_token={token}%00")),  # as in H09: some libraries skip it
            refuse("raw bytes", body(lambda _: b"logout_token=\xff\xfe\x00")),
            refuse("surrogate", body(lambda token: f"logout_token=%ed%a0%80{token}")),
            accept("_charset_", body(lambda token: f"_charset_=utf-7&{spoil.as_form(token)}")),
        ),
    ),
    Case(
        "H08",
        "BCL §2.8",
        "line breaks and script in the key id and as the token",
        "400, and none of it is in the response",
        "The attacker's text must not become a header or part of a page.",
        spoil.no_injected_header,
    ),
    Case(
        "H09",
        "RFC 7515 §2, §7.1",
        "whitespace around the token, padding in its parts",
        CHOICE,
        "Strictly it is not a token; some libraries accept it.",
        steps(
            strict("spaces", lambda make: f" {make.logout()} "),
            strict("line end", lambda make: make.logout() + "\n"),
            strict("padding", lambda make: make.logout() + "=="),
            strict("inside", lambda make: make.logout().replace(".", ". ")),
        ),
    ),
    Case(
        "H10",
        "BCL §2.5",
        "a valid token with another user's cookies",
        "200 or 400; that user stays signed in",
        "The request comes from a server. Code that ends 'the current session' ends the wrong one.",
        scenes.with_a_cookie,
    ),
]

RACES = [
    Case(
        "R01",
        "BCL §2.6 (8)",
        "an invalid token, then a valid one with the same jti",
        "400; 200",
        "If the jti is stored before all checks, a forger can use up genuine ones.",
        both(
            scenes.burned_jti("forged", lambda make, jti: make.logout(jti=jti, key=make.ring.attacker)),
            scenes.burned_jti("misused", lambda make, jti: make.logout(jti=jti, nonce="n")),
        ),
    ),
    Case(
        "R02",
        "BCL §2.6 (8)",
        "one token twenty times at once",
        "at most one 200, if replays are rejected",
        "Between checking the jti and storing it, the other nineteen can pass.",
        scenes.replayed_at_once,
    ),
    Case(
        "R03",
        "BCL §2.6 (11)",
        "a logout token that arrives before the login it ends completes",
        "200; preferably that login fails",
        "The server is faster than the browser. The specification does not require it, but users expect it.",
        scenes.overtaken,
    ),
    Case(
        "K08",
        "BCL §4, Core §10.1.1",
        "200 tokens with 200 unknown key ids, then a valid one",
        "400 each, at most 40 key fetches; 200",
        "Each forged kid could cause a request to the provider, which overloads both.",
        scenes.flood,
    ),
]

ALL = [
    Case(
        "A01",
        "BCL §2.8",
        "every 200 and 400 of this run",
        "preferably Cache-Control: no-store; no lifetime",
        "A cached answer confirms a logout that never happened. A cache may store an answer to a POST only if it has a "
        "lifetime.",
        of_all(judge.cacheable),
    ),
    Case(
        "A02",
        "BCL §2.8, RFC 9700 §4",
        "every answer of this run",
        "without the token and without a stack trace",
        "Answers end up in logs, on both sides.",
        of_all(judge.echoing),
    ),
    Case(
        "A03",
        "BCL §2.8, RFC 6749 §5.2",
        "every 400 of this run that has a body",
        "a JSON object with error",
        "Only this tells the provider's operator what was wrong.",
        of_all(judge.odd_errors),
    ),
    Case(
        "A04",
        "BCL §2.3",
        "every answer of this run",
        "within 5 seconds",
        "The user who logs out waits for the slowest application.",
        of_all(judge.slow),
    ),
]


GROUPS: list[tuple[str, list[Case]]] = [
    ("Tokens that must be accepted", GOOD),
    ("Keys, algorithms, signatures", KEYS),
    ("Claims", CLAIMS),
    ("JSON", JSON),
    ("HTTP", HTTP),
    ("Replays, races, floods", RACES),
    ("All answers together", ALL),
]
CASES: list[Case] = [case for _, cases in GROUPS for case in cases]
