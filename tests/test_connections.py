"""All processes together open no more connections than PostgreSQL accepts, in the Compose stack and on Kubernetes."""

import re
import runpy
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import OperationalError

import idp
import pickup_dispatch
import pickup_learn
import pickup_manager
from pickup_web.database import CONNECTIONS, engine_of
from tests.conftest import close, make_settings
from tests.postgres import Postgres
from tests.test_kubernetes import object_of

ROOT = Path(__file__).parent.parent
PACKAGES: dict[str, Any] = {
    "idp": idp, "dispatch": pickup_dispatch, "manager": pickup_manager, "learn": pickup_learn,
}  # fmt: skip
MAIN = 1  # connections that gunicorn's main process keeps, which has created the tables
COMMAND = 1  # of a migration, or of another command
SUPERUSER = 3  # superuser_reserved_connections, PostgreSQL's default
MOST_REPLICAS = 8
DATABASES: dict[str, Any] = runpy.run_path(str(ROOT / "scripts/databases.py"))
LIMITS: dict[str, int] = DATABASES["CONNECTIONS"]


def replica(service: str) -> int:
    """The most connections of one replica: its workers' pools, and the main process."""
    program = "import runpy; conf = runpy.run_path('gunicorn.conf.py'); print(conf['workers'], conf['preload_app'])"
    command = [sys.executable, "-c", program, f"pickup_{service}:create_app()"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    workers, is_preloaded = done.stdout.split()
    return int(workers) * CONNECTIONS + (MAIN if is_preloaded == "True" else 0)


def max_connections() -> int:
    """Of the Compose stack."""
    compose = yaml.safe_load((ROOT / "docker-compose.scale.yml").read_text("utf-8"))
    (found,) = re.findall(r"max_connections=(\d+)", " ".join(compose["services"]["postgres"]["command"]))
    return int(found)


# --- a process ---


@pytest.fixture
def engine(request: pytest.FixtureRequest, postgres: Postgres, tmp_path: Path) -> Any:
    """That of a service which has just started, with PostgreSQL."""
    url = postgres.new_database().render_as_string(hide_password=False)
    app = PACKAGES[request.param].create_app(make_settings(tmp_path, **{f"{request.param}_database_url": url}))
    yield engine_of(app)
    close(app)


@pytest.mark.parametrize("engine", PACKAGES, indirect=True)
def test_main_process_keeps_one_connection(engine: Engine) -> None:
    with engine.connect() as connection:
        query = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
        assert connection.scalar(query) == MAIN


@pytest.mark.parametrize("engine", ["dispatch"], indirect=True)
def test_process_opens_no_more_connections_than_its_pool_has(engine: Engine) -> None:
    """The next thread waits until one is free."""
    used = [engine.connect() for _ in range(CONNECTIONS)]
    with ThreadPoolExecutor() as threads:
        another = threads.submit(engine.connect)
        assert not wait([another], timeout=0.1).done
        used.pop().close()
        another.result().close()
    for connection in used:
        connection.close()


# --- the Compose stack ---


@pytest.mark.parametrize("service", PACKAGES)
def test_limit_of_each_role_is_enough_for_all_replicas(service: str) -> None:
    replicas = 1 if service == "learn" else MOST_REPLICAS
    assert replicas * replica(service) + COMMAND <= LIMITS[service]


def test_all_roles_together_fit_into_the_server() -> None:
    assert sum(LIMITS.values()) + SUPERUSER <= max_connections()
    assert f"it can be from 1 to {MOST_REPLICAS}." in (ROOT / "scripts/lib.sh").read_text("utf-8"), "the control"


def test_role_cannot_use_up_the_connections_of_the_others(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each service's role is given its limit, also if it existed before. The control is a connection below it."""
    monkeypatch.setitem(LIMITS, "idp", 1)
    admin = create_engine(postgres.url("postgres"), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text("CREATE ROLE idp LOGIN"))
        DATABASES["make"](connection.connection.driver_connection, "idp", "a password")
    engine = create_engine(postgres.url("idp").set(username="idp"))
    with engine.connect(), pytest.raises(OperationalError, match="too many connections for role"):
        engine.connect()
    engine.dispose()
    postgres.execute("DROP DATABASE idp", "DROP ROLE idp")
    admin.dispose()


# --- Kubernetes ---


def test_limits_of_the_kubernetes_readme_are_enough() -> None:
    """With the replicas of the manifests, and one more of each during a rollout."""
    readme = (ROOT / "deploy/kubernetes/README.md").read_text("utf-8")
    limit, learn = map(int, re.findall(r"CONNECTION LIMIT (\d+)", readme))
    (server,) = map(int, re.findall(r"`max_connections` must be at least (\d+)", readme))
    limits = {"idp": limit, "dispatch": limit, "manager": limit, "learn": learn}
    for service, most in limits.items():
        spec = object_of("Deployment", service)["spec"]
        pods = spec["replicas"] + spec["strategy"].get("rollingUpdate", {}).get("maxSurge", 0)
        assert pods * replica(service) + COMMAND <= most, service
    assert sum(limits.values()) + SUPERUSER <= server


def test_arithmetic_of_the_documentation_is_true() -> None:
    page = (ROOT / "docs/scaling.md").read_text("utf-8")
    assert f"{replica('idp')} per replica" in page
    assert f"{sum(LIMITS.values()):,}" in page
    assert f"`max_connections={max_connections()}`" in page
