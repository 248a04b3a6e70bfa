"""The API for other programs. They send an access token instead of a session cookie."""

from flask import Response, current_app, jsonify
from sqlalchemy import select

from pickup_manager.models import Driver
from pickup_manager.resource_server import Refusal, check_token
from pickup_web.database import db


def drivers() -> Response:
    """``GET /api/drivers`` → ``{"drivers": [{"id": …, "name": …}, …]}``: only the data that a booking needs."""
    try:
        check_token(current_app.config["DRIVERS_SCOPE"])
    except Refusal as refusal:
        return refusal.response()
    rows = db.session.execute(select(Driver.id, Driver.name).order_by(Driver.name))
    response = jsonify(drivers=[{"id": driver_id, "name": name} for driver_id, name in rows])
    response.headers["Cache-Control"] = "no-store"  # the next request may have another token
    return response
