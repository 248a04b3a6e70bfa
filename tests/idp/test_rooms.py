"""Import rules: the story in idp/flow/ reads from top to bottom, and the modules below never import it."""

import ast
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FACES = ("admin_api", "console", "account", "registration", "workbench")
FLOORS = [
    FACES,
    ("operations",),
    ("background",),
    ("flow",),
    ("authorization", "tokens", "sign_in", "clients"),
    ("outbox",),
    ("models",),
]
PURE = [
    "flow/logout_token.py",
    "flow/session_ending.py",
    "tokens/id_token.py",
    "authorization/request.py",
    "clients/metadata.py",
    "outbox/*.py",
]


@cache
def imports(path: Path) -> set[str]:
    """The modules that a file imports, as dotted names; ``from idp import x`` counts as ``idp.x``."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
        elif isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
    return found


def rooms() -> dict[str, set[str]]:
    """Each room below idp/, a folder or a file, with the rooms it imports."""
    found: dict[str, set[str]] = {}
    for path in sorted((ROOT / "idp").rglob("*.py")):
        room = path.relative_to(ROOT / "idp").parts[0].removesuffix(".py")
        used = {name.split(".")[1] for name in imports(path) if name.startswith("idp.")}
        found.setdefault(room, set()).update(used - {room})
    return found


def test_rooms_import_only_rooms_below_them() -> None:
    floor = {room: number for number, group in enumerate(FLOORS) for room in group}
    upwards = {
        (room, used)
        for room, uses in rooms().items()
        for used in uses
        if room in floor and used in floor and floor[used] < floor[room]
    }
    assert upwards == set()


def test_no_modules_import_each_other_in_a_circle() -> None:
    names = {path: ".".join(path.relative_to(ROOT).with_suffix("").parts) for path in (ROOT / "idp").rglob("*.py")}
    modules = set(names.values())
    graph = {names[path]: {one for one in imports(path) if one in modules} - {names[path]} for path in names}
    assert list(TopologicalSorter(graph).static_order())


@pytest.mark.parametrize("pattern", PURE)
def test_steps_without_a_request_import_no_flask(pattern: str) -> None:
    for path in (ROOT / "idp").glob(pattern):
        assert not [name for name in imports(path) if name.split(".")[0] == "flask"], path


def test_only_tokens_imports_authlibs_server() -> None:
    for path in (ROOT / "idp").rglob("*.py"):
        if path.parent.name not in ("tokens", "clients") and path.name != "models.py":
            assert not [name for name in imports(path) if name.startswith("authlib")], path


SHOWN = ("idp", "pickup_dispatch", "pickup_manager")  # what others copy


@pytest.mark.parametrize("package", SHOWN)
def test_copied_code_and_teaching_service_do_not_import_each_other(package: str) -> None:
    for path in (ROOT / package).rglob("*.py"):
        assert not [name for name in imports(path) if name.split(".")[0] == "pickup_learn"], path
    for path in (ROOT / "pickup_learn").rglob("*.py"):
        assert not [name for name in imports(path) if name.split(".")[0] == package], path
