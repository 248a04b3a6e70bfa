"""kill -9: a real process is killed at each step of an ending, and another one completes it. No logout is lost."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from sqlalchemy import Engine, create_engine, select, update
from sqlalchemy.orm import Session

from idp.encryption import use_key
from idp.flow.session_ending import end_session
from idp.models import Client, Delivery, DeliveryAttempt, Participation, SigningKey, SsoSession, Token, User
from idp.outbox.http import GuardedHttpClient, in_background
from idp.outbox.ledger import LEASE_SECONDS
from idp.outbox.reasons import Reason
from pickup_web import Settings
from tests.conftest import PASSWORD, Clock, eventually, settle
from tests.idp.conftest import DISPATCH, another_worker
from tests.tokens import read

pytestmark = pytest.mark.thorough

really_ask, really_connect = GuardedHttpClient.ask, socket.socket.connect
SID = "the session of the killed"

# Ends the session and sends the deliveries, as a worker does; it is killed at the given step.
VICTIM = """
import os, signal, socket, sys
from sqlalchemy import event
from sqlalchemy.orm import Session
from idp import create_app
from idp.flow.session_ending import end_session
from idp.outbox.http import GuardedHttpClient
from idp.outbox.reasons import Reason
from pickup_web.database import engine_of

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

recv = socket.socket.recv
def die_at_the_answer(connection, *args):
    return die() if connection.family == socket.AF_INET else recv(connection, *args)

app = create_app()
step, engine = sys.argv[1], engine_of(app)
if step == "before the commit":
    event.listen(engine, "commit", die)
with Session(engine) as db:
    deliveries = end_session(db, sys.argv[2], Reason.LOGOUT, "session")
if step == "before the post":
    GuardedHttpClient.ask = die
elif step == "during the post":
    socket.socket.recv = die_at_the_answer
elif step == "before it is written":
    event.listen(engine, "commit", die)
elif step == "in the pause":
    event.listen(Session, "after_commit", die)
app.extensions["idp"].outbox.send(deliveries)
"""


@dataclass
class App:
    """Listens on this machine; records the logout tokens it receives."""

    port: int = 0
    status: int = 200
    tokens: list[dict[str, Any]] = field(default_factory=list)

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request."""
        head = await reader.readuntil(b"\r\n\r\n")
        (length,) = (line.split(b":")[1] for line in head.split(b"\r\n") if line.startswith(b"Content-Length"))
        form = parse_qs((await reader.readexactly(int(length))).decode())
        self.tokens.append(read(form["logout_token"][0])[1])
        writer.write(b"HTTP/1.1 %d x\r\nContent-Length: 0\r\n\r\n" % self.status)
        writer.close()


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    """See :class:`App`."""
    ours = App()

    async def listen() -> asyncio.Server:
        return await asyncio.start_server(ours, "127.0.0.1", 0)

    async def close() -> None:
        server.close()

    monkeypatch.setattr(GuardedHttpClient, "ask", really_ask)
    monkeypatch.setattr(socket.socket, "connect", really_connect)
    server = in_background(listen()).result()
    ours.port = server.sockets[0].getsockname()[1]
    yield ours
    in_background(close()).result()


@pytest.fixture
def engine(own_settings: Settings, app: App, clock: Clock) -> Iterator[Engine]:
    """The IdP's database, with a session of one app. The time is the other processes' real time."""
    clock.now = datetime.now(UTC).timestamp()
    at = int(clock())
    engine = create_engine(own_settings.idp_database_url)
    use_key(engine, own_settings.secret_key.get_secret_value())
    with Session(engine) as db, db.begin():
        client = db.get_one(Client, DISPATCH)
        client.backchannel_logout_uri = f"http://127.0.0.1:{app.port}/bclogout"
        user = db.scalars(select(User)).first()
        assert user
        session = SsoSession(
            sid=SID, cookie_hash="c", sub=user.sub, auth_time=at, amr=[], created_at=at, last_seen_at=at,
            expires_at=at + 36000, user_agent="",
        )  # fmt: skip
        token = Token(
            access_hash="a", family="f", client_id=DISPATCH, sid=SID, sub=user.sub, scope="openid", auth_time=at,
            amr=[], issued_at=at, access_expires_at=at + 600,
        )  # fmt: skip
        db.execute(update(SigningKey).values(signs_from=at))  # they were created at the tests' START
        db.add_all([session, Participation(sid=SID, client_id=DISPATCH, sub=user.sub, since=at), token])
    yield engine
    engine.dispose()


def kill(step: str, settings: Settings) -> None:
    """A process that ends the session, and is killed at this step; or not, if the step is "never"."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "PICKUP_DATA_DIR": str(settings.data_dir),
        "PICKUP_SECRET_KEY": settings.secret_key.get_secret_value(),
        "PICKUP_DISPATCH_CLIENT_SECRET": settings.dispatch_client_secret.get_secret_value(),
        "PICKUP_MANAGER_CLIENT_SECRET": settings.manager_client_secret.get_secret_value(),
        "PICKUP_DEMO_PASSWORD": PASSWORD,
        "PICKUP_DEMO_PLAIN_HTTP": "true",
        "PICKUP_DEMO_PRIVATE_ADDRESSES": "true",
        "PICKUP_LOGOUT_WAIT": "30",
    }
    command = [sys.executable, "-c", VICTIM, step, SID]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == (0 if step == "never" else -signal.SIGKILL), done.stderr


def survive(engine: Engine, clock: Clock) -> Delivery:
    """Another process, after the lease of the first one; returns the state of the only delivery."""
    http = GuardedHttpClient(allow_plain_http=True, allow_private_addresses=True)
    worker = another_worker(engine, http, "http://idp.localhost:9000")
    worker.poll()
    settle(worker.outbox)
    clock.now = datetime.now(UTC).timestamp() + LEASE_SECONDS + 5  # the killed process leased in real time
    worker.poll()
    settle(worker.outbox)
    with Session(engine) as db:
        return db.scalars(select(Delivery)).one()


def attempts(engine: Engine) -> list[str]:
    """The attempts in the ledger, in order."""
    with Session(engine) as db:
        return list(db.scalars(select(DeliveryAttempt.outcome).order_by(DeliveryAttempt.at)))


def test_control_an_uninterrupted_process_leaves_nothing_to_do(
    app: App, engine: Engine, own_settings: Settings, clock: Clock
) -> None:
    """One process, one token."""
    kill("never", own_settings)
    assert survive(engine, clock).state == "delivered"
    assert (len(app.tokens), attempts(engine)) == (1, ["delivered"])


def test_crash_before_the_commit_ends_nothing(app: App, engine: Engine, own_settings: Settings, clock: Clock) -> None:
    """The session is active, with its tokens; the next caller ends it."""
    kill("before the commit", own_settings)
    with Session(engine) as db:
        assert db.get_one(SsoSession, SID).ended_at is None
        assert db.get_one(Token, "a").revoked_at is None
        assert db.scalars(select(Delivery)).all() == []
        assert len(end_session(db, SID, Reason.LOGOUT, "session")) == 1
    assert survive(engine, clock).state == "delivered"
    assert len(app.tokens) == 1


@pytest.mark.parametrize("step", ["before the post", "during the post", "before it is written", "in the pause"])
def test_crash_after_the_commit_loses_no_notification(
    step: str, app: App, engine: Engine, own_settings: Settings, clock: Clock
) -> None:
    """By another process after the lease. An app whose response was lost is notified twice, with another jti."""
    app.status = 503 if step == "in the pause" else 200
    kill(step, own_settings)
    told = {"before the post": 0, "during the post": 1, "before it is written": 1, "in the pause": 1}[step]
    eventually(lambda: len(app.tokens) == told)
    with Session(engine) as db:
        assert db.get_one(SsoSession, SID).ended_at is not None
        assert db.get_one(Token, "a").revoked_at is not None
        assert db.scalars(select(Delivery.state)).all() == ["pending"]
    app.status = 200
    delivery = survive(engine, clock)
    assert (delivery.state, delivery.taken_until) == ("delivered", 0)
    assert len({token["jti"] for token in app.tokens}) == told + 1
    assert {token["sid"] for token in app.tokens} == {SID}
    assert attempts(engine) == [*(["server error"] if step == "in the pause" else []), "delivered"]
