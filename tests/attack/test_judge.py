"""Which answer, with which state of the session, is right, a choice, or wrong."""

import pytest

from attack import judge
from attack.judge import Exchange, Expect, Kind
from attack.wire import FORM, Answer, Request, form

JSON = {"Content-Type": "application/json", "Cache-Control": "no-store"}
TOKEN = "eyJhbGciOiJSUzI1NiJ9." + "a" * 80 + "." + "b" * 80


@pytest.mark.parametrize(
    ("expect", "status", "alive", "verdict"),
    [
        (Expect.REFUSED, 400, True, "ok"),
        (Expect.REFUSED, 400, False, "fail"),  # it says no, and does it
        (Expect.REFUSED, 200, True, "fail"),
        (Expect.REFUSED, 401, True, "fail"),  # BCL §2.8 knows one refusal
        (Expect.REFUSED, 500, True, "fail"),
        (Expect.REFUSED, 0, True, "fail"),  # hung up
        (Expect.ACCEPTED, 200, False, "ok"),
        (Expect.ACCEPTED, 204, False, "choice"),
        (Expect.ACCEPTED, 200, True, "fail"),  # it says yes, and does nothing
        (Expect.ACCEPTED, 400, True, "fail"),
        (Expect.ACCEPTED, 302, False, "fail"),
        (Expect.DONE, 200, True, "ok"),
        (Expect.DONE, 400, True, "fail"),
        (Expect.EITHER, 200, False, "choice"),
        (Expect.EITHER, 400, True, "choice"),
        (Expect.EITHER, 200, True, "fail"),
        (Expect.EITHER, 400, False, "fail"),
        (Expect.STRICT, 400, True, "ok"),
        (Expect.STRICT, 200, False, "choice"),
        (Expect.STRICT, 500, True, "fail"),
        (Expect.STRICT, 415, True, "fail"),
        (Expect.LENIENT, 200, False, "ok"),
        (Expect.LENIENT, 400, True, "choice"),
        (Expect.LENIENT, 200, True, "fail"),
        (Expect.LENIENT, 500, True, "fail"),
        (Expect.WRONG_TYPE, 400, True, "ok"),
        (Expect.WRONG_TYPE, 415, True, "choice"),
        (Expect.WRONG_TYPE, 200, False, "fail"),
        (Expect.WRONG_TYPE, 415, False, "fail"),
        (Expect.ODD_FORM, 400, True, "ok"),
        (Expect.ODD_FORM, 415, True, "choice"),
        (Expect.ODD_FORM, 200, False, "choice"),
        (Expect.ODD_FORM, 200, True, "fail"),
        (Expect.UNTOUCHED, 200, True, "ok"),
        (Expect.UNTOUCHED, 400, True, "ok"),
        (Expect.UNTOUCHED, 200, False, "fail"),
        (Expect.NO_METHOD, 405, True, "ok"),
        (Expect.NO_METHOD, 404, True, "choice"),
        (Expect.NO_METHOD, 501, True, "choice"),
        (Expect.NO_METHOD, 200, True, "fail"),
        (Expect.NO_METHOD, 405, False, "fail"),
        (Expect.OPTIONS, 204, True, "choice"),
        (Expect.OPTIONS, 500, True, "fail"),
        (Expect.UNREAD, 413, True, "choice"),
        (Expect.UNREAD, 0, True, "choice"),
        (Expect.UNREAD, 500, True, "fail"),
    ],
)
def test_answer_and_session_decide_the_verdict(expect: Expect, status: int, alive: bool, verdict: str) -> None:
    """BCL §2.8, and what became of the session."""
    findings = judge.judge("x", expect, Answer(status), alive=alive)
    kinds = {finding.kind for finding in findings}
    assert verdict == ("fail" if Kind.FAIL in kinds else "choice" if kinds else "ok"), findings


def test_redirect_is_shown_with_its_target_and_without_the_query() -> None:
    """The query can contain what was sent."""
    answer = Answer(302, {"Location": "https://app.example/login?next=secret"})
    (finding,) = judge.judge("x", Expect.ACCEPTED, answer, alive=True)
    assert finding.text.startswith("answered 302 to https://app.example/login, as for a visitor who must sign in first")
    (finding,) = judge.judge("GET", Expect.NO_METHOD, answer, alive=True)
    assert finding.text == "answered 302 to https://app.example/login, which says no as well"


def exchange(answer: Answer, method: str = "POST") -> Exchange:
    """An exchange about ``TOKEN``."""
    request = form(TOKEN)
    return Exchange("V00", "x", Request(request.body, method=method, headers={"Content-Type": FORM}), answer)


def test_answers_must_not_be_cached() -> None:
    """BCL §2.8 speaks of answers to logout requests; a 405 is none."""
    assert not judge.cacheable([exchange(Answer(200, JSON)), exchange(Answer(405), "GET"), exchange(Answer(413))])
    for headers in (
        {"Cache-Control": "max-age=60"},
        {"cache-control": "public, s-maxage=9"},
        {"Expires": "Fri, 31 Dec 9998 23:59:59 GMT"},
    ):
        assert [finding.kind for finding in judge.cacheable([exchange(Answer(200, headers))])] == [Kind.FAIL]
    assert not judge.cacheable([exchange(Answer(400, {"cache-control": "private, No-Store"}))])
    assert not judge.cacheable([exchange(Answer(200, {"Cache-Control": "no-store, max-age=0", "Expires": "0"}))])


def test_answers_that_no_cache_stores_are_a_choice() -> None:
    """BCL §2.8 says SHOULD."""
    for headers in ({}, {"cache-control": "no-cache, max-age=0", "Expires": "0"}):
        assert [finding.kind for finding in judge.cacheable([exchange(Answer(400, headers))])] == [Kind.CHOICE]


@pytest.mark.parametrize(
    "body",
    [
        TOKEN.encode(),
        b"x: " + b"a" * 80,
        b"Traceback (most recent call last)",
        b"java.lang.RuntimeException\n\tat com.example.Logout.post(Logout.java:12)",
        b"Error\n    at Layer.handle (/app/node_modules/router/layer.js:95:5)",
        b"   at Shop.Logout.Post() in /src/Logout.cs:line 12",
        b"goroutine 1 [running]:",
    ],
)
def test_answers_must_not_repeat_the_token_or_show_a_stack_trace(body: bytes) -> None:
    """Neither a part of the token nor a stack trace, of whichever language."""
    assert judge.echoing([exchange(Answer(400, JSON, body))])


def test_error_may_have_a_description() -> None:
    """A sentence is welcome."""
    body = b'{"error": "invalid_request", "error_description": "iat lies in the future (at least 60 s)."}'
    assert not judge.echoing([exchange(Answer(400, JSON, body))])
    assert not judge.odd_errors(
        [exchange(Answer(400, JSON, body)), exchange(Answer(400)), exchange(Answer(200, {}, b"ok"))]
    )


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"message": "no"}', b'{"error": 1}', b'{"error": ""}'])
def test_errors_are_objects_with_error(body: bytes) -> None:
    """RFC 6749 §5.2."""
    assert judge.odd_errors([exchange(Answer(400, JSON, body))])
    assert judge.odd_errors([exchange(Answer(400, {"Content-Type": "text/html"}, b'{"error": "x"}'))])


def test_median_and_slowest_answer_are_given_in_milliseconds() -> None:
    """Requests without an answer do not count here, but count as slow."""
    exchanges = [exchange(Answer(200, seconds=seconds)) for seconds in (0.001, 0.002, 0.009)]
    assert judge.pace(exchanges) == {"median_ms": 2.0, "slowest_ms": 9.0}
    assert not judge.slow(exchanges)
    assert judge.slow([exchange(Answer(0, seconds=10, error="no answer"))])
    assert judge.pace([]) == {}
