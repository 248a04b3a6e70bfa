"""Metrics and traces of real processes: three services with two workers each, Learn, and a collector of traces here."""

import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.parser import text_string_to_metric_families

from e2e.plain import PlainClient
from e2e.plain_browser import PlainBrowser
from e2e.stack import OwnProcesses, free_ports
from pickup_web import localhost

pytestmark = pytest.mark.thorough

SERVICES = ("idp", "dispatch", "manager", "learn")
CLIENT_SECONDS = 5  # less than the ten that the SDK waits for a collector
Samples = dict[str, float]


@dataclass(frozen=True)
class Span:
    """A span as the collector received it."""

    service: str
    name: str
    trace_id: bytes
    span_id: bytes
    parent_id: bytes
    is_error: bool


@dataclass
class Collector:
    """Receives traces over OTLP/HTTP. While it hangs, it answers nothing."""

    bodies: list[bytes] = field(default_factory=list)
    answers: threading.Event = field(default_factory=threading.Event)

    def start(self) -> ThreadingHTTPServer:
        ours = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                ours.answers.wait()
                ours.bodies.append(body)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.answers.set()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server

    def spans(self) -> list[Span]:
        found = []
        for body in list(self.bodies):
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                names = {one.key: one.value.string_value for one in resource.resource.attributes}
                for span in (span for scope in resource.scope_spans for span in scope.spans):
                    ids = (span.trace_id, span.span_id, span.parent_span_id)
                    found.append(Span(names["service.name"], span.name, *ids, span.status.code == 2))
        return found

    def logout(self) -> list[Span]:
        """The trace of the logout request at the IdP; empty until it is complete."""
        spans = self.spans()
        causes = [one for one in spans if one.name == "POST /oidc/logout/confirm"]
        found = [one for one in spans if one.trace_id in {cause.trace_id for cause in causes}]
        posts = [one for one in found if one.parent_id in {cause.span_id for cause in causes}]
        received = [one for one in found if one.parent_id in {post.span_id for post in posts}]
        return found if (len(causes), len(posts), len(received)) == (1, 2, 2) else []


@dataclass
class Watched:
    """What the story left behind."""

    metrics: dict[str, Samples]
    texts: dict[str, str]
    after_worker_was_killed: Samples
    by_worker: dict[str, float]
    refused: int
    spans: list[Span]
    logout: list[Span]
    sent: bytes
    record: list[dict[str, str]]
    secrets: dict[str, str]
    slowest: float
    stop_seconds: float


def samples(text: str) -> Samples:
    found = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {f"{one.name}{''.join(f'[{value}]' for value in one.labels.values())}": one.value for one in found}


def wait_for_logout(collector: Collector) -> None:
    deadline = time.monotonic() + 30
    while not collector.logout():
        assert time.monotonic() < deadline, Counter((one.service, one.name) for one in collector.spans())
        time.sleep(0.05)


def rejected_by_worker(folder: Path) -> dict[str, float]:
    """How many logout tokens each worker of Dispatch has rejected, by process id, from the workers' own files."""
    found = {}
    for path in folder.glob("pickup-metrics-*/counter_*.db"):
        for key, value, *_ in MmapedDict.read_all_values_from_file(str(path)):  # type: ignore[no-untyped-call]
            if "pickup_app_logout_tokens_total" in key and "rejected" in key and value:
                found[path.stem.removeprefix("counter_")] = value
    return found


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Two sign-ins, a logout, rejected logout tokens, a killed worker, and a collector that hangs."""
    folder, temp = tmp_path_factory.mktemp("watched"), tmp_path_factory.mktemp("temp")
    localhost.install()
    collector = Collector()
    server = collector.start()
    hands = OwnProcesses(folder)
    ports = dict(zip(SERVICES, free_ports(len(SERVICES)), strict=True))
    hands.environment |= {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{server.server_address[1]}",
        "OTEL_BSP_SCHEDULE_DELAY": "200",
    }
    try:
        for service in SERVICES:
            own = temp / service
            own.mkdir()
            hands.environment |= {"PICKUP_METRICS_LISTEN": f"127.0.0.1:{ports[service]}", "TMPDIR": str(own)}
            hands.start(service)
        yield tell(hands, collector, ports, temp)
    finally:
        collector.answers.set()
        hands.kill_all()
        server.shutdown()
        server.server_close()


def has_read(learn: Samples, messages: int) -> bool:
    """Whether Learn has read all messages of the IdP, and events, which come in an answer of their own."""
    found = {kind: learn[f"pickup_learn_collected_total[{kind}][idp]"] for kind in ("messages", "events")}
    return found["messages"] == messages and found["events"] > 0


def tell(hands: OwnProcesses, collector: Collector, ports: dict[str, int], temp: Path) -> Watched:
    stack, http = hands.stack(), PlainClient()

    def scrape(service: str) -> str:
        return requests.get(f"http://127.0.0.1:{ports[service]}/metrics", timeout=10).text

    user = PlainBrowser()
    user.sign_in(f"{stack.dispatch.url}/profile", "cameron", stack.password)
    user.open(f"{stack.manager.url}/profile")
    user.send(user.open(f"{stack.idp_url}/oidc/logout"), answer="yes")
    refused = 0
    while len(rejected_by_worker(temp / "dispatch")) < 2:
        assert refused < 1000, "one worker answers everything"
        with ThreadPoolExecutor(8) as pool:
            bad = [
                pool.submit(PlainClient().post, f"{stack.dispatch.url}/bclogout", data={"logout_token": "x"})
                for _ in range(20)
            ]
            assert {one.result().status_code for one in bad} == {400}
        refused += len(bad)
    by_worker = rejected_by_worker(temp / "dispatch")
    wait_for_logout(collector)
    texts = {service: scrape(service) for service in SERVICES}
    deadline = time.monotonic() + 30
    # The record is written a moment after the response, so it may still grow.
    while not has_read(
        samples(texts["learn"]), len(record := http.get(f"{stack.idp_url}/messages").json()["messages"])
    ):
        assert time.monotonic() < deadline, texts["learn"]
        time.sleep(0.05)
        texts["learn"] = scrape("learn")
    sid = http.get(f"{stack.idp_url}/events?name=op.session.created").json()["events"][0]["sid"]
    secrets = {"sid": sid, "password": stack.password, **stack.client_secrets}

    killed = int(next(iter(by_worker)))
    os.kill(killed, 9)
    while Path(f"/proc/{killed}/exe").exists():  # until then it may still take a connection, and not answer
        assert time.monotonic() < deadline, "it is dead"
    after = samples(scrape("dispatch"))
    spans, logout, sent = collector.spans(), collector.logout(), b"".join(collector.bodies)

    collector.answers.clear()  # from now on it hangs
    times = [http.get(f"{stack.dispatch.url}/login", allow_redirects=False).elapsed.total_seconds() for _ in range(20)]
    start = time.monotonic()
    hands.stop("manager")
    seconds = time.monotonic() - start
    metrics = {service: samples(text) for service, text in texts.items()}
    return Watched(metrics, texts, after, by_worker, refused, spans, logout, sent, record, secrets, max(times), seconds)


def test_idp_counts_the_story(watched: Watched) -> None:
    found = {name: value for name, value in watched.metrics["idp"].items() if value and "_bucket" not in name}
    assert 0 < found.pop("pickup_idp_logout_delivery_seconds_sum") < 60
    assert found == {
        "pickup_idp_sign_ins_total[succeeded]": 1,
        "pickup_idp_sessions_ended_total[logout]": 1,
        "pickup_idp_logout_deliveries_total[delivered]": 2,
        "pickup_idp_logout_delivery_seconds_count": 2,
    }


def test_apps_count_the_story(watched: Watched) -> None:
    assert watched.metrics["dispatch"] == {
        "pickup_app_sign_ins_total[succeeded]": 1,
        "pickup_app_sign_ins_total[failed]": 0,
        "pickup_app_sessions_ended_total[user]": 0,
        "pickup_app_sessions_ended_total[logout_token]": 1,
        "pickup_app_sessions_ended_total[frontchannel]": 0,
        "pickup_app_logout_tokens_total[accepted]": 1,
        "pickup_app_logout_tokens_total[rejected]": watched.refused,
        "pickup_app_open_tabs": 0,
    }
    assert watched.metrics["manager"]["pickup_app_sessions_ended_total[logout_token]"] == 1


def test_learn_shows_what_it_has_read_of_the_story(watched: Watched) -> None:
    found = watched.metrics["learn"]
    sources = ("idp", "dispatch", "manager", "practice")
    assert [found[f"pickup_learn_source_up[{source}]"] for source in sources] == [1, 1, 1, 1]
    assert all(0 <= found[f"pickup_learn_source_age_seconds[{source}]"] < 60 for source in sources)
    assert found["pickup_learn_collected_total[events][idp]"] > 0
    assert found["pickup_learn_collected_total[messages][practice]"] == 0
    assert (found["pickup_learn_open_streams"], found["pickup_learn_stream_places"]) == (0, 64)
    assert found["pickup_learn_practice_sessions"] == 0


def test_counts_of_two_workers_add_up(watched: Watched) -> None:
    assert len(watched.by_worker) == 2
    assert sum(watched.by_worker.values()) == watched.refused
    assert watched.metrics["dispatch"]["pickup_app_logout_tokens_total[rejected]"] == watched.refused


def test_counts_of_a_killed_worker_remain(watched: Watched) -> None:
    assert watched.after_worker_was_killed == watched.metrics["dispatch"]


def test_logout_is_one_trace_over_the_three_services(watched: Watched) -> None:
    (cause,) = [one for one in watched.logout if one.name == "POST /oidc/logout/confirm"]
    assert (cause.service, cause.parent_id) == ("idp", b"")
    posts = [one for one in watched.logout if one.parent_id == cause.span_id]
    assert {one.service for one in posts} == {"idp"}
    received = {one.service: one for one in watched.logout if one.name == "POST /bclogout"}
    assert received.keys() == {"dispatch", "manager"}
    assert {one.parent_id for one in received.values()} == {one.span_id for one in posts}
    assert not any(one.is_error for one in watched.logout)


def test_spans_have_the_ids_of_the_record_of_messages(watched: Watched) -> None:
    recorded = {row["trace"] for row in watched.record if row["kind"] == "backchannel_logout"}
    received = {one.parent_id for one in watched.logout if one.name == "POST /bclogout"}
    posts = [one for one in watched.logout if one.span_id in received]
    assert recorded == {f"{one.trace_id.hex()}-{one.span_id.hex()}" for one in posts}


def test_request_of_an_app_and_the_idps_answer_are_one_trace(watched: Watched) -> None:
    answered = [one for one in watched.spans if (one.service, one.name) == ("idp", "POST /oauth2/token")]
    assert len(answered) == 2
    by_id = {one.span_id: one for one in watched.spans}
    assert {by_id[one.parent_id].service for one in answered} == {"dispatch", "manager"}
    callbacks = {by_id[by_id[one.parent_id].parent_id].name for one in answered}
    assert callbacks == {"GET /oauth2client"}


def test_each_span_has_its_own_id(watched: Watched) -> None:
    assert max(Counter(one.span_id for one in watched.spans).values()) == 1


def test_metrics_and_traces_contain_no_secret_and_no_session(watched: Watched) -> None:
    everything = "".join(watched.texts.values()).encode() + watched.sent
    assert b"pickup_idp_" in everything
    assert b"POST /bclogout" in everything
    assert [name for name, value in watched.secrets.items() if value.encode() in everything] == []
    assert b"logout_token=" not in everything
    assert b"cameron" not in everything


def test_collector_that_hangs_delays_no_request_and_no_stop(watched: Watched) -> None:
    """Ten seconds are the SDK's limit for a collector."""
    assert watched.slowest < CLIENT_SECONDS
    assert watched.stop_seconds < CLIENT_SECONDS + 4  # gunicorn's graceful_timeout
