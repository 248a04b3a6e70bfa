"""Every colour pair used in the stylesheet is readable: WCAG 2.2, 1.4.3 (4.5:1) and 1.4.11 (3:1)."""

import re
from pathlib import Path

import pytest

import pickup_web

SHEET = (Path(pickup_web.__file__).parent / "static" / "pickup.css").read_text("utf-8")
DARK = SHEET.partition("@media (prefers-color-scheme: dark) {")[2].partition("\n}\n")[0]
THEMES = ("dispatch", "manager", "idp", "learn")

TEXT = [
    *[(text, ground) for text in ("text", "muted") for ground in ("page", "surface", "inset")],
    *[("accent-text", ground) for ground in ("page", "surface", "inset", "accent-soft")],
    ("text", "accent-soft"),
    *[("danger-text", ground) for ground in ("page", "surface", "danger-soft")],
    ("good-text", "good-soft"),
    ("warn-text", "warn-soft"),
    ("on-accent", "accent"),
    ("on-accent", "accent-strong"),
    ("on-log-out", "log-out"),
    ("on-log-out", "log-out-strong"),
    ("on-danger", "danger"),
    ("on-danger", "danger-text"),
    ("on-header", "header"),
    ("on-header", "header-raised"),
    ("header", "on-header"),
]
GRAPHICS = [
    *[("control-line", ground) for ground in ("page", "surface", "inset")],
    *[("accent", ground) for ground in ("page", "surface", "accent-soft")],
    *[("danger", ground) for ground in ("page", "surface")],
    *[("log-out-line", ground) for ground in ("page", "surface")],
    ("log-out", "header"),
]


def colours(theme: str, *, dark: bool) -> dict[str, str]:
    """The custom properties that apply."""
    light = SHEET.partition("@media (prefers-color-scheme: dark) {")[0]
    found: dict[str, str] = {}
    for part in (light, DARK) if dark else (light,):
        for selector in (r":root", rf'\[data-theme-name="{theme}"\]'):
            block = re.search(selector + r" \{(.*?)\}", part, re.DOTALL)
            assert block, f"{selector} has no block"
            found |= dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", block[1]))
    return found


def luminance(colour: str) -> float:
    """WCAG's relative luminance."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """WCAG's contrast ratio."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("theme", THEMES)
def test_text_has_enough_contrast(theme: str, dark: bool) -> None:
    found = colours(theme, dark=dark)
    poor = {pair: round(contrast(found[pair[0]], found[pair[1]]), 2) for pair in TEXT}
    assert not {pair: ratio for pair, ratio in poor.items() if ratio < 4.5}


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("theme", THEMES)
def test_controls_have_enough_contrast(theme: str, dark: bool) -> None:
    found = colours(theme, dark=dark)
    poor = {pair: round(contrast(found[pair[0]], found[pair[1]]), 2) for pair in GRAPHICS}
    assert not {pair: ratio for pair, ratio in poor.items() if ratio < 3}


def test_every_used_colour_is_defined() -> None:
    used = set(re.findall(r"var\(--([a-z-]+)\)", SHEET))
    for theme in THEMES:
        assert used - colours(theme, dark=False).keys() <= {"shadow"}
