"""The documents keep pace with the code: settings, events, links, commands, and the tests they name."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e import pictures
from pickup_web.settings import Settings

ROOT = Path(__file__).parent.parent
PACKAGES = ("idp", "relying_party", "pickup_web", "pickup_dispatch", "pickup_manager", "pickup_learn")
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "deploy").rglob("*.md"), *(ROOT / "docs").rglob("*.md")])
each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


def source() -> str:
    """All of the product's code."""
    return "\n".join(path.read_text("utf-8") for name in PACKAGES for path in sorted((ROOT / name).rglob("*.py")))


def variables() -> set[str]:
    """The variable of each setting."""
    return {f"PICKUP_{name.upper()}" for name in Settings.model_fields}


def names_in(path: Path) -> set[str]:
    """The variables a file names."""
    return set(re.findall(r"\bPICKUP_[A-Z_]*[A-Z]\b", path.read_text("utf-8")))


@pytest.mark.parametrize("place", ["docs/running.md", "docker-compose.services.yml"])
def test_every_setting_is_named(place: str) -> None:
    """A setting that is missing from the table, or never reaches the containers, is a failure."""
    text = (ROOT / place).read_text("utf-8")
    assert sorted(name for name in variables() if name not in text) == []


@pytest.mark.parametrize(
    "place",
    [*DOCUMENTS, ROOT / ".env.example", *ROOT.glob("docker-compose*.yml")],
    ids=lambda p: str(p.relative_to(ROOT)),
)
def test_no_setting_is_named_that_there_is_not(place: Path) -> None:
    """What somebody copies from here works."""
    scripts = [ROOT / "gunicorn.conf.py", *(ROOT / "scripts").iterdir()]
    others = {name for path in scripts if path.is_file() for name in names_in(path)}
    assert sorted(names_in(place) - variables() - others - {"PICKUP_DEMO"}) == []


@pytest.mark.parametrize("name", ["logout_wait", "delete_tokens_on_logout", "idp_port", "data_dir"])
def test_documented_default_is_the_default_in_the_code(name: str) -> None:
    """Documentation that is wrong is worse than none."""
    rows = (ROOT / "docs/running.md").read_text("utf-8").splitlines()
    (row,) = (line for line in rows if line.startswith("|") and f"`PICKUP_{name.upper()}`" in line)
    assert str(Settings.model_fields[name].default) in row


def emitted() -> set[str]:
    """The names of events in the code; those put together from parts are spelled out here."""
    literal = set(re.findall(r'"((?:op|rp|rs)\.[a-z_]+\.[a-z_]+)"', source()))
    assert 'f"op.logout.{attempt.state}"' in source()
    return literal | {f"op.logout.{state}" for state in ("delivered", "refused", "given_up")}


def test_every_event_is_documented_and_no_other() -> None:
    """One vocabulary, documented once."""
    documented = set(re.findall(r"^\| `((?:op|rp|rs)\.[a-z_.]+)`", (ROOT / "docs/events.md").read_text("utf-8"), re.M))
    assert sorted(emitted() - documented) == [], "not documented"
    assert sorted(documented - emitted()) == [], "documented, but never emitted"


def links(document: Path) -> Iterator[str]:
    """The relative links of a document."""
    for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text("utf-8")):
        if not target.startswith(("http://", "https://", "#", "mailto:")):
            yield target.partition("#")[0]


@each_document
def test_every_link_has_a_target(document: Path) -> None:
    """Pictures, too."""
    assert [link for link in links(document) if not (document.parent / link).exists()] == []


def test_readme_picture_is_not_older_than_its_pages() -> None:
    changed = pictures.changed_since_taken()
    assert changed == [], "`make pictures` takes the picture again"


def test_readme_diagram_shows_a_logout_request_to_each_app() -> None:
    """The app that started the logout is told, too: e2e/test_logging_out.py sees both."""
    (diagram,) = re.findall(r"```mermaid\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.S)
    assert set(re.findall(r"I->>(\w): POST /bclogout", diagram)) == {"D", "M"}


@each_document
def test_every_test_that_is_named_exists(document: Path) -> None:
    """A proof that was renamed is no proof."""
    text = document.read_text("utf-8")
    for path, name in re.findall(r"((?:tests|e2e)/[a-z_/]+\.py)::(\w+)", text):
        assert f"def {name}(" in (ROOT / path).read_text("utf-8"), f"{path}::{name}"
    for path in re.findall(r"`((?:tests|e2e|idp|relying_party|pickup_\w+)/[a-z_/]+\.py)`", text):
        assert (ROOT / path).exists(), path


@each_document
def test_every_make_target_that_is_named_exists(document: Path) -> None:
    """What a person types is what CI types."""
    targets = set(re.findall(r"^([a-z0-9]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
    named = set(re.findall(r"`make ([a-z0-9]+)", document.read_text("utf-8")))
    assert sorted(named - targets) == []


def test_every_vector_of_the_requirements_is_a_test() -> None:
    """V01 … V32, each by its name."""
    tests = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests/relying_party").glob("*.py"))
    named = set(re.findall(r"V(\d\d)(?=[-_])", tests))
    assert sorted({f"{number:02}" for number in range(1, 33)} - named) == []


@pytest.mark.parametrize(
    "clause", [f"BCL §{number}" for number in ("2.1", "2.2", "2.3", "2.4", "2.5", "2.6", "2.7", "2.8")]
)
def test_cited_clause_is_at_the_line_that_implements_it(clause: str) -> None:
    """README: `git grep 'BCL §'` lists them."""
    assert clause in source()
