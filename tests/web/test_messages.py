"""The recorder of messages: when it records, what it keeps, and that it never fails a request."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, request_finished
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, inspect, select
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

import idp as idp_service
import pickup_dispatch
import pickup_manager
from pickup_web import message_row, messages, relying_party_messages, trace
from pickup_web import message_shape as shape
from pickup_web.database import engine_of
from pickup_web.message_row import CHANNELS, MAX_ROW, Note, content_of, row_of
from pickup_web.messages import Message, Recorder
from pickup_web.relying_party_messages import TAB_SECONDS, OpenTab
from relying_party.signals import request_sent
from tests.conftest import Clock, SignIn, SiteClient, client_of, close, eventually, make_settings, prepared
from tests.network import Network
from tests.thorough import examples
from tests.tokens import jws

EVENTS_PAGE = (Path(__file__).parents[2] / "docs/events.md").read_text("utf-8")
APPS = {"idp": idp_service.create_app, "dispatch": pickup_dispatch.create_app, "manager": pickup_manager.create_app}
TRACE_ID, SPAN_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def recorder_of(app: Flask) -> Recorder:
    """The service's recorder."""
    recorder: Recorder = app.extensions["messages"]
    return recorder


def recorded(client: SiteClient, query: str = "") -> list[dict[str, Any]]:
    """The rows of the client's service."""
    recorder_of(client.application).flush()
    return list(client.get(f"/messages{query}").get_json()["messages"])


def note(**values: Any) -> Note:
    """A note of a logout request that Manager received."""
    known: dict[str, Any] = {
        "kind": "backchannel_logout",
        "direction": "in",
        "sender": "idp",
        "receiver": "manager",
        "method": "POST",
        "url": "http://manager.example/bclogout?x=1",
        "trace": f"{TRACE_ID}-{SPAN_ID}",
        "status": 200,
    }
    return Note(**{**known, **values})


# --- the demo switch ---


@pytest.mark.parametrize("service", APPS)
def test_nothing_is_recorded_without_the_demo_switch(service: str, tmp_path: Path) -> None:
    """DEC-07: no route, no table, no hook; no signal of the extension has a receiver."""
    settings = make_settings(tmp_path, demo_events=False)
    app = prepared(APPS[service](settings), getattr(settings, f"{service}_url"))
    client = app.test_client()
    assert client.get("/messages").status_code == 404
    assert client.get("/login").status_code != 500
    assert "messages" not in app.extensions
    assert not {"message", "open_tab"} & set(inspect(engine_of(app)).get_table_names())
    assert [*request_sent.receivers_for(app), *request_finished.receivers_for(app)] == []
    if service == "idp":
        assert not hasattr(app.extensions["idp"].http, "recorder")
    close(app)


# --- /messages ---


def test_messages_are_listed_oldest_first(dispatch_client: SiteClient, network: Network) -> None:
    network.refuse("http://idp.localhost:9000")
    for _ in range(3):
        dispatch_client.get("/login")
    ids = [row["id"] for row in recorded(dispatch_client)]
    assert ids == sorted(ids)
    assert [row["id"] for row in recorded(dispatch_client, f"?after={ids[1]}")] == ids[2:]
    assert [row["id"] for row in recorded(dispatch_client, "?limit=1")] == ids[:1]
    answer = dispatch_client.get(f"/messages?after={ids[-1]}")
    assert answer.get_json() == {"service": "dispatch", "messages": [], "last": ids[-1], "tabs": {}}
    assert answer.headers["Cache-Control"] == "no-store"


def test_last_is_lower_than_after_once_the_record_starts_again(dispatch_client: SiteClient) -> None:
    """The reader then knows that its position belongs to another database."""
    assert dispatch_client.get("/messages?after=9999").get_json()["last"] == 0


@pytest.mark.parametrize(
    "query", ["?after=-1", "?after=x", f"?after={10**40}", "?limit=-9", "?limit=0", f"?limit={10**40}"]
)
def test_odd_query_is_answered(dispatch_client: SiteClient, query: str) -> None:
    assert dispatch_client.get("/messages" + query).status_code == 200


# --- the trace ---


@pytest.mark.parametrize("extra", ["-01", "-00", "-01-more"])
def test_trace_of_the_caller_is_continued(dispatch_client: SiteClient, network: Network, extra: str) -> None:
    """Trace Context §3.2.2: the outgoing request has the caller's trace id and its own span id."""
    network.refuse("http://idp.localhost:9000")
    version = "01" if extra.endswith("more") else "00"
    dispatch_client.get("/login", headers={"traceparent": f"{version}-{TRACE_ID}-{SPAN_ID}{extra}"})
    out, incoming = recorded(dispatch_client)
    assert incoming["trace"] == f"{TRACE_ID}-{SPAN_ID}"
    assert re.fullmatch(rf"{TRACE_ID}-(?!{SPAN_ID})[0-9a-f]{{16}}", out["trace"])
    (exchange,) = network.exchanges
    assert exchange.request.headers["traceparent"] == f"00-{out['trace']}-01"


@pytest.mark.parametrize(
    "header",
    [
        "",
        "x" * 9000,
        f"00-{TRACE_ID}-{SPAN_ID}",
        f"ff-{TRACE_ID}-{SPAN_ID}-01",
        f"00-{'0' * 32}-{SPAN_ID}-01",
        f"00-{TRACE_ID}-{'0' * 16}-01",
        f"00-{TRACE_ID.upper()}-{SPAN_ID}-01",
    ],
)
def test_invalid_traceparent_starts_a_new_trace(header: str) -> None:
    """Trace Context §4.3."""
    span = trace.continue_trace(header)
    assert re.fullmatch(r"[0-9a-f]{32}-[0-9a-f]{16}", span)
    assert TRACE_ID not in span


# --- the row ---


def test_row_has_no_query_in_its_address() -> None:
    assert row_of(note(), "manager")["url"] == "http://manager.example/bclogout"


@pytest.mark.parametrize(
    ("values", "outcome"),
    [
        ({"status": 200}, "ok"),
        ({"status": 303}, "redirect"),
        ({"status": 400}, "refused"),
        ({"status": 200, "error": "wrong password"}, "refused"),
        ({"status": 303, "response_headers": {"location": "http://app.example/cb?error=access_denied"}}, "refused"),
        ({"status": 503}, "failed"),
        ({"status": None}, "no_answer"),
    ],
)
def test_outcome_is_one_word(values: dict[str, Any], outcome: str) -> None:
    assert row_of(note(**values), "manager")["outcome"] == outcome


def test_hint_that_was_refused_names_no_person() -> None:
    """Otherwise anyone could act in another person's name in the record."""
    hint = {"id_token_hint": [jws({"alg": "none"}, {"sub": "alex", "sid": "s", "aud": "pickup-dispatch"}, None)]}
    url = "http://idp.example/oidc/logout"
    found = [
        row_of(note(kind="logout_request", url=url, status=status, request_parameters=hint), "idp")
        for status in (200, 400)
    ]
    assert [(one["sub"], one["sid"]) for one in found] == [("alex", "s"), (None, None)]
    assert found[1]["tokens"], "it is still shown"


def test_receiver_without_client_id_is_its_host() -> None:
    row = row_of(
        note(kind="jwks", direction="out", sender="idp", receiver=None, url="http://u:p@app.example:99/jwks"), "idp"
    )
    assert (row["from"], row["to"]) == ("idp", "app.example:99")


def test_json_request_is_recorded_with_its_secrets_cut() -> None:
    body = json.dumps({"client_name": "Radio", "client_secret": "a secret of an app", "password": "p"})
    row = row_of(note(request_headers={"content-type": "application/json"}, request_body=body), "idp")
    assert row["request"]["parameters"] == {
        "client_name": "Radio",
        "client_secret": "a secr…",
        "password": "(not recorded)",
    }


def test_access_token_in_the_header_is_decoded() -> None:
    """RFC 9068: an access token may be a signed token."""
    row = row_of(
        note(kind="api_request", request_headers={"authorization": "Bearer eyJhbGciOiJ4In0.eyJzdWIiOiJ1In0.signature"}),
        "manager",
    )
    assert row["tokens"] == [
        {"name": "access_token", "where": "request", "header": {"alg": "x"}, "claims": {"sub": "u"}}
    ]
    assert row["sub"] == "u"


def test_row_that_is_too_large_loses_parameters_and_tokens() -> None:
    row = row_of(note(request_parameters={f"p{number}": ["x" * 2000] for number in range(100)}), "manager")
    content = content_of(row)
    assert len(content) <= MAX_ROW
    assert json.loads(content)["request"]["parameters"] == {"(too large)": "(not recorded)"}


ANY_HEADERS = st.dictionaries(st.sampled_from(shape.REQUEST_HEADERS + shape.RESPONSE_HEADERS), st.text(), max_size=4)


@settings(max_examples=examples(25, 80))
@given(
    st.builds(
        note,
        kind=st.sampled_from(sorted(CHANNELS)),
        sender=st.none() | st.text(),
        receiver=st.none() | st.text(),
        url=st.text(),
        status=st.none() | st.integers(100, 599),
        request_headers=ANY_HEADERS,
        request_parameters=st.dictionaries(st.text(), st.lists(st.text(), min_size=1), max_size=4),
        request_body=st.none() | st.binary() | st.text(),
        response_headers=ANY_HEADERS,
        response_body=st.none() | st.binary(),
        error=st.none() | st.text(),
        known=st.dictionaries(st.sampled_from(["state", "sid", "jti", "client_id", "sub"]), st.none() | st.text()),
    )
)
def test_any_note_becomes_a_row(any_note: Note) -> None:
    assert json.loads(content_of(row_of(any_note, "manager")))["kind"] == any_note.kind


# --- the recorder ---


def test_only_the_newest_messages_are_kept(dispatch: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "KEEP", 10)
    monkeypatch.setattr(messages, "PRUNE_EVERY", 5)
    recorder = recorder_of(dispatch)
    for number in range(4):
        for _ in range(5):
            recorder.add(note(url=f"http://a.example/{number}"))
        recorder.flush()
    with Session(engine_of(dispatch)) as db:
        contents = db.scalars(select(Message.content).order_by(Message.id)).all()
        assert db.scalar(select(func.max(Message.id))) == 20
    assert [json.loads(content)["url"][-1] for content in contents] == ["2"] * 5 + ["3"] * 5


def test_ten_thousand_messages_are_kept() -> None:
    assert messages.KEEP == 10_000


def test_queue_is_bounded(dispatch: Flask) -> None:
    """If the database hangs, the memory does not grow."""
    recorder = recorder_of(dispatch)
    for _ in range(messages.MAX_QUEUE + 100):
        recorder.add(note())
    assert len(recorder.queue) == messages.MAX_QUEUE


def test_thread_writes_within_a_moment(dispatch: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGKILL loses what the thread has not written: 100 ms at most."""
    assert messages.WAIT_SECONDS == 0.1
    monkeypatch.setattr(messages, "WAIT_SECONDS", 0.001)
    recorder = Recorder(dispatch, "dispatch", "http://dispatch.example", {}, lambda _: {})
    recorder.start()
    for _ in range(2):
        recorder.add(note())
        eventually(lambda: not recorder.queue)
    with recorder._writing, Session(engine_of(dispatch)) as db:
        assert db.scalar(select(func.count(Message.id))) == 2


@pytest.fixture
def errors(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the recorder logs as errors."""
    lines: list[str] = []
    monkeypatch.setattr(messages.LOG, "error", lambda text, **values: lines.append(f"{text}: {values['reason']}"))
    return lines


FAULTS: dict[str, Callable[[pytest.MonkeyPatch, Flask], None]] = {
    "the answer is read": lambda patch, _: patch.setattr(shape, "RESPONSE_HEADERS", None),
    "the app says what it knows": lambda patch, app: patch.delitem(app.config, "RELYING_PARTY_CLIENT_ID"),
    "the row is made": lambda patch, _: patch.setattr(message_row, "MAX_ROW", None),
    "the row is written": lambda patch, _: patch.setattr(messages, "INSERT", None),
}


@pytest.mark.parametrize("moment", FAULTS)
@pytest.mark.usefixtures("idp")
def test_failing_recorder_does_not_fail_the_request(
    dispatch_client: SiteClient, errors: list[str], monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """It logs the fault once, and records again afterwards."""
    recorder = recorder_of(dispatch_client.application)
    with monkeypatch.context() as patch:
        FAULTS[moment](patch, dispatch_client.application)
        for _ in range(3):
            assert dispatch_client.get("/login").status_code == 303
            recorder.flush()
    (error,) = set(errors)
    assert error.startswith("messages are not recorded: ")
    assert len(errors) < 3, "once until a message is recorded again"
    before = len(recorded(dispatch_client))
    dispatch_client.get("/login")
    assert len(recorded(dispatch_client)) == before + 1


def test_note_that_cannot_be_a_row_does_not_lose_the_others(dispatch_client: SiteClient, errors: list[str]) -> None:
    recorder = recorder_of(dispatch_client.application)
    for kind in ("push", "no such kind", "push"):
        recorder.add(note(kind=kind))
    assert len(recorded(dispatch_client)) == 2
    assert len(errors) == 1


@pytest.mark.parametrize("headers", ["REQUEST_HEADERS", "RESPONSE_HEADERS"])
@pytest.mark.usefixtures("idp")
def test_failing_recorder_does_not_fail_an_outgoing_request(
    dispatch_client: SiteClient, monkeypatch: pytest.MonkeyPatch, headers: str
) -> None:
    """Neither when it is sent nor when its response has come."""
    with monkeypatch.context() as patch:
        patch.setattr(shape, headers, None)
        assert dispatch_client.get("/login").status_code == 303
    assert not [row for row in recorded(dispatch_client) if row["direction"] == "out"], "control: it failed"


HOSTILE = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=60)


@settings(
    max_examples=examples(15, 40),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(header=HOSTILE, query=st.text(max_size=60), body=st.binary(max_size=200))
def test_hostile_request_is_answered_as_without_the_recorder(
    manager_client: SiteClient, header: str, query: str, body: bytes
) -> None:
    """Refused with 400, and recorded."""
    headers = {"Authorization": header, "Cookie": header, "traceparent": header, "User-Agent": header}
    answer = manager_client.post(
        "/bclogout",
        query_string={"state": query, query: query},
        data=body,
        headers=headers,
        content_type="application/x-www-form-urlencoded",
    )
    assert answer.status_code == 400
    row = recorded(manager_client, "?limit=500")[-1]
    assert (row["kind"], row["outcome"]) == ("backchannel_logout", "refused")


@pytest.mark.parametrize(("trace", "sender"), [(None, "outside"), (f"00-{'a' * 32}-{'b' * 16}-01", "idp")])
def test_refused_logout_request_without_a_trace_is_from_outside(
    manager_client: SiteClient, trace: str | None, sender: str
) -> None:
    headers = {"traceparent": trace} if trace else {}
    assert manager_client.get("/bclogout", headers=headers).status_code == 405
    (row,) = recorded(manager_client)
    assert (row["from"], row["to"], row["status"]) == (sender, "manager", 405)


def test_body_that_the_view_did_not_read_is_not_read(manager_client: SiteClient) -> None:
    """A body that is too large is refused by its length."""
    manager_client.post("/bclogout", data={"logout_token": "x" * 200_000})
    (row,) = recorded(manager_client)
    assert row["request"]["parameters"] == {}
    assert row["outcome"] == "refused"


# --- what an app sends ---


def body_of(client: SiteClient) -> dict[str, Any]:
    """The recorded answer to the discovery request."""
    (row,) = [row for row in recorded(client) if row["kind"] == "discovery"]
    return dict(row)


def test_answer_of_the_idp_is_recorded_while_the_app_reads_it(dispatch_client: SiteClient, network: Network) -> None:
    network.answer("http://idp.localhost:9000", 200, '{"issuer": "x", "access_token": "a token of an app"}')
    dispatch_client.get("/login")
    row = body_of(dispatch_client)
    assert row["response"]["parameters"] == {"issuer": "x", "access_token": "a toke…"}


@pytest.mark.parametrize("body", ["", "no JSON", "[]", '{"a": "' + "x" * shape.MAX_BODY + '"}'])
def test_unreadable_answer_of_the_idp_is_recorded_without_parameters(
    dispatch_client: SiteClient, network: Network, body: str
) -> None:
    network.answer("http://idp.localhost:9000", 200, body)
    dispatch_client.get("/login")
    assert body_of(dispatch_client)["response"]["parameters"] == {}


def test_request_outside_of_a_web_request_is_recorded(dispatch: Flask, network: Network) -> None:
    """A command or a thread of an app may send requests, too."""
    url = "http://idp.localhost:9000/.well-known/openid-configuration"
    network.answer(url, 200, "{}")
    with dispatch.app_context():
        assert dispatch.extensions["relying_party"].provider._send("GET", url, {}) == (200, b"{}")
    recorder_of(dispatch).flush()
    with Session(engine_of(dispatch)) as db:
        (content,) = db.scalars(select(Message.content))
    assert json.loads(content)["kind"] == "discovery"


# --- the open tabs ---


def open_tab(client: SiteClient) -> TestResponse:
    """The event stream of a page, as a server with threads sends it."""
    return client.get("/session/live", buffered=False, environ_overrides={"wsgi.multithread": True})


def tabs(client: SiteClient) -> dict[str, int]:
    """How many browsers have a tab open, by sid."""
    return dict(client.get("/messages").get_json()["tabs"])


def test_open_tab_counts_until_its_stream_is_closed(dispatch_client: SiteClient, sign_in: SignIn) -> None:
    sign_in(dispatch_client)
    stream = open_tab(dispatch_client)
    assert tabs(dispatch_client) == {"a session": 1}
    stream.close()
    assert tabs(dispatch_client) == {}


def test_browser_counts_once_however_many_streams_it_has(
    dispatch: Flask, dispatch_client: SiteClient, sign_in: SignIn
) -> None:
    """The next page opens its stream before the server notices that the last page is closed."""
    sign_in(dispatch_client)
    other = client_of(dispatch)
    sign_in(other)
    streams = [open_tab(dispatch_client), open_tab(dispatch_client), open_tab(other)]
    assert tabs(dispatch_client) == {"a session": 2}
    for stream in streams:
        stream.close()


def test_tab_that_is_signed_out_or_polls_does_not_count(
    dispatch: Flask, dispatch_client: SiteClient, sign_in: SignIn
) -> None:
    signed_out = open_tab(client_of(dispatch))
    sign_in(dispatch_client)
    polling = dispatch_client.get("/session/live", environ_overrides={"wsgi.multithread": False})
    assert (signed_out.status_code, polling.status_code) == (200, 503)
    assert tabs(dispatch_client) == {}
    signed_out.close()


def test_row_of_a_killed_process_is_ignored_and_then_deleted(
    dispatch: Flask, dispatch_client: SiteClient, sign_in: SignIn, clock: Clock
) -> None:
    sign_in(dispatch_client)
    left = open_tab(dispatch_client)
    clock.turn(TAB_SECONDS)
    assert tabs(dispatch_client) == {"a session": 1}
    clock.turn(1)
    assert tabs(dispatch_client) == {}
    stream = open_tab(dispatch_client)
    with Session(engine_of(dispatch)) as db:
        assert db.scalar(select(func.count(OpenTab.id))) == 1
    left.close()
    stream.close()


def test_tab_opens_and_closes_although_the_table_is_missing(
    dispatch: Flask, dispatch_client: SiteClient, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    monkeypatch.setattr(relying_party_messages.LOG, "exception", lines.append)
    sign_in(dispatch_client)
    with engine_of(dispatch).begin() as connection:
        connection.exec_driver_sql("DROP TABLE open_tab")
    stream = open_tab(dispatch_client)
    assert stream.status_code == 200
    stream.close()
    assert lines == ["open tabs are not counted"]


def test_idp_page_has_no_tabs(idp_client: SiteClient) -> None:
    assert "tabs" not in idp_client.get("/messages").get_json()


# --- the vocabulary ---


def table(heading: str) -> list[tuple[str, str]]:
    """The first two columns of a table in docs/events.md."""
    section = EVENTS_PAGE.partition(f"### {heading}\n")[2].partition("\n#")[0]
    return re.findall(r"^\| `(\w+)` \| ([^|]+?) \|", section, re.M)


def test_documented_kinds_are_those_of_the_code() -> None:
    assert dict(table("Kinds of messages")) == CHANNELS


def test_documented_fields_are_those_of_a_row() -> None:
    assert [name for name, _ in table("Fields of a message")] == ["id", *row_of(note(), "manager")]


def test_documented_numbers_are_those_of_the_code() -> None:
    assert f"{messages.KEEP:,} messages" in EVENTS_PAGE
    assert f"{int(messages.WAIT_SECONDS * 1000)} ms" in EVENTS_PAGE
    assert f"{messages.MAX_ANSWER} at most" in EVENTS_PAGE


@pytest.mark.parametrize("name", ["state", "client_id", "sid", "sub"])
def test_identifier_shows_no_token_and_is_storable(name: str) -> None:
    """Learn looks messages up by these values, so they are cut like all others."""
    token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1In0.c2lnbmF0dXJl"
    assert row_of(note(known={name: token}), "idp")[name] == "eyJhbG…"
    row = row_of(note(known={name: "a\0\ud800" + "b" * 300}), "idp")
    assert row[name] == "a\ufffd\ufffd" + "b" * 251 + "…"
    assert len(row[name]) == 255


def test_length_of_an_answer_is_limited_and_the_rest_follows(
    dispatch_client: SiteClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a few clients that read nothing could fill the memory."""
    monkeypatch.setattr(messages, "MAX_LENGTH", 2_000)
    for _ in range(5):
        recorder_of(dispatch_client.application).add(note())
    ids = [row["id"] for row in recorded(dispatch_client)]
    assert 1 <= len(ids) < 5
    while rows := recorded(dispatch_client, f"?after={ids[-1]}"):
        ids += [row["id"] for row in rows]
    assert len(ids) == len(set(ids)) == 5
