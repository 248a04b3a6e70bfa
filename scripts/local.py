"""Runs the services as local background processes: ``local.py start|stop|kill|running SERVICE…``.

Each is a gunicorn in its own session, so it survives the terminal and can be ended with all its processes.
Its process id is in ``.run/SERVICE.pid``, its port in ``.run/SERVICE.port``, its output in ``.run/SERVICE.log``.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from environment import environment_of
from healthcheck import healthy

RUN = Path(".run")
MODULES = {"idp": "idp", "dispatch": "pickup_dispatch", "manager": "pickup_manager", "learn": "pickup_learn"}
START_SECONDS = 30.0  # the first start creates a database and a key, perhaps on a busy machine
STOP_SECONDS = 22.0  # a little more than gunicorn's graceful_timeout
LARGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}  # for password hashes (gunicorn.conf.py)
KEPT_LOG = 10_000_000  # bytes; the next start renames a longer log to SERVICE.log.1


def pid_of(service: str) -> int | None:
    """The id of its gunicorn master, if running. Another process may have the number now, so check the name."""
    try:
        pid = int((RUN / f"{service}.pid").read_text())
    except (OSError, ValueError):
        return None
    return pid if f"{MODULES[service]}:create_app()" in command_of(pid) else None


def command_of(pid: int) -> str:
    """The command line of a process; empty if it has ended, or is a zombie."""
    if Path("/proc/self").exists():  # Linux; a small system may have no ps
        with contextlib.suppress(OSError):
            return Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
        return ""
    return subprocess.run(["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True).stdout


def launch(service: str) -> subprocess.Popen[bytes]:
    log = RUN / f"{service}.log"
    if log.exists() and log.stat().st_size > KEPT_LOG:
        log.replace(f"{log}.1")
    gunicorn = str(Path(sys.executable).with_name("gunicorn"))
    with log.open("a") as output:
        process = subprocess.Popen(
            [gunicorn, "-c", "gunicorn.conf.py", f"{MODULES[service]}:create_app()"],
            env=LARGE_PAGES | environment_of(service, os.environ) | listens(service) | {"PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    (RUN / f"{service}.pid").write_text(f"{process.pid}\n")
    (RUN / f"{service}.port").write_text(listen(service).rpartition(":")[2])
    return process


def listens(service: str) -> dict[str, str]:
    """The addresses that the process opens. Each service has its own port for metrics: on one machine they differ."""
    metrics = os.environ.get("PICKUP_METRICS_LISTEN", "")
    host, _, port = metrics.rpartition(":")
    if port.isdecimal():
        metrics = f"{host}:{int(port) + list(MODULES).index(service)}"
    return {"PICKUP_LISTEN": listen(service), "PICKUP_METRICS_LISTEN": metrics}


def listen(service: str) -> str:
    return os.environ[f"LISTEN_{service.upper()}"]


def wait_healthy(service: str, launched: subprocess.Popen[bytes] | None) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not healthy(listen(service)):
        # Ask our own child directly: directly after the start, ps shows it without its arguments.
        has_ended = launched.poll() is not None if launched else not pid_of(service)
        if has_ended or time.monotonic() > deadline:
            log = RUN / f"{service}.log"
            print(*log.read_text(errors="replace").splitlines()[-30:], sep="\n", file=sys.stderr)
            sys.exit(f"{service} did not start; the last lines of {log} are above.")
        time.sleep(0.1)


def start(services: list[str]) -> None:
    launched = {service: launch(service) for service in services if not pid_of(service)}
    for service in services:
        wait_healthy(service, launched.get(service))


def stop(services: list[str]) -> None:
    """Ask the masters to end, which wait a few seconds for their workers; then kill the rest."""
    for service in services:
        if pid := pid_of(service):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while any(pid_of(service) for service in services) and time.monotonic() < deadline:
        time.sleep(0.05)
    kill(services)


def kill(services: list[str]) -> None:
    """Kill masters and workers immediately, like a crash."""
    for service in services:
        while pid := pid_of(service):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            time.sleep(0.01)
        (RUN / f"{service}.pid").unlink(missing_ok=True)


def running(services: list[str]) -> None:
    """Exit with 0 if at least one of them is running."""
    sys.exit(not any(pid_of(service) for service in services))


if __name__ == "__main__":
    {"start": start, "stop": stop, "kill": kill, "running": running}[sys.argv[1]](sys.argv[2:])
