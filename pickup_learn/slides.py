"""The slides of a workshop: docs/tutorial/slides.md, one source for the browser and for a printer.

Slides are separated by a line ``---``. ``<!-- live: flow -->`` puts this stack's flow page, or its session map, into
the slide as a frame.
"""

import re
from functools import cache
from typing import NamedTuple

from flask import Response, current_app, make_response, render_template, request

from pickup_learn import tutorial
from pickup_learn.lessons import html
from pickup_web.security import content_security_policy

SEPARATOR = "\n---\n"
LIVE = re.compile(r"^<!-- live: (flow|sessions) -->$", re.MULTILINE)
FRAMES = {"flow": ("flow", "The flow of messages"), "sessions": ("session_map", "The session map")}


class Slide(NamedTuple):
    """One slide. ``live``: what is in its frame, if it has one."""

    text: str
    live: str | None


@cache
def slides() -> tuple[Slide, ...]:
    """The slides in their order."""
    found = []
    for text in (tutorial.FOLDER / "slides.md").read_text(encoding="utf-8").split(SEPARATOR):
        live = LIVE.search(text)
        found.append(Slide(LIVE.sub("", text).strip(), live[1] if live else None))
    return tuple(found)


def show() -> str:
    """``GET /slides``."""
    return render_template("slides.html", slides=slides(), frames=FRAMES, html=html)


def framed(page: str) -> Response:
    """A page that our own slides may show in a frame. It has no form, so a click on it changes nothing."""
    response = make_response(page)
    if "slide" in request.args:
        policy = content_security_policy([current_app.config["ISSUER"]]).replace(
            "frame-ancestors 'none'", "frame-ancestors 'self'"
        )
        response.headers.update({"Content-Security-Policy": policy, "X-Frame-Options": "SAMEORIGIN"})
    return response
