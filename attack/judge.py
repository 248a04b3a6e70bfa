"""Pure functions: from an answer and the state of the session to a list of findings.

The criterion is BCL §2.8: 200 if the logout was carried out, 400 if the request was invalid, nothing else;
and BCL §2.6: a rejected request changes nothing. If the specification leaves a choice, either
behaviour is a ``CHOICE``: it is reported but does not count as a failure.
"""

import json
import re
import statistics
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from enum import Enum

from attack.wire import Answer, Request

SLOW_SECONDS = 5  # the user waits while the provider waits for an answer
NO_CONTENT, OK, BAD_REQUEST, WRONG_METHOD, WRONG_TYPE, NOT_IMPLEMENTED = 204, 200, 400, 405, 415, 501
# Statuses a server may return instead of 400 if it rejects the body unread (RFC 9110 §15.5).
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
    """The weight of a finding."""

    FAIL = "fail"
    CHOICE = "choice"


@dataclass(frozen=True)
class Finding:
    """A reportable fact about one request."""

    kind: Kind
    request: str  # its name within the case
    text: str
    expect: "Expect | None" = None  # if the finding is about one answer
    status: int | None = None  # of that answer; 0 if there was none


class Expect(Enum):
    """The result that BCL §2.6 to §2.8 requires."""

    REFUSED = "400, and nothing has changed"
    ACCEPTED = "200, and the session is over"
    DONE = "200, although there is nothing to end"
    EITHER = "200 or 400, and the session to match"
    STRICT = "400 or 200, and the session to match; 400 is better"
    LENIENT = "200 or 400, and the session to match; 200 is better"
    WRONG_TYPE = "400 or 415, and nothing has changed"
    ODD_FORM = "400 or 415 or 200, and the session to match; 400 is better"
    UNTOUCHED = "400 or 200, and nothing has changed"
    NO_METHOD = "405 or 400, and nothing has changed"
    OPTIONS = "405 or 400 or a list of methods, and nothing has changed"
    UNREAD = "400 or 413 or hanging up, and nothing has changed"


@dataclass(frozen=True)
class Exchange:
    """A sent request, for the checks of the whole run."""

    case: str
    name: str
    request: Request
    answer: Answer


# The receiver chooses between carrying the logout out and refusing it.
FREE = {Expect.EITHER, Expect.STRICT, Expect.LENIENT, Expect.ODD_FORM}


def carried_out(answer: Answer) -> bool:
    """Whether the application says that the user is logged out. BCL §2.8: providers take 204 for 200."""
    return answer.status in (OK, NO_CONTENT)


def judge(name: str, expect: Expect, answer: Answer, *, alive: bool) -> list[Finding]:
    """The errors in ``answer`` and in the session, which is ``alive`` after it or not."""
    findings = list(_status(name, expect, answer))
    may_end = expect is Expect.ACCEPTED or (expect in FREE and carried_out(answer))
    if not alive and not may_end:
        findings.append(fail(name, "the session was ended"))
    if alive and may_end and carried_out(answer):
        findings.append(fail(name, f"answered {answer}, but the session lives on"))
    return [replace(finding, expect=expect, status=answer.status) for finding in findings]


def _status(name: str, expect: Expect, answer: Answer) -> Iterator[Finding]:
    accepts = {
        Expect.REFUSED: {BAD_REQUEST},
        Expect.ACCEPTED: {OK},
        Expect.DONE: {OK},
        Expect.EITHER: set(),
        Expect.STRICT: {BAD_REQUEST},
        Expect.LENIENT: {OK},
        Expect.WRONG_TYPE: {BAD_REQUEST},
        Expect.ODD_FORM: {BAD_REQUEST},
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
        yield fail(name, f"answered {answer}{_redirected(answer)}; asked for is {expect.value.partition(',')[0]}")


def _redirected(answer: Answer) -> str:
    """Explains a redirect: most often a rule that protects all pages also protects the logout endpoint."""
    if not answer.location:
        return ""
    return ", as for a visitor who must sign in first (a provider has no cookies and follows no redirects)"


def _choice(expect: Expect, answer: Answer) -> str:
    """Why an unexpected answer is acceptable; empty if it is not."""
    status = answer.status
    if expect in FREE and status in (OK, NO_CONTENT, BAD_REQUEST):
        return "refused it" if status == BAD_REQUEST else "accepted it"
    if expect in (Expect.ACCEPTED, Expect.DONE, Expect.UNTOUCHED) and status == NO_CONTENT:
        return "answered 204, which BCL §2.8 tells providers to take for 200"
    if expect in (Expect.WRONG_TYPE, Expect.ODD_FORM) and status == WRONG_TYPE:
        return "answered 415, which RFC 9110 §15.5.16 has for bodies in another format"
    if expect is Expect.UNREAD and (status in UNREAD or status == 0):
        return f"answered {answer} without reading it all"
    if expect is Expect.OPTIONS and 200 <= status < 300:
        return f"answered {answer}, which says what is allowed and does nothing (RFC 9110 §9.3.7)"
    if expect in (Expect.NO_METHOD, Expect.OPTIONS) and (300 <= status < 500 or status == NOT_IMPLEMENTED):
        return f"answered {answer}, which says no as well"
    return ""


def fail(name: str, text: str) -> Finding:
    """A finding that fails the case."""
    return Finding(Kind.FAIL, name, text)


def choice(name: str, text: str) -> Finding:
    """A finding that does not fail the case."""
    return Finding(Kind.CHOICE, name, text)


# --- the whole run ---


def cacheable(exchanges: Iterable[Exchange]) -> list[Finding]:
    """BCL §2.8: the answer to a logout request SHOULD have ``no-store``.

    RFC 9110 §9.3.3: a cache may store the answer to a POST only if it has a lifetime.
    """
    stored = [exchange for exchange in logout_answers(exchanges) if "no-store" not in cache_control(exchange)]
    lasting = [exchange for exchange in stored if has_lifetime(exchange)]
    if lasting:
        return summary(lasting, "may be stored by a cache, because it has a lifetime")
    return [replace(finding, kind=Kind.CHOICE) for finding in summary(stored, "has no Cache-Control: no-store")]


def cache_control(exchange: Exchange) -> str:
    """The header of the answer."""
    return exchange.answer.header("Cache-Control").lower()


def has_lifetime(exchange: Exchange) -> bool:
    """RFC 9111 §4.2.1: ``max-age`` or ``s-maxage`` above zero, or ``Expires`` in the future."""
    try:
        expires = parsedate_to_datetime(exchange.answer.header("Expires")).timestamp()
    except ValueError:  # none, or 0
        expires = 0.0
    return bool(re.search(r'max-?age="?0*[1-9]', cache_control(exchange))) or expires > time.time()


def echoing(exchanges: Iterable[Exchange]) -> list[Finding]:
    """An answer must contain neither the token nor internals of the program."""
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
    """A provider does not wait long, because a user waits with it."""
    late = [exchange for exchange in exchanges if exchange.answer.seconds > SLOW_SECONDS]
    return summary(late, f"took longer than {SLOW_SECONDS} seconds")


def logout_answers(exchanges: Iterable[Exchange]) -> list[Exchange]:
    """The answers to POST requests, to which BCL §2.8 applies."""
    return [
        exchange
        for exchange in exchanges
        if exchange.request.method == "POST" and exchange.answer.status in (OK, NO_CONTENT, BAD_REQUEST)
    ]


def summary(wrong: list[Exchange], text: str) -> list[Finding]:
    """One finding for many answers with the same error."""
    if not wrong:
        return []
    first, others = wrong[0], len(wrong) - 1
    more = f"; this is true of {others} others, too" if others else ""
    return [fail(f"{first.case} {first.name}", f"the answer {first.answer} {text}{more}")]


def pace(exchanges: Iterable[Exchange]) -> dict[str, float]:
    """The response times, in milliseconds."""
    times = sorted(exchange.answer.seconds * 1000 for exchange in exchanges if exchange.answer.status)
    if not times:
        return {}
    return {"median_ms": round(statistics.median(times), 1), "slowest_ms": round(times[-1], 1)}
