"""Pure: an answer and the state of the session in, what is wrong with them out.

BCL §2.8 is the measure: 200 when the logout was carried out, 400 when the request was not valid, nothing in between;
and BCL §2.6: a request that is refused changes nothing. Where the specification leaves a choice, either
way is a ``CHOICE``: it is reported and costs nothing.
"""

import json
import re
import statistics
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum

from attack.wire import Answer, Request

SLOW_SECONDS = 5  # a provider that waits longer for an answer keeps a user waiting
NO_CONTENT, OK, BAD_REQUEST, WRONG_METHOD, NOT_IMPLEMENTED = 204, 200, 400, 405, 501
# What a server may say in place of 400, when it does not even want to read the body (RFC 9110 §15.5).
UNREAD = {408: "Request Timeout", 411: "Length Required", 413: "Content Too Large", 415: "Unsupported Media Type"}

TRACES = re.compile(
    rb"Traceback \(most recent"  # Python
    rb"|File \"[^\"]+\", line \d"
    rb"|\n\s+at [\w.$<>]+ ?\([^)\n]*:\d+"  # Java, JavaScript
    rb"|\.cs:line \d"  # C#
    rb"|goroutine \d+ \["  # Go
    rb"|\.php(\(\d+\)|</b> on line)"  # PHP
    rb"|\.rb:\d+:in "  # Ruby
)


class Kind(Enum):
    """How much a finding weighs."""

    FAIL = "fail"
    CHOICE = "choice"


@dataclass(frozen=True)
class Finding:
    """Something about one request that is worth saying."""

    kind: Kind
    request: str  # its name within the case
    text: str


class Expect(Enum):
    """What BCL §2.6 to §2.8 asks for."""

    REFUSED = "400, and nothing has changed"
    ACCEPTED = "200, and the session is over"
    DONE = "200, although there is nothing to end"
    EITHER = "200 or 400, and the session to match"
    STRICT = "400 or 200, and the session to match; 400 is better"
    UNTOUCHED = "400 or 200, and nothing has changed"
    NO_METHOD = "405 or 400, and nothing has changed"
    OPTIONS = "405 or 400 or a list of methods, and nothing has changed"
    UNREAD = "400 or 413 or hanging up, and nothing has changed"


@dataclass(frozen=True)
class Exchange:
    """A request that was sent, for the judgements about the whole run."""

    case: str
    name: str
    request: Request
    answer: Answer


def judge(name: str, expect: Expect, answer: Answer, *, alive: bool) -> list[Finding]:
    """What is wrong with ``answer``, and with the session, which is ``alive`` after it or not."""
    findings = list(_status(name, expect, answer))
    carried_out = answer.status in (OK, NO_CONTENT)
    may_end = expect is Expect.ACCEPTED or (expect in (Expect.EITHER, Expect.STRICT) and carried_out)
    if not alive and not may_end:
        findings.append(fail(name, "the session was ended"))
    if alive and may_end and carried_out:
        findings.append(fail(name, f"answered {answer}, but the session lives on"))
    return findings


def _status(name: str, expect: Expect, answer: Answer) -> Iterator[Finding]:
    accepts = {
        Expect.REFUSED: {BAD_REQUEST},
        Expect.ACCEPTED: {OK},
        Expect.DONE: {OK},
        Expect.EITHER: set(),
        Expect.STRICT: {BAD_REQUEST},
        Expect.UNTOUCHED: {OK, BAD_REQUEST},
        Expect.NO_METHOD: {WRONG_METHOD, BAD_REQUEST},
        Expect.OPTIONS: {WRONG_METHOD, BAD_REQUEST},
        Expect.UNREAD: {BAD_REQUEST},
    }[expect]
    if answer.status in accepts:
        return
    if choice := _choice(expect, answer):
        yield Finding(Kind.CHOICE, name, choice)
    else:
        yield fail(name, f"answered {answer}; asked for is {expect.value.partition(',')[0]}")


def _choice(expect: Expect, answer: Answer) -> str:
    """Why an answer that is not the expected one is right all the same; empty if it is wrong."""
    status = answer.status
    if expect in (Expect.EITHER, Expect.STRICT) and status in (OK, NO_CONTENT, BAD_REQUEST):
        return "refused it" if status == BAD_REQUEST else "accepted it"
    if expect in (Expect.ACCEPTED, Expect.DONE, Expect.UNTOUCHED) and status == NO_CONTENT:
        return "answered 204, which BCL §2.8 tells providers to take for 200"
    if expect is Expect.UNREAD and (status in UNREAD or status == 0):
        return f"answered {answer} without reading it all"
    if expect is Expect.OPTIONS and 200 <= status < 300:
        return f"answered {answer}, which says what is allowed and does nothing (RFC 9110 §9.3.7)"
    if expect in (Expect.NO_METHOD, Expect.OPTIONS) and (300 <= status < 500 or status == NOT_IMPLEMENTED):
        return f"answered {answer}, which says no as well"
    return ""


def fail(name: str, text: str) -> Finding:
    """A finding that costs the case."""
    return Finding(Kind.FAIL, name, text)


def choice(name: str, text: str) -> Finding:
    """A finding that costs nothing."""
    return Finding(Kind.CHOICE, name, text)


# --- the whole run ---


def cacheable(exchanges: Iterable[Exchange]) -> list[Finding]:
    """BCL §2.8: answers to logout requests must not be cached."""
    wrong = [
        exchange
        for exchange in logout_answers(exchanges)
        if "no-store" not in exchange.answer.header("Cache-Control").lower()
    ]
    return summary(wrong, "has no Cache-Control: no-store")


def echoing(exchanges: Iterable[Exchange]) -> list[Finding]:
    """An answer says neither what the token was nor what the program looks like inside."""
    exchanges = list(exchanges)
    tokens = [exchange for exchange in exchanges if _repeats(exchange)]
    traces = [exchange for exchange in exchanges if TRACES.search(exchange.answer.body)]
    return [*summary(tokens, "repeats the token"), *summary(traces, "shows a stack trace")]


def _repeats(exchange: Exchange) -> bool:
    sent = re.findall(rb"[A-Za-z0-9_-]{60,}", exchange.request.body[:20_000] + exchange.request.query.encode())
    received = exchange.answer.body + repr(exchange.answer.headers).encode()
    return any(part in received for part in sent)


def odd_errors(exchanges: Iterable[Exchange]) -> list[Finding]:
    """BCL §2.8: if a 400 has a body, it is a JSON object with ``error``, as in RFC 6749 §5.2."""
    refusals = [exchange for exchange in logout_answers(exchanges) if exchange.answer.status == BAD_REQUEST]
    return summary(
        [exchange for exchange in refusals if not _is_error(exchange.answer)], "is no JSON with an error in it"
    )


def _is_error(answer: Answer) -> bool:
    if not answer.body:
        return True
    if answer.header("Content-Type").partition(";")[0].strip().lower() != "application/json":
        return False
    try:
        value = json.loads(answer.body)
    except ValueError:
        return False
    return isinstance(value, dict) and isinstance(value.get("error"), str) and bool(value["error"])


def slow(exchanges: Iterable[Exchange]) -> list[Finding]:
    """A provider does not wait for long, and a user waits with it."""
    late = [exchange for exchange in exchanges if exchange.answer.seconds > SLOW_SECONDS]
    return summary(late, f"took longer than {SLOW_SECONDS} seconds")


def logout_answers(exchanges: Iterable[Exchange]) -> list[Exchange]:
    """The answers to POST requests that are answers of BCL §2.8."""
    return [
        exchange
        for exchange in exchanges
        if exchange.request.method == "POST" and exchange.answer.status in (OK, NO_CONTENT, BAD_REQUEST)
    ]


def summary(wrong: list[Exchange], text: str) -> list[Finding]:
    """One finding for many answers that have the same fault."""
    if not wrong:
        return []
    first, others = wrong[0], len(wrong) - 1
    more = f"; so did {others} others" if others else ""
    return [fail(f"{first.case} {first.name}", f"the answer {first.answer} {text}{more}")]


def pace(exchanges: Iterable[Exchange]) -> dict[str, float]:
    """How fast, in milliseconds."""
    times = sorted(exchange.answer.seconds * 1000 for exchange in exchanges if exchange.answer.status)
    if not times:
        return {}
    return {"median_ms": round(statistics.median(times), 1), "slowest_ms": round(times[-1], 1)}
