"""A PostgreSQL for the tests: a private cluster on a Unix socket, deleted after the tests.

The server comes from the distribution's package (Debian: ``postgresql``). If it is not installed, tests that need
it are skipped with a message; with ``PICKUP_TEST_POSTGRESQL=required``, as in CI, they fail.
"""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, create_engine, text

REQUIRED = os.environ.get("PICKUP_TEST_POSTGRESQL") == "required"
# The data need not survive the tests, so nothing waits for the disk.
FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "shared_buffers=16MB", "max_connections=60")


@dataclass(frozen=True)
class Postgres:
    """A running cluster."""

    folder: Path
    numbers: "count[int]"

    def url(self, database: str) -> URL:
        """The URL of a database."""
        query = {"host": str(self.folder)}
        return URL.create("postgresql+psycopg", "tests", database=database, query=query)

    def new_database(self) -> URL:
        """The URL of a new, empty database."""
        name = f"d{next(self.numbers)}"
        self.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def keep(self, database: URL) -> None:
        """Take a snapshot of a database to which nothing is connected."""
        self.execute(f"CREATE DATABASE {database.database}_kept TEMPLATE {database.database}")

    def restore(self, database: URL) -> None:
        """Restore the snapshot of a database."""
        self.execute(
            f"DROP DATABASE {database.database} WITH (FORCE)",
            f"CREATE DATABASE {database.database} TEMPLATE {database.database}_kept",
        )

    def execute(self, *statements: str) -> None:
        """Run statements that PostgreSQL allows only outside a transaction."""
        engine = create_engine(self.url("postgres"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            for statement in statements:
                connection.execute(text(statement))
        engine.dispose()


def programs() -> Path | None:
    """The folder of initdb and pg_ctl, which Debian does not put on the PATH."""
    if found := shutil.which("initdb"):
        return Path(found).parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return versions[-1].parent if versions else None


def unprivileged() -> dict[str, Any]:
    """PostgreSQL refuses to run as root; its package creates a user."""
    if os.getuid() != 0:
        return {}
    known = {entry.pw_name for entry in pwd.getpwall()}
    user = next(name for name in ("postgres", "nobody") if name in known)
    return {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """See :class:`Postgres`."""
    if programs() is None:
        give_up = pytest.fail if REQUIRED else pytest.skip
        give_up("there is no PostgreSQL server on this machine (Debian: apt-get install postgresql)")
    with running_cluster() as cluster:
        yield cluster


@contextmanager
def running_cluster(*more: str) -> Iterator[Postgres]:
    """Start one, with ``more`` settings, and delete it afterwards."""
    found = programs()
    # Not below pytest's folder: a socket's path is limited to about a hundred characters, and root owns the folder.
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    who = unprivileged()
    if who:
        shutil.chown(folder, who["user"], who["group"])
    how: dict[str, Any] = {"check": True, "capture_output": True, "cwd": folder, **who}
    data = f"{folder}/data"
    options = " ".join(["-h ''", f"-k {folder}", *(f"-c {setting}" for setting in (*FAST, *more))])
    start = [f"{found}/pg_ctl", "-D", data, "-l", f"{folder}/log", "-w", "-o", options, "start"]
    try:
        initdb = [f"{found}/initdb", "-D", data, "-U", "tests", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        subprocess.run(initdb, **how)
        subprocess.run(start, **{**how, "capture_output": False, "stdout": subprocess.DEVNULL})
        yield Postgres(folder, count(1))
    finally:
        subprocess.run([f"{found}/pg_ctl", "-D", data, "-m", "immediate", "stop"], **{**how, "check": False})
        shutil.rmtree(folder)
