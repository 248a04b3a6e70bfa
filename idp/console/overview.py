"""The overview: counts of sessions and deliveries, and the state of the services."""

from collections.abc import Sequence

from flask import render_template, request
from sqlalchemy import func, select

from idp.console.applications import SEEDED
from idp.models import Client, Delivery, SsoSession, User
from idp.operations import deliveries, services
from idp.operations.deliveries import Search
from idp.operations.services import Health
from idp.provider import current_provider
from pickup_web.clock import now
from pickup_web.database import db

RECENTLY = 24 * 3600  # seconds
LAST = 5  # deliveries


def show() -> str:
    """``GET /console``; ``?ask=services`` asks the services; ``?part=services`` → the part that a script replaces.

    By default the page asks no service, because one that hangs would delay it.
    """
    if request.args.get("part") == "services":
        return render_template("console/services.html", services=states(ask=True))
    last, _ = deliveries.search(db.session, Search(limit=LAST))
    asked = request.args.get("ask") == "services"
    return render_template("console/show.html", counts=counts(), last=last, services=states(ask=asked), asked=asked)


def states(*, ask: bool) -> list[tuple[str, Health | None]]:
    """Pickup's services by name, the IdP first; None: not asked."""
    clients = own_apps()
    found: Sequence[Health | None] = (
        services.ask_all(current_provider().http, clients) if ask else [None] * len(clients)
    )
    return [("Identity provider", services.ANSWERS), *zip([client.name for client in clients], found, strict=True)]


def own_apps() -> Sequence[Client]:
    """Pickup's own apps, which have a health check."""
    mine = select(Client).where(Client.client_id.in_(SEEDED), Client.removed_at.is_(None), Client.home_url.is_not(None))
    return db.session.scalars(mine.order_by(Client.client_id)).all()


def counts() -> dict[str, int]:
    """The numbers of the tiles."""
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
