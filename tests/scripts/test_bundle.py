"""``make bundle``, and ``make up`` in its unpacked folder: nothing is downloaded that the bundle has."""

import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.thorough

ROOT = Path(__file__).parent.parent.parent
# Remembers the label of each image that was built, saved or loaded, in a file of that name.
DOCKER = """#!/bin/sh
echo "$*" >>"$CALLS"
mkdir -p "$IMAGES"
case "$*" in
    version*) [ -z "${NO_ENGINE:-}" ] && echo 27.0 ;;
    'image inspect nginx:stable') exit 1 ;;
    'image inspect'*) for last; do :; done; cat "$IMAGES/$last" 2>/dev/null ;;
    build*) label=${3#pickup.inputs=}; echo "$label" >"$IMAGES/$5" ;;
    save*) cat "$IMAGES/pickup:bundle" ;;
    'load -i '*) cp "$3" "$IMAGES/pickup:bundle" ;;
    tag*) cp "$IMAGES/$2" "$IMAGES/$3" ;;
    inspect*) echo running ;;
esac
"""
PIP = """#!/bin/sh
echo "pip $*" >>"$CALLS"
case "$*" in *download*) for folder; do [ "${take:-}" ] && break; [ "$folder" = -d ] && take=yes; done
    touch "$folder/flask.whl" ;; esac
"""


class Machine:
    """A checkout, an engine without images, and a Python that notes how pip is called."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._calls = folder, folder / "calls"
        self._script("bin/docker", DOCKER)

    def clone(self) -> None:
        """A clone of this repository's files, in ``clone``."""
        files = subprocess.check_output(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, text=True)
        for name in files.splitlines():
            if (ROOT / name).is_file():
                (self.folder / "clone" / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, self.folder / "clone" / name)
        for command in (["init", "-q"], ["add", "-A"]):
            subprocess.run(["git", *command], cwd=self.folder / "clone", check=True)
        self._script("clone/.venv/bin/python", PIP)
        for name in ("runtime.txt", "test.txt"):
            shutil.copy(ROOT / "requirements" / name, self.folder / "clone/.venv")

    def _script(self, name: str, text: str) -> None:
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_text(text, "utf-8")
        (self.folder / name).chmod(0o755)

    def run(self, checkout: str, script: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """One of the scripts of a checkout."""
        self._calls.write_text("", "utf-8")
        path = f"{self.folder}/bin:/usr/bin:/bin"
        known = {
            "PATH": path,
            "CALLS": str(self._calls),
            "IMAGES": str(self.folder / "images"),
            "HOME": os.environ["HOME"],
        }
        command = [str(self.folder / checkout / "scripts" / script), *arguments]
        return subprocess.run(command, env=known | variables, capture_output=True, text=True, check=False)

    def calls(self, *words: str) -> list[str]:
        """The calls that begin with one of these words."""
        return [call for call in self._calls.read_text("utf-8").splitlines() if call.startswith(words)]

    def unpack(self) -> None:
        """The bundle, in ``pickup``, on a machine whose engine has no images."""
        with tarfile.open(self.folder / "clone/.run/pickup-bundle.tar") as archive:
            archive.extractall(self.folder, filter="data")
        shutil.rmtree(self.folder / "images", ignore_errors=True)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(tmp_path)
    made.clone()
    return made


def test_bundle_has_sources_image_and_wheels_and_no_secret(machine: Machine) -> None:
    (machine.folder / "clone/.env").write_text("PICKUP_DEMO_PASSWORD=secret\n", "utf-8")
    (machine.folder / "clone/.run/class").mkdir(parents=True)
    (machine.folder / "clone/.run/class/seat01-seat30.html").touch()
    result = machine.run("clone", "bundle")
    assert result.returncode == 0, result.stdout + result.stderr
    with tarfile.open(machine.folder / "clone/.run/pickup-bundle.tar") as archive:
        names = {name.removeprefix("pickup/") for name in archive.getnames()}
    assert {"Makefile", "scripts/stack", ".env.example", "bundle/images.tar", "bundle/wheels/flask.whl"} <= names
    assert not names & {".env", ".run", ".git", ".venv"}


def test_wheels_are_checked_by_their_hashes_and_for_each_python(machine: Machine) -> None:
    machine.run("clone", "bundle")
    calls = machine.calls("pip -m pip")
    assert [call.split("--python-version ")[1].split()[0] for call in calls] == ["3.11", "3.12", "3.13"]
    assert all("--require-hashes" in call and "requirements/test.txt" in call for call in calls)


def test_up_loads_the_image_of_the_bundle_and_builds_none(machine: Machine) -> None:
    machine.run("clone", "bundle")
    machine.unpack()
    machine.run("pickup", "stack", "up", COMPOSE_PROJECT_NAME="room", **PORTS)
    assert machine.calls("load", "tag") == ["load -i bundle/images.tar", "tag pickup:bundle room"]
    assert machine.calls("build", "pull") == []
    machine.run("pickup", "stack", "up", COMPOSE_PROJECT_NAME="room", **PORTS)
    assert machine.calls("load") == [], "once is enough"


def test_up_builds_when_the_sources_have_changed(machine: Machine) -> None:
    machine.run("clone", "bundle")
    machine.unpack()
    with (machine.folder / "pickup/idp/home.py").open("a") as file:
        file.write("# changed\n")
    machine.run("pickup", "stack", "up", **PORTS)
    assert len(machine.calls("build")) == 1


def test_without_an_engine_the_bundle_is_for_local_mode(machine: Machine) -> None:
    result = machine.run("clone", "bundle", NO_ENGINE="yes")
    assert result.returncode == 0
    assert "local mode only" in result.stdout
    machine.unpack()
    assert not (machine.folder / "pickup/bundle/images.tar").exists()


def test_local_mode_takes_the_wheels_of_the_bundle_and_no_index(machine: Machine) -> None:
    machine.run("clone", "bundle")
    machine.unpack()
    shutil.copytree(machine.folder / "clone/.venv", machine.folder / "pickup/.venv")
    (machine.folder / "pickup/.venv/runtime.txt").unlink()
    machine.run("pickup", "venv", "runtime")
    (call,) = machine.calls("pip -m pip")
    assert "--no-index --find-links bundle/wheels" in call
    assert "--require-hashes" in call


PORTS = {f"PICKUP_{name}_PORT": str(port) for port, name in enumerate(("IDP", "DISPATCH", "MANAGER", "LEARN"), 1)}
