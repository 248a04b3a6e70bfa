"""How pages write durations and addresses."""

import pytest

from pickup_web.pages import address
from pickup_web.words import duration, many


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 seconds"),
        (0.014, "14 milliseconds"),
        (0.001, "1 millisecond"),
        (0.9996, "1 second"),
        (1, "1 second"),
        (2.5, "2.5 seconds"),
        (1.25, "1.25 seconds"),
        (59.996, "1 minute"),
        (120, "2 minutes"),
        (125, "2 minutes 5 seconds"),
        (36_000, "10 hours"),
        (36_005, "10 hours"),
        (86_400 + 3_600 + 60, "1 day 1 hour"),
        (999_999_999, "11,574 days 1 hour"),
    ],
)
def test_duration_has_at_most_two_units(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_number_has_its_noun() -> None:
    assert [many(1, "app"), many(1200, "app"), many(2, "key is", "keys are")] == ["1 app", "1,200 apps", "2 keys are"]


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("http://radio.localhost:1/a/b", "http://<wbr>radio.localhost:1/<wbr>a/<wbr>b"),
        (
            "https://radio.example/pickup-radio/",
            'https://<wbr>radio.example/<wbr><span class="unbroken">pickup-radio/</span>',
        ),
        ("none", "none"),
        ("", ""),
        ('<b>/"', "&lt;b&gt;/<wbr>&#34;"),
    ],
)
def test_address_breaks_at_its_slashes(text: str, html: str) -> None:
    """A line does not break at a hyphen, and the text is always escaped."""
    assert str(address(text)) == html
