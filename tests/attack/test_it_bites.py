"""Every receiver gets the failures it deserves, each by name, and no other."""

import pytest

from attack.provider import Provider
from tests.attack import wrong_receivers as wrong
from tests.attack.careful_receiver import CarefulReceiver
from tests.attack.conftest import attack, provider_for
from tests.attack.naive_receiver import NaiveReceiver

GOOD = "V01 V02 V03 V04 V05 V12 V28 H07"
KEYS = "V19 V18 K01 K07 V14 V15 V16 V17 K02 K03 K04 K05 K06"
CLAIMS = "V06 V07 V08 V09 V10 V11 V13 V20 V21 V22 V23 V24 V25 V26 V27 V32"
HTTP = "V29 V30 H01 H02 H08 H10 A01 A02 A03 A04"

# The naive receiver's failures, by the mistake that each of them is owed to.
DESERVED = {
    "verifies no signature": "V18 K07 V31 V14 V15 V16 V17 K02 K03 K04 K05 K06 K08 R01 H08",
    "checks no claim": "V06 V07 V08 V09 V10 V11 V13 V20 V21 V22 V23 V24 V25 V26 V27 J01 J02 J04",
    "answers 200 to what it cannot read": "J05 J06 V29 H01 H02 H03 H04 H06",
    "knows only sid": "V04 V32",
    "takes GET": "V30",
    "lets its answers be cached": "A01",
}


def test_a_careful_receiver_that_is_not_ours_scores_full_marks(provider: Provider) -> None:
    """The bench asks for nothing that only our own implementation does."""
    outcome = attack(CarefulReceiver, provider)
    assert not outcome.failed, [outcome.text(case) for case in outcome.failed]


def test_the_naive_receiver_fails_by_name(provider: Provider) -> None:
    """The receiver of the samples: read, not verified, and always 200."""
    outcome = attack(NaiveReceiver, provider)
    assert outcome.failed == {case for cases in DESERVED.values() for case in cases.split()}
    assert "the session was ended" in outcome.text("V17"), "a forged signature ends sessions, and the report says so"
    assert "GET: the session was ended" in outcome.text("V30"), "so does a picture in somebody's mail"
    assert "the session lives on" in outcome.text("V04"), "a logout everywhere ends nothing, and is called a success"


@pytest.mark.parametrize(
    ("kind", "cases", "deserved"),
    [
        pytest.param(wrong.AnyAlgorithm, KEYS, "V15", id="believes the metadata's algorithms"),
        pytest.param(wrong.FollowsJku, KEYS, "K05", id="fetches keys from where the token says"),
        pytest.param(wrong.LooseIssuer, CLAIMS, "V20", id="compares the beginning of the issuer"),
        pytest.param(wrong.EarlyMark, "V01 V25 R01 R02 R03", "R01", id="marks the jti before the checks"),
        pytest.param(wrong.LooksThenWrites, "V25 R01 R02 R03", "R02", id="looks at the jti, then writes it down"),
        pytest.param(wrong.AsksEachTime, "V18 K08", "K08", id="fetches the keys for each token"),
        pytest.param(wrong.EndsThePerson, "V01 V03 V04 V32", "V03", id="ends all sessions of the person"),
        pytest.param(wrong.EndsTheCookie, "V01 H10", "H10", id="ends the session of the cookie, too"),
        pytest.param(wrong.Echoes, HTTP, "A01 A02 A03", id="echoes the token, in text, to be cached"),
        pytest.param(wrong.Crashes, HTTP, "A02 V29 H08", id="shows a stack trace"),
    ],
)
def test_one_mistake_is_found(provider: Provider, kind: type[CarefulReceiver], cases: str, deserved: str) -> None:
    """Careful but for one thing: that one is named, and nothing else is."""
    outcome = attack(kind, provider, cases)
    assert outcome.failed == set(deserved.split()), [outcome.text(case) for case in outcome.failed]


@pytest.mark.parametrize("kind", [wrong.Elliptic, wrong.Edwards])
def test_other_algorithms(kind: type[CarefulReceiver]) -> None:
    """An application that expects another algorithm than RS256 is attacked with that."""
    with provider_for(kind.ALGORITHMS[0]) as provider:
        outcome = attack(kind, provider, f"{GOOD} V14 V15 V16 V17 V18 K04")
    assert not outcome.failed, [outcome.text(case) for case in outcome.failed]


def test_an_application_that_is_answered_by_a_form(provider: Provider) -> None:
    """``response_mode=form_post`` is what some frameworks ask for (Form Post Response Mode §2)."""
    assert not attack(wrong.AnsweredByForm, provider, "V01").failed
