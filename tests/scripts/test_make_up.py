"""``make up`` looks before it leaps: at .env, at the settings and at the ports, and stops what runs last.

The real scripts run in a folder of their own. ``docker`` is a fake that writes down how it was called.
"""

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytestmark = pytest.mark.thorough

ROOT = Path(__file__).parent.parent.parent
KEYS = tuple(f"PICKUP_{name}_SECRET_KEY" for name in ("IDP", "DISPATCH", "MANAGER", "LEARN"))
SECRETS = (*KEYS, "PICKUP_DISPATCH_CLIENT_SECRET", "PICKUP_MANAGER_CLIENT_SECRET", "PICKUP_DEMO_PASSWORD")
PORTS = {f"PICKUP_{name}_PORT": str(port) for port, name in enumerate(("IDP", "DISPATCH", "MANAGER", "LEARN"), 1)}

# Containers exist when RUNS is set. Of those, one publishes the port $PUBLISHED.
DOCKER = """#!/bin/sh
echo "$*" >>"$CALLS"
case "$*" in
    *service=nginx*) ;;
    ps*publish=*) case "$*" in *"publish=${PUBLISHED:-none}"*) echo id ;; esac ;;
    ps*) [ -z "${RUNS:-}" ] || echo id ;;
    'image inspect'*) [ -n "${IMAGE:-}" ] ;;
    inspect*) echo running ;;
    version*) echo 27.0 ;;
esac
"""


class Checkout:
    """A folder with the scripts, and what is needed to watch them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._calls = folder, folder / "calls"
        shutil.copytree(ROOT / "scripts", folder / "scripts")
        shutil.copy(ROOT / ".env.example", folder)
        (folder / "bin").mkdir()
        self._script("bin/docker", DOCKER)

    def _script(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text, "utf-8")
        (self.folder / name).chmod(0o755)

    def break_installing(self) -> None:
        """From now on packages cannot be installed."""
        self._script("scripts/venv", "#!/bin/sh\nexit 1\n")

    def up(self, **variables: str) -> subprocess.CompletedProcess[str]:
        """``make up``, in an environment with these variables."""
        self._calls.write_text("", "utf-8")
        path = f"{self.folder}/bin:/usr/bin:/bin"
        environment = {**PORTS, "PATH": path, "CALLS": str(self._calls), **variables}
        command = [str(self.folder / "scripts/stack"), "up"]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    def did(self, what: str) -> bool:
        """Whether ``docker`` was told to."""
        return any(what in call for call in self._calls.read_text("utf-8").splitlines())

    def changed_nothing(self) -> bool:
        """Whether nothing was installed, started or stopped."""
        return not any(map(self.did, ("build", "pull", "run", "up -d", "down", "stop", "kill")))

    def dotenv(self) -> dict[str, str]:
        """The settings in .env."""
        lines = (self.folder / ".env").read_text("utf-8").splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


@contextmanager
def taken_port() -> Iterator[str]:
    """A port on which somebody else listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield str(server.getsockname()[1])


# --- .env ---


def test_copied_example_gets_its_secrets(checkout: Checkout) -> None:
    """The first thing that many people do: cp .env.example .env."""
    shutil.copy(checkout.folder / ".env.example", checkout.folder / ".env")
    done = checkout.up()
    assert done.returncode == 0, done.stderr
    assert checkout.did("up -d")
    filled = (*SECRETS, "PICKUP_ADMIN_CLIENT_SECRET")
    values = [checkout.dotenv()[name] for name in filled]
    assert all(values)
    assert len(set(values)) == len(values), "each is another one"
    before, after = (
        [line for line in (checkout.folder / name).read_text("utf-8").splitlines() if not line.startswith(filled)]
        for name in (".env.example", ".env")
    )
    assert after == before, "comments, empty lines and other settings stay"


def test_without_an_env_file_one_is_made_for_its_owner_alone(checkout: Checkout) -> None:
    """With the same values."""
    assert checkout.up().returncode == 0
    assert set(SECRETS) <= checkout.dotenv().keys()
    assert (checkout.folder / ".env").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("nothing", ["", '""', "''", "\r"])
def test_only_empty_or_missing_settings_are_filled_in(checkout: Checkout, nothing: str) -> None:
    """Other values stay as they are, and so does what the services do not know."""
    mine = "# mine\nPICKUP_DEMO_PLAIN_HTTP=true\nOTHER=a \\ b\nPICKUP_DEMO_PASSWORD=correct horse\n"
    mine += f"PICKUP_MANAGER_CLIENT_SECRET={nothing}\n"
    (checkout.folder / ".env").write_bytes(mine.encode())
    said = checkout.up().stdout
    values = checkout.dotenv()
    assert (values["OTHER"], values["PICKUP_DEMO_PASSWORD"]) == ("a \\ b", "correct horse")
    assert len(values["PICKUP_MANAGER_CLIENT_SECRET"]) == 64
    assert "filled in .env:" in said
    assert "PICKUP_MANAGER_CLIENT_SECRET" in said
    assert values["PICKUP_MANAGER_CLIENT_SECRET"] not in said


def test_env_file_with_one_shared_key_gets_a_key_per_service(checkout: Checkout) -> None:
    """Each a new one, because all services knew the old one."""
    (checkout.folder / ".env").write_text("PICKUP_SECRET_KEY=known to all\n", "utf-8")
    assert checkout.up(PICKUP_DEMO_PLAIN_HTTP="true").returncode == 0
    values = checkout.dotenv()
    assert "known to all" not in values.values()
    assert "PICKUP_SECRET_KEY" not in values
    assert len({values[name] for name in KEYS}) == 4


def test_setting_that_is_in_the_env_file_twice_stops_the_start(checkout: Checkout) -> None:
    """Compose takes the last line of a name, and local mode the first."""
    name = checkout.folder / ".env"
    name.write_text(f"{(checkout.folder / '.env.example').read_text('utf-8')}PICKUP_IDP_URL=http://localhost:9000\n")
    before = name.read_bytes()
    done = checkout.up()
    assert done.returncode != 0
    assert "PICKUP_IDP_URL is in .env more than once: remove all of its lines but one." in done.stderr
    assert name.read_bytes() == before


def test_complete_env_file_is_not_changed(checkout: Checkout) -> None:
    """A second `make up` finds nothing to do."""
    checkout.up()
    before = (checkout.folder / ".env").read_bytes()
    assert ".env" not in checkout.up().stdout
    assert (checkout.folder / ".env").read_bytes() == before


# --- settings ---


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("PICKUP_DEMO_PASSWORD", "", "PICKUP_DEMO_PASSWORD is empty in the environment"),
        ("PICKUP_IDP_PORT", "http", "PICKUP_IDP_PORT is 'http'; it must be a number"),
        ("PICKUP_IDP_PORT", "2", "which another service already has"),
        ("PICKUP_IDP_URL", "https://idp.example/", "leave out the slash at the end"),
        ("PICKUP_MANAGER_URL", "manager.example", "it must begin with http:// or https://"),
        ("PICKUP_DEMO_PLAIN_HTTP", "false", "which is not https"),
        ("PICKUP_DEMO_EVENTS", "maybe", "PICKUP_DEMO_EVENTS is 'maybe'; it must be true or false"),
    ],
)
def test_wrong_setting_is_found_before_the_installation(checkout: Checkout, name: str, value: str, says: str) -> None:
    """In the first second, and not after the image was built."""
    done = checkout.up(**{name: value})
    assert done.returncode == 1
    assert says in done.stderr
    assert checkout.changed_nothing()


def test_with_tls_the_default_addresses_are_https(checkout: Checkout) -> None:
    """So that plain http need not be allowed."""
    done = checkout.up(TLS="1", PICKUP_DEMO_PLAIN_HTTP="false", IMAGE="is there")
    assert done.returncode == 0, done.stderr


def test_with_replicas_the_databases_get_passwords(checkout: Checkout) -> None:
    """Only then, because one process for each service needs none."""
    assert checkout.up(IMAGE="is there").returncode == 0
    assert not [name for name in checkout.dotenv() if name.endswith("_DATABASE_PASSWORD")]
    done = checkout.up(SCALE="3", IMAGE="is there")
    assert done.returncode == 0, done.stderr
    values = [value for name, value in checkout.dotenv().items() if name.endswith("_DATABASE_PASSWORD")]
    assert len(set(values)) == 4
    assert all(values)
    assert checkout.did("-f docker-compose.tls.yml -f docker-compose.scale.yml up -d")
    assert checkout.did("--scale idp=3 --scale dispatch=3 --scale manager=3")


def test_replicas_may_have_tls(checkout: Checkout) -> None:
    """Then plain http need not be allowed."""
    done = checkout.up(TLS="1", SCALE="2", PICKUP_DEMO_PLAIN_HTTP="false", IMAGE="is there")
    assert done.returncode == 0, done.stderr
    assert checkout.did("-f docker-compose.tls.yml -f docker-compose.scale.yml up -d")


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"SCALE": "2", "MODE": "local"}, "SCALE=2 needs Docker, because PostgreSQL and nginx run in containers"),
        ({"SCALE": "0"}, "SCALE is '0'; it can be from 1 to 8."),
        ({"SCALE": "9"}, "SCALE is '9'; it can be from 1 to 8."),
    ],
)
def test_replicas_that_are_not_possible_are_refused(checkout: Checkout, variables: dict[str, str], says: str) -> None:
    """Before anything is started."""
    done = checkout.up(**variables)
    assert done.returncode == 1
    assert says in done.stderr
    assert checkout.changed_nothing()


# --- ports ---


@pytest.mark.parametrize("change", [{"MODE": "local"}, {"TLS": "1"}, {}])
def test_taken_port_is_found_before_the_running_stack_is_stopped(checkout: Checkout, change: dict[str, str]) -> None:
    """Whatever the new start would have changed."""
    with taken_port() as port:
        done = checkout.up(RUNS="yes", PICKUP_DISPATCH_PORT=port, **change)
    assert done.returncode == 1
    assert f"Port {port}, which Pickup Dispatch needs, is taken" in done.stderr
    assert checkout.changed_nothing()


def test_ports_of_the_running_stack_count_as_free(checkout: Checkout) -> None:
    """It is free when the stack has been stopped: here to be started again with TLS."""
    with taken_port() as port:
        done = checkout.up(RUNS="yes", PUBLISHED=port, PICKUP_DISPATCH_PORT=port, TLS="1", IMAGE="is there")
    assert done.returncode == 0, done.stderr
    assert checkout.did("down")
    assert checkout.did("docker-compose.tls.yml up -d")


def test_running_stack_is_stopped_only_when_the_new_one_can_start(checkout: Checkout) -> None:
    """Packages that cannot be installed leave everything as it was."""
    checkout.break_installing()
    assert checkout.up(RUNS="yes", MODE="local").returncode == 1
    assert checkout.changed_nothing()


# --- the summary ---


def test_summary_names_the_pages_and_the_operator(checkout: Checkout) -> None:
    """What a newcomer needs fits on one screen."""
    said = checkout.up(NO_COLOR="1", PICKUP_DEMO_PASSWORD="correct horse").stdout
    lines = [" ".join(line.split()) for line in said.splitlines()]
    assert "Your account http://idp.localhost:1/account" in lines
    assert "Console http://idp.localhost:1/console for the operator, admin" in lines
    assert "Your own app docs/your-app/README.md also if it does not find the name idp.localhost" in lines
    assert "Sign in as cameron, alex or admin" in lines
    assert "Password correct horse" in lines
    assert len(said.splitlines()) <= 24
