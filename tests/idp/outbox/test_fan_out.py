"""Many apps, many sessions, ill apps: each app hears as soon as if it were alone, and nobody is kept waiting."""

import asyncio
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from secrets import token_hex

import pytest
from sqlalchemy import event, insert
from sqlalchemy.orm import Session

from idp.background.loop import Background
from idp.flow.session_ending import SESSIONS_A_STATEMENT, end_participations, mark_ended, queue_deliveries
from idp.models import IDLE_SECONDS, Client, Delivery, Participation, SsoSession, User
from idp.operations.deliveries import Search, export_csv, search
from idp.outbox import ledger, sender
from idp.outbox.http import (
    ANSWER_SECONDS,
    BODY_SECONDS,
    CONNECT_SECONDS,
    LOOK_UP_SECONDS,
    Answer,
    GuardedHttpClient,
    Request,
    in_background,
)
from idp.outbox.ledger import LEASE_SECONDS, claim_due
from idp.outbox.reasons import Reason
from pickup_web.database import engine_of
from tests.conftest import START, Clock, eventually, settle
from tests.idp.conftest import DISPATCH, MANAGER, PaperApp, Provider, another_worker
from tests.network import Network
from tests.thorough import THOROUGH, examples

EMPTY: list[str] = []


def add_apps(provider: Provider, number: int) -> list[str]:
    """Apps on hosts of their own, all of them well."""
    names, app = [f"app{index}" for index in range(number)], PaperApp()
    lists = ("redirect_uris", "post_logout_redirect_uris", "scopes", "grant_types", "response_types")
    with provider.database() as db:
        for name in names:
            uri = f"http://{name}.example/bclogout"
            db.add(Client(client_id=name, name=name, backchannel_logout_uri=uri, **dict.fromkeys(lists, EMPTY)))
            provider.network.add(uri, app)
    return names


def add_sessions(provider: Provider, number: int, apps: list[str]) -> list[str]:
    """Sessions of one person, each with these apps."""
    sids = [token_hex(8) for _ in range(number)]
    with provider.database() as db:
        sub = db.query(User).first().sub  # type: ignore[union-attr] # the seed has people
        row: dict[str, object] = {
            "sub": sub,
            "auth_time": START,
            "amr": [],
            "created_at": START,
            "last_seen_at": START,
            "user_agent": "",
        }
        sessions = [{**row, "sid": sid, "cookie_hash": sid, "expires_at": START + 10**6} for sid in sids]
        parts = [{"sid": sid, "client_id": app, "sub": sub, "since": START} for sid in sids for app in apps]
        db.execute(insert(SsoSession), sessions)
        db.execute(insert(Participation), parts)
    return sids


def end(provider: Provider, sids: list[str], reason: Reason = Reason.OPERATOR) -> list[str]:
    """Through the one door; nothing is sent yet."""
    with Session(engine_of(provider.app)) as db:
        ended = mark_ended(db, SsoSession.sid.in_(sids), reason, "session")
        return queue_deliveries(db, ended, reason, "session")


def states(provider: Provider) -> Counter[str]:
    """How many deliveries are in which state."""
    return Counter(row.state for row in provider.rows(Delivery))


def another_process(provider: Provider, per_host: int = 9) -> Background:
    """Another worker over the same tables."""
    return another_worker(engine_of(provider.app), provider.state.http, provider.issuer, per_host=per_host)


@contextmanager
def counted(provider: Provider) -> Iterator[Counter[str]]:
    """The statements and commits that are made meanwhile."""
    engine, seen = engine_of(provider.app), Counter[str]()

    def statement(*_: object) -> None:
        seen["statements"] += 1

    def commit(*_: object) -> None:
        seen["commits"] += 1

    event.listen(engine, "before_cursor_execute", statement)
    event.listen(engine, "commit", commit)
    try:
        yield seen
    finally:
        event.remove(engine, "before_cursor_execute", statement)
        event.remove(engine, "commit", commit)


# --- many apps ---


@pytest.mark.parametrize("number", [2, 10, 100, *([500] if THOROUGH else [])])
def test_every_app_of_a_session_is_told_once(number: int, provider: Provider) -> None:
    """However many; each with a token for it alone, all of them written down when the wait is over."""
    apps = add_apps(provider, number)
    (sid,) = add_sessions(provider, 1, apps)
    provider.state.outbox.send(end(provider, [sid]))
    assert states(provider) == {"delivered": number}
    assert sorted(exchange.request.url for exchange in provider.network.exchanges) == sorted(
        f"http://{app}.example/bclogout" for app in apps
    )


def test_number_of_statements_per_ending_does_not_depend_on_the_number_of_apps(provider: Provider) -> None:
    """And so does writing down what came of it."""
    apps, costs = add_apps(provider, 40), []
    for number in (2, 40):
        (sid,) = add_sessions(provider, 1, apps[:number])
        with counted(provider) as cost:
            end(provider, [sid])
        costs.append(dict(cost))
    assert costs[0] == costs[1]
    assert costs[0]["commits"] == 1


def test_many_results_are_one_commit(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit waits for the disk; those that come together share it."""
    monkeypatch.setattr(sender, "GATHER_SECONDS", 0.2)
    (sid,) = add_sessions(provider, 1, add_apps(provider, 40))
    to_send = end(provider, [sid])
    with counted(provider) as cost:
        provider.state.outbox.send(to_send)
    assert len(provider.attempts()) == 40
    assert 1 <= cost["commits"] <= 4


# --- many sessions ---


@pytest.mark.parametrize("number", [200, examples(600, 2000)])
def test_many_sessions_end_in_one_transaction(number: int, provider: Provider) -> None:
    """One commit; the number of statements grows with the sessions only by the batches of their parameters."""
    sids = add_sessions(provider, number, add_apps(provider, 2))
    with counted(provider) as cost:
        to_send = end(provider, sids)
    assert cost["commits"] == 1
    assert cost["statements"] <= 10 + 4 * -(-number // SESSIONS_A_STATEMENT)
    assert all(session.ended_at for session in provider.rows(SsoSession))
    assert states(provider) == {"pending": 2 * number}
    assert len(to_send) == min(2 * number, ledger.SEND_NOW)


def test_large_ending_is_shared_by_all_workers(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker that ended the sessions claims what it can send soon; the others claim the rest, and none twice."""
    monkeypatch.setattr(ledger, "SEND_NOW", 30)
    monkeypatch.setattr(sender, "IN_HAND", 40)
    to_send = end(provider, add_sessions(provider, 60, add_apps(provider, 2)))
    assert len(to_send) == 30
    survivor = another_process(provider)
    assert survivor.poll(), "there is more to do"
    settle(survivor.outbox)
    assert states(provider) == {"pending": 80, "delivered": 40}
    provider.state.outbox.send(to_send)
    while survivor.poll() or provider.state.background.poll():
        settle(survivor.outbox)
    settle(survivor.outbox)
    settle(provider.state.outbox)
    assert states(provider) == {"delivered": 120}
    assert len(provider.network.exchanges) == 120


def test_operator_waits_no_longer_for_a_large_ending(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    """The apps hang; the operator goes on after the set wait."""
    apps = add_apps(provider, 2)
    monkeypatch.setattr(provider.state.outbox, "redirect_wait", 0.05)
    gate = provider.network.hold("http://app")
    provider.state.outbox.send(end(provider, add_sessions(provider, 20, apps)))
    assert states(provider) == {"pending": 40}
    gate.open()
    settle(provider.state.outbox)
    assert states(provider) == {"delivered": 40}


# --- ill apps ---


def test_five_apps_that_are_well_hear_at_once_beside_five_that_are_not(
    provider: Provider, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One hangs, one refuses, one answers 500 for a minute, one redirects, one sends an endless body."""
    monkeypatch.setattr(provider.state.outbox, "redirect_wait", 0.3)
    apps = add_apps(provider, 10)
    hangs, refuses, fails, redirects, endless, *well = apps
    gate = provider.network.hold(f"http://{hangs}.")
    provider.network.refuse(f"http://{refuses}.")
    provider.network.answer(f"http://{fails}.", 500)
    provider.network.answer(f"http://{redirects}.", 302, headers={"Location": "http://evil.example/"})
    provider.network.answer(f"http://{endless}.", 200, b"x" * 10**6)
    provider.state.outbox.send(end(provider, add_sessions(provider, 1, apps)))  # the user goes on after this
    eventually(lambda: states(provider) == {"delivered": 6, "refused": 1, "pending": 3})
    outcome = {row.client_id: (row.state, row.outcome) for row in provider.rows(Delivery)}
    assert {outcome[app] for app in well} == {("delivered", "delivered")}
    assert outcome[hangs] == ("pending", "")
    assert outcome[refuses] == ("pending", "connection refused")
    assert outcome[fails] == ("pending", "server error")
    assert outcome[redirects] == ("refused", "redirect")
    assert outcome[endless] == ("delivered", "response too large")
    gate.open()
    for app in (refuses, fails):
        provider.network.heal(f"http://{app}.")
    clock.turn(60)
    provider.state.background.poll()
    eventually(lambda: states(provider) == {"delivered": 9, "refused": 1}, "all that can be delivered is delivered")
    assert not provider.network.to("http://evil.example")


class Slow:
    """Stands in for the network: each request waits until it is let go; counts those that wait, by host."""

    def __init__(self) -> None:
        self.waiting: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self._let_go = asyncio.Event()

    async def ask(self, _door: GuardedHttpClient, request: Request) -> Answer:
        """In place of :meth:`idp.fetch.GuardedHttpClient.ask`."""
        host = request.url.split("/")[2]
        self.waiting[host] += 1
        self.most[host] = max(self.most[host], self.waiting[host])
        await self._let_go.wait()
        self.waiting[host] -= 1
        return Answer(200)

    def let_go(self) -> None:
        """All of them, from now on."""

        async def let_go() -> None:
            self._let_go.set()

        in_background(let_go()).result()


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Slow]:
    """See :class:`Slow`."""
    ours = Slow()
    monkeypatch.setattr(GuardedHttpClient, "ask", lambda door, request: ours.ask(door, request))
    yield ours
    ours.let_go()


def test_never_more_than_a_set_number_is_under_way_to_one_host(provider: Provider, slow: Slow) -> None:
    """The others of that host wait in line; those to other hosts do not wait for them."""
    apps, worker = add_apps(provider, 2), another_process(provider, per_host=3)
    outbox = worker.outbox
    crowd = end(provider, add_sessions(provider, 20, apps[:1]))
    outbox.send_later(crowd)
    eventually(lambda: slow.waiting["app0.example"] == 3)
    outbox.send_later(end(provider, add_sessions(provider, 1, apps[1:])))
    eventually(lambda: slow.waiting["app1.example"] == 1, "it waits behind the crowd")
    slow.let_go()
    settle(outbox)
    assert slow.most == {"app0.example": 3, "app1.example": 1}
    assert states(provider) == {"delivered": 21}


def test_poll_does_not_claim_rows_that_would_only_wait(provider: Provider, slow: Slow) -> None:
    """A host that hangs takes no other's place in a process's hands."""
    apps, worker = add_apps(provider, 2), another_process(provider, per_host=3)
    outbox = worker.outbox
    outbox.send_later(end(provider, add_sessions(provider, 3, apps[:1])))
    waiting = end(provider, add_sessions(provider, 3, apps))
    with provider.database() as db:
        for delivery_id in waiting:
            db.get_one(Delivery, delivery_id).taken_until = 0
    worker.poll()
    eventually(lambda: slow.waiting == {"app0.example": 3, "app1.example": 3})
    left = [row.client_id for row in provider.rows(Delivery) if not row.taken_until]
    assert left == ["app0"] * 3
    slow.let_go()
    settle(outbox)


def test_many_deliveries_to_a_slow_host_do_not_block_other_hosts(
    provider: Provider, slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a process has in hand is bounded; who stands in line does not count."""
    monkeypatch.setattr(sender, "IN_HAND", 10)
    apps, worker = add_apps(provider, 2), another_process(provider, per_host=3)
    outbox = worker.outbox
    outbox.send_later(end(provider, add_sessions(provider, 20, apps[:1])))
    waiting = end(provider, add_sessions(provider, 3, apps[1:]))
    with provider.database() as db:
        for delivery_id in waiting:
            db.get_one(Delivery, delivery_id).taken_until = 0
    worker.poll()
    eventually(lambda: slow.waiting["app1.example"] == 3, "they are not even taken")
    slow.let_go()
    settle(outbox)


def test_many_apps_at_one_slow_host_are_no_more_in_the_way_than_one(
    provider: Provider, slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever registers thirty clients for one address that hangs still has one host."""
    monkeypatch.setattr(sender, "IN_HAND", 10)
    apps, worker = add_apps(provider, 6), another_process(provider, per_host=3)
    outbox = worker.outbox
    for index, app in enumerate(apps[:5]):
        provider.change_client(app, backchannel_logout_uri=f"http://HANGS.example/{index}?")
    waiting = end(provider, add_sessions(provider, 10, apps[:5])) + end(provider, add_sessions(provider, 1, apps[5:]))
    with provider.database() as db:
        for delivery_id in waiting:
            db.get_one(Delivery, delivery_id).taken_until = 0
    worker.poll()
    worker.poll()
    eventually(lambda: slow.waiting["app5.example"] == 1, "it is not even taken")
    slow.let_go()
    settle(outbox)


def test_claimed_rows_that_were_not_tried_go_behind_the_rows_that_are_due(provider: Provider, clock: Clock) -> None:
    """Else a line that is too long would begin with the same ones each time."""
    apps = add_apps(provider, 2)
    first, second = end(provider, add_sessions(provider, 1, apps))
    clock.turn(LEASE_SECONDS)
    with Session(engine_of(provider.app)) as db:
        (taken,) = claim_due(db, 1)
        clock.turn(LEASE_SECONDS)
        assert claim_due(db, 1) == [{first: second, second: first}[taken]]


def test_rows_that_waited_too_long_are_left_to_the_next_poll(provider: Provider, slow: Slow, clock: Clock) -> None:
    """Its lease would end during the try, and two could be at one row."""
    apps, worker = add_apps(provider, 1), another_process(provider, per_host=1)
    outbox = worker.outbox
    outbox.send_later(end(provider, add_sessions(provider, 2, apps)))
    eventually(lambda: slow.waiting["app0.example"] == 1)
    clock.turn(LEASE_SECONDS - 1)
    slow.let_go()
    settle(outbox)
    assert states(provider) == {"delivered": 1, "pending": 1}
    clock.turn(1)
    worker.poll()
    settle(outbox)
    assert states(provider) == {"delivered": 2}


@pytest.mark.parametrize(("seconds_left", "expected"), [(3, {"delivered": 2}), (2, {"delivered": 1, "pending": 1})])
def test_try_is_made_only_if_its_result_can_be_recorded_within_the_lease(
    seconds_left: int, expected: dict[str, int], provider: Provider, slow: Slow, clock: Clock
) -> None:
    """Otherwise another worker claims the row before, and the app is notified twice. The first case is the control."""
    apps, worker = add_apps(provider, 1), another_process(provider, per_host=1)
    outbox = worker.outbox
    outbox.send_later(end(provider, add_sessions(provider, 2, apps)))
    eventually(lambda: slow.waiting["app0.example"] == 1)
    longest_request = LOOK_UP_SECONDS + CONNECT_SECONDS + ANSWER_SECONDS + BODY_SECONDS
    clock.turn(LEASE_SECONDS - longest_request - seconds_left)
    slow.let_go()
    settle(outbox)
    assert states(provider) == expected


# --- several processes ---


def test_of_several_processes_one_acts_on_an_expiry(provider: Provider, clock: Clock) -> None:
    """By the clock, not by a visit; each app is told once, and of the reason that came first."""
    sids = add_sessions(provider, 30, add_apps(provider, 2))
    clock.turn(IDLE_SECONDS)
    processes, together = [another_process(provider) for _ in range(4)], threading.Barrier(4)

    def process(worker: Background) -> None:
        together.wait()
        worker.poll()

    threads = [threading.Thread(target=process, args=[worker]) for worker in processes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for worker in processes:
        settle(worker.outbox)
    assert states(provider) == {"delivered": 60}
    assert len(provider.network.exchanges) == 60
    assert Counter(one.sid for one in provider.events("op.session.ended")) == dict.fromkeys(sids, 1)
    assert {session.end_reason for session in provider.rows(SsoSession)} == {"idle"}


def test_control_sessions_that_are_used_do_not_expire(provider: Provider, clock: Clock) -> None:
    """A second before."""
    add_sessions(provider, 1, [DISPATCH, MANAGER])
    clock.turn(IDLE_SECONDS - 1)
    provider.state.background.poll()
    assert provider.session().ended_at is None


# --- the other database ---


def test_postgresql_does_the_same(provider_on_postgres: Provider, network: Network, clock: Clock) -> None:
    """Sessions that expire under the eyes of four processes; what is due is taken once; the ledger is found."""
    provider = provider_on_postgres
    apps = add_apps(provider, 3)
    network.refuse(f"http://{apps[0]}.")
    add_sessions(provider, 20, apps)
    processes, together = [another_process(provider, per_host=40) for _ in range(4)], threading.Barrier(4)

    def process(worker: Background) -> None:
        together.wait()
        worker.poll()

    for turn, expected in [(IDLE_SECONDS, {"delivered": 40, "pending": 20}), (60, {"delivered": 60})]:
        clock.turn(turn)
        threads = [threading.Thread(target=process, args=[worker]) for worker in processes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for worker in processes:
            settle(worker.outbox)
        assert states(provider) == expected
        network._faults.clear()  # the app that refused is back
    assert len(network.exchanges) == 80
    with provider.database() as db:
        entries, total = search(db, Search(client_id=apps[0]))
        assert len("".join(export_csv(db, Search())).splitlines()) == 81
    assert (total, len(entries[0].attempts)) == (20, 2)
    add_sessions(provider, 3, apps)
    with Session(engine_of(provider.app)) as session:
        removed = session.get_one(Client, apps[1])
        assert len(end_participations(session, removed, Reason.CLIENT_REMOVED, "session")) == 3


@pytest.mark.thorough
def test_fan_out_bench_runs() -> None:
    """In a process of its own, with real sockets; its figures are for people, and nothing depends on them."""
    program = "from bench import deliveries as bench; bench.SIZES = [2]; print(next(bench.deliveries()))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert "a session with 2 apps" in done.stdout, done.stderr
