"""The start page: how many rows each resource has."""

from flask import redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import func, select

from pickup_manager.resources import RESOURCES
from pickup_web.database import db
from relying_party import signed_in


def home() -> ResponseReturnValue:
    """``GET /``: the overview, or the landing page for users who are not signed in."""
    return redirect(url_for("overview"), 303) if signed_in() else render_template("landing.html")


def overview() -> ResponseReturnValue:
    """``GET /overview``: the counts, in one query."""
    counts = [
        select(func.count()).select_from(resource.model).scalar_subquery().label(kind)
        for kind, resource in RESOURCES.items()
    ]
    return render_template("overview.html", counts=db.session.execute(select(*counts)).one()._asdict())
