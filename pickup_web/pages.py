"""The shared design: the templates below ``pickup/`` and one stylesheet."""

import json
import re
from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, Flask
from markupsafe import Markup, escape

from pickup_web.settings import Settings
from pickup_web.words import duration

# How the banner names the demo switches, which are off in production.
DEMO_SWITCHES = {"demo_plain_http": "plain http", "demo_events": "events open to anyone"}


def register_pages(app: Flask, name: str, title: str, settings: Settings) -> None:
    """Register the shared templates, the stylesheet and their helper functions with ``app``."""
    app.register_blueprint(
        Blueprint("pickup", __name__, template_folder="templates", static_folder="static", static_url_path="/pickup")
    )
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True  # no blank lines in a page's source
    app.jinja_env.filters.update(datetime=datetime_element, duration=duration, address=address, pretty_json=pretty_json)
    app.jinja_env.globals.update(
        service={"name": name, "title": title},
        demo_switches=[words for switch, words in DEMO_SWITCHES.items() if getattr(settings, switch)],
        addresses={
            "idp": "" if settings.other_idp else settings.idp_url,
            "dispatch": settings.dispatch_url,
            "manager": settings.manager_url,
            "learn": "" if settings.other_idp else settings.learn_url,
        },
    )


def datetime_element(seconds: float) -> Markup:
    """Seconds since the epoch as a ``<time>`` element in UTC; page.js converts it to the reader's time zone."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return Markup('<time datetime="{}">{}</time>').format(moment.isoformat(), moment.strftime("%Y-%m-%d %H:%M:%S UTC"))


def address(text: str) -> Markup:
    """A URL with line breaks allowed only after slashes, except where a part is longer than a line."""
    parts = (escape(part) for part in re.findall(r"[^/]*/+|[^/]+", text))
    return Markup("<wbr>").join(
        Markup('<span class="unbroken">{}</span>').format(part) if "-" in part else part for part in parts
    )


def pretty_json(value: Any) -> str:
    """JSON for people: members in their order, and only the page escapes it."""
    return json.dumps(value, indent=2, ensure_ascii=False)
