"""Prometheus metrics: what counts, what an answer contains, and the files that name the metrics."""

import json
import re
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import structlog
import yaml
from flask import Flask, Response
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Connection
from sqlalchemy.orm import Session

import idp as idp_service
import pickup_dispatch
import pickup_learn
from idp.metrics import LineCounter
from idp.models import Delivery
from idp.outbox.ledger import GIVE_UP_SECONDS
from pickup_learn.practice.models import PracticeSession
from pickup_learn.stream import PLACES
from pickup_web import logs
from pickup_web.database import engine_of
from pickup_web.metrics import Metrics
from pickup_web.settings import Settings
from relying_party import protocol_event
from tests.conftest import START, Clock, close, make_settings
from tests.idp.conftest import DISPATCH
from tests.learn.rows import four_clicks
from tests.learn.services import FakeSource
from tests.statements import at_statement

really_connect = socket.socket.connect

ROOT = Path(__file__).parents[2]
Samples = dict[str, float]


def samples(text: str) -> Samples:
    """Each line of an answer, with the labels as part of the name."""
    found = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {f"{one.name}{''.join(f'[{value}]' for value in one.labels.values())}": one.value for one in found}


def shown(app: Flask) -> str:
    """The text that its metrics are."""
    metrics: Metrics = app.extensions["metrics"]
    return generate_latest(metrics.registry).decode()


def ask(app: Flask, path: str = "/metrics") -> tuple[int, str]:
    """Serve the metrics on a free port; the status and body of one answer."""
    metrics: Metrics = app.extensions["metrics"]
    with metrics.serve(socket.create_server(("127.0.0.1", 0))) as server:
        try:
            with closing(HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)) as connection:
                connection.request("GET", path)
                answer = connection.getresponse()
                return answer.status, answer.read().decode()
        finally:
            server.shutdown()


@pytest.fixture(autouse=True)
def own_log() -> Iterator[None]:
    """create_app() sets up the log of the process."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


@pytest.fixture
def network_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests may not open connections."""
    monkeypatch.setattr(socket.socket, "connect", really_connect)


@pytest.fixture
def watched(tmp_path: Path) -> Settings:
    """Settings with metrics. Nothing listens there: gunicorn opens the port."""
    return make_settings(tmp_path, metrics_listen="127.0.0.1:9464", signing_algorithms=("RS256",))


@pytest.fixture
def idp(watched: Settings, cheap_cryptography: None) -> Iterator[Flask]:  # noqa: ARG001 # before the first password
    app = idp_service.create_app(watched)
    yield app
    close(app)


@pytest.fixture
def dispatch(watched: Settings) -> Iterator[Flask]:
    app = pickup_dispatch.create_app(watched)
    yield app
    close(app)


@pytest.fixture
def learn(watched: Settings) -> Iterator[Flask]:
    """Its services have recorded the four clicks."""
    app = pickup_learn.create_app(watched)
    app.extensions["collector"].sources = [FakeSource(name, four_clicks()) for name in ("idp", "dispatch", "manager")]
    yield app
    close(app)


# --- the IdP ---


def line(name: str, **members: Any) -> None:
    """Write a line of the log, as an event does after its commit."""
    structlog.get_logger().info(name, **members)


def test_idp_counts_events_by_their_result(idp: Flask) -> None:
    for name in ("op.session.created", "op.session.reauthenticated", "op.login.failed", "op.login.throttled"):
        line(name)
    line("op.session.ended", outcome="idle")
    line("op.logout.retrying", sid="s", client_id=DISPATCH, waited=0)
    line("op.logout.refused", sid="s", client_id=DISPATCH, waited=1)
    line("op.code.issued")
    counted = {name: value for name, value in samples(shown(idp)).items() if "_total" in name and value}
    assert counted == {
        "pickup_idp_sign_ins_total[succeeded]": 2,
        "pickup_idp_sign_ins_total[failed]": 1,
        "pickup_idp_sign_ins_total[throttled]": 1,
        "pickup_idp_sessions_ended_total[idle]": 1,
        "pickup_idp_logout_deliveries_total[retrying]": 1,
        "pickup_idp_logout_deliveries_total[refused]": 1,
    }


def test_time_to_delivery_is_exact_in_one_worker_and_in_seconds_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    steady = [50.0]
    monkeypatch.setattr(time, "monotonic", lambda: steady[0])
    metrics = Metrics()
    counter = LineCounter(metrics)
    here, elsewhere = {"sid": "here", "client_id": DISPATCH}, {"sid": "elsewhere", "client_id": DISPATCH}
    counter.count({"event": "op.logout.queued", **here})
    steady[0] += 0.03
    counter.count({"event": "op.logout.delivered", **here, "waited": 1})
    counter.count({"event": "op.logout.delivered", **elsewhere, "waited": 7})
    found = samples(generate_latest(metrics.registry).decode())
    assert found["pickup_idp_logout_delivery_seconds_sum"] == pytest.approx(7.03)
    assert found["pickup_idp_logout_delivery_seconds_bucket[0.05]"] == 1
    assert found["pickup_idp_logout_delivery_seconds_bucket[10.0]"] == 2


def add_delivery(app: Flask, name: str, state: str, age: int, taken_until: int = 0) -> None:
    with Session(engine_of(app)) as db, db.begin():
        db.add(
            Delivery(
                id=name,
                client_id=DISPATCH,
                sid="s",
                sub="u",
                reason="",
                state=state,
                created_at=START - age,
                next_try_at=START,
                taken_until=taken_until,
                give_up_at=START + GIVE_UP_SECONDS,
            )
        )


@pytest.mark.usefixtures("clock")
def test_outbox_is_read_from_the_database_at_each_scrape(idp: Flask, clock: Clock) -> None:
    names = ("logouts_pending", "logouts_in_hand", "oldest_pending_logout_seconds")

    def outbox() -> list[float]:
        found = samples(shown(idp))
        return [found[f"pickup_idp_{name}"] for name in names]

    assert outbox() == [0, 0, 0]
    add_delivery(idp, "delivered", "delivered", age=500)
    add_delivery(idp, "waits", "pending", age=75)
    add_delivery(idp, "in hand", "pending", age=3, taken_until=START + 10)
    assert outbox() == [2, 1, 75]
    clock.turn(20)
    assert outbox() == [2, 0, 95]


@pytest.mark.thorough
@pytest.mark.usefixtures("network_allowed")
def test_target_is_down_without_the_database(idp: Flask) -> None:
    def gone(_: Connection) -> None:
        raise sqlite3.OperationalError("unable to open database file")

    with at_statement(engine_of(idp), "", gone):
        status, text = ask(idp)
    assert status == 500
    assert "pickup_" not in text


@pytest.mark.thorough
@pytest.mark.usefixtures("network_allowed")
def test_metrics_have_one_path(idp: Flask) -> None:
    assert [ask(idp, path)[0] for path in ("/metrics", "/metrics?x", "/", "/metrics/x")] == [200, 200, 404, 404]


def test_failing_receiver_does_not_fail_the_line(capsys: pytest.CaptureFixture[str]) -> None:
    def fail(_line: object) -> None:
        raise ValueError

    logs.init("test")
    logs.on_each_line(fail)
    line("op.session.created", sid="the sid")
    assert "the sid" in capsys.readouterr().out


# --- the apps ---


def test_app_counts_events_by_their_result(dispatch: Flask) -> None:
    for name, outcome in (
        ("rp.session.created", None),
        ("rp.login.failed", "why"),
        ("rp.session.ended", "You logged out."),
        ("rp.logout_token.accepted", "2 ended"),
        ("rp.logout_token.accepted", "0 ended"),
        ("rp.logout_token.rejected", "why"),
        ("rp.frontchannel_logout.accepted", "1 ended"),
    ):
        with dispatch.app_context():
            protocol_event.send(dispatch, name=name, sid=None, jti=None, client_id=None, outcome=outcome)
    found = samples(shown(dispatch))
    assert found == {
        "pickup_app_sign_ins_total[succeeded]": 1,
        "pickup_app_sign_ins_total[failed]": 1,
        "pickup_app_sessions_ended_total[user]": 1,
        "pickup_app_sessions_ended_total[logout_token]": 2,
        "pickup_app_sessions_ended_total[frontchannel]": 1,
        "pickup_app_logout_tokens_total[accepted]": 2,
        "pickup_app_logout_tokens_total[rejected]": 1,
        "pickup_app_open_tabs": 0,
    } | {name: value for name, value in found.items() if name.endswith("_created") or "_created[" in name}


def test_stream_is_an_open_tab_until_it_closes(dispatch: Flask) -> None:
    dispatch.view_functions["relying_party.live"] = lambda: Response(iter(["one", "two"]))
    answer = dispatch.test_client().get("/pickup-dispatch/session/live", buffered=False)
    assert samples(shown(dispatch))["pickup_app_open_tabs"] == 1
    answer.close()
    assert samples(shown(dispatch))["pickup_app_open_tabs"] == 0


# --- Learn ---


def of_learn(app: Flask, name: str) -> dict[str, float]:
    """The values of one of its metrics, by its labels."""
    start = f"pickup_learn_{name}"
    return {key.removeprefix(start): value for key, value in samples(shown(app)).items() if key.startswith(start)}


def test_learn_counts_what_it_has_read_of_each_service(learn: Flask) -> None:
    collector = learn.extensions["collector"]
    assert set(of_learn(learn, "collected_total").values()) == {0}
    for source in collector.sources:
        collector.poll(source)
        collector.poll(source)
    assert of_learn(learn, "collected_total") == {
        f"[{kind}][{source.name}]": len(rows[source.name])
        for source in collector.sources
        for kind, rows in (("messages", source.story.rows), ("events", source.story.events))
    }


@pytest.fixture
def steady(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that no change of the clock affects. It stays the same until a test changes it."""
    at = [time.monotonic()]
    monkeypatch.setattr(time, "monotonic", lambda: at[0])
    return at


def test_learn_shows_which_service_is_down_and_since_when_it_was_not_read(learn: Flask, steady: list[float]) -> None:
    collector = learn.extensions["collector"]
    manager = collector.sources[-1]
    for source in collector.sources:
        collector.poll(source)
    manager.is_down = True
    steady[0] += 40
    for source in collector.sources:
        collector.poll(source)
    assert of_learn(learn, "source_up") == {"[idp]": 1, "[dispatch]": 1, "[manager]": 0}
    assert of_learn(learn, "source_age_seconds") == {"[idp]": 0, "[dispatch]": 0, "[manager]": pytest.approx(40)}
    manager.is_down = False
    collector.poll(manager)
    assert (of_learn(learn, "source_up")["[manager]"], of_learn(learn, "source_age_seconds")["[manager]"]) == (1, 0)


def test_service_that_answers_but_cannot_be_stored_counts_as_not_read(
    learn: Flask, steady: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    collector = learn.extensions["collector"]
    source = collector.sources[0]
    collector.poll(source)
    monkeypatch.setattr(learn.extensions["record"], "place", lambda _name: 1 / 0)
    steady[0] += 40
    with pytest.raises(ZeroDivisionError):  # the collector's thread writes it to the log
        collector.poll(source)
    assert of_learn(learn, "source_age_seconds")["[idp]"] == pytest.approx(40)


def test_page_of_learn_is_an_open_stream_until_it_closes(learn: Flask) -> None:
    answer = learn.test_client().get("/api/stream", buffered=False)
    next(answer.iter_encoded())
    assert of_learn(learn, "open_streams") == {"": 1}
    answer.close()
    assert of_learn(learn, "open_streams") == {"": 0}
    assert of_learn(learn, "stream_places") == {"": PLACES}


def test_ended_session_of_practice_is_not_counted(learn: Flask) -> None:
    with Session(engine_of(learn)) as db, db.begin():
        for key, ended_at in (("a", None), ("b", None), ("c", START)):
            known = {"sub": "u", "sid": key, "name": "", "id_token": "", "in_memory": False, "started_at": START}
            db.add(PracticeSession(key=key, ended_at=ended_at, **known))
    assert of_learn(learn, "practice_sessions") == {"": 2}


def test_learn_has_no_metrics_of_its_own_while_it_collects_nothing(tmp_path: Path) -> None:
    """gunicorn.conf.py serves them all the same."""
    app = pickup_learn.create_app(make_settings(tmp_path, metrics_listen="127.0.0.1:9464", demo_events=False))
    assert shown(app) == ""
    close(app)


# --- off ---

OFF = """
import sys
from idp import create_app
from pickup_dispatch import create_app as create_dispatch
from pickup_learn import create_app as create_learn
for app in (create_app(), create_dispatch(), create_learn()):
    assert "metrics" not in app.extensions
print([name for name in sys.modules if name.split(".")[0] in ("prometheus_client", "opentelemetry")])
"""


@pytest.mark.thorough
@pytest.mark.parametrize("variable", ["", "PICKUP_METRICS_LISTEN"])
def test_nothing_is_imported_unless_it_is_wanted(tmp_path: Path, variable: str) -> None:
    """The second is the control."""
    environment = {
        "PICKUP_DATA_DIR": str(tmp_path),
        "PICKUP_SECRET_KEY": "k",
        "PICKUP_DISPATCH_CLIENT_SECRET": "d",
        "PICKUP_MANAGER_CLIENT_SECRET": "m",
        "PICKUP_DEMO_PASSWORD": "p",
        "PICKUP_DEMO_PLAIN_HTTP": "true",
    } | ({variable: "127.0.0.1:9464"} if variable else {})
    program = OFF.replace("    assert", "    pass # assert") if variable else OFF
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert ("prometheus_client" in done.stdout) == bool(variable)
    assert "opentelemetry" not in done.stdout


def test_gunicorn_opens_no_port_unless_it_is_wanted(conf: ModuleType) -> None:
    conf.on_starting(None)
    assert conf.metrics_sockets == []


def test_port_that_is_in_use_stops_the_start(conf: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setattr(conf, "metrics_listen", f"127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(SystemExit, match=r"PICKUP_METRICS_LISTEN is '127.0.0.1:\d+', which cannot be opened"):
            conf.on_starting(None)


# --- the files that name metrics ---


@pytest.fixture
def names(idp: Flask, dispatch: Flask, learn: Flask) -> set[str]:
    """The metrics that there are."""
    texts = (shown(app) for app in (idp, dispatch, learn))
    families = [family for text in texts for family in text_string_to_metric_families(text)]
    return {family.name + "_total" * (family.type == "counter") for family in families} - created(families)


def created(families: list[Any]) -> set[str]:
    """In one process, the library also shows when each counter was made."""
    return {family.name for family in families if family.name.endswith("_created")}


def named_in(expression: str) -> set[str]:
    return {re.sub(r"_bucket$", "", name) for name in re.findall(r"pickup_[a-z_]+", expression)}


def test_alerts_name_metrics_that_exist(names: set[str]) -> None:
    (group,) = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yml").read_text("utf-8"))["groups"]
    assert [rule["alert"] for rule in group["rules"]] == ["PickupLogoutOverdue", "PickupLogoutRefused"]
    for rule in group["rules"]:
        assert named_in(rule["expr"]), rule
        assert named_in(rule["expr"]) <= names
        assert f"**{rule['alert']}**" in (ROOT / "docs/watching.md").read_text("utf-8")


def test_dashboard_shows_each_metric(names: set[str]) -> None:
    dashboard = json.loads((ROOT / "deploy/grafana/pickup.json").read_text("utf-8"))
    shown = {name for panel in dashboard["panels"] for target in panel["targets"] for name in named_in(target["expr"])}
    assert shown == names


def test_each_metric_and_each_value_of_its_label_is_documented(names: set[str]) -> None:
    rows = re.findall(r"^\| `(pickup_[a-z_]+)` \|", (ROOT / "docs/watching.md").read_text("utf-8"), re.MULTILINE)
    assert sorted(rows) == sorted(names)


def test_prometheus_scrapes_the_jobs_of_the_dashboard() -> None:
    config = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text("utf-8"))
    assert [job["job_name"] for job in config["scrape_configs"]] == ["idp", "dispatch", "manager", "learn"]
    assert config["rule_files"] == ["alerts.yml"]
