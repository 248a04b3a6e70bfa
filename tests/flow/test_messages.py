"""The record of messages (docs/events.md): the four clicks, as each service saw them at its own edge."""

import json
import re
from typing import Any

import pytest
from flask import Flask

from idp.messages import KINDS as IDP_KINDS
from pickup_web.message_row import CHANNELS
from pickup_web.relying_party_messages import KINDS as APP_KINDS
from tests.conftest import PASSWORD, eventually
from tests.flow.conftest import Person, Pickup
from tests.network import WebClient
from tests.tokens import LOGOUT_EVENT

SERVICES = ("idp", "dispatch", "manager")
Row = dict[str, Any]


def recorded(pickup: Pickup, service: str) -> list[Row]:
    """The rows of one service, as /messages shows them."""
    app: Flask = pickup.apps[service]
    app.extensions["messages"].flush()
    answer = WebClient(pickup.network.wsgi, use_cookies=False).get(f"{pickup.url(service)}/messages").get_json()
    assert answer["service"] == service
    return list(answer["messages"])


def everything(pickup: Pickup) -> list[Row]:
    """The rows of all services."""
    return [row for service in SERVICES for row in recorded(pickup, service)]


def arrows(rows: list[Row]) -> list[str]:
    """Each row in one line."""
    return [f"{row['from']} -> {row['to']}: {row['kind']} {row['outcome']}" for row in rows]


def of_kind(rows: list[Row], kind: str, direction: str) -> list[Row]:
    """The rows of a kind at one edge."""
    return [row for row in rows if (row["kind"], row["direction"]) == (kind, direction)]


@pytest.fixture
def four_clicks(pickup: Pickup, cameron: Person) -> Pickup:
    """Sign in at Dispatch, open Manager, log out of Dispatch."""
    cameron.signs_in("dispatch")
    cameron.opens("manager")
    cameron.logs_out_of("dispatch")
    eventually(lambda: set(pickup.deliveries().values()) == {"delivered"})
    return pickup


def test_idp_records_the_four_clicks(four_clicks: Pickup) -> None:
    """The authorization request that continues after the sign-in is a message of its own."""
    rows = recorded(four_clicks, "idp")
    deliveries = of_kind(rows, "backchannel_logout", "out")
    assert sorted(arrows(deliveries)) == [
        "idp -> dispatch: backchannel_logout ok",
        "idp -> manager: backchannel_logout ok",
    ]
    assert arrows([row for row in rows if row["kind"] not in ("discovery", "jwks") and row not in deliveries]) == [
        "browser -> idp: authorization_request ok",
        "browser -> idp: sign_in redirect",
        "browser -> idp: authorization_request redirect",
        "dispatch -> idp: token_request ok",
        "dispatch -> idp: userinfo ok",
        "browser -> idp: authorization_request redirect",
        "manager -> idp: token_request ok",
        "manager -> idp: userinfo ok",
        "browser -> idp: logout_request redirect",
    ]


def test_app_records_the_four_clicks(four_clicks: Pickup) -> None:
    assert arrows(recorded(four_clicks, "dispatch")) == [
        "dispatch -> idp: discovery ok",
        "browser -> dispatch: start_sign_in redirect",
        "dispatch -> idp: token_request ok",
        "dispatch -> idp: jwks ok",
        "dispatch -> idp: userinfo ok",
        "browser -> dispatch: authorization_response redirect",
        "browser -> dispatch: log_out redirect",
        "idp -> dispatch: backchannel_logout ok",
        "browser -> dispatch: logged_out ok",
    ]


def test_both_edges_record_the_same_message(four_clicks: Pickup) -> None:
    """W3C Trace Context: the receiver finds the sender's trace id and span id in ``traceparent``."""
    rows = [row for row in everything(four_clicks) if row["channel"] == "back"]
    sent = {row["trace"]: row for row in rows if row["direction"] == "out"}
    received = {row["trace"]: row for row in rows if row["direction"] == "in"}
    assert sent.keys() == received.keys()
    assert len(sent) == len(rows) / 2
    for trace, row in sent.items():
        assert re.fullmatch(r"[0-9a-f]{32}-[0-9a-f]{16}", trace)
        other = received[trace]
        for name in ("kind", "to", "method", "url", "status", "tokens", "jti", "outcome"):
            assert row[name] == other[name], name
        assert row["request"]["parameters"] == other["request"]["parameters"]
        assert row["response"]["parameters"] == other["response"]["parameters"]


def test_logout_request_and_logout_tokens_share_a_trace(four_clicks: Pickup) -> None:
    rows = recorded(four_clicks, "idp")
    (cause,) = of_kind(rows, "logout_request", "in")
    assert {row["trace"][:32] for row in of_kind(rows, "backchannel_logout", "out")} == {cause["trace"][:32]}


def test_logout_token_is_decoded(four_clicks: Pickup) -> None:
    """BCL §2.4: header and claims; the signature is not recorded."""
    (row,) = of_kind(recorded(four_clicks, "manager"), "backchannel_logout", "in")
    (token,) = row["tokens"]
    assert (token["name"], token["where"], token["header"]["typ"]) == ("logout_token", "request", "logout+jwt")
    assert token["claims"]["events"] == {LOGOUT_EVENT: {}}
    assert (row["sid"], row["jti"], row["sub"]) == tuple(token["claims"][name] for name in ("sid", "jti", "sub"))
    assert row["request"]["parameters"] == {"logout_token": row["request"]["parameters"]["logout_token"][:6] + "…"}


def test_messages_of_a_sign_in_share_state_and_sid(four_clicks: Pickup) -> None:
    rows = recorded(four_clicks, "idp")
    (sid,) = {row["sid"] for row in rows if row["sid"]}
    first, sign_in, second = [row for row in rows if row["channel"] == "front"][:3]
    assert first["state"] == sign_in["state"] == second["state"]
    assert first["client_id"] == sign_in["client_id"] == second["client_id"] == "pickup-dispatch"
    assert (first["sid"], sign_in["sid"], second["sid"]) == (None, sid, sid)
    (answer,) = of_kind(recorded(four_clicks, "dispatch"), "authorization_response", "in")
    assert (answer["state"], answer["sid"]) == (first["state"], sid)


def test_no_secret_is_recorded(four_clicks: Pickup) -> None:
    """Whatever was sent as code, token, secret, password, form token, cookie or signature."""
    text = json.dumps(everything(four_clicks), ensure_ascii=False)
    secrets = [PASSWORD, four_clicks.settings.dispatch_client_secret.get_secret_value()]
    for exchange in four_clicks.network.exchanges:
        form = exchange.request.form
        secrets += [value for name in ("code", "code_verifier") for value in form.get(name, [])]
        secrets += [value.rpartition(".")[2] for value in form.get("logout_token", [])]
        if exchange.request.url.endswith("/token"):
            answer = json.loads(exchange.answer)
            secrets += [answer["access_token"], answer["refresh_token"], answer["id_token"].rpartition(".")[2]]
    assert len(secrets) > 10
    assert [secret for secret in secrets if secret in text] == []
    assert '"csrf_token": "(not recorded)"' in text
    assert '"password": "(not recorded)"' in text
    assert not re.search(r"pickup_\w+=[^…;]{7}", text), "cookies are cut"


def test_wrong_password_is_a_refused_sign_in(pickup: Pickup, cameron: Person) -> None:
    cameron.opens("dispatch")
    cameron.browser.submit("/login", username="cameron", password="a wrong password")
    (row,) = of_kind(recorded(pickup, "idp"), "sign_in", "in")
    assert row["outcome"] == "refused"
    assert "a wrong password" not in json.dumps(row)


def test_refused_forgery_shows_why(pickup: Pickup) -> None:
    """BCL §2.8: 400 with an error; the record shows the same."""
    url = f"{pickup.url('manager')}/bclogout"
    forged = "eyJhbGciOiJub25lIn0.eyJzaWQiOiJ4In0."
    answer = WebClient(pickup.network.wsgi, use_cookies=False).post(url, data={"logout_token": forged})
    (row,) = of_kind(recorded(pickup, "manager"), "backchannel_logout", "in")
    assert (row["status"], row["outcome"]) == (400, "refused")
    assert row["error"] == answer.get_json()["error"]
    assert row["error_description"] == answer.get_json()["error_description"]
    assert row["tokens"][0]["claims"] == {"sid": "x"}


def test_app_that_is_down_gives_no_answer(pickup: Pickup, cameron: Person) -> None:
    cameron.signs_in("dispatch")
    cameron.opens("manager")
    pickup.network.refuse(f"{pickup.url('manager')}/bclogout")
    cameron.logs_out_of("dispatch")
    rows = of_kind(recorded(pickup, "idp"), "backchannel_logout", "out")
    (row,) = [row for row in rows if row["to"] == "manager"]
    assert (row["status"], row["outcome"], row["error_description"]) == (None, "no_answer", "connection refused")


def test_idp_that_is_down_gives_no_answer(pickup: Pickup, cameron: Person) -> None:
    pickup.network.refuse(pickup.url("idp"))
    cameron.opens("dispatch")
    (row,) = of_kind(recorded(pickup, "dispatch"), "discovery", "out")
    assert (row["status"], row["outcome"], row["error_description"]) == (None, "no_answer", "ConnectionError")


def test_api_request_and_introspection_are_recorded(pickup: Pickup, cameron: Person) -> None:
    cameron.signs_in("dispatch")
    cameron.opens("dispatch", "/")
    rows = everything(pickup)
    assert arrows(of_kind(rows, "api_request", "out")) == ["dispatch -> manager: api_request ok"]
    assert arrows(of_kind(rows, "introspection", "out")) == ["manager -> idp: introspection ok"]
    (request,), (question,) = of_kind(rows, "api_request", "in"), of_kind(rows, "introspection", "in")
    assert request["trace"][:32] == question["trace"][:32]


def test_push_to_an_open_tab_is_recorded(pickup: Pickup, cameron: Person) -> None:
    cameron.signs_in("dispatch")
    cameron.opens("manager")
    sid = cameron.sid_at("manager")
    browser = cameron.browser.client
    tab = browser.get(f"{pickup.url('manager')}/session/live", environ_overrides={"wsgi.multithread": True})
    stream = tab.iter_encoded()
    next(stream)
    cameron.logs_out_of("dispatch")
    assert b"signed-out" in b"".join(stream)
    (row,) = of_kind(recorded(pickup, "manager"), "push", "out")
    assert (row["channel"], row["from"], row["to"], row["sid"]) == ("push", "manager", "browser", sid)
    assert row["response"]["parameters"] == {"event": "signed-out", "reason": "You logged out of Pickup Dispatch."}


def test_push_is_recorded_when_the_session_ended_before_the_tab_listened(pickup: Pickup, cameron: Person) -> None:
    cameron.signs_in("dispatch")
    cameron.opens("manager")
    sid = cameron.sid_at("manager")
    cameron.logs_out_of("dispatch")
    assert b"signed-out" in cameron.browser.client.get(f"{pickup.url('manager')}/session/live").data
    assert [row["sid"] for row in of_kind(recorded(pickup, "manager"), "push", "out")] == [sid]


def test_pages_are_not_recorded(pickup: Pickup, cameron: Person) -> None:
    cameron.signs_in("dispatch")
    before = len(recorded(pickup, "dispatch"))
    for path in ("/profile", "/bookings", "/static/pickup.css", "/healthz", "/messages", "/events", "/no/such/page"):
        cameron.browser.client.get(pickup.url("dispatch") + path)
    assert len(recorded(pickup, "dispatch")) == before


def test_recorded_kinds_are_the_vocabulary() -> None:
    """The kinds of the endpoints, and the kinds that a service only sends: ``push``."""
    assert {*IDP_KINDS.values(), *APP_KINDS.values(), "push"} == CHANNELS.keys()
