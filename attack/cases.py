"""The table: the request, what Back-Channel Logout 1.0 requires, the reason, and the code that runs it.

V01 to V32 are the vectors for every implementation; the others are K (keys), J (JSON), H (HTTP),
R (replays and races) and A (all answers of the run together).
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import replace

from attack import judge, scenes, spoil
from attack.bench import Bench, Case, Step
from attack.judge import Exchange, Expect, Finding
from attack.scenes import accept, both, odd_form, refuse, steps, strict, wrong_type
from attack.spoil import body, claims, content_type, header
from attack.token_cases import ACCEPTED, CHOICE, CLAIMS, EVENT, JSON, KEYS, REFUSED
from attack.tokens import jws
from attack.wire import FORM, Request, form


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
