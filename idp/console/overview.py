"""The start page: the numbers that say whether all is well, and where to look."""

from flask import render_template
from sqlalchemy import func, select

from idp.models import Client, Delivery, SsoSession, User
from pickup_web.clock import now
from pickup_web.database import db

RECENTLY = 24 * 3600  # seconds


def show() -> str:
    """``GET /console``."""
    return render_template("console/show.html", counts=counts())


def counts() -> dict[str, int]:
    """How many there are of what matters."""
    recent = Delivery.created_at > now() - RECENTLY
    conditions = {
        "sessions": (SsoSession, SsoSession.ended_at.is_(None)),
        "pending": (Delivery, Delivery.state == "pending"),
        "refused": (Delivery, (Delivery.state == "refused") & recent),
        "given_up": (Delivery, (Delivery.state == "given_up") & recent),
        "applications": (Client, Client.removed_at.is_(None)),
        "people": (User, User.removed_at.is_(None)),
    }
    return {
        name: db.session.scalar(select(func.count()).select_from(model).where(condition)) or 0
        for name, (model, condition) in conditions.items()
    }
