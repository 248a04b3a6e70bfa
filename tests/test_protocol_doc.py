"""Docs/protocol.md says what we do about every requirement, and names tests that are there."""

import ast
import functools
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DOCUMENT = ROOT / "docs" / "protocol.md"
# How many requirements of the provider each series has; they are numbered from 1.
SERIES = {
    "BCL": 36, "RPL": 33, "FCL": 8, "DISC": 22, "JWK": 8, "REG": 18, "AUTH": 26, "ERR": 5, "FP": 5, "CODE": 5,
    "TOK": 14, "IDT": 11, "UI": 12, "ROB": 9, "PKCE": 6, "ISS": 2, "REV": 3, "INT": 3, "BCP": 9,
}  # fmt: skip
REQUIREMENTS = [f"{series}-{number:02}" for series, last in SERIES.items() for number in range(1, last + 1)]
STATES = {"met", "**chosen otherwise**", "**not met**"}


@dataclass(frozen=True)
class Row:
    """One requirement."""

    id: str
    state: str
    words: str
    tests: list[str]


def rows() -> list[Row]:
    """The rows of all tables that begin with the name of a requirement."""
    found = []
    for line in DOCUMENT.read_text("utf-8").splitlines():
        if re.match(r"\| [A-Z]+-\d+ \|", line):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            assert len(cells) == 4, line
            found.append(Row(cells[0], cells[1], cells[2], re.findall(r"`([^`]+::[^`]+)`", cells[3])))
    return found


@functools.cache
def names_in(path: Path) -> set[str]:
    """The names of a file's tests."""
    tree = ast.parse(path.read_text("utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def test_every_requirement_has_one_row_in_its_order() -> None:
    """None is missing, none is there twice, none is made up."""
    names = [row.id for row in rows()]
    assert sorted(set(REQUIREMENTS) - set(names)) == [], "missing"
    assert sorted(set(names) - set(REQUIREMENTS)) == [], "not a requirement"
    assert names == REQUIREMENTS


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.id)
def test_each_row_says_what_we_do_and_names_existing_tests(row: Row) -> None:
    """In our own words; what is met is shown by a test, and what is not met is not."""
    assert row.state in STATES
    assert len(row.words) > 3
    assert bool(row.tests) or row.state != "met", "nothing shows it"
    assert not (row.tests and row.state == "**not met**"), "then it is not what the test shows"
    for test in row.tests:
        path, _, name = test.partition("::")
        assert (ROOT / path).is_file(), path
        assert name in names_in(ROOT / path), test


def test_totals_at_the_top_are_right() -> None:
    """The page's first table counts the rows below."""
    text = DOCUMENT.read_text("utf-8")
    said = {state: int(number) for state, number in re.findall(r"^\| ([a-z ]+) \| (\d+) \|$", text, re.MULTILINE)}
    assert said == Counter(row.state.strip("*") for row in rows())
