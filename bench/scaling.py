"""What grows with what: ``python -m bench.scaling [--sizes 1000 10000 …] [--apps 10 100 …] [--rounds N]``.

One database of each size is made on SQLite and on PostgreSQL. Each figure is processor time per operation: that of this
process, plus that of PostgreSQL's process for our connection. The sizes take turns in short blocks, and a figure is the
median of the blocks, so that other programs on the machine disturb all sizes alike. docs/scaling.md has the tables.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import structlog
from pydantic import SecretStr
from sqlalchemy import Connection, Engine, event, insert, text, update
from sqlalchemy.orm import Session

from bench.relying_party import ENCRYPTION, ISSUER, fresh, token
from idp import create_app
from idp.background.clean_up import clean_up
from idp.flow.session_ending import end_session, expired_sessions
from idp.models import Client, Delivery, hash_of
from idp.outbox.ledger import claim_due
from idp.outbox.reasons import Reason
from idp.outbox.sender import IN_HAND
from idp.prepared import ALIVE_BY_COOKIE
from idp.provider import Provider
from pickup_web import Settings
from pickup_web.clock import now
from pickup_web.database import engine_of
from relying_party.database import open_engine
from relying_party.models import make_tables
from relying_party.sessions import AppSession, SessionStore
from tests.postgres import Postgres, programs, running_cluster

SIZES = [1_000, 10_000, 100_000, 1_000_000]
APPS = [10, 100, 1000]
ROUNDS, BLOCK = 25, 8  # blocks of each size, and operations in a block
LIMIT = 1.2  # revoking by sid among the most sessions, compared with the fewest
CLIENTS = ("pickup-dispatch", "pickup-manager")

Act = Callable[["Place", int], Any]


@dataclass
class Place:
    """A database with ``size`` sessions. ``numbers`` are those that no operation has used yet."""

    size: int
    engine: Engine
    store: Any = None
    bytes_: int = 0
    backend: int = 0
    numbers: Iterator[int] = field(default_factory=lambda: iter(()))

    def cpu(self) -> int:
        """Nanoseconds of this process and of the server's process for our connection."""
        own = time.process_time_ns()
        return own + (int(Path(f"/proc/{self.backend}/schedstat").read_text().split()[0]) if self.backend else 0)

    def be_ready(self) -> None:
        """After filling: statistics, the server's process, and numbers spread over the table."""
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("ANALYZE")
            if self.engine.dialect.name == "postgresql":
                connection.exec_driver_sql("CHECKPOINT")
                self.backend = connection.scalar(text("SELECT pg_backend_pid()")) or 0
            else:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
            self.bytes_ = bytes_of(connection)
        step = 7919  # a prime, so that consecutive numbers are far apart and none comes twice
        self.numbers = iter([1 + n * step % self.size for n in range(self.size)])


def bytes_of(connection: Connection) -> int:
    """The size of the database with its indexes."""
    if connection.dialect.name == "postgresql":
        return int(connection.scalar(text("SELECT pg_database_size(current_database())")) or 0)
    pages, size = (connection.exec_driver_sql(f"PRAGMA page_{name}").scalar() for name in ("count", "size"))
    return int(pages or 0) * int(size or 0)


# --- filling ---


def fill(engine: Engine, statements: dict[str, int]) -> None:
    """Run each statement for the numbers from 1 to its count."""
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql(
                "CREATE FUNCTION hash_of(text) RETURNS text IMMUTABLE LANGUAGE sql "
                "AS $$ SELECT encode(sha256(convert_to($1, 'UTF8')), 'hex') $$"
            )
        else:
            connection.connection.driver_connection.create_function("hash_of", 1, hash_of, deterministic=True)  # type: ignore[union-attr]
            connection.exec_driver_sql("PRAGMA cache_size = -400000")
        for statement, count in statements.items():
            connection.execute(text(numbered(statement)), {"count": count, "at": now()})


def numbered(statement: str) -> str:
    """``INSERT … SELECT …`` for each ``n`` from 1 to ``:count``."""
    target, _, values = statement.partition(" SELECT ")
    series = "WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < :count)"
    return f"{target} {series} SELECT {values} FROM numbers"


def measure(places: list[Place], act: Act, rounds: int, block: int = BLOCK) -> list[list[float]]:
    """For each place, the microseconds per operation in each block."""
    found: list[list[float]] = [[] for _ in places]
    for place in places:
        act(place, next(place.numbers))  # builds and caches the statements
    for _ in range(rounds):
        for place, figures in zip(places, found, strict=True):
            numbers = [next(place.numbers) for _ in range(block)]
            before = place.cpu()
            for number in numbers:
                act(place, number)
            figures.append((place.cpu() - before) / block / 1000)
    return found


def line(name: str, found: list[list[float]]) -> float:
    """Print the medians, and the median ratio of the largest and the smallest in the same round."""
    ratio = median(last / first for first, last in zip(found[0], found[-1], strict=True))
    print(f"  {name:<44}" + "".join(f"{median(figures):>11,.0f}" for figures in found) + f"{ratio:>9.2f}", flush=True)
    return ratio


def head(title: str, sizes: list[int]) -> None:
    """The head of a table. The last column is the ratio of the last size and the first."""
    print(f"\n{title:<46}" + "".join(f"{size:>11,}" for size in sizes) + f"{'ratio':>9}", flush=True)


# --- an app: the sessions of relying_party ---

LOGIN = {"claims": {"iss": ISSUER}, "userinfo": {"name": "N"}, "id_token": "x" * 900, "access_token": "y" * 43}


def app_place(engine: Engine, size: int) -> Place:
    """An app with ``size`` signed-in users, and a tenth as many logouts of the last hour."""
    if engine.dialect.name == "sqlite":  # to measure the query, not the disk
        event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous = OFF"))
    make_tables(engine)
    encrypted = str(ENCRYPTION.encrypt(LOGIN)).replace("'", "''")
    fill(engine, {
        "INSERT INTO rp_session (id_hash, created_at, last_seen_at, expires_at, data, iss, sub, sid, login) SELECT "
        "hash_of('cookie ' || n), CAST(:at AS BIGINT), :at, :at + 28800, '', "
        f"'{ISSUER}', 'user ' || n, 'sid ' || n, '\"{encrypted}\"'": size,
        "INSERT INTO rp_logout (iss, jti, sub, sid, iat, received_at, keep_until) SELECT "
        f"'{ISSUER}', hash_of('jti ' || n), 'old ' || n, 'old ' || n, CAST(:at AS BIGINT), :at, :at + 3600": size // 10,
    })  # fmt: skip
    place = Place(size, engine, SessionStore(engine, ENCRYPTION))
    place.be_ready()
    return place


def app_acts(places: list[Place], rounds: int) -> float:
    """Each operation; returns the ratio of revoking by sid."""
    acts: dict[str, Act] = {
        "find a session by its cookie, in each request": lambda place, n: place.store.load(f"cookie {n}"),
        "end a session by sid, for a logout token": lambda place, n: place.store.apply_logout(
            token(place.size, n, sid=f"sid {n}")
        ),
        "end a session by sub, for a logout token": lambda place, n: place.store.apply_logout(
            token(place.size, n, sub=f"user {n}")
        ),
        "sign in, with the cleaning of old rows": lambda place, n: place.store.sign_in(AppSession(), fresh(n)),
    }
    ratios = {name: line(name, measure(places, act, rounds)) for name, act in acts.items()}
    line_of_bytes(places)
    return ratios["end a session by sid, for a logout token"]


def line_of_bytes(places: list[Place]) -> None:
    """Disk space per session, with indexes."""
    print(f"  {'bytes per session, with indexes':<44}" + "".join(f"{one.bytes_ / one.size:>11,.0f}" for one in places))


def plan(place: Place) -> None:
    """How the database finds the sessions of a logout token."""
    explain = "EXPLAIN QUERY PLAN" if place.engine.dialect.name == "sqlite" else "EXPLAIN (COSTS OFF)"
    query = (
        f"{explain} UPDATE rp_session SET ended_at = 1 WHERE iss = '{ISSUER}' AND sid = 'sid 5' AND ended_at IS NULL"
    )
    with place.engine.connect() as connection:
        rows = connection.exec_driver_sql(query).all()
    print("  EXPLAIN: " + " | ".join(str(row[-1]).strip() for row in rows))


# --- the IdP ---


def idp_place(folder: Path, url: str, size: int) -> Place:
    """An IdP with ``size`` sessions of two apps each. Half of the access tokens have expired; old sessions: a tenth."""
    secrets = ("secret_key", "dispatch_client_secret", "manager_client_secret", "demo_password")
    settings = Settings(
        **{name: SecretStr("x") for name in secrets},  # type: ignore[arg-type] # these are secrets
        data_dir=folder,
        idp_database_url=url,
        demo_plain_http=True,
        demo_private_addresses=True,
    )
    app = create_app(settings)
    structlog.configure(logger_factory=structlog.WriteLoggerFactory((folder / "log").open("w")))
    engine = engine_of(app)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous = OFF"))
        engine.dispose()
    fill_idp(engine, size)
    place = Place(size, engine, app.extensions["idp"])
    place.be_ready()
    return place


def fill_idp(engine: Engine, size: int) -> None:
    """``size`` sessions of two apps each, half of whose access tokens have expired; a tenth as many that have ended."""
    old = size // 10
    tokens = (
        "INSERT INTO token (access_hash, refresh_hash, family, client_id, sid, sub, scope, auth_time, amr, claims, "
        "issued_at, access_expires_at, refresh_expires_at) SELECT hash_of('{c} a ' || n), hash_of('{c} r ' || n), "
        "hash_of('{c} c ' || n), '{c}', 'sid ' || n, 'user ' || n, 'openid profile', CAST(:at AS BIGINT), '[]', "
        "'{{}}', :at, :at + (n % 2) * 600 - 300, :at + 36000"
    )
    statements = {
        "INSERT INTO user_account (sub, username, password_hash, role, claims) "
        "SELECT 'user ' || n, 'user ' || n, 'x', 'user', '{}'": size,
        "INSERT INTO sso_session (sid, cookie_hash, sub, auth_time, amr, created_at, last_seen_at, expires_at, "
        "user_agent) SELECT 'sid ' || n, hash_of('cookie ' || n), 'user ' || n, CAST(:at AS BIGINT), '[]', :at, :at, "
        ":at + 36000, 'bench'": size,
        "INSERT INTO sso_session (sid, cookie_hash, sub, auth_time, amr, created_at, last_seen_at, expires_at, "
        "user_agent, ended_at, end_reason) SELECT 'old ' || n, hash_of('old ' || n), 'user ' || n, "
        "CAST(:at AS BIGINT), '[]', :at, :at, :at, 'bench', :at - 86400, 'logout'": old,
    }
    for client in CLIENTS:
        statements |= {
            "INSERT INTO participation (sid, client_id, sub, since) "
            f"SELECT 'sid ' || n, '{client}', 'user ' || n, CAST(:at AS BIGINT)": size,
            tokens.format(c=client): size,
            "INSERT INTO delivery (id, client_id, sid, sub, host, reason, state, note, created_at, next_try_at, "
            "taken_until, give_up_at, tries, refusals, outcome) "
            f"SELECT substr(hash_of('{client} d ' || n), 1, 32), '{client}', 'old ' || n, 'user ' || n, 'host', "
            "'You logged out.', 'delivered', '', :at - 86400, :at - 86400, 0, CAST(:at AS BIGINT), 1, 0, '200'": old,
        }
    fill(engine, statements)


def within(act: Callable[[Session, int], Any]) -> Act:
    """In a database session of its own."""

    def run(place: Place, number: int) -> None:
        with Session(place.engine) as db:
            act(db, number)
            db.commit()

    return run


def end(db: Session, number: int, sid: str = "") -> None:
    """End a session and queue its deliveries. They count as sent, because nothing sends them here."""
    sent = end_session(db, sid or f"sid {number}", Reason.LOGOUT, "session")
    assert sent  # noqa: S101 # otherwise there is nothing to measure


def idp_acts(places: list[Place], rounds: int) -> None:
    """Each operation."""
    by_cookie = within(lambda db, n: ALIVE_BY_COOKIE.first(db, {"cookie_hash": hash_of(f"cookie {n}")}))
    line("find a session by its cookie, in each request", measure(places, by_cookie, rounds))
    line("end a session with two apps", measure(places, within(end), rounds))
    for place in places:
        with Session(place.engine) as db:
            db.execute(update(Delivery).values(state="delivered"))
            db.commit()
    looks: dict[str, Callable[[Session, int], Any]] = {
        "each second: look for due deliveries": lambda db, _: claim_due(db, IN_HAND),
        "each second: look for expired sessions": lambda db, _: expired_sessions(db, IN_HAND),
        "each minute: clean up": lambda db, _: clean_up(db),
    }
    for name, look in looks.items():  # some take seconds
        line(name, measure(places, within(look), max(3, rounds // 5), block=1))
    line_of_bytes(places)


# --- apps of a session ---


def apps_acts(place: Place, counts: list[int], rounds: int) -> None:
    """End a session that has many apps, and sign a token for each."""
    lists = ("redirect_uris", "post_logout_redirect_uris", "scopes", "grant_types", "response_types")
    app = {"name": "app", "backchannel_logout_uri": "http://host/", **{name: [] for name in lists}}
    with Session(place.engine) as db, db.begin():
        db.execute(insert(Client), [{"client_id": f"app {n}", **app} for n in range(1, max(counts) + 1)])
    found: list[list[float]] = [[] for _ in counts]
    session = iter(range(10**9))
    for _ in range(max(3, rounds // 3)):
        for count, figures in zip(counts, found, strict=True):
            sid = f"many {next(session)}"
            make_session(place.engine, sid, count)
            before = place.cpu()
            with Session(place.engine) as db:
                end(db, 0, sid)
            figures.append((place.cpu() - before) / 1000)
    line("end a session with so many apps", found)
    per_app = [[figure / count for figure in figures] for count, figures in zip(counts, found, strict=True)]
    line("the same per app", per_app)


def make_session(engine: Engine, sid: str, count: int) -> None:
    """A session with the first ``count`` apps."""
    session = (
        "INSERT INTO sso_session (sid, cookie_hash, sub, auth_time, amr, created_at, last_seen_at, expires_at, "
        "user_agent) SELECT CAST(:sid AS TEXT), :sid, 'user 1', CAST(:at AS BIGINT), '[]', :at, :at, :at + 36000, "
        "'bench'"
    )
    apps = (
        "INSERT INTO participation (sid, client_id, sub, since) "
        "SELECT CAST(:sid AS TEXT), 'app ' || n, 'user 1', CAST(:at AS BIGINT)"
    )
    with engine.begin() as connection:
        connection.execute(text(numbered(session)), {"sid": sid, "at": now(), "count": 1})
        connection.execute(text(numbered(apps)), {"sid": sid, "at": now(), "count": count})


def signatures(provider: Provider, rounds: int) -> None:
    """The signature of a logout token, which each delivery needs."""
    for alg in ("RS256", "ES256"):
        provider.keys.sign({}, alg=alg, typ="logout+jwt")
        taken = []
        for _ in range(rounds * 4):
            before = time.process_time_ns()
            provider.keys.sign({"sub": "u", "sid": "s"}, alg=alg, typ="logout+jwt")
            taken.append((time.process_time_ns() - before) / 1000)
        print(f"  {f'sign a logout token, {alg}':<44}{median(taken):>11,.0f}", flush=True)


# --- all of it ---


def run(name: str, new_url: Callable[[], str], folder: Path, options: argparse.Namespace) -> bool:
    """All tables for one kind of database; returns whether revoking by sid stays below its limit."""
    sizes: list[int] = options.sizes
    places = [app_place(open_engine(new_url(), str(folder)), size) for size in sizes]
    head(f"{name}, an app with so many sessions (µs)", sizes)
    ratio = app_acts(places, options.rounds)
    plan(places[-1])
    is_good = ratio <= LIMIT
    print(
        f"  revoke by sid, {sizes[-1]:,} ÷ {sizes[0]:,}: {ratio:.2f}, at most {LIMIT}   {'ok' if is_good else 'MISSED'}"
    )
    for place in places:
        place.engine.dispose()
    places = []
    for size in sizes:
        own = folder / f"idp {size}"
        own.mkdir()
        places.append(idp_place(own, new_url(), size))
    head(f"{name}, an IdP with so many sessions (µs)", sizes)
    idp_acts(places, options.rounds)
    head(f"{name}, the IdP, apps of one session (µs)", options.apps)
    apps_acts(places[0], options.apps, options.rounds)
    signatures(places[0].store, options.rounds)
    for place in places:
        place.engine.dispose()
    return is_good


def main() -> None:
    """Both databases, or SQLite only if there is no PostgreSQL on this machine."""
    parser = argparse.ArgumentParser(prog="python -m bench.scaling", description="What grows with what.")
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=SIZES, help="sessions; a million needs 8 GB and minutes"
    )
    parser.add_argument("--apps", type=int, nargs="+", default=APPS, help="apps of one session")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"blocks of {BLOCK} operations; at most 30")
    parser.add_argument("--only", choices=["sqlite", "postgresql"], help="one database only")
    options = parser.parse_args()
    results = []
    if options.only != "postgresql":
        with tempfile.TemporaryDirectory(prefix="bench") as name:
            names = iter(range(10**6))
            folder = Path(name)
            results.append(run("SQLite", lambda: f"sqlite:///{folder}/{next(names)}.db", folder, options))
    if options.only != "sqlite" and programs():
        with tempfile.TemporaryDirectory(prefix="bench") as name, running_cluster(*BIG) as cluster:
            results.append(run("PostgreSQL", lambda: url_of(cluster), Path(name), options))
    print(f"\nLoad of the machine: {os.getloadavg()[0]:.1f}. Processor time, median of {options.rounds} blocks.")
    raise SystemExit(not all(results))


BIG = ("shared_buffers=512MB", "max_wal_size=8GB", "maintenance_work_mem=128MB", "autovacuum=off")


def url_of(cluster: Postgres) -> str:
    """The URL of a new database."""
    return cluster.new_database().render_as_string(hide_password=False)


if __name__ == "__main__":
    main()
