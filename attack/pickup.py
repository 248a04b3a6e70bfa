"""Both Pickup apps, started with gunicorn on free ports against the bench's own provider: ``--pickup``."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import requests

from attack.browser import Target

ROOT = Path(__file__).parent.parent
APPS = {"dispatch": "pickup_dispatch", "manager": "pickup_manager"}
START_SECONDS = 60  # enough for a busy machine
STOP_SECONDS = 10  # more than gunicorn's graceful_timeout


class NotStarted(Exception):
    """An app did not start. The text has the end of its output."""


def free_port() -> int:
    """A port that is not in use."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def both_apps(issuer: str) -> Iterator[list[Target]]:
    """The apps run with new data as long as the block does."""
    ports = {app: free_port() for app in APPS}
    client_secrets = {app: secrets.token_urlsafe() for app in APPS}
    with tempfile.TemporaryDirectory(prefix="attack-") as folder:
        environment = settings(issuer, ports, Path(folder))
        processes = {
            app: launch(app, ports[app], environment | own_secrets(app, client_secrets[app]), Path(folder))
            for app in APPS
        }
        try:
            for app, process in processes.items():
                wait_until_healthy(app, ports[app], process, Path(folder))
            yield [target(app, ports[app], client_secrets[app]) for app in APPS]
        finally:
            for process in processes.values():
                end(process)


def settings(issuer: str, ports: dict[str, int], folder: Path) -> dict[str, str]:
    """The environment variables of both apps."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("PICKUP_")}
    return {
        **others,
        **{f"PICKUP_{app.upper()}_PORT": str(port) for app, port in ports.items()},
        "PICKUP_IDP_URL": issuer,
        "PICKUP_DATA_DIR": str(folder),
        "PICKUP_DEMO_PLAIN_HTTP": "true",
        "PYTHONUNBUFFERED": "1",
    }


def own_secrets(app: str, client_secret: str) -> dict[str, str]:
    """The environment variables of one app."""
    return {"PICKUP_SECRET_KEY": secrets.token_urlsafe(), f"PICKUP_{app.upper()}_CLIENT_SECRET": client_secret}


def launch(app: str, port: int, environment: dict[str, str], folder: Path) -> "subprocess.Popen[bytes]":
    """Start one app, as in production."""
    command = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", f"{APPS[app]}:create_app()"]
    with (folder / f"{app}.log").open("wb") as output:
        return subprocess.Popen(  # noqa: S603 # our own program
            command,
            cwd=ROOT,
            env={**environment, "PICKUP_LISTEN": f"127.0.0.1:{port}"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # master and workers are one group
        )


def wait_until_healthy(app: str, port: int, process: "subprocess.Popen[bytes]", folder: Path) -> None:
    """Raises :class:`NotStarted`."""
    deadline = time.monotonic() + START_SECONDS
    while not healthy(port):
        if process.poll() is not None or time.monotonic() > deadline:
            output = (folder / f"{app}.log").read_text("utf-8", "replace")
            raise NotStarted(f"Pickup's {app} did not start. The end of its output:\n{output[-3000:]}")
        time.sleep(0.05)  # between two health checks


def healthy(port: int) -> bool:
    """Whether it and its database respond."""
    with suppress(requests.RequestException), requests.Session() as http:
        http.trust_env = False
        return http.get(f"http://127.0.0.1:{port}/healthz", timeout=5).ok
    return False


def target(app: str, port: int, client_secret: str) -> Target:
    """The app's settings, as for any application under test."""
    base = f"http://{app}.localhost:{port}/pickup-{app}"
    return Target(
        logout_url=f"{base}/bclogout",
        login_url=f"{base}/login",
        page_url=f"{base}/profile",
        client_id=f"pickup-{app}",
        client_secret=client_secret,
    )


def end(process: "subprocess.Popen[bytes]") -> None:
    """Ask it to stop; kill it if it does not."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
