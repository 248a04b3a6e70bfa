"""The extension installs alone: a separate distribution with its own dependencies, without Pickup."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from zipfile import ZipFile

import pytest

import relying_party

PACKAGE = Path(relying_party.__file__).parent
PROJECT = tomllib.loads((PACKAGE / "pyproject.toml").read_text("utf-8"))
DEPENDENCIES = [re.split(r"[\[<>=]", line)[0] for line in PROJECT["project"]["dependencies"]]
DISTRIBUTIONS = {
    "jwt": "pyjwt",
    "blinker": "flask",
    "werkzeug": "flask",
    "urllib3": "requests",
    "flask_wtf": "flask-wtf",
}
INSIDE = [path for pattern in ("*.py", "py.typed", "static/*", "templates/*/*") for path in PACKAGE.glob(pattern)]


def imported() -> set[str]:
    """The top-level names that the package imports."""
    found: set[str] = set()
    for path in PACKAGE.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.partition(".")[0])
    return found


def test_imports_match_the_declared_dependencies() -> None:
    """Minimal dependencies, all declared; none of the three services."""
    foreign = imported() - set(sys.stdlib_module_names) - {"relying_party"}
    assert {DISTRIBUTIONS.get(name, name) for name in foreign} == set(DEPENDENCIES)


def test_version_bounds_include_the_installed_versions() -> None:
    """The versions tested here satisfy the declared bounds."""
    from packaging.requirements import Requirement

    for line in PROJECT["project"]["dependencies"]:
        wanted = Requirement(line)
        assert version(wanted.name) in wanted.specifier, line


def test_changelog_begins_with_this_version() -> None:
    """The changelog belongs to the extension."""
    headings = re.findall(r"^## (\S+)", (PACKAGE / "CHANGELOG.md").read_text("utf-8"), re.M)
    assert headings[0] == relying_party.__version__


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built offline from a copy, because the build leaves files behind."""
    if find_spec("setuptools") is None:
        pytest.skip("setuptools is not installed, and the network is not asked for it")
    folder = tmp_path_factory.mktemp("wheel")
    copy = shutil.copytree(PACKAGE, folder / "relying_party", ignore=shutil.ignore_patterns("__pycache__"))
    build = "from setuptools import build_meta; build_meta.build_wheel('..')"
    subprocess.run([sys.executable, "-W", "ignore", "-c", build], cwd=copy, check=True, capture_output=True)
    (made,) = folder.glob("*.whl")
    return made


def test_wheel_contains_all_files(wheel: Path) -> None:
    """Code, templates, scripts, and the marker that it is typed."""
    names = {name for name in ZipFile(wheel).namelist() if ".dist-info" not in name}
    assert names == {f"relying_party/{path.relative_to(PACKAGE)}" for path in INSIDE}


USE = """
import sys
sys.path.insert(0, sys.argv[1])
from flask import Flask
import relying_party
app = Flask("elsewhere", instance_path=sys.argv[2])
app.config.update(RELYING_PARTY_ISSUER="https://op.example", RELYING_PARTY_CLIENT_ID="x", SECRET_KEY="k",
                  RELYING_PARTY_BASE_URL="https://shop.example")
app.add_url_rule("/", "home", lambda: "home")
relying_party.RelyingParty().init_app(app)
client = app.test_client()
assert client.get("/rp-static/live.js").status_code == 200
assert "You are logged out" in client.get("/logged-out").text
assert client.post("/bclogout").status_code == 400
print(relying_party.__file__)
print(sorted({"idp", "pickup_web", "pickup_dispatch", "pickup_manager"} & set(sys.modules)))
"""


@pytest.mark.thorough
def test_wheel_works_without_this_repository(wheel: Path, tmp_path: Path) -> None:
    """Another folder, with only the wheel and its dependencies."""
    installed = tmp_path / "installed"
    ZipFile(wheel).extractall(installed)
    done = subprocess.run(
        [sys.executable, "-I", "-c", USE, installed, tmp_path / "instance"],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    path, demonstration = done.stdout.splitlines()
    assert path.startswith(str(installed)), "the wheel's package is used"
    assert demonstration == "[]"
    assert (tmp_path / "instance" / "relying_party.db").exists(), "sessions need no setting"
