"""The cases that are more than a table row: several users, parallel requests, a failing provider."""

import json
import secrets
import threading
import time
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager, ExitStack, suppress
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from flask import Response

from attack import judge
from attack.bench import Bench, Make, Step
from attack.browser import Browser, SignInFailed
from attack.judge import BAD_REQUEST, Expect, Finding, carried_out, choice, fail
from attack.provider import Login
from attack.tokens import Key, KeyRing, Tokens, b64
from attack.wire import FORM, Answer, form

AT_ONCE = 20  # replays of one token
MANY = 12  # sessions that end; a framework keeps ten logout tokens by default
FLOOD = 200  # tokens with different key ids
FLOOD_FETCHES = 40  # key fetches they may cause: eight processes that each allow themselves five
FLOOD_THREADS = 4
DRIPS = 8  # slow bodies at the same time
PROMPT_SECONDS = 2.0  # how soon other requests are answered during slow ones
SHORT = 1.0  # seconds after which we assume that the application fetches no keys for this
SETTLED = 2.0  # seconds after a key fetch; a new key that is refused then stays refused
LARGE = 10_000_000  # bytes
NOT_ASKED = "the keys were not asked for"

Run = Callable[[Bench], Iterable[Finding]]


# --- rows of the table ---


def steps(*taken: Step) -> Run:
    """One request after the other."""
    return lambda bench: [finding for step in taken for finding in bench.take(step)]


def refuse(name: str, make: Make) -> Step:
    """400 is required."""
    return Step(name, Expect.REFUSED, make)


def accept(name: str, make: Make) -> Step:
    """200 is required, and the session must have ended."""
    return Step(name, Expect.ACCEPTED, make)


def either(name: str, make: Make) -> Step:
    """The specification leaves the choice."""
    return Step(name, Expect.EITHER, make)


def wrong_type(name: str, make: Make) -> Step:
    """Not a form: 400 is required, or the 415 of a framework that looks at the type first."""
    return Step(name, Expect.WRONG_TYPE, make)


def odd_form(name: str, make: Make) -> Step:
    """An unusual form: the receiver may read it, or refuse it with 400 or 415."""
    return Step(name, Expect.ODD_FORM, make)


def strict(name: str, make: Make) -> Step:
    """The specification leaves the choice, but 400 is preferable."""
    return Step(name, Expect.STRICT, make)


def both(*runs: Run) -> Run:
    """One after the other."""
    return lambda bench: [finding for run in runs for finding in run(bench)]


# --- which sessions end ---


def only_that_session(name: str, without: tuple[str, ...]) -> Run:
    """A token with ``sid``: another session of the same user stays active."""

    def run(bench: Bench) -> Iterator[Finding]:
        victim = bench.victim()
        other = bench.newcomer(victim.sub)
        answer = bench.send(name, bench.tokens(victim).logout(without=without))
        yield from judge.judge(name, Expect.ACCEPTED, answer, alive=victim.signed_in())
        if not other.signed_in():
            yield fail(name, "another session of the same person ended, too")

    return run


def all_sessions(bench: Bench) -> Iterator[Finding]:
    """``sub`` alone: every session of that user, and no others (see ``Bench.run``)."""
    # A user who never signs in again, because an application may reject logins in the same second as such a logout.
    victim, other = bench.newcomer("dora"), bench.newcomer("dora")
    answer = bench.send("sub only", bench.tokens(victim).logout(without=["sid"]))
    yield from judge.judge("sub only", Expect.ACCEPTED, answer, alive=victim.signed_in())
    if carried_out(answer) and other.signed_in():
        yield fail("sub only", "another session of the same person lives on")


def stays_ended(bench: Bench) -> Iterator[Finding]:
    """The cookies of the ended session, from a client that has kept them. BCL §2.7: its state is cleared."""
    name, victim = "the old cookies", bench.victim()
    cookies = victim.cookies
    answer = bench.send(name, bench.tokens(victim).logout())
    yield from judge.judge(name, Expect.ACCEPTED, answer, alive=victim.replays(cookies))
    victim.signed_in()  # as a browser, which drops the cookies that the application removes
    if carried_out(answer) and any(victim.replays(cookies) for _ in range(2)):
        yield fail(name, "the session is active again after the first request with them was rejected")


def two_of_one_person(bench: Bench) -> Iterator[Finding]:
    """The sessions of one user are used, and ended, in another order than the logout tokens arrive."""
    name, victim = "the other session is used first", bench.victim()
    other = bench.newcomer(victim.sub)
    answer = bench.send(name, bench.tokens(victim).logout())
    if not other.signed_in():
        yield fail(name, "another session of the same person ended, too")
    yield from judge.judge(name, Expect.ACCEPTED, answer, alive=victim.signed_in())
    name, victim = "both end before either is used", bench.victim()
    other = bench.newcomer(victim.sub)
    answers = [bench.send(name, bench.tokens(one).logout()) for one in (victim, other)]
    for one, answer in zip((victim, other), answers, strict=True):
        yield from judge.judge(name, Expect.ACCEPTED, answer, alive=one.signed_in())


def of_many_people(bench: Bench) -> Iterator[Finding]:
    """Many logouts arrive before any of these sessions is used again."""
    many = [bench.newcomer(f"user-{number}") for number in range(MANY)]
    answers = [bench.send("one of many", bench.tokens(one).logout()) for one in many]
    lost = [one for one, answer in zip(many, answers, strict=True) if carried_out(answer) and one.signed_in()]
    if refused := [answer for answer in answers if not carried_out(answer)]:
        yield fail("one of many", f"answered {refused[0]} ({len(refused)} of {MANY})")
    if lost:
        yield fail("one of many", f"{len(lost)} of {MANY} sessions live on, although the answer was 200")


def already_ended(bench: Bench) -> Iterator[Finding]:
    """A token for a session that another token has just ended."""
    victim = bench.victim()
    tokens = bench.tokens(victim)
    bench.send("the first", tokens.logout())
    victim.signed_in()
    answer = bench.send("already ended", tokens.logout())
    yield from judge.judge("already ended", Expect.DONE, answer, alive=True)


def of_two_people(bench: Bench) -> Iterator[Finding]:
    """The victim's ``sid`` with another user's ``sub``. Comparing them is optional (BCL §2.6 (10), (11))."""
    name, victim, other = "sid and sub", bench.victim(), bench.newcomer("erin")
    answer = bench.send(name, bench.tokens(victim).logout(sub=other.sub))
    ended = not victim.signed_in()
    if ended and carried_out(answer):
        yield choice(name, "ended the session that sid names, and did not compare sub")
    yield from judge.judge(name, Expect.UNTOUCHED, answer, alive=not ended or carried_out(answer))
    if not other.signed_in():
        yield fail(name, "ended a session of the user whom sub names, although sid names another session")


def with_a_cookie(bench: Bench) -> Iterator[Finding]:
    """The request has the bystander's cookies; :meth:`Bench.run` checks that they are still signed in."""
    victim, cookies = bench.victim(), bench.bystander().cookies
    request = form(bench.tokens(victim).logout())
    whole = {"Content-Type": FORM, "Cookie": cookies, "Origin": "https://attacker.example"}
    answer = bench.send("with cookies", type(request)(request.body, headers=whole))
    expect = Expect.EITHER if answer.status == BAD_REQUEST else Expect.ACCEPTED
    yield from judge.judge("with cookies", expect, answer, alive=victim.signed_in())


def last_member_wins(bench: Bench) -> Iterator[Finding]:
    """Two ``sid`` members: rejected, or the last one counts (RFC 7519 §4). Never the first."""
    name, victim = "the active session's sid first", bench.victim()
    tokens, unknown = bench.tokens(victim), secrets.token_hex(8)
    answer = bench.send(name, doubled(tokens, "sid", tokens.sid, unknown, without=["sub"]))
    if not victim.signed_in():
        yield fail(name, "the first sid counted: its session was ended")
    yield from judge.judge(name, Expect.UNTOUCHED, answer, alive=True)
    name, victim = "the active session's sid last", bench.victim()
    tokens = bench.tokens(victim)
    answer = bench.send(name, doubled(tokens, "sid", unknown, tokens.sid, without=["sub"]))
    yield from judge.judge(name, Expect.EITHER, answer, alive=victim.signed_in())


def doubled(tokens: Tokens, name: str, first: Any, last: Any, without: Collection[str] = ()) -> str:
    """A logout token with the same claim twice. ``without`` leaves out a claim that could decide in its place."""
    whole = json.dumps({**tokens.claims(without=[name, *without]), "first": 1, "last": 1})
    for place, value in (("first", first), ("last", last)):
        whole = whole.replace(f'"{place}": 1', f'"{name}": {json.dumps(value)}')
    return tokens.of_payload(whole)


# --- replays and races ---


def replayed(bench: Bench) -> Iterator[Finding]:
    """The same token again. BCL §2.6 (8) is optional, and the session has ended either way."""
    victim = bench.victim()
    token = bench.tokens(victim).logout()
    bench.send("the first time", token)
    victim.signed_in()
    answer = bench.send("the second time", token)
    yield from judge.judge("the second time", Expect.UNTOUCHED, answer, alive=True)
    if carried_out(answer) or answer.status == BAD_REQUEST:
        yield choice("the second time", f"answered {answer}")


def replayed_at_once(bench: Bench) -> Iterator[Finding]:
    """One token many times in parallel: an application that rejects replays must accept at most one."""
    victim = bench.victim()
    token, start = bench.tokens(victim).logout(), threading.Barrier(AT_ONCE)

    def send(_number: int) -> Answer:
        start.wait()
        return bench.send("in parallel", token)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(send, range(AT_ONCE)))
    done = [answer for answer in answers if carried_out(answer)]
    odd = sorted({str(answer) for answer in answers if answer not in done and answer.status != BAD_REQUEST})
    if odd:
        yield fail("in parallel", f"answered {', '.join(odd)}")
    yield from judge.judge("in parallel", Expect.ACCEPTED, [*done, *answers][0], alive=victim.signed_in())
    refuses = bench.send("afterwards", token).status == BAD_REQUEST
    if refuses and len(done) > 1:
        yield fail("in parallel", f"was carried out {len(done)} times, although repetitions are refused")
    if not refuses:
        yield choice("in parallel", "repetitions are accepted")


def burned_jti(how: str, spoil: Callable[[Tokens, str], str]) -> Run:
    """A rejected token must not use up the ``jti`` of a valid one."""

    def run(bench: Bench) -> Iterator[Finding]:
        victim = bench.victim()
        tokens, jti = bench.tokens(victim), secrets.token_urlsafe(12)
        refused = bench.send(f"the {how} one", spoil(tokens, jti))
        yield from judge.judge(f"the {how} one", Expect.REFUSED, refused, alive=victim.signed_in())
        if not victim.believed_in:
            return
        name = f"the good one after the {how} one"
        answer = bench.send(name, tokens.logout(jti=jti))
        yield from judge.judge(name, Expect.ACCEPTED, answer, alive=victim.signed_in())

    return run


def overtaken(bench: Bench) -> Iterator[Finding]:
    """The session ends before the application has its tokens: BCL §2.6 (11) mentions only recent sessions."""
    newcomer = bench.newcomer("carol")
    answers: list[Answer] = []

    def log_out(login: Login) -> None:
        bench.provider.before_token = None
        token = bench.tokens(newcomer).logout(sub=login.sub, sid=login.sid)
        answers.append(bench.send("during the login", token, timeout=PROMPT_SECONDS))

    bench.provider.before_token = log_out
    with suppress(SignInFailed):  # the better outcome
        newcomer.sign_in()
    bench.provider.before_token = None
    if not answers or not answers[0].status:
        yield choice("during the login", "no answer while a login was under way: requests are taken one by one")
        return
    yield from judge.judge("during the login", Expect.DONE, answers[0], alive=True)
    if newcomer.signed_in():
        yield choice("during the login", "the login it should have ended went on")


# --- keys ---


def rotated_in(others: Callable[[KeyRing], list[dict[str, Any]]] = lambda _: [], *, expect: Expect) -> Run:
    """A newly published key, in a set with ``others``."""

    def run(bench: Bench) -> Iterator[Finding]:
        ring, victim = bench.provider.ring, bench.victim()
        new = Key(ring.new.private, f"new-{secrets.token_hex(4)}")  # an id that the application has not seen
        before, is_about_fetching = bench.provider.hits["jwks"], not others(ring)
        with bench.provider.publishing(*others(ring), new.jwk()):
            answer, waited = until_known(bench, victim, new)
        was_fetched = bench.provider.hits["jwks"] > before
        if carried_out(answer) and waited > SHORT:
            yield choice("new key", f"accepted only after {waited:.0f} seconds: key fetches are limited")
        if not was_fetched:
            note = fail if is_about_fetching else choice
            yield note("new key", f"{NOT_ASKED} for {waited:.0f} seconds (see --patience)")
        # Odd keys that were never read are not the reason of a refusal.
        wanted = expect if was_fetched or is_about_fetching else Expect.LENIENT
        yield from judge.judge("new key", wanted, answer, alive=victim.signed_in())

    return run


def until_known(bench: Bench, victim: Browser, key: Key) -> tuple[Answer, float]:
    """Sends tokens signed with ``key`` until one is accepted. Gives up soon after the keys were fetched."""
    started, fetched = time.monotonic(), bench.provider.hits["jwks"]
    deadline = started + bench.patience  # the app may limit how often it fetches keys
    while True:
        answer = bench.send("new key", bench.tokens(victim).logout(header={"kid": key.kid}, key=key))
        now = time.monotonic()
        if bench.provider.hits["jwks"] > fetched:
            deadline = min(deadline, now + SETTLED)
        if answer.status != BAD_REQUEST or now > deadline:
            return answer, now - started
        time.sleep(min(0.5, bench.patience))  # between two attempts; the app may not fetch keys yet


def with_keys(manner: Callable[[Bench], AbstractContextManager[Any]], name: str) -> Run:
    """An unknown key while the key endpoint fails in one of several ways."""

    def run(bench: Bench) -> Iterator[Finding]:
        before = bench.provider.hits["jwks"]
        with manner(bench):
            yield from bench.take(refuse(name, lambda make: make.forged(kid=secrets.token_hex(8))))
        if bench.provider.hits["jwks"] == before:
            yield choice(name, NOT_ASKED)

    return run


def keys_answer(status: int, body: str) -> Callable[[Bench], AbstractContextManager[Any]]:
    """The key endpoint returns this."""
    return lambda bench: bench.provider.keys_answered(lambda: Response(body, status))


def keys_hang(bench: Bench) -> Iterator[Finding]:
    """While one token waits for the keys, tokens with a known key do not wait."""
    victim = bench.victim()
    tokens = bench.tokens(victim)
    with ThreadPoolExecutor(DRIPS + 1) as pool:
        with bench.provider.keys_held() as gate:
            waiting = pool.submit(bench.send, "the unknown key", tokens.forged(kid=secrets.token_hex(8)))
            if not gate.reached.wait(SHORT):
                yield choice("the unknown key", NOT_ASKED)
            bad = [tokens.logout(without=["events"]) for _ in range(DRIPS)]
            others = [pool.submit(bench.send, "a known key", token, PROMPT_SECONDS) for token in bad]
            answers = [other.result() for other in as_completed(others)]
        late = [answer for answer in answers if not answer.status]
        yield from judge.judge("the unknown key", Expect.REFUSED, waiting.result(), alive=victim.signed_in())
    if late:
        yield fail("a known key", f"{len(late)} of {len(answers)} had to wait until the keys came")


def never_fetched(run: Run) -> Run:
    """URLs in a token are not requested."""

    def watched(bench: Bench) -> Iterator[Finding]:
        before = bench.provider.hits["attacker"]
        yield from run(bench)
        if count := bench.provider.hits["attacker"] - before:
            yield fail(
                "the address", f"was called {count} times: whoever writes a token sends the application anywhere"
            )

    return watched


def flood(bench: Bench) -> Iterator[Finding]:
    """Many unknown key ids: they must not cause a request each, and valid tokens still pass."""
    tokens, before = bench.tokens(), bench.provider.hits["jwks"]
    kids = (secrets.token_hex(8) for _ in range(FLOOD))
    forgeries = [tokens.forged(kid=kid) for kid in kids]
    with ThreadPoolExecutor(FLOOD_THREADS) as pool:
        answers = list(pool.map(lambda forgery: bench.send("flood", forgery), forgeries))
    odd = [answer for answer in answers if answer.status != BAD_REQUEST]
    if odd:
        yield fail("flood", f"answered {odd[0]} ({len(odd)} of {FLOOD})")
    if (fetches := bench.provider.hits["jwks"] - before) > FLOOD_FETCHES:
        yield fail("flood", f"{FLOOD} tokens made the application fetch the keys {fetches} times")
    yield from bench.take(accept("afterwards", lambda make: make.logout()))


# --- bodies ---


def slow_bodies(bench: Bench) -> Iterator[Finding]:
    """Bodies sent byte by byte: other requests are answered meanwhile."""
    bench.victim()
    with ExitStack() as open_connections:
        drips = []
        for _ in range(DRIPS):
            connection = bench.wire.connect()
            open_connections.callback(connection.close)
            connection.putrequest("POST", bench.wire.path())
            connection.putheader("Content-Type", FORM)
            connection.putheader("Content-Length", "1000")
            connection.endheaders(b"logout_token=")
            drips.append(connection)
        for byte in (b"e", b"y"):
            for drip in drips:
                with suppress(OSError):  # it may close the connection
                    drip.send(byte)
            victim = bench.victim()
            answer = bench.send("meanwhile", bench.tokens(victim).logout(), PROMPT_SECONDS)
            if not answer.status:
                yield fail("meanwhile", f"{DRIPS} slow bodies keep a good token waiting")
                return
            yield from judge.judge("meanwhile", Expect.ACCEPTED, answer, alive=victim.signed_in())


def encrypted(header: dict[str, Any], tokens: Tokens, inner: bytes) -> str:
    """A JWE (RFC 7516 §7.1), encrypted directly with a key made of the client's secret (Core §10.2)."""
    key, iv = sha256(tokens.client_secret.encode()).digest(), secrets.token_bytes(12)
    protected = b64(json.dumps(header).encode())
    sealed = AESGCM(key).encrypt(iv, inner, protected.encode())
    return ".".join([protected, "", b64(iv), b64(sealed[:-16]), b64(sealed[-16:])])


def deflated(data: bytes) -> bytes:
    """RFC 7516 §4.1.3: raw DEFLATE."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()
