"""The table: what is sent, what Back-Channel Logout 1.0 asks for, why it matters, and how it is done.

V01 to V32 are the vectors that every implementation is measured by; the others are K (keys), J (JSON), H (HTTP),
R (replays and races) and A (all answers of the run together).
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from attack import judge, scenes, spoil
from attack.bench import Bench, Case, Step
from attack.judge import Exchange, Expect, Finding
from attack.scenes import accept, both, either, refuse, steps, strict
from attack.spoil import aged, body, claims, content_type, forged, header, payload, with_json, with_secret, without
from attack.tokens import LOGOUT_EVENT, b64, jws, unb64
from attack.wire import FORM, Request, form

REFUSED, ACCEPTED = "400, nothing changes", "200, the session is over"
CHOICE = "either way, but consistently"
EVENT: dict[str, Any] = {LOGOUT_EVENT: {}}
# Types of keys and curves that a receiver need not know; a real key set may hold them (RFC 7517 §5: ignore those).
ODD_KEYS: list[dict[str, Any]] = [
    {"kty": "EC", "crv": "secp256k1", "x": b64(b"1" * 32), "y": b64(b"2" * 32), "kid": "odd-1"},
    {"kty": "future", "kid": "odd-2"},
    {"kty": "RSA", "use": "enc", "n": b64(b"\xff" * 256), "e": "AQAB", "kid": "odd-3"},
    {"kid": "odd-4"},
]


# Values a careless test takes for an object, or for nothing.
ODD_EVENTS: list[Any] = [None, True, [], ""]


def of_all(look: Callable[[Iterable[Exchange]], list[Finding]]) -> Callable[[Bench], list[Finding]]:
    """A judgement about every answer of the run."""
    return lambda bench: look(bench.exchanges)


GOOD = [
    Case(
        "V01",
        "BCL §2.6, §2.8",
        "sub and sid, no typ",
        ACCEPTED,
        "The plainest token there is. If it does not work, no logout does.",
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
        "200, that session is over and no other",
        "sub may be missing; and one browser's logout is not the person's logout everywhere.",
        scenes.only_that_session,
    ),
    Case(
        "V04",
        "BCL §2.4, §2.7",
        "sub alone",
        "200, all sessions of that person are over, of nobody else",
        "Without sid it means everywhere: a stolen device, a changed password.",
        scenes.all_sessions,
    ),
    Case(
        "V05",
        "BCL §2.7",
        "a session that is unknown, or already over",
        "200",
        "The logout has succeeded already. Whoever answers 400 makes the provider report a failure and try again.",
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
        "events may hold more than one; who counts them breaks with the next provider.",
        steps(accept("two events", claims(events={**EVENT, "https://example.com/another": {}}))),
    ),
    Case(
        "V28",
        "BCL §2.4, §2.5",
        "a claim and a form parameter that nobody knows",
        ACCEPTED,
        "Both must be ignored, or every extension breaks the logout.",
        steps(
            accept("claim", claims(unknown={"a": [1, None]}, acr="2")),
            accept("parameter", lambda make: form(make.logout(), unknown="1")),
        ),
    ),
    Case(
        "H07",
        "BCL §2.5, RFC 9110",
        "what other senders send: charset, capitals, chunks, Expect, Accept",
        ACCEPTED,
        "Providers are written with many HTTP libraries, and all of these are the same request.",
        steps(
            accept("charset", content_type(f"{FORM}; charset=UTF-8")),
            accept("capitals", content_type("Application/X-WWW-Form-URLencoded")),
            accept("chunked", spoil.posted(lambda request, _: replace(request, chunked=True))),
            accept("Expect", spoil.headers(Expect="100-continue")),
            accept("Accept", spoil.headers(Accept="application/xml")),
            accept("escaped", body(lambda token: "logout_token=" + token.replace(".", "%2E").replace("e", "%65"))),
        ),
    ),
]

KEYS = [
    Case(
        "V19",
        "Core §10.1",
        "no kid, one key that fits",
        ACCEPTED,
        "A provider with one key need not name it.",
        steps(accept("no kid", header(kid=...))),
    ),
    Case(
        "V18",
        "BCL §2.6 (2), Core §10.1.1",
        "a key that was published a moment ago; one that never was",
        "200; 400",
        "Keys are rotated at any time. Who looks once a day refuses every logout of that day.",
        both(scenes.rotated_in(), steps(refuse("never published", forged()))),
    ),
    Case(
        "K01",
        "RFC 7517 §5",
        "a new key, beside keys of types and curves that nobody knows",
        ACCEPTED,
        "One key that a library cannot read must not hide the others: real providers publish such sets.",
        scenes.rotated_in(*ODD_KEYS),
    ),
    Case(
        "K07",
        "Core §10.1.1",
        "an unknown key while the key endpoint hangs, then tokens with a known one",
        "these are answered within 2 seconds",
        "One forged token during a provider's trouble must not stop all others for as long.",
        scenes.keys_hang,
    ),
    Case(
        "V31",
        "BCL §2.8",
        "an unknown key while the key endpoint fails: 503, no JSON, no keys",
        REFUSED,
        "The provider's trouble is no reason for a 500, and none to believe a token.",
        both(
            scenes.with_keys(scenes.keys_answer(503, "down"), "503"),
            scenes.with_keys(scenes.keys_answer(200, "<html>"), "no JSON"),
            scenes.with_keys(scenes.keys_answer(200, '{"keys": null}'), "no keys"),
        ),
    ),
    Case(
        "V14",
        "BCL §2.6 (3), RFC 8725 §3.1",
        "alg none and the like, without a signature and with garbage",
        REFUSED,
        "Whoever can write JSON could log out anybody.",
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
        "The client registered one algorithm. A list in the provider's metadata is no permission to use the weakest.",
        spoil.other_algorithms(),
    ),
    Case(
        "V16",
        "RFC 8725 §2.1, §3.1",
        "HS256 with the public key (PEM, JWK, modulus) or the client's secret",
        REFUSED,
        "A public key is no secret: taken for one, everybody can sign.",
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
        "a signature that is wrong: one bit, other claims, another key, empty, none",
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
        "The key id comes from the attacker: looked up in files, a database or a shell it finds what they want.",
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
        "A lookup with the wrong type is where 500 comes from.",
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
        "A token that brings its own key proves that somebody has a key.",
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
        "an address in the header: jku, x5u, kid",
        "400, and nobody calls that address",
        "Called, it gives the attacker's key, and it is a way to send requests from inside the network.",
        scenes.never_fetched(spoil.addresses),
    ),
    Case(
        "K06",
        "RFC 7515 §4.1.11",
        "crit: an extension nobody knows, an empty list, no list",
        REFUSED,
        "Critical means: who does not understand it must refuse. Otherwise a future rule is silently not kept.",
        steps(
            refuse("unknown", header(crit=["urn:example:rule"], **{"urn:example:rule": 1})),
            refuse("missing member", header(crit=["urn:example:rule"])),
            refuse("empty", header(crit=[])),
            refuse("no list", header(crit="exp")),
        ),
    ),
]

CLAIMS = [
    Case(
        "V06",
        "BCL §2.6 (5)",
        "neither sub nor sid; empty, null, a number",
        REFUSED,
        "A token about nobody must not end whatever a query without conditions finds.",
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
        "A widely read tutorial prints it so. The claim is events.",
        steps(refuse("event", lambda make: make.logout(without=["events"], event=EVENT))),
    ),
    Case(
        "V08",
        "BCL §2.4, §2.6 (6)",
        "events as a list, as a string",
        REFUSED,
        "In both the member's name is found by a careless test for containment.",
        steps(refuse("list", claims(events=[LOGOUT_EVENT])), refuse("string", claims(events=LOGOUT_EVENT))),
    ),
    Case(
        "V09",
        "BCL §2.4",
        "the event's value is null, true, a list, a string",
        REFUSED,
        "The value must be an object. Such tokens are of an old draft, or of another purpose.",
        steps(*(refuse(json.dumps(value), claims(events={LOGOUT_EVENT: value})) for value in ODD_EVENTS)),
    ),
    Case(
        "V10",
        "BCL §2.6 (6)",
        "another event: https, trailing text, empty",
        REFUSED,
        "Other security events are signed with the same key, and mean something else.",
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
        "It is what makes a token a logout token.",
        steps(refuse("missing", without("events")), refuse("null", claims(events=None))),
    ),
    Case(
        "V13",
        "BCL §2.6 (7)",
        "nonce: a text, empty, null",
        REFUSED,
        "A nonce makes it an ID token. The ban keeps the two apart.",
        steps(*(refuse(json.dumps(value), claims(nonce=value)) for value in ("n-0S6_WzA2Mj", "", None))),
    ),
    Case(
        "V20",
        "BCL §2.6 (4), Core §3.1.3.7 (2)",
        "another issuer, the issuer with a slash more or less, in capitals",
        REFUSED,
        "Compared loosely, one tenant of a provider logs out another tenant's people.",
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
        "another audience, none; a list with our own id only",
        "400; 200",
        "A token for another client of the same provider is easy to get.",
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
        "The other one may keep the token and send it to us whenever they like.",
        steps(refuse("stranger", lambda make: make.logout(aud=[make.client_id, "https://stranger.example"]))),
    ),
    Case(
        "V23",
        "BCL §2.4, Core §3.1.3.7 (10)",
        "no iat; an hour ahead; two days old",
        "400; the range is the client's choice",
        "iat is required; how far away is too far, everybody decides alone, but should.",
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
        "Older drafts had no exp: such a token is good for ever, for whoever finds it in a log.",
        steps(refuse("missing", without("exp")), refuse("past", aged(iat=-3700, exp=-3600))),
    ),
    Case(
        "V25",
        "BCL §2.4, §2.6 (8)",
        "no jti; the same token again",
        "400; 200 or 400",
        "jti is required. Refusing a repetition is optional: the session is over either way.",
        both(steps(refuse("missing", without("jti"))), scenes.replayed),
    ),
    Case(
        "V26",
        "BCL §2.4, §4.1, RFC 8725 §3.11",
        "typ at+jwt, secevent+jwt; typ JWT",
        "400; 200",
        "An explicit type says what it is not; JWT says nothing, and providers send it.",
        steps(
            refuse("at+jwt", header(typ="at+jwt")),
            refuse("secevent+jwt", header(typ="secevent+jwt")),
            accept("JWT", header(typ="JWT")),
        ),
    ),
    Case(
        "V27",
        "BCL §4.1, RFC 8725 §2.8",
        "the session's own ID token; its access token",
        REFUSED,
        "Both are signed by the same key and lie around in more places than logout tokens do.",
        steps(refuse("ID token", lambda make: make.id_token), refuse("access token", lambda make: make.access_token)),
    ),
    Case(
        "V32",
        "BCL §2.6 (11), §2.7",
        "sid of one person, sub of another",
        "200 or 400, nobody is signed out",
        "Both must belong to the session; or a mix-up at the provider hits the wrong person.",
        scenes.of_two_people,
    ),
]

JSON = [
    Case(
        "J01",
        "RFC 7519 §2",
        "times as text, true, null; 2^63, 1e400, minus; fractions",
        "400; 200 for fractions",
        "Numbers that do not fit become infinity, an overflow in the database, or a token without an end.",
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
        "NaN and Infinity as times and elsewhere",
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
        "Two parsers, two sessions: what one component checked is not what the other ends.",
        scenes.last_member_wins,
    ),
    Case(
        "J04",
        "RFC 7519 §4, BCL §2.6 (6)",
        "events two times, iss two times: the last one is wrong",
        REFUSED,
        "The last one counts, or none. Who takes the first has checked something that is not there.",
        steps(
            refuse("events", lambda make: scenes.doubled(make, "events", EVENT, {})),
            refuse("iss", lambda make: scenes.doubled(make, "iss", make.issuer, "https://attacker.example")),
        ),
    ),
    Case(
        "J05",
        "BCL §2.8",
        "JSON that is nested 5,000 deep: in the header, as the claims, in a claim",
        "400 (in a claim: either way)",
        "A parser that calls itself runs out of stack: a 500, or a process that is gone.",
        steps(
            refuse("header", spoil.deep_header),
            refuse("claims", payload("[" * 5000 + "]" * 5000)),
            refuse("broken off", payload('{"a":' * 5000)),
            either("a claim", with_json(unknown="[" * 5000 + "]" * 5000)),
        ),
    ),
    Case(
        "J06",
        "RFC 7519 §7.2",
        "claims that are no object: a list, a text, null, no JSON, no UTF-8, nothing",
        REFUSED,
        "Well signed, and still nothing to work with.",
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
        "the token in the query, in JSON, twice, missing, empty, no JWT, encrypted",
        REFUSED,
        "Exactly one logout_token in a form. An address ends up in logs; of two, everybody picks another one.",
        steps(
            refuse("query", spoil.posted(lambda _, token: Request(query=spoil.as_form(token)))),
            refuse(
                "JSON", content_type("application/json", lambda token: json.dumps({"logout_token": token}).encode())
            ),
            refuse("twice", body(lambda token: f"{spoil.as_form(token)}&{spoil.as_form(token)}")),
            refuse("twice, one is bad", body(lambda token: f"{spoil.as_form(token)}&logout_token=x")),
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
        "A GET can be caused by a picture in somebody's mail, and prefetched by anything.",
        both(
            steps(*(spoil.method(name) for name in ("GET", "HEAD", "PUT", "PATCH", "DELETE"))),
            spoil.options,
        ),
    ),
    Case(
        "H01",
        "BCL §2.5",
        "a good token under a wrong content type, or none",
        REFUSED,
        "text/plain can be sent by any page in any browser without asking; the others have parsers of their own.",
        steps(
            refuse("text/plain", content_type("text/plain")),
            refuse("application/jwt", content_type("application/jwt", str.encode)),
            refuse("application/logout+jwt", content_type("application/logout+jwt", str.encode)),
            refuse(
                "XML", content_type("application/xml", lambda token: f"<logout_token>{token}</logout_token>".encode())
            ),
            refuse("none", content_type(None)),
            refuse("nonsense", content_type(";;;/")),
        ),
    ),
    Case(
        "H02",
        "BCL §2.5",
        "multipart: with the token, cut off, without a boundary",
        REFUSED,
        "Another parser, with files and limits of its own, that nobody needs here.",
        steps(
            refuse("whole", content_type(f"multipart/form-data; boundary={spoil.BOUNDARY}", spoil.multipart)),
            refuse(
                "cut off",
                content_type(
                    f"multipart/form-data; boundary={spoil.BOUNDARY}", lambda token: spoil.multipart(token)[:-40]
                ),
            ),
            refuse("no boundary", content_type("multipart/form-data", spoil.multipart)),
        ),
    ),
    Case(
        "H03",
        "BCL §4, RFC 9110 §15.5.14",
        "a body of 10 MB; the same in chunks",
        "400 or 413, or hanging up",
        "A logout token has a thousand bytes. Whoever reads ten million of them lets anybody fill the memory.",
        steps(spoil.unread("10 MB", spoil.large(chunked=False)), spoil.unread("in chunks", spoil.large(chunked=True))),
    ),
    Case(
        "H04",
        "RFC 7516 §4.1.3, RFC 8725 §3.6",
        "compressed and costly: a zip bomb as JWE, a gzip body, 2^31 rounds of PBES2",
        REFUSED,
        "A few kilobytes that become ten million, or an hour of work.",
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
        "eight bodies that come byte by byte, a good token meanwhile",
        "200 within 2 seconds",
        "Eight slow connections cost an attacker nothing. Threads help, or a proxy that passes on whole requests only.",
        scenes.slow_bodies,
    ),
    Case(
        "H06",
        "BCL §2.5, §2.8",
        "charset tricks: UTF-16, UTF-7, an unknown one; bytes that are no text",
        "400; a charset parameter: either way",
        "The charset comes from the attacker, and an unknown one is where 500 comes from.",
        steps(
            *(
                either(name, content_type(f"{FORM}; charset={name}"))
                for name in ("utf-16", "utf-7", "x-unknown", "base64")
            ),
            refuse("%ff", body(lambda token: f"logout_token=%ff{token}")),
            refuse("%00", body(lambda token: f"logout_token={token}%00")),
            refuse("raw bytes", body(lambda _: b"logout_token=\xff\xfe\x00")),
            refuse("surrogate", body(lambda token: f"logout_token=%ed%a0%80{token}")),
            accept("_charset_", body(lambda token: f"_charset_=utf-7&{spoil.as_form(token)}")),
        ),
    ),
    Case(
        "H08",
        "BCL §2.8",
        "line ends and script in the key id and as the token",
        "400, and none of it comes back",
        "What an attacker writes must not become a header or a page.",
        spoil.no_injected_header,
    ),
    Case(
        "H09",
        "RFC 7515 §2, §7.1",
        "white space around the token, padding at its parts",
        CHOICE,
        "Strictly it is no token; some libraries are kind.",
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
        "a good token with somebody else's cookies",
        "200 or 400; that person stays signed in",
        "The request comes from a server. Who ends 'the current session' ends the wrong one.",
        scenes.with_a_cookie,
    ),
]

RACES = [
    Case(
        "R01",
        "BCL §2.6 (8)",
        "a bad token, then a good one with the same jti",
        "400; 200",
        "Whoever writes down the jti before all checks lets a forger use up genuine ones.",
        both(
            scenes.burned_jti("forged", lambda make, jti: make.logout(jti=jti, key=make.ring.attacker)),
            scenes.burned_jti("misused", lambda make, jti: make.logout(jti=jti, nonce="n")),
        ),
    ),
    Case(
        "R02",
        "BCL §2.6 (8)",
        "one token twenty times at once",
        "one 200 at most, if repetitions are refused",
        "Look first, write later: between the two there is room for the other nineteen.",
        scenes.replayed_at_once,
    ),
    Case(
        "R03",
        "BCL §2.6 (11)",
        "a logout token that overtakes the login it ends",
        "200; that login best does not succeed",
        "Server to server is faster than the browser. The specification does not ask for it; the user would.",
        scenes.overtaken,
    ),
    Case(
        "K08",
        "BCL §4, Core §10.1.1",
        "200 tokens with 200 unknown key ids, then a good one",
        "400 each, at most 40 key fetches; 200",
        "Each forged kid could make the application ask the provider: an attack on both.",
        scenes.flood,
    ),
]

ALL = [
    Case(
        "A01",
        "BCL §2.8",
        "every 200 and 400 of this run",
        "Cache-Control: no-store",
        "A cached answer tells the next provider that a logout was done.",
        of_all(judge.cacheable),
    ),
    Case(
        "A02",
        "BCL §2.8, RFC 9700 §4",
        "every answer of this run",
        "no token and no stack trace in it",
        "Answers end up in logs, on both sides.",
        of_all(judge.echoing),
    ),
    Case(
        "A03",
        "BCL §2.8, RFC 6749 §5.2",
        "every 400 of this run that has a body",
        "a JSON object with error",
        "It is the only way for the provider's operator to see what was wrong.",
        of_all(judge.odd_errors),
    ),
    Case(
        "A04",
        "BCL §2.3",
        "every answer of this run",
        "within 5 seconds",
        "A user who logs out waits for the slowest application.",
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
