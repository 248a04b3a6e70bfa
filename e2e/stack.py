"""The stack under test: four services of our own, or a stack that runs already, and hands to break it with."""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

ROOT = Path(__file__).parent.parent
SERVICES = ("idp", "dispatch", "manager", "learn")
MODULES = {"idp": "idp", "dispatch": "pickup_dispatch", "manager": "pickup_manager", "learn": "pickup_learn"}
START_SECONDS = 60  # a machine that is busy with something else
SECONDS_TO_ANSWER = 5
STOP_SECONDS = 10  # more than gunicorn's graceful_timeout
LAST_LINES = 40  # of a service's output, shown with a failure

# Runs where the provider runs. A forgery that is refused for its audience must have the right signature.
PRINT_SIGNING_KEY = """
import json
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session
from idp.encryption import decrypt_jwk, use_key
from idp.models import SigningKey
from pickup_web.settings import load_settings
settings = load_settings("idp")
engine = create_engine(settings.idp_database_url)
use_key(engine, settings.secret_key.get_secret_value())
with Session(engine) as db:
    rs256 = select(SigningKey).where(SigningKey.alg == "RS256")
    key = db.scalars(rs256.order_by(SigningKey.signs_from.desc())).first()
print(json.dumps({**decrypt_jwk(engine, key.private_jwk), "kid": key.kid}))
"""

# In a container: there are no other processes than the service's.
PRINT_ENVIRONMENTS = """
from pathlib import Path
print(*(path.read_text() for path in Path("/proc").glob("[0-9]*/environ")))
"""


@dataclass(frozen=True)
class App:
    """One of the two apps, as the stories know it."""

    service: str
    title: str
    url: str
    front: str  # the path that opens an app for somebody who is signed in
    front_heading: str

    @property
    def client_id(self) -> str:
        """Its name at the provider."""
        return f"pickup-{self.service}"


class StackControl(ABC):
    """What a story may do to the services besides using them."""

    @abstractmethod
    def start(self, *services: str) -> None:
        """Start those that do not run, and wait until they are healthy."""

    @abstractmethod
    def stop(self, service: str) -> None:
        """Ask it to end, as an operator does."""

    @abstractmethod
    def kill(self, service: str) -> None:
        """End all its processes at once (SIGKILL), as a crash does."""

    @abstractmethod
    def freeze(self, service: str) -> None:
        """From now on it takes connections and answers none."""

    @abstractmethod
    def thaw(self, service: str) -> None:
        """The end of :meth:`freeze`."""

    @abstractmethod
    def python(self, service: str, program: str) -> str:
        """Run a program where the service runs; returns what it printed."""

    @abstractmethod
    def environments(self, service: str) -> list[str]:
        """The environments that its processes have, as the system knows them. Empty where there is no ``/proc``."""

    @abstractmethod
    def output(self, service: str) -> str:
        """The last lines it wrote."""

    @contextmanager
    def without(self, service: str, *, crashed: bool = True) -> Iterator[None]:
        """The service is down; afterwards it is back, whatever happened."""
        if crashed:
            self.kill(service)
        else:
            self.stop(service)
        try:
            yield
        finally:
            self.start(service)

    @contextmanager
    def frozen(self, service: str) -> Iterator[None]:
        """The service hangs; afterwards it goes on, whatever happened."""
        self.freeze(service)
        try:
            yield
        finally:
            self.thaw(service)

    def signing_key(self) -> dict[str, Any]:
        """The private key the provider signs with, as a JWK."""
        key: dict[str, Any] = json.loads(self.python("idp", PRINT_SIGNING_KEY))
        return key


@dataclass(frozen=True)
class Stack:
    """Addresses, secrets, and hands, where there are any."""

    idp_url: str
    dispatch: App
    manager: App
    learn_url: str
    password: str
    client_secrets: Mapping[str, str]
    logout_wait: float  # seconds a user's redirect waits for the logout requests, at most
    hands: StackControl | None

    def url(self, service: str) -> str:
        """A service's base URL."""
        return {"idp": self.idp_url, "learn": self.learn_url}.get(service) or self.app(service).url

    def app(self, service: str) -> App:
        """The app of that name."""
        return {"dispatch": self.dispatch, "manager": self.manager}[service]

    def other(self, app: App) -> App:
        """The app that is not ``app``."""
        return self.manager if app is self.dispatch else self.dispatch


def make_stack(urls: list[str], environment: Mapping[str, str], hands: StackControl | None) -> Stack:
    """A stack at these addresses: IdP, Dispatch, Manager, Learn."""
    idp_url, dispatch_url, manager_url, learn_url = (url.rstrip("/") for url in urls)
    clients = ("dispatch", "manager", "admin")
    known = {client: environment.get(f"PICKUP_{client.upper()}_CLIENT_SECRET", "") for client in clients}
    return Stack(
        idp_url=idp_url,
        dispatch=App("dispatch", "Pickup Dispatch", dispatch_url, "/bookings", "Bookings"),
        manager=App("manager", "Pickup Manager", manager_url, "/overview", "Overview"),
        learn_url=learn_url,
        password=environment["PICKUP_DEMO_PASSWORD"],
        client_secrets={f"pickup-{client}": secret for client, secret in known.items() if secret},
        logout_wait=float(environment.get("PICKUP_LOGOUT_WAIT") or 1.0),
        hands=hands,
    )


# --- a stack of our own -------------------------------------------------------


class OwnProcesses(StackControl):
    """The four services as processes of this test run: free ports, an empty folder for their data."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ports = dict(zip(SERVICES, free_ports(len(SERVICES)), strict=True))
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        others = {name: value for name, value in os.environ.items() if not name.startswith("PICKUP_")}
        self.environment = {
            **others,
            **{f"PICKUP_{service.upper()}_PORT": str(port) for service, port in self._ports.items()},
            **{f"PICKUP_{service.upper()}_SECRET_KEY": secrets.token_hex() for service in SERVICES},
            "PICKUP_DEMO_PASSWORD": secrets.token_hex(),
            **{f"PICKUP_{app}_CLIENT_SECRET": secrets.token_hex() for app in ("DISPATCH", "MANAGER", "ADMIN")},
            "PICKUP_DATA_DIR": str(folder),
            "PICKUP_DEMO_PLAIN_HTTP": "true",
            "PICKUP_DEMO_PRIVATE_ADDRESSES": "true",
            "PICKUP_DEMO_EVENTS": "true",
            "PICKUP_REGISTRATION_TOKEN": secrets.token_hex(),
            "PYTHONUNBUFFERED": "1",
        }

    def stack(self) -> Stack:
        """The stack these processes are."""
        ports = self._ports
        urls = [
            f"http://idp.localhost:{ports['idp']}",
            f"http://dispatch.localhost:{ports['dispatch']}/pickup-dispatch",
            f"http://manager.localhost:{ports['manager']}/pickup-manager",
            f"http://learn.localhost:{ports['learn']}",
        ]
        return make_stack(urls, self.environment, self)

    def start(self, *services: str) -> None:
        for service in services:
            if not self._runs(service):
                self._launch(service)
        for service in services:
            self._wait_until_healthy(service)

    def _launch(self, service: str) -> None:
        gunicorn = [sys.executable, "-m", "gunicorn", "-c", "gunicorn.conf.py", f"{MODULES[service]}:create_app()"]
        with self._log(service).open("ab") as output:
            self._processes[service] = subprocess.Popen(
                [*as_service(service), *gunicorn],
                cwd=ROOT,
                env={**self.environment, "PICKUP_LISTEN": self._listen(service)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # master and workers are one group, which can be killed as one
            )

    def _wait_until_healthy(self, service: str) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not healthy(self._listen(service)):
            if not self._runs(service) or time.monotonic() > deadline:
                raise RuntimeError(f"{service} did not start. The end of its output:\n{self.output(service)}")
            time.sleep(0.05)

    def process_id(self, service: str) -> int:
        """Of its master; the workers are the children."""
        return self._processes[service].pid

    def _runs(self, service: str) -> bool:
        return service in self._processes and self._processes[service].poll() is None

    def _listen(self, service: str) -> str:
        return f"127.0.0.1:{self._ports[service]}"

    def _log(self, service: str) -> Path:
        return self._folder / f"{service}.log"

    def stop(self, service: str) -> None:
        self._processes[service].send_signal(signal.SIGTERM)
        self._processes[service].wait(STOP_SECONDS)

    def kill(self, service: str) -> None:
        self._signal(service, signal.SIGKILL)
        self._processes[service].wait(STOP_SECONDS)

    def kill_all(self) -> None:
        """The end: there is nothing left to save."""
        for service in filter(self._runs, SERVICES):
            self.kill(service)

    def freeze(self, service: str) -> None:
        self._signal(service, signal.SIGSTOP)

    def thaw(self, service: str) -> None:
        self._signal(service, signal.SIGCONT)

    def _signal(self, service: str, number: int) -> None:
        os.killpg(self._processes[service].pid, number)

    def python(self, service: str, program: str) -> str:
        return run([*as_service(service), sys.executable, "-c", program], self.environment)

    def environments(self, service: str) -> list[str]:
        return environments_of_group(self._processes[service].pid)

    def output(self, service: str) -> str:
        return last_lines(self._log(service))


def as_service(service: str) -> list[str]:
    """Before a command: runs it in the environment of that service, which lacks the other services' secrets."""
    return [sys.executable, str(ROOT / "scripts" / "environment.py"), service]


def environments_of_group(pid: int) -> list[str]:
    """The environment of each process in the process group of ``pid``: gunicorn's master and its workers."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended while we looked
            if os.getpgid(int(process.name)) == pid:
                found.append((process / "environ").read_text("utf-8"))
    return found


def last_lines(log: Path) -> str:
    """The end of a log file; empty if there is none."""
    lines = log.read_text("utf-8", "replace").splitlines() if log.exists() else []
    return "\n".join(lines[-LAST_LINES:])


def healthy(listen: str, path: str = "/healthz") -> bool:
    """Whether a service answers there, and its database does."""
    try:
        with requests.Session() as http:
            http.trust_env = False
            return http.get(f"http://{listen}{path}", timeout=SECONDS_TO_ANSWER).ok
    except requests.RequestException:
        return False


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on, out of a range from which no system takes the ports of outgoing connections.

    A service that is down must find its port free when it comes back.
    """
    found: set[int] = set()
    while len(found) < count:
        port = 20_000 + secrets.randbelow(10_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.add(port)
    return list(found)


# --- a stack that `make up` started ---------------------------------------------


class ScriptedHands(StackControl):
    """``scripts/service``, which knows how the running stack was started."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = {**os.environ, **environment}

    def start(self, *services: str) -> None:
        for service in services:
            self._service("start", service)

    def stop(self, service: str) -> None:
        self._service("stop", service)

    def kill(self, service: str) -> None:
        self._service("kill", service)

    def _service(self, *arguments: str) -> str:
        return run([str(ROOT / "scripts" / "service"), *arguments], self.environment)


class LocalHands(ScriptedHands):
    """For processes of this machine."""

    def freeze(self, service: str) -> None:
        os.killpg(self._pid(service), signal.SIGSTOP)

    def thaw(self, service: str) -> None:
        os.killpg(self._pid(service), signal.SIGCONT)

    def _pid(self, service: str) -> int:
        return int((ROOT / ".run" / f"{service}.pid").read_text())

    def python(self, service: str, program: str) -> str:
        environment = {"PICKUP_DATA_DIR": str(ROOT / "var"), **self.environment}
        return run([*as_service(service), sys.executable, "-c", program], environment)

    def environments(self, service: str) -> list[str]:
        return environments_of_group(self._pid(service))

    def output(self, service: str) -> str:
        return last_lines(ROOT / ".run" / f"{service}.log")


class ComposeHands(ScriptedHands):
    """For containers."""

    def freeze(self, service: str) -> None:
        run(["docker", "pause", self._container(service)], self.environment)

    def thaw(self, service: str) -> None:
        run(["docker", "unpause", self._container(service)], self.environment)

    def python(self, service: str, program: str) -> str:
        return run(["docker", "exec", self._container(service), "python", "-c", program], self.environment)

    def environments(self, service: str) -> list[str]:
        return [self.python(service, PRINT_ENVIRONMENTS)]

    def output(self, service: str) -> str:
        return run(["docker", "logs", "--tail", str(LAST_LINES), self._container(service)], self.environment)

    def _container(self, service: str) -> str:
        project = self.environment.get("COMPOSE_PROJECT_NAME") or "pickup"
        labels = [f"label=com.docker.compose.project={project}", f"label=com.docker.compose.service={service}"]
        return run(["docker", "ps", "-aq", "--filter", labels[0], "--filter", labels[1]], self.environment).strip()


def running_stack(base: str, control: str) -> Stack:
    """The stack at the addresses in ``base``, or the one that ``make up`` started here."""
    environment = {**dotenv(), **os.environ}
    if base == "running":
        base = run([str(ROOT / "scripts" / "stack"), "urls"], environment)
        control = control or run([str(ROOT / "scripts" / "stack"), "mode"], environment).strip()
    hands = {"local": LocalHands, "compose": ComposeHands}.get(control)
    return make_stack(base.split(), environment, hands(environment) if hands else None)


def dotenv() -> dict[str, str]:
    """The settings in ``.env``, if there is one. As everywhere, what the environment says wins."""
    file = ROOT / ".env"
    lines = file.read_text("utf-8").splitlines() if file.exists() else []
    pairs = [line.split("=", 1) for line in lines if "=" in line and not line.startswith("#")]
    return {name: value.strip("'\"") for name, value in pairs}


def run(command: list[str], environment: Mapping[str, str]) -> str:
    """What the command prints; its complaint, when it fails."""
    done = subprocess.run(command, cwd=ROOT, env=dict(environment), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)[:200]} failed:\n{done.stdout}{done.stderr}")
    return done.stdout
