"""Files of this repository as the tutorial shows them, and where a function stands in one."""

import ast
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from werkzeug.security import safe_join

ROOT = Path(__file__).parent.parent
SHOWN = ("idp/", "relying_party/", "pickup_web/", "pickup_dispatch/", "pickup_manager/", "pickup_learn/")


class Lines(NamedTuple):
    """From the first to the last line, counted from 1."""

    first: int
    last: int


def read(path: str) -> str:
    """The text of a file. Raises OSError or ValueError for a path that is not shown, or names no file."""
    is_plain = path.startswith(SHOWN) and path.endswith(".py") and ".." not in path.split("/")
    return Path((is_plain and safe_join(str(ROOT), path)) or "").read_text(encoding="utf-8")


@cache
def names_in(path: str) -> Mapping[str, Lines]:
    """The functions, methods and classes of a file, by name. Of methods with the same name: the first."""
    found: dict[str, Lines] = {}
    for node in ast.walk(ast.parse(read(path))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.setdefault(node.name, Lines(node.lineno, node.end_lineno or node.lineno))
    return found
