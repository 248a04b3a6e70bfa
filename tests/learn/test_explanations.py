"""Each thing on the pages has one plain sentence and a clause."""

import pytest

from pickup_learn.acts import BACKGROUND, LOGOUT, SIGN_IN
from pickup_learn.explanations import EXPLANATIONS, title_of

ALL = [(vocabulary, name) for vocabulary, entries in EXPLANATIONS.items() for name in entries]


@pytest.mark.parametrize(("vocabulary", "name"), ALL)
def test_explanation_is_one_sentence_with_a_clause(vocabulary: str, name: str) -> None:
    said = EXPLANATIONS[vocabulary][name]
    assert said["text"].endswith(".")
    assert said["text"].count(". ") == 0
    assert said["text"].count("`") % 2 == 0, "the pages show what is between two backticks as code"
    assert len(said["text"]) <= 130
    assert "§" in said["clause"]
    assert ("title" in said) == (vocabulary == "kinds")


def test_every_kind_has_a_title() -> None:
    kinds = SIGN_IN | LOGOUT | BACKGROUND | {"token_request", "userinfo", "backchannel_logout", "push", "api_request"}
    assert kinds <= EXPLANATIONS["kinds"].keys()
    assert title_of("something_new") == "Something new"
