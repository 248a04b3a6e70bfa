"""Tokens and requests that differ from a valid one in one point: functions are or return a ``Make`` (bench.py)."""

import gzip
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from attack import judge
from attack.bench import Bench, Make, Step
from attack.judge import Expect, Finding
from attack.scenes import LARGE, deflated, encrypted, refuse, steps
from attack.tokens import Tokens, b64, der_text, jws, unb64
from attack.wire import FORM, Request, form

BOUNDARY = "attack-boundary"


# --- tokens that differ from a valid one in one thing ---


def good(make: Tokens) -> str:
    return make.logout()


def claims(**values: Any) -> Make:
    return lambda make: make.logout(**values)


def header(**members: Any) -> Make:
    return lambda make: make.logout(header=members)


def without(*names: str) -> Make:
    return lambda make: make.logout(without=names)


def aged(**seconds: float) -> Make:
    """Times given in seconds from now."""

    def build(make: Tokens) -> str:
        now = make.claims()["iat"]
        return make.logout(**{name: now + value for name, value in seconds.items()})

    return build


def forged(**members: Any) -> Make:
    """Signed with the attacker's key."""
    return lambda make: make.forged(**members)


def with_secret(secret: Callable[[Tokens], bytes], **members: Any) -> Make:
    """HS256 with a public value."""
    return lambda make: make.logout(header={"alg": "HS256", **members}, key=secret(make))


def unsigned(alg: Any, signature: str = "") -> Make:
    return lambda make: jws(make.header(alg=alg), make.claims(), None) + signature


def other_algorithms() -> Callable[[Bench], list[Finding]]:
    """Genuine keys, but algorithms that the client did not register."""

    def run(bench: Bench) -> list[Finding]:
        others = bench.provider.ring.other_algorithms()
        makes = [
            (alg, lambda make, a=alg, k=key: make.logout(header={"alg": a, "kid": k.kid}, key=k)) for alg, key in others
        ]
        return [finding for alg, make in makes for finding in bench.take(refuse(alg, make))]

    return run


def one_bit_off(make: Tokens) -> str:
    signed, _, signature = make.logout().rpartition(".")
    changed = bytearray(unb64(signature))
    changed[len(changed) // 2] ^= 1
    return f"{signed}.{b64(bytes(changed))}"


def other_claims(make: Tokens) -> str:
    head, _, signature = make.logout(sid="another").split(".")
    return f"{head}.{b64(json.dumps(make.claims()).encode())}.{signature}"


def with_json(**replaced: str) -> Make:
    """Claims whose values no JSON library would write."""

    def build(make: Tokens) -> str:
        whole = json.dumps({**make.claims(), **{name: f"@{name}@" for name in replaced}})
        for name, text in replaced.items():
            whole = whole.replace(f'"@{name}@"', text)
        return make.of_payload(whole)

    return build


def payload(text: str | bytes) -> Make:
    return lambda make: make.of_payload(text)


def deep_header(make: Tokens) -> str:
    head = json.dumps(make.header()).encode()[:-1] + b', "deep": ' + b"[" * 5000 + b"]" * 5000 + b"}"
    return jws(head, make.claims(), make.ring.main)


def attackers_certificate(make: Tokens) -> str:
    return make.forged(x5c=[der_text(make.ring.attacker.certificate())], kid=...)


# --- requests that differ from a valid one in one thing ---


def posted(change: Callable[[Request, str], Request]) -> Make:
    """A valid token in a request altered by ``change``."""

    def build(make: Tokens) -> Request:
        token = make.logout()
        return change(form(token), token)

    return build


def content_type(value: str | None, body: Callable[[str], bytes] | None = None) -> Make:
    headers = {} if value is None else {"Content-Type": value}
    return posted(lambda request, token: replace(request, headers=headers, body=body(token) if body else request.body))


def body(write: Callable[[str], str | bytes]) -> Make:
    def change(request: Request, token: str) -> Request:
        written = write(token)
        return replace(request, body=written if isinstance(written, bytes) else written.encode())

    return posted(change)


def headers(**values: str) -> Make:
    named = {name.replace("_", "-"): value for name, value in values.items()}
    return posted(lambda request, _: replace(request, headers={**request.headers, **named}))


def multipart(token: str) -> bytes:
    part = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="logout_token"\r\n\r\n{token}\r\n--{BOUNDARY}--\r\n'
    return part.encode()


def method(name: str) -> Step:
    return Step(
        name, Expect.NO_METHOD, posted(lambda request, token: replace(request, method=name, query=as_form(token)))
    )


def as_form(token: str) -> str:
    return urlencode({"logout_token": token})


def unread(name: str, request: Callable[[Tokens], Request]) -> Step:
    return Step(name, Expect.UNREAD, request)


def large(*, chunked: bool) -> Callable[[Tokens], Request]:
    return lambda _: Request(b"logout_token=" + b"a" * LARGE, chunked=chunked)


def gzip_bomb(_: Tokens) -> Request:
    packed = gzip.compress(b"logout_token=" + b"a" * LARGE, mtime=0)
    return Request(packed, headers={"Content-Type": FORM, "Content-Encoding": "gzip"})


def zip_bomb(make: Tokens) -> str:
    inner = deflated(b" " * LARGE)
    return encrypted({"alg": "dir", "enc": "A256GCM", "zip": "DEF", "cty": "JWT"}, make, inner)


def endless_password(make: Tokens) -> str:
    derived = {"alg": "PBES2-HS256+A128KW", "enc": "A256GCM", "p2s": b64(b"salt" * 4), "p2c": 2**31 - 1}
    return encrypted(derived, make, make.logout().encode())


def encrypted_to_secret(make: Tokens) -> str:
    return encrypted({"alg": "dir", "enc": "A256GCM", "cty": "JWT"}, make, make.logout().encode())


def injection(make: Tokens) -> str:
    return make.forged(kid="x\r\nSet-Cookie: injected=1\r\n\r\n<script>alert(1)</script>")


def no_injected_header(bench: Bench) -> Iterator[Finding]:
    """The injected header must not be in the response."""
    before = len(bench.exchanges)
    sent = steps(refuse("in the key id", injection), refuse("as the token", raw("x\r\nSet-Cookie: injected=1")))
    yield from sent(bench)
    for exchange in bench.exchanges[before:]:
        if "injected" in repr(dict(exchange.answer.headers)) or b"<script>alert(1)" in exchange.answer.body:
            yield judge.fail(exchange.name, "what was smuggled in comes back in the answer")


def toggled_slash(issuer: str) -> str:
    return issuer[:-1] if issuer.endswith("/") else issuer + "/"


def without_part(place: int) -> Make:
    def build(make: Tokens) -> str:
        parts = make.logout().split(".")
        return ".".join("" if number == place else part for number, part in enumerate(parts))

    return build


def raw(text: str) -> Make:
    """Any text in place of the token."""
    return lambda _: text


def addresses(bench: Bench) -> Iterable[Finding]:
    """Our own URLs, which would serve a key."""
    keys, certificate = bench.provider.url("/attacker/keys"), bench.provider.url("/attacker/certificate")
    kid = bench.provider.ring.attacker.kid
    return steps(
        refuse("jku", forged(kid=kid, jku=keys)),
        refuse("jku, no kid", forged(kid=..., jku=keys)),
        refuse("x5u", forged(kid=..., x5u=certificate)),
        refuse("kid", forged(kid=keys)),
    )(bench)


def options(bench: Bench) -> list[Finding]:
    """OPTIONS may be answered with 200 (RFC 9110 §9.3.7): it lists the methods and changes nothing."""
    victim = bench.victim()
    answer = bench.send("OPTIONS", replace(form(bench.tokens(victim).logout()), method="OPTIONS"))
    return judge.judge("OPTIONS", Expect.OPTIONS, answer, alive=victim.signed_in())
