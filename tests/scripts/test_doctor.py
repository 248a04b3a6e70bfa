"""``make doctor``: a line for each check; what is wrong comes with its remedy and an exit status of 1.

The real script runs in a folder of its own. ``docker`` is a fake that answers as this stack's containers would.
"""

import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PORTS = {"PICKUP_IDP_PORT": "1", "PICKUP_DISPATCH_PORT": "2", "PICKUP_MANAGER_PORT": "3"}  # no program listens there
ISSUER = "http://idp.localhost:1"
# With STOPPED=manager that container is missing. What scripts/reach.py finds is in ISSUER_SEEN, KEYS and LOGOUT.
DOCKER = """#!/bin/sh
case "$*" in
    *version*) echo 27.0 ;;
    ps*service=nginx* | ps*"service=${STOPPED:-none}"*) ;;
    ps*) echo id ;;
    *openid-configuration*) echo "$ISSUER_SEEN" ;;
    *jwks*) echo "${KEYS:-200}" ;;
    *bclogout*) echo "${LOGOUT:-400}" ;;
    *date*) date +%s ;;
esac
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The scripts, a fake ``docker`` and a ``curl`` that reaches everything."""
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    shutil.copy(ROOT / ".env.example", tmp_path / ".env")
    (tmp_path / "bin").mkdir()
    for name, text in (("docker", DOCKER), ("curl", "#!/bin/sh\nexit 0\n"), ("chromium", "#!/bin/sh\n")):
        (tmp_path / "bin" / name).write_text(text, "utf-8")
        (tmp_path / "bin" / name).chmod(0o755)
    return tmp_path


def doctor(checkout: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run it with these environment variables."""
    path = {"PATH": f"{checkout}/bin:/usr/bin:/bin", "ISSUER_SEEN": ISSUER}
    command = [str(checkout / "scripts/doctor")]
    return subprocess.run(command, env={**PORTS, **path, **variables}, capture_output=True, text=True, check=False)


def test_healthy_stack_has_only_good_lines(checkout: Path) -> None:
    done = doctor(checkout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WRONG" not in done.stdout
    assert f"Pickup Manager sees the issuer {ISSUER}" in done.stdout


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        ({"STOPPED": "manager"}, "these services do not run: manager"),
        ({"ISSUER_SEEN": "http://localhost:1"}, "sees another issuer or none: http://localhost:1"),
        ({"KEYS": "ConnectionError"}, "cannot fetch the IdP's keys: ConnectionError"),
        ({"LOGOUT": "404"}, "/bclogout: 404"),
        ({"http_proxy": "http://proxy.example"}, "http_proxy is set"),
    ],
)
def test_each_fault_has_a_line_a_remedy_and_the_exit_status(checkout: Path, fault: dict[str, str], line: str) -> None:
    done = doctor(checkout, **fault)
    lines = done.stdout.splitlines()
    found = next(number for number, each in enumerate(lines) if each.startswith("WRONG") and line in each)
    assert lines[found + 1].strip().startswith("→ ")
    assert done.returncode == 1


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port on which some program listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_taken_port_is_named_with_its_setting(checkout: Path, taken_port: int) -> None:
    (checkout / "bin/docker").write_text("#!/bin/sh\nexit 1\n", "utf-8")
    done = doctor(checkout, PICKUP_MANAGER_PORT=str(taken_port))
    assert f"port {taken_port} is taken" in done.stdout
    assert "PICKUP_MANAGER_PORT" in done.stdout
    assert done.returncode == 1
