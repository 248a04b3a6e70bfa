"""The pages. What is on them is fetched from the API by their scripts."""

from flask import Response, render_template

from pickup_learn import tutorial
from pickup_learn.current import current_record
from pickup_learn.labs import CHECKS
from pickup_learn.slides import framed


def flow() -> Response:
    """``GET /``: the messages as arrows, the newest act on top."""
    return framed(render_template("flow.html", messages=current_record().newest(100)))


def inspector() -> str:
    """``GET /inspector?key=…``: ID token and logout token side by side, and the checks that the receiver made."""
    return render_template("inspector.html")


def session_map() -> Response:
    """``GET /sessions``: the IdP's sessions and what hangs on each."""
    return framed(render_template("session_map.html"))


def board() -> str:
    """``GET /board``: who in the room has done which step."""
    return render_template("board.html", chapters=tutorial.chapters(), labs=[tutorial.labs()[name] for name in CHECKS])


def off() -> str:
    """``GET /`` without PICKUP_DEMO_EVENTS."""
    return render_template("off.html")
