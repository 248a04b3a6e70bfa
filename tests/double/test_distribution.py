"""``pip install ./idp``: the disposable provider and its pytest plugin, used without the rest of Pickup."""

import json
import re
import shlex
import shutil
import stat
import subprocess
import sys
import sysconfig
import tomllib
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import distribution, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
import yaml
from flask import Flask
from packaging.requirements import Requirement
from sqlalchemy.orm import Session

from attack.pickup import free_port
from idp import disposable
from idp.models import Client, User
from pickup_web.database import engine_of

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "idp" / "pyproject.toml").read_text("utf-8"))
CARRIED = ("idp", "pickup_web", "pickup_testing")
SUITE = ROOT / "tests" / "double" / "suite"
SEED = '[[people]]\nusername = "zoe"\n'
BUILD = "from setuptools import build_meta; build_meta.build_wheel('..')"


def run(command: list[str | Path], folder: Path) -> "subprocess.CompletedProcess[str]":
    """The finished process; its standard input is closed."""
    return subprocess.run(
        command, cwd=folder, check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120
    )


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of a new virtual environment with both wheels, built offline from copies, and what they declare to need.

    The third-party packages are links to those of this environment, so that no network is needed.
    """
    if find_spec("setuptools") is None:
        pytest.skip("setuptools is not installed, and the network is not asked for it")
    folder = tmp_path_factory.mktemp("distribution")
    for package in (*CARRIED, "relying_party"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__", "build"))
    for package in ("idp", "relying_party"):
        built = run([sys.executable, "-W", "ignore", "-c", BUILD], folder / package)
        assert built.returncode == 0, built.stderr
    venv.create(folder / "venv", with_pip=False)
    python = folder / "venv" / "bin" / "python"
    target = Path(sysconfig.get_path("purelib", vars={"base": str(folder / "venv")}))
    for wheel in folder.glob("*.whl"):
        ZipFile(wheel).extractall(target)
    own = [
        tomllib.loads((ROOT / name / "pyproject.toml").read_text("utf-8"))["project"]
        for name in ("idp", "relying_party")
    ]
    for name in needed([*own[0]["dependencies"], *own[1]["dependencies"], "pytest"]):
        for top in {file.parts[0] for file in distribution(name).files or () if file.parts[0] != ".."}:
            if not (target / top).exists():
                (target / top).symlink_to(Path(sysconfig.get_path("purelib")) / top)
    return python


def needed(requirements: list[str]) -> set[str]:
    """The names of these distributions and of all that they need."""
    found: set[tuple[str, str]] = set()  # name and extra
    left = [Requirement(line) for line in requirements]
    while left:
        wanted = left.pop()
        for extra in {"", *wanted.extras} - {extra for name, extra in found if name == wanted.name}:
            found.add((wanted.name, extra))
            needs = [Requirement(line) for line in distribution(wanted.name).requires or ()]
            left += [each for each in needs if not each.marker or each.marker.evaluate({"extra": extra})]
    return {name for name, _ in found}


@pytest.mark.thorough
def test_wheel_contains_all_files(python: Path) -> None:
    """Code, templates, scripts, the seed."""
    folder = python.parents[2]
    (wheel,) = folder.glob("pickup_idp-*.whl")
    names = {name for name in ZipFile(wheel).namelist() if ".dist-info" not in name}
    wanted = {
        str(path.relative_to(folder))
        for package in CARRIED
        for path in (folder / package).rglob("*")
        if path.is_file() and not {"build", "pickup_idp.egg-info"} & set(path.relative_to(folder).parts)
    }
    assert names == wanted - {"idp/pyproject.toml", "idp/setup.cfg"}


def test_version_bounds_include_the_installed_versions() -> None:
    """The versions tested here satisfy the declared bounds."""
    for line in PROJECT["project"]["dependencies"]:
        wanted = Requirement(line)
        assert version(wanted.name) in wanted.specifier, line


@pytest.mark.thorough
def test_suite_of_a_user_passes(python: Path, tmp_path: Path) -> None:
    """A Flask app with the extension, one with plain Authlib; the plugin is found by its entry point."""
    shutil.copytree(SUITE, tmp_path / "suite")
    done = run([python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "suite"], tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "pickup_dispatch" not in done.stdout


@pytest.mark.thorough
def test_provider_of_a_folder_keeps_its_data(python: Path, tmp_path: Path) -> None:
    """It starts with the people and clients of the options, and stops with its standard input."""
    person = json.dumps({"username": "zoe", "password": "any", "claims": {"level": 3}})
    client = json.dumps({"client_id": "my-app", "client_secret": "s", "redirect_uris": ["http://localhost:5000/cb"]})
    options = ["--port", "0", "--data", str(tmp_path / "data"), "--person", person, "--client", client]
    done = run([python, "-m", "idp", *options, "--stop-with-stdin"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("ready: http://localhost:")
    assert "for tests only" in done.stderr
    assert stat.S_IMODE((tmp_path / "data" / "secret_key").stat().st_mode) == 0o600
    assert (tmp_path / "data" / "idp.db").exists()


# --- the snippets of docs/testing-your-app.md ---


def snippets(marker: str) -> list[Any]:
    """Its YAML blocks that contain ``marker``."""
    page = (ROOT / "docs" / "testing-your-app.md").read_text("utf-8")
    blocks = re.findall(r"^```yaml\n(.*?)^```$", page, re.M | re.S)
    return [yaml.safe_load(block) for block in blocks if marker in block]


@contextmanager
def provider_runs(python: Path, command: list[str], port: int, folder: Path) -> Iterator[str]:
    """Runs the command of a container here, on that port. Gives the issuer that it announces."""
    (folder / "people.toml").write_text(SEED)
    here = {"python": str(python), "0.0.0.0": "127.0.0.1", "/people.toml": "people.toml"}  # noqa: S104
    with subprocess.Popen(
        [*(here.get(word, word) for word in command), "--port", str(port), "--stop-with-stdin"],
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:  # its end closes the standard input
        assert process.stdout
        yield process.stdout.readline().strip().removeprefix("ready: ")


@pytest.mark.thorough
def test_compose_service_of_the_page_starts_and_becomes_healthy(python: Path, tmp_path: Path) -> None:
    (file,) = snippets("depends_on")
    service, app, port = file["services"]["idp"], file["services"]["my-app"], free_port()
    with provider_runs(python, shlex.split(service["command"]), port, tmp_path) as issuer:
        assert issuer == app["environment"]["OIDC_ISSUER"]
        _, _, *check = service["healthcheck"]["test"]
        assert run([python, *(word.replace("9000", str(port)) for word in check)], tmp_path).returncode == 0


@pytest.mark.thorough
def test_gitlab_service_of_the_page_starts_with_the_issuer_of_the_job(python: Path, tmp_path: Path) -> None:
    (file,) = snippets("alias: idp")
    (service,) = file["test"]["services"]
    with provider_runs(python, service["command"], free_port(), tmp_path) as issuer:
        assert issuer == file["test"]["variables"]["OIDC_ISSUER"]


@pytest.mark.thorough
def test_shell_lines_of_the_github_step_start_the_provider(python: Path, tmp_path: Path) -> None:
    ((step,),) = snippets("- run: |")
    install, start, wait = step["run"].splitlines()
    assert install == "pip install ./pickup/idp"  # what the fixture has done
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "people.toml").write_text(SEED)
    port = str(free_port())
    start = start.replace("python -m idp", f"{python} -m idp --port {port}")
    done = run(["sh", "-ec", f"{start}\n{wait.replace('9000', port)}\nkill $!; wait"], tmp_path)
    assert "ok" in done.stdout.splitlines(), done.stdout + done.stderr


# --- options ---


def test_options_follow_the_rules_of_the_seed_file(idp: Flask) -> None:
    people, clients = disposable.read_options(
        ('{"username": "zoe", "sub": "zoe-1"}',),
        ('{"client_id": "my-app", "client_secret": "s", "redirect_uris": ["https://app.example/cb"]}',),
    )
    disposable.add(idp, (people, clients))
    with Session(engine_of(idp)) as db:
        assert db.get_one(User, "zoe-1").username == "zoe"
        assert db.get_one(Client, "my-app").name == "my-app"


@pytest.mark.parametrize(
    ("person", "says"),
    [("{", "take JSON"), ("[]", "--person"), ('{"username": "Zoe Abel"}', "username"), ('{"sub": "x"}', "username")],
)
def test_invalid_option_stops_the_start_with_a_sentence(person: str, says: str, idp: Flask) -> None:
    with pytest.raises(SystemExit, match=says):
        disposable.add(idp, disposable.read_options((person,), ()))
