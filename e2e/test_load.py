"""The person of `make load` goes through its whole story, and each wrong page is counted as an error."""

import re

import pytest

from bench.load import OTHER_TAB, Person, stay_on_this_machine
from e2e.stack import Stack, StackControl

pytestmark = [pytest.mark.needs("pickup_idp", "pickup_app"), pytest.mark.thorough]

Recorded = list[tuple[str, float, str | None]]


def story(stack: Stack, password: str) -> Recorded:
    """What one person records."""
    recorded: Recorded = []
    urls = {"dispatch": stack.dispatch.url, "manager": stack.manager.url}
    Person(urls, "alex", password, lambda *page: recorded.append(page), lambda: None).story()
    return recorded


def test_person_of_the_load_test_sees_each_page(stack: Stack) -> None:
    """From the sign-in to the news in the other app's tab. The random order of the apps does not matter."""
    recorded = story(stack, stack.password)
    assert [problem for _, _, problem in recorded if problem] == []
    names = [name for name, _, _ in recorded]
    assert names[:3] == [
        "Dispatch: form to sign in",
        "Dispatch: signed in, with password",
        "Manager: signed in, without password",
    ]
    assert names.count("Dispatch: book a cab") == 2
    assert names[-2] == OTHER_TAB
    assert names[-1].endswith("asks to sign in again")
    assert all(seconds > 0 for _, seconds, _ in recorded)


def test_wrong_password_is_an_error_of_the_load_test(stack: Stack) -> None:
    """The story ends there."""
    *before, (name, _, problem) = story(stack, "a wrong password")
    assert [wrong for _, _, wrong in before] == [None]
    assert (name, bool(problem)) == ("Dispatch: signed in, with password", True)


def test_stopped_app_is_an_error_of_the_load_test(stack: Stack, hands: StackControl) -> None:
    """The story ends there."""
    with hands.without("manager"):
        *before, (name, _, problem) = story(stack, stack.password)
    assert [wrong for _, _, wrong in before] == [None, None]
    assert name == "Manager: signed in, without password"
    assert re.match("ConnectionError|50[24] at ", str(problem)), "no answer, or one of a proxy in front of it"


@pytest.mark.parametrize(
    "address", ["https://dispatch.example/pickup-dispatch", "http://192.0.2.1", "http://localhost.example"]
)
def test_load_test_refuses_other_machines(address: str) -> None:
    """A load test of a machine of others would be an attack."""
    with pytest.raises(SystemExit, match=r"may be another machine"):
        stay_on_this_machine("http://manager.localhost:8081/pickup-manager", address)
