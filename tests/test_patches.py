"""What tests may patch: no private name, and no module of ours by a string, which mypy and a rename do not find."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PATCHES = ("setattr", "delattr")
OURS = {path.parent.name for path in ROOT.glob("*/__init__.py")}


def text_of(node: ast.expr) -> str:
    """A string, or the beginning of an f-string."""
    if isinstance(node, ast.JoinedStr):
        return text_of(node.values[0])
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def bad_patches(source: str) -> Iterator[str]:
    """Calls of ``setattr`` and ``delattr`` with such a name."""
    if not any(name in source for name in PATCHES):  # most files, and parsing takes time
        return
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(PATCHES):
            names = [text_of(argument) for argument in node.args[:2]]
            if any(name.startswith("_") or ("." in name and name.partition(".")[0] in OURS) for name in names):
                yield ast.unparse(node)


@pytest.mark.parametrize("folder", sorted(OURS))
def test_public_names_of_imported_modules_are_all_that_is_patched(folder: str) -> None:
    files = [path for path in (ROOT / folder).rglob("*.py") if "node_modules" not in path.parts]
    assert files
    bad = [f"{path.relative_to(ROOT)}: {patch}" for path in files for patch in bad_patches(path.read_text("utf-8"))]
    assert bad == []


@pytest.mark.parametrize("arguments", ['"idp.outbox.http.KEEP", 1', 'f"idp.flow.{step}", 1', 'http, "_places", 1'])
def test_control_such_a_patch_is_seen(arguments: str) -> None:
    assert [*bad_patches(f"monkeypatch.setattr({arguments})")]
    assert not [*bad_patches('monkeypatch.setattr(http, "KEEP", 1)')]
