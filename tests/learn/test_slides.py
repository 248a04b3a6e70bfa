"""The slides, and the two pages that they show in a frame."""

import re

import pytest

from pickup_learn.slides import FRAMES, slides
from tests.learn.services import World


def test_each_slide_begins_with_a_heading_and_is_short() -> None:
    for slide in slides():
        assert slide.text.startswith("#"), slide.text
        assert len(slide.text.splitlines()) <= 14, slide.text
        assert "<!--" not in slide.text
    assert {slide.live for slide in slides()} == {None, *FRAMES}


def test_all_slides_are_on_the_page_with_the_addresses_of_this_stack(world: World) -> None:
    page = world.client.get("/slides").text
    assert page.count('class="slide"') == len(slides())
    assert page.count("<iframe") == sum(slide.live is not None for slide in slides())
    learn = world.app.jinja_env.globals["addresses"]["learn"]  # type: ignore[index] # Jinja: Any
    assert f'href="{learn}/sessions"' in page


def test_no_frame_loads_before_its_slide_is_shown(world: World) -> None:
    assert not re.search(r"<iframe[^>]* src=", world.client.get("/slides").text)


@pytest.mark.parametrize("path", ["/", "/sessions"])
def test_only_our_own_pages_may_frame_a_picture(world: World, path: str) -> None:
    framed = world.client.get(f"{path}?slide=").headers
    assert framed["X-Frame-Options"] == "SAMEORIGIN"
    assert "frame-ancestors 'self'" in framed["Content-Security-Policy"]
    assert "default-src 'self'" in framed["Content-Security-Policy"]
    plain = world.client.get(path).headers
    assert plain["X-Frame-Options"] == "DENY"
    assert "frame-ancestors 'none'" in plain["Content-Security-Policy"]
    assert (
        framed["Content-Security-Policy"].replace("frame-ancestors 'self'", "frame-ancestors 'none'")
        == (plain["Content-Security-Policy"])
    )


def test_no_other_page_may_be_framed(world: World) -> None:
    for path in ("/slides?slide=", "/board?slide=", "/tutorial?slide="):
        assert world.client.get(path).headers["X-Frame-Options"] == "DENY"
