"""How soon apps are notified: one session with many apps, many sessions, and ten apps of which five are faulty."""

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from statistics import median
from typing import Any
from urllib.parse import urlsplit

import structlog
from pydantic import SecretStr
from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from bench.relying_party import Figure
from idp import create_app
from idp.flow.session_ending import mark_ended, queue_deliveries
from idp.models import Client, Delivery, Participation, SsoSession, User
from idp.outbox.reasons import Reason
from idp.provider import Provider as State
from pickup_web import Settings
from pickup_web.clock import now
from pickup_web.database import engine_of

ROOT = Path(__file__).parents[1]
SIZES = [2, 10, 100, 500]
APP_SECONDS = 0.02  # the response time of an app
ILL = ("hang", "refuse", "500", "redirect", "endless")


# --- the apps: one process for all of them ---

ANSWERS = {
    "500": b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",
    "redirect": b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n",
    "endless": b"HTTP/1.1 200 OK\r\n\r\n",
}
GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


async def serve() -> None:
    """``/ILLNESS/…`` is faulty, everything else works; ``GET /`` returns the request times, and clears them."""
    asked: dict[str, float] = {}

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1].decode()
        at = time.monotonic()
        if path == "/":
            body = json.dumps(asked).encode()
            asked.clear()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        else:
            asked.setdefault(path, at)
            illness = path.split("/")[1]
            await asyncio.sleep(3600 if illness == "hang" else APP_SECONDS)
            writer.write(ANSWERS.get(illness, GOOD))
            while illness == "endless" and not writer.is_closing():
                writer.write(b"x")
                await asyncio.sleep(0.1)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=2000)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


@dataclass
class Apps:
    """The process, and the requests it received."""

    url: str

    def asked(self) -> dict[str, float]:
        """When each path was first requested, in seconds of this machine's monotonic clock; then cleared."""
        return dict(asyncio.run(self._get()))

    async def _get(self) -> dict[str, float]:
        reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(self.url).port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        body = (await reader.read()).partition(b"\r\n\r\n")[2]
        writer.close()
        return dict(json.loads(body))


@contextmanager
def apps() -> Iterator[Apps]:
    """Start them."""
    command = [sys.executable, "-c", "import asyncio; from bench.deliveries import serve; asyncio.run(serve())"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert process.stdout  # noqa: S101 # stdout is a pipe
        yield Apps(f"http://127.0.0.1:{process.stdout.readline().strip()}")
    finally:
        process.kill()
        process.wait()


# --- the IdP ---


class Provider:
    """One process of the IdP, with apps at paths of ``url``; it logs into a file."""

    def __init__(self, folder: Path, url: str) -> None:
        secrets = ("secret_key", "dispatch_client_secret", "manager_client_secret", "demo_password")
        settings = Settings(
            **{name: SecretStr("x") for name in secrets},  # type: ignore[arg-type] # these are secrets
            data_dir=folder,
            demo_plain_http=True,
            demo_private_addresses=True,
        )
        app = create_app(settings)
        structlog.configure(logger_factory=structlog.WriteLoggerFactory((folder / "log").open("w")))
        state: State = app.extensions["idp"]
        self.engine, self.outbox, self._url = engine_of(app), state.outbox, url
        self.background = state.background
        state.keys.sign({}, alg="RS256", typ="JWT")  # loads the keys

    def add_clients(self, paths: list[str]) -> None:
        """An app at each path."""
        lists = ("redirect_uris", "post_logout_redirect_uris", "scopes", "grant_types", "response_types")
        empty: dict[str, Any] = {name: [] for name in lists}
        rows = [
            {"client_id": path, "name": path, "backchannel_logout_uri": f"{self._url}/{path}/x", **empty}
            for path in paths
        ]
        with Session(self.engine) as db, db.begin():
            db.execute(insert(Client), rows)

    def change_client(self, path: str, **values: Any) -> None:
        """As an operator would."""
        with Session(self.engine) as db, db.begin():
            db.execute(update(Client).where(Client.client_id == path).values(values))

    def add_sessions(self, number: int, paths: list[str]) -> list[str]:
        """Sessions of one user, each with all these apps."""
        at, sids = now(), [token_hex(16) for _ in range(number)]
        row = {"auth_time": at, "amr": [], "created_at": at, "last_seen_at": at, "expires_at": at + 3600}
        with Session(self.engine) as db, db.begin():
            sub = db.scalars(select(User.sub)).first()
            whose = {**row, "sub": sub, "user_agent": "bench"}
            db.execute(insert(SsoSession), [{**whose, "sid": sid, "cookie_hash": sid} for sid in sids])
            parts = [{"sid": sid, "client_id": path, "sub": sub, "since": at} for sid in sids for path in paths]
            db.execute(insert(Participation), parts)
        return sids

    def end(self, sids: list[str]) -> float:
        """Ends the sessions and notifies the apps; returns how long the user's request took."""
        start = time.monotonic()
        with Session(self.engine) as db:
            ended = mark_ended(db, SsoSession.sid.in_(sids), Reason.OPERATOR, "session")
            self.outbox.send(queue_deliveries(db, ended, Reason.OPERATOR, "session"))
        return time.monotonic() - start

    def number_of(self, state: str) -> int:
        """Deliveries in this state."""
        with Session(self.engine) as db:
            return db.scalar(select(func.count()).where(Delivery.state == state)) or 0

    def look_until(self, condition: Callable[[], bool]) -> None:
        """The background work of each process."""
        while not condition():
            self.background.poll()
            time.sleep(0.05)


# --- the figures ---


def deliveries() -> Iterator[Figure]:
    """All of them; half a minute."""
    with tempfile.TemporaryDirectory(prefix="bench") as folder, apps() as them:
        provider = Provider(Path(folder), them.url)
        paths = [f"app{number}" for number in range(SIZES[-1])]
        provider.add_clients([*paths, *ILL])
        for size in SIZES:
            yield fan_out(provider, them, paths[:size])
        yield many_sessions(provider, "a user's 200 sessions, 2 apps each", 200, paths[:2])
        yield many_sessions(provider, "2,000 sessions, 2 apps each", 2000, paths[:2])
        yield from ill_apps(provider, them, paths[:5])


def fan_out(provider: Provider, them: Apps, paths: list[str]) -> Figure:
    """One session with many apps."""
    lasts, waits = [], []
    for _ in range(5):
        sids = provider.add_sessions(1, paths)
        them.asked()
        start = time.monotonic()
        waits.append(provider.end(sids))
        lasts.append(max(them.asked().values()) - start)
    return Figure(
        f"a session with {len(paths)} apps",
        f"{median(lasts) * 1000:>9,.0f} ms   all answered {median(waits) * 1000:,.0f} ms",
    )


def many_sessions(provider: Provider, name: str, number: int, paths: list[str]) -> Figure:
    """Many sessions at once: the user waits no longer than for one."""
    sids, before = provider.add_sessions(number, paths), provider.number_of("delivered")
    start = time.monotonic()
    wait = provider.end(sids)
    provider.look_until(lambda: provider.number_of("delivered") == before + number * len(paths))
    return Figure(name, f"{(time.monotonic() - start) * 1000:>9,.0f} ms   the person waits {wait * 1000:,.0f} ms")


def ill_apps(provider: Provider, them: Apps, well: list[str]) -> Iterator[Figure]:
    """Ten apps of which five are faulty in five ways; and the same with ten working apps."""
    provider.change_client("refuse", backchannel_logout_uri="http://127.0.0.1:9/")
    for name, paths in [("5 apps that are well", well), ("beside 5 that are ill", [*ILL, *well])]:
        sids = provider.add_sessions(1, paths)
        them.asked()
        start = time.monotonic()
        wait = provider.end(sids)
        asked = them.asked()
        last = max(asked[f"/{path}/x"] for path in well) - start
        yield Figure(name, f"{last * 1000:>9,.0f} ms   the person waits {wait * 1000:,.0f} ms")
