"""Settings: the values the IdP was started with. They cannot be changed here."""

from typing import Any

from flask import render_template
from pydantic import SecretStr
from sqlalchemy import make_url

from idp.provider import current_provider
from pickup_web.settings import Settings


def show() -> str:
    """``GET /console/settings``: each with its description. Shows only whether a secret is set."""
    settings = current_provider().settings
    rows = [
        (f"PICKUP_{name.upper()}", shown(name, getattr(settings, name)), field.description)
        for name, field in Settings.model_fields.items()
    ]
    return render_template("console/settings.html", rows=rows)


def shown(name: str, value: Any) -> str:
    """The value as text."""
    if isinstance(value, SecretStr):
        return "set, and not shown"
    if name.endswith("_database_url"):  # may contain a password, also in its query
        return make_url(value).set(query={}).render_as_string(hide_password=True)
    if isinstance(value, bool):
        return "on" if value else "off"
    return "not set" if value in (None, "") else str(value)
