"""The bench fails each receiver for its own mistakes, and for nothing else."""

import pytest
from requests.adapters import HTTPAdapter

from attack import bench, judge
from attack.cases import CASES
from attack.provider import Provider
from tests.attack import wrong_receivers as wrong
from tests.attack.careful_receiver import CarefulReceiver
from tests.attack.conftest import LOGINS, attack, provider_for
from tests.attack.naive_receiver import NaiveReceiver

GOOD = "V01 V02 V03 V04 V05 V12 V28 H07 V33 V34 V35 V36"
KEYS = "V19 V18 K01 K07 V14 V15 V16 V17 K02 K03 K04 K05 K06"
CLAIMS = "V06 V07 V08 V09 V10 V11 V13 V20 V21 V22 V23 V24 V25 V26 V27 V32"
HTTP = "V29 V30 H01 H02 H08 H10 A01 A02 A03 A04"

# Why the naive receiver fails which cases.
DESERVED = {
    "verifies no signature": "V18 K07 V31 V14 V15 V16 V17 K02 K03 K04 K05 K06 K08 R01 H08",
    "checks no claim": "V06 V07 V08 V09 V10 V11 V13 V20 V21 V22 V23 V24 V27 J01 J02 J04",
    "answers 200 to what it cannot read": "J05 J06 V29 H01 H02 H03 H04 H06",
    "knows only sid": "V04",
    "takes GET": "V30",
}
# Each receiver with a mistake, the cases it is attacked with, and those that it deserves to fail.
MISTAKES: list[tuple[type[CarefulReceiver], str, str]] = [
    (wrong.AnyAlgorithm, KEYS, "V15"),
    (wrong.FollowsJku, KEYS, "K05"),
    (wrong.LooseIssuer, CLAIMS, "V20"),
    (wrong.EarlyMark, "V01 V25 R01 R02 R03", "R01"),
    (wrong.LooksThenWrites, "V25 R01 R02 R03", "R02"),
    (wrong.AsksEachTime, "V18 K08", "K08"),
    (wrong.TimesIfPresent, f"{CLAIMS} V01 J02", "V23 V24"),
    (wrong.EndsThePerson, "V01 V03 V04 V32 V33 V34 V35", "V03 V33 V35"),
    (wrong.EndsBySub, "V01 V03 V04 V32 V33 V34 V35 J03", "V32 V33 V35"),
    (wrong.EndsOneSession, "V01 V03 V04 V33 V34 V35", "V04"),
    (wrong.Revives, "V01 V03 V04 V05 V33 V34 V35", "V34"),
    (wrong.OneNote, "V01 V03 V04 V05 V33 V34 V35 V36", "V04 V35"),
    (wrong.TenNotes, "V01 V03 V04 V05 V33 V34 V35 V36", "V36"),
    (wrong.EndsTheCookie, "V01 H10", "H10"),
    (wrong.Echoes, HTTP, "A01 A02 A03"),
    (wrong.Crashes, f"{HTTP} H09 V25", "A02 V29 H08 H09 V25"),
    (wrong.TrustsTheKeySet, "K01 K09 V01", "K01 K09"),
    (wrong.Rigid, f"{GOOD} V19 V26 K01 R03", "V02 V03 V05 V12 V28 H07 V19 V26 K01 R03"),
    (wrong.OnlyTyped, "V01 V02 V26", "V01 V26"),
    (wrong.FirstCounts, "V01 J03 J04", "J03 J04"),
    (wrong.OneAtATime, "V01 H05", "H05"),
    (wrong.Dawdles, "V01 A04", "A04"),
    (wrong.BehindLogin, "V01", "V01"),
]


@pytest.fixture(autouse=True)
def logins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Logins need no sockets."""
    monkeypatch.setattr(
        HTTPAdapter, "send", lambda adapter, request, **options: LOGINS.send(adapter, request, **options)
    )


@pytest.mark.thorough
def test_careful_receiver_that_is_not_ours_passes_all_cases(provider: Provider) -> None:
    """The bench requires nothing that only our own implementation does."""
    outcome = attack(CarefulReceiver, provider)
    assert not outcome.failed, [outcome.text(case) for case in outcome.failed]


@pytest.mark.thorough
def test_naive_receiver_fails_for_each_of_its_mistakes(provider: Provider) -> None:
    """The receiver of the samples: it decodes the token without verifying it, and always answers 200."""
    outcome = attack(NaiveReceiver, provider)
    assert outcome.failed == {case for cases in DESERVED.values() for case in cases.split()}
    assert "the session was ended" in outcome.text("V17"), "a forged signature ends sessions, and the report says so"
    assert "GET: the session was ended" in outcome.text("V30"), "an image in an email can end sessions, too"
    assert "the session lives on" in outcome.text("V04"), "a logout everywhere ends nothing, and is called a success"


@pytest.mark.thorough
@pytest.mark.parametrize(("kind", "cases", "deserved"), MISTAKES, ids=[kind.__name__ for kind, _, _ in MISTAKES])
def test_one_mistake_fails_its_cases_and_no_other(
    provider: Provider, monkeypatch: pytest.MonkeyPatch, kind: type[CarefulReceiver], cases: str, deserved: str
) -> None:
    """Each receiver is careful except for one thing."""
    if kind is wrong.Dawdles:
        monkeypatch.setattr(judge, "SLOW_SECONDS", wrong.Dawdles.SECONDS / 2)
    outcome = attack(kind, provider, cases)
    assert outcome.failed == set(deserved.split()), [outcome.text(case) for case in outcome.failed]


def test_each_case_has_a_receiver_that_deserves_to_fail_it() -> None:
    """The careful receiver passes all of them."""
    deserved = " ".join([*DESERVED.values(), *(cases for _, _, cases in MISTAKES)])
    assert {case.id for case in CASES} - set(deserved.split()) == set()


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("kind", "cases"),
    [
        (wrong.NoContent, "V01 V03 V04 V05 V25 V33 R02"),
        (wrong.LooksAtTheTypeFirst, "V01 V29 H01 H02 H06 H07"),
        (wrong.ReadsMultipart, "V01 V26 H02"),
    ],
)
def test_choices_of_the_specification_do_not_fail(provider: Provider, kind: type[CarefulReceiver], cases: str) -> None:
    """204 (BCL §2.8), 415 (RFC 9110 §15.5.16), other types of tokens and of forms."""
    outcome = attack(kind, provider, cases)
    assert not outcome.failed, [outcome.text(case) for case in outcome.failed]


def test_sid_that_counts_although_sub_names_another_user_is_a_choice(provider: Provider) -> None:
    """BCL §2.6 (10): comparing sub is optional."""
    assert "did not compare sub" in attack(NaiveReceiver, provider, "V32").text("V32")


def test_redirect_to_a_login_page_is_named(provider: Provider) -> None:
    """The most frequent mistake in setting an application up."""
    text = attack(wrong.BehindLogin, provider, "V01").text("V01")
    assert "answered 302 to /login, as for a visitor who must sign in first" in text


@pytest.mark.thorough
def test_key_librarys_cooldown_is_waited_for(provider: Provider) -> None:
    """The longest known default is 30 seconds."""
    assert bench.PATIENCE > 30
    outcome = attack(wrong.CoolsDown, provider, "V01 V18 K01", patience=5 * wrong.CoolsDown.SECONDS)
    assert not outcome.failed, [outcome.text(case) for case in outcome.failed]


@pytest.mark.thorough
def test_keys_that_are_not_fetched_in_time_are_named(provider: Provider) -> None:
    """A failure that a longer --patience may change. K01 is about the other keys of a set, which were not read."""
    outcome = attack(wrong.FetchesOnce, provider, "V01 V18 K01")
    assert outcome.failed == {"V18"}
    for case in ("V18", "K01"):
        assert "the keys were not asked for for 0 seconds (see --patience)" in outcome.text(case)


@pytest.mark.thorough
@pytest.mark.parametrize("kind", [wrong.Elliptic, wrong.Edwards])
def test_receiver_with_another_algorithm_is_attacked_with_that(kind: type[CarefulReceiver]) -> None:
    """``--alg``: an application may expect another algorithm than RS256."""
    with provider_for(kind.ALGORITHMS[0]) as provider:
        outcome = attack(kind, provider, f"{GOOD} V14 V15 V16 V17 V18 K04")
    assert not outcome.failed, [outcome.text(case) for case in outcome.failed]


def test_login_works_with_form_post(provider: Provider) -> None:
    """Some frameworks ask for ``response_mode=form_post`` (Form Post Response Mode §2)."""
    assert not attack(wrong.AnsweredByForm, provider, "V01").failed
