"""The machinery with which the e2e tests are told about other products: capabilities, parties, the table."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from e2e.capabilities import LEFT_OUT, OF_APP, OF_OPERATOR, OF_PROVIDER, REFUSED, unknown
from e2e.operator import Operator, Person
from e2e.parties import Parties, chosen
from e2e.table import FAILED, PASSED, SKIPPED, lines_of, rows_of

ROOT = Path(__file__).parent.parent.parent
STORIES = "\n".join(file.read_text("utf-8") for file in sorted((ROOT / "e2e").glob("*.py")))
PROVIDERS = sorted(file.stem for file in (ROOT / "e2e/providers").glob("[a-z]*.py") if file.stem != "pickup_console")
APPS = sorted(file.stem for file in (ROOT / "e2e/apps").glob("[a-z]*.py"))


def report(story: str, outcome: str, longrepr: object = None, *left_out: str, refused: str = "") -> Any:
    """What pytest says about one phase of a story."""
    return SimpleNamespace(
        nodeid=f"e2e/{story}",
        failed=outcome == "failed",
        skipped=outcome == "skipped",
        longrepr=longrepr,
        user_properties=[(LEFT_OUT, name) for name in left_out] + [(REFUSED, refused)] * bool(refused),
    )


# --- the lists of capabilities ---


@pytest.mark.parametrize("name", sorted(OF_PROVIDER.keys() | OF_APP.keys()))
def test_each_capability_is_asked_for_by_a_story(name: str) -> None:
    assert f'"{name}"' in STORIES.replace(f'    "{name}":', "")


@pytest.mark.parametrize("name", sorted(OF_PROVIDER.keys() | OF_APP.keys() | OF_OPERATOR.keys()))
def test_each_capability_is_explained_to_a_stranger(name: str) -> None:
    assert f"`{name}`" in (ROOT / "docs/regression.md").read_text("utf-8")


def test_unknown_capabilities_are_found() -> None:
    assert unknown(["shared_sid", "shared_sids"]) == ["shared_sids"]


# --- whose provider, whose app ---


@pytest.mark.parametrize("name", PROVIDERS)
def test_each_provider_claims_known_capabilities_only(name: str) -> None:
    assert chosen(name, "").provider.can <= OF_PROVIDER.keys()


@pytest.mark.parametrize("name", APPS)
def test_each_app_claims_known_capabilities_only(name: str) -> None:
    assert chosen("", name).app.can <= OF_APP.keys()


def test_without_a_choice_both_are_ours_and_can_do_everything() -> None:
    assert chosen("", "") == Parties()
    assert chosen("", "").are_ours
    assert chosen("", "").can == OF_PROVIDER.keys() | OF_APP.keys()


def test_capability_of_apps_is_there_only_if_both_apps_have_it() -> None:
    assert "notices" not in chosen("", "express").can


def test_own_file_is_loaded_by_its_path(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("from e2e.apps.plain import Plain\n\n\nclass Mine(Plain):\n    url = 'http://localhost:3000'\n")
    assert chosen("", str(file)).app.url == "http://localhost:3000"


@pytest.mark.parametrize("text", ["", "from e2e.apps.plain import Plain\nclass A(Plain): ...\nclass B(Plain): ...\n"])
def test_own_file_without_exactly_one_class_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "mine.py"
    file.write_text(text)
    with pytest.raises(LookupError, match="must define one class"):
        chosen("", str(file))


def test_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(LookupError, match="keycloak"):
        chosen("okta", "")


def test_operator_without_rights_makes_a_story_not_applicable() -> None:
    kim = Person("1", "kim", "Kim Ito", "")
    with pytest.raises(pytest.skip.Exception, match="not applicable: disables_people"):
        Operator().disable(kim)


@pytest.mark.parametrize("name", sorted(OF_OPERATOR))
def test_each_capability_of_an_operator_is_one_of_its_methods(name: str) -> None:
    assert f'not_applicable("{name}")' in (ROOT / "e2e/operator.py").read_text("utf-8")


def test_party_that_the_tests_cannot_start_is_named(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("from e2e.apps.plain import Plain\n\n\nclass Mine(Plain):\n    url = 'http://localhost:3000'\n")
    assert chosen("", str(file)).not_started == ["Mine"]
    assert chosen("keycloak", "express").not_started == []
    assert chosen("", "").not_started == []


# --- the table ---


def test_table_has_each_storys_outcome_and_what_it_lacked() -> None:
    skipped = ("file.py", 1, "Skipped: not applicable: signs")
    rows = rows_of(
        [
            report("test_a.py::test_one[at Dispatch-chromium]", "passed", None, "says_why"),
            report("test_a.py::test_two[chromium]", "skipped", skipped),
            report("test_a.py::test_three[chromium]", "failed", "it broke\nbadly"),
            report("test_a.py::test_three[chromium]", "passed"),  # its teardown
        ]
    )
    assert [(row.story, row.outcome, row.why, row.left_out) for row in rows] == [
        ("test_a.py::test_one[at Dispatch]", PASSED, "", ["says_why"]),
        ("test_a.py::test_three", FAILED, "it broke", []),
        ("test_a.py::test_two", SKIPPED, "signs", []),
    ]


def test_table_tells_the_first_failure_and_why_a_logout_token_was_refused() -> None:
    rows = rows_of(
        [
            report(
                "test_a.py::test_one", "failed", "the open tab notices", refused="Manager refused a logout token: exp"
            ),
            report("test_a.py::test_one", "failed", "the browser's console stays silent"),  # its teardown
        ]
    )
    assert [row.why for row in rows] == ["the open tab notices; Manager refused a logout token: exp"]


def test_table_groups_stories_that_lack_the_same() -> None:
    skipped = ("file.py", 1, "Skipped: not applicable: pickup_idp")
    rows = rows_of([report(f"test_a.py::test_{number}", "skipped", skipped) for number in range(3)])
    assert [re.sub(" +", " ", line) for line in lines_of(rows)] == ["not applicable test_a.py, 3 stories: pickup_idp"]
