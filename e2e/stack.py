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

import requests

from e2e.apps import App
from e2e.apps.pickup import Pickup as DispatchOrManager
from e2e.capabilities import not_applicable
from e2e.parties import Parties
from e2e.providers import Provider

ROOT = Path(__file__).parent.parent
SERVICES = ("idp", "dispatch", "manager", "learn")
MODULES = {"idp": "idp", "dispatch": "pickup_dispatch", "manager": "pickup_manager", "learn": "pickup_learn"}
START_SECONDS = 60  # a machine that is busy with something else
SECONDS_TO_ANSWER = 5
STOP_SECONDS = 25  # more than gunicorn's graceful_timeout
OURS = Parties()
LAST_LINES = 40  # of a service's output, shown with a failure

# In a container: there are no other processes than the service's.
PRINT_ENVIRONMENTS = """
from pathlib import Path
for path in Path("/proc").glob("[0-9]*/environ"):
    try: print(path.read_text())
    except OSError: pass  # a health check that the engine is just starting, or that has ended
"""


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


@dataclass(frozen=True)
class Stack:
    """A provider, two apps, and hands on them, where there are any."""

    provider: Provider
    dispatch: App
    manager: App
    learn_url: str
    client_secrets: Mapping[str, str]
    logout_wait: float  # seconds a user's redirect waits for the logout requests, at most
    hands: StackControl | None

    @property
    def idp_url(self) -> str:
        """The issuer."""
        return self.provider.issuer

    @property
    def password(self) -> str:
        """Of all people of the stories."""
        return self.provider.password

    def url(self, service: str) -> str:
        """A service's base URL."""
        return {"idp": self.idp_url, "learn": self.learn_url}.get(service) or self.app(service).url

    def app(self, service: str) -> App:
        """The app of that name."""
        return {"dispatch": self.dispatch, "manager": self.manager}[service]

    def other(self, app: App) -> App:
        """The app that is not ``app``."""
        return self.manager if app is self.dispatch else self.dispatch


def make_stack(
    urls: list[str], environment: Mapping[str, str], hands: StackControl | None, parties: Parties = OURS
) -> Stack:
    """A stack at these addresses: IdP, Dispatch, Manager and, if there is one, Learn."""
    idp_url, dispatch_url, manager_url, *learn_url = urls
    provider = parties.provider(idp_url, environment.get("PICKUP_DEMO_PASSWORD", ""))
    clients = ("dispatch", "manager", "admin")
    known = {client: environment.get(f"PICKUP_{client.upper()}_CLIENT_SECRET", "") for client in clients}
    dispatch = DispatchOrManager("dispatch", provider, dispatch_url.rstrip("/"), known["dispatch"])
    manager = parties.app("manager", provider, manager_url.rstrip("/"), known["manager"])
    names = {"dispatch": dispatch.client_id, "manager": manager.client_id, "admin": "pickup-admin"}
    return Stack(
        provider=provider,
        dispatch=dispatch,
        manager=manager,
        learn_url="".join(learn_url).rstrip("/"),
        client_secrets={names[client]: secret for client, secret in known.items() if secret},
        logout_wait=float(environment.get("PICKUP_LOGOUT_WAIT") or 0.5),
        hands=hands,
    )


# --- a stack of our own -------------------------------------------------------


class OwnProcesses(StackControl):
    """The services as processes of this test run: free ports, an empty folder for their data.

    In the place of our IdP or of Manager there may be a party that starts itself.
    """

    def __init__(self, folder: Path, parties: Parties = OURS) -> None:
        self._folder, self._parties = folder, parties
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
            **parties.provider.settings,
        }
        self._stack = self._make_stack()

    def _make_stack(self) -> Stack:
        at = {service: f"http://{service}.localhost:{port}" for service, port in self._ports.items()}
        self.environment["PICKUP_IDP_URL"] = at["idp"] + self._parties.provider.issuer_path
        manager = at["manager"] + ("/pickup-manager" if self._parties.app is DispatchOrManager else "")
        urls = [self.environment["PICKUP_IDP_URL"], f"{at['dispatch']}/pickup-dispatch", manager, at["learn"]]
        return make_stack(urls, self.environment, self, self._parties)

    def stack(self) -> Stack:
        """The stack these processes are."""
        return self._stack

    @property
    def services(self) -> tuple[str, ...]:
        """Those of ours that this stack has."""
        if self._parties.are_ours:
            return SERVICES
        has_our_idp = "pickup_idp" in self._parties.provider.can
        has_our_manager = self._parties.app is DispatchOrManager
        return (*["idp"] * has_our_idp, "dispatch", *["manager"] * has_our_manager)

    def start_all(self) -> None:
        """Start everything, for the first time."""
        stack = self._stack
        if "idp" not in self.services:
            stack.provider.start(self._folder, self._ports["idp"], [stack.dispatch, stack.manager])
        if "manager" not in self.services:
            self._register(stack.manager)
        self.start(*self.services)
        stack.manager.start(self._folder)

    def _register(self, app: App) -> None:
        """As a client of our IdP, which adds the clients in this file to its data when it starts."""
        seed = self._folder / "clients.toml"
        lines = [f"{name} = {json.dumps(value)}" for name, value in app.metadata().items()]
        seed.write_text("\n".join(["[[clients]]", *lines, ""]), "utf-8")
        self.environment["PICKUP_SEED"] = str(seed)

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
        return self._process(service).pid

    def _process(self, service: str) -> subprocess.Popen[bytes]:
        if service not in self.services:
            not_applicable(f"a test can stop the {service}")
        return self._processes[service]

    def _runs(self, service: str) -> bool:
        return service in self._processes and self._processes[service].poll() is None

    def _listen(self, service: str) -> str:
        return f"127.0.0.1:{self._ports[service]}"

    def _log(self, service: str) -> Path:
        return self._folder / f"{service}.log"

    def stop(self, service: str) -> None:
        self._process(service).send_signal(signal.SIGTERM)
        self._process(service).wait(STOP_SECONDS)

    def kill(self, service: str) -> None:
        self._signal(service, signal.SIGKILL)
        self._process(service).wait(STOP_SECONDS)

    def kill_all(self) -> None:
        """The end: there is nothing left to save."""
        self._stack.manager.end()
        self._stack.provider.end()
        for service in filter(self._runs, SERVICES):
            self.kill(service)

    def freeze(self, service: str) -> None:
        self._signal(service, signal.SIGSTOP)

    def thaw(self, service: str) -> None:
        self._signal(service, signal.SIGCONT)

    def _signal(self, service: str, number: int) -> None:
        os.killpg(self.process_id(service), number)

    def python(self, service: str, program: str) -> str:
        return run([*as_service(service), sys.executable, "-c", program], self.environment)

    def environments(self, service: str) -> list[str]:
        return environments_of_group(self.process_id(service))

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

    def roll(self, service: str) -> None:
        """Restart one replica after the other."""
        self._service("roll", service)

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
    """For containers: one for each service, or several replicas (``make up SCALE=2``)."""

    def freeze(self, service: str) -> None:
        self.docker("pause", *self.containers(service))

    def thaw(self, service: str) -> None:
        self.docker("unpause", *self.containers(service))

    def python(self, service: str, program: str) -> str:
        return self.docker("exec", self.containers(service)[0], "python", "-c", program)

    def environments(self, service: str) -> list[str]:
        return [
            self.docker("exec", container, "python", "-c", PRINT_ENVIRONMENTS) for container in self.containers(service)
        ]

    def output(self, service: str) -> str:
        logs = [self.docker("logs", "--tail", str(LAST_LINES), container) for container in self.containers(service)]
        return "\n".join(logs)

    def containers(self, service: str) -> list[str]:
        """The ids of its containers."""
        project = self.environment.get("COMPOSE_PROJECT_NAME") or "pickup"
        labels = [f"label=com.docker.compose.project={project}", f"label=com.docker.compose.service={service}"]
        return self.docker("ps", "-aq", "--filter", labels[0], "--filter", labels[1]).split()

    def docker(self, *arguments: str) -> str:
        """Run the docker command; returns what it printed."""
        return run(["docker", *arguments], self.environment)


def running_stack(base: str, control: str, parties: Parties = OURS) -> Stack:
    """The stack at the addresses in ``base``, or the one that ``make up`` started here."""
    environment = {**dotenv(), **os.environ}
    if base == "running":
        base = run([str(ROOT / "scripts" / "stack"), "urls"], environment)
        control = control or run([str(ROOT / "scripts" / "stack"), "mode"], environment).strip()
    hands = {"local": LocalHands, "compose": ComposeHands}.get(control)
    idp, dispatch, manager, *learn = base.split()
    urls, settings = [idp, dispatch, manager, *learn], environment
    if parties.app is not DispatchOrManager:
        urls[2] = parties.app.url
        settings = {**environment, "PICKUP_MANAGER_CLIENT_SECRET": parties.app.client_secret}
    # The services keep their own settings: the IdP does not start without the secret of Manager.
    return make_stack(urls, settings, hands(environment) if hands else None, parties)


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
