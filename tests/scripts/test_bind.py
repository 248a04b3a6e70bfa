"""``PICKUP_BIND``: other machines reach Pickup only through nginx, which bears slow senders.

The real scripts run in a folder of their own. ``docker`` is a fake that writes down how it was called.
"""

import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.thorough

ROOT = Path(__file__).parent.parent.parent
PORTS = {f"PICKUP_{name}_PORT": str(port) for port, name in enumerate(("IDP", "DISPATCH", "MANAGER", "LEARN"), 1)}
# An engine with all images. With RUNS=tls there are containers, and nginx is one of them.
DOCKER = """#!/bin/sh
echo "$*" >>"$CALLS"
case "$*" in
    version*) echo 27.0 ;;
    ps*label=pickup.scheme=http*) ;;
    ps*) [ -z "${RUNS:-}" ] || echo id ;;
    inspect*) echo running ;;
esac
"""


class Checkout:
    """A folder with the scripts, a fake ``docker``, and no way to install packages."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.calls = folder, folder / "calls"
        shutil.copytree(ROOT / "scripts", folder / "scripts")
        shutil.copy(ROOT / ".env.example", folder)
        self._script("bin/docker", DOCKER)
        self._script("scripts/venv", "#!/bin/sh\necho 'installing: the check was passed' >&2\nexit 1\n")

    def _script(self, name: str, text: str) -> None:
        file = self.folder / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, "utf-8")
        file.chmod(0o755)

    def up(self, **variables: str) -> subprocess.CompletedProcess[str]:
        """``make up``, in an environment with these variables."""
        self.calls.write_text("", "utf-8")
        environment = {**PORTS, "PATH": f"{self.folder}/bin:/usr/bin:/bin", "CALLS": str(self.calls), **variables}
        command = [str(self.folder / "scripts/stack"), "up"]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    def did(self, what: str) -> bool:
        """Whether ``docker`` was told to."""
        return any(what in call for call in self.calls.read_text("utf-8").splitlines())


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """See :class:`Checkout`."""
    return Checkout(tmp_path)


@pytest.mark.parametrize("mode", ["local", "compose"])
@pytest.mark.parametrize("address", ["0.0.0.0", "192.0.2.1", "127.0.0.1.example"])  # noqa: S104 # what is refused
def test_another_address_without_nginx_is_refused_and_the_sentence_says_why(
    checkout: Checkout, mode: str, address: str
) -> None:
    """Before anything is installed, stopped or started."""
    done = checkout.up(MODE=mode, PICKUP_BIND=address)
    assert done.returncode == 1
    assert f"PICKUP_BIND is '{address}', which needs TLS=1" in done.stderr
    assert "slow" in done.stderr
    assert not any(map(checkout.did, ("build", "run", "up -d", "down")))


@pytest.mark.parametrize("bind", [{}, {"PICKUP_BIND": "127.0.0.1"}, {"PICKUP_BIND": ""}])
def test_control_the_loopback_needs_no_nginx(checkout: Checkout, bind: dict[str, str]) -> None:
    """Plain ``make up``."""
    assert "the check was passed" in checkout.up(MODE="local", **bind).stderr
    assert checkout.up(MODE="compose", **bind).returncode == 0
    assert checkout.did("compose up -d")


def test_with_tls_any_address_will_do(checkout: Checkout) -> None:
    """nginx is the only service that is published."""
    done = checkout.up(TLS="1", PICKUP_BIND="0.0.0.0")  # noqa: S104 # the point of it
    assert done.returncode == 0, done.stderr
    assert checkout.did("docker-compose.tls.yml up -d")


def test_second_start_keeps_tls_and_the_address(checkout: Checkout) -> None:
    """The second ``make up`` need not say TLS=1 again."""
    done = checkout.up(RUNS="tls", PICKUP_BIND="0.0.0.0")  # noqa: S104 # the point of it
    assert done.returncode == 0, done.stderr


def test_without_nginx_compose_publishes_on_the_loopback_whatever_is_set() -> None:
    """``docker compose up`` without our scripts, too."""
    lines = [line.strip() for line in (ROOT / "docker-compose.yml").read_text("utf-8").splitlines()]
    published = [line for line in lines if line.startswith("ports:")]
    assert len(published) == 4
    assert all(line.startswith('ports: ["127.0.0.1:$') for line in published)
