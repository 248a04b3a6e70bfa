"""Deliveries: list, show, export, send again."""

from collections.abc import Iterator
from dataclasses import replace

from flask import Response, g, render_template, request
from flask.typing import ResponseReturnValue
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from idp.console.parts import ROWS, Page, done
from idp.models import Client, User
from idp.operations import deliveries
from idp.operations.deliveries import Entry, Search
from pickup_web.database import db

STATES = {
    "pending": "Waiting",
    "delivered": "Delivered",
    "refused": "Refused",
    "given_up": "Given up",
    "not_sent": "Not sent",
}


def show_all() -> str:
    """``GET /console/deliveries?client_id=&person=&sid=&state=``; ``?part=table`` → the part that a script replaces."""
    page, asked = Page(), request.args
    wanted = replace(asked_for(), offset=page.offset, limit=ROWS)
    rows, page.total = deliveries.search(db.session, wanted)
    endings = deliveries.by_ending(db.session, wanted, rows)
    if asked.get("part") == "table":
        return render_template("console/deliveries_table.html", endings=endings, page=page)
    apps = db.session.execute(select(Client.client_id, Client.name).order_by(Client.name)).all()
    filters = {name: asked[name] for name in ("client_id", "person", "sid", "state") if asked.get(name)}
    return render_template(
        "console/deliveries.html", endings=endings, page=page, apps=apps, states=STATES, filters=filters
    )


def export() -> Response:
    """``GET /console/deliveries.csv``: all deliveries that match the same filters, a line for each attempt."""
    response = Response(lines(db.engine, asked_for()), mimetype="text/csv")
    response.headers["Content-Disposition"] = 'attachment; filename="deliveries.csv"'
    response.headers["Cache-Control"] = "no-store"
    return response


def lines(engine: Engine, wanted: Search) -> Iterator[str]:
    """The file, in pieces, with its own session: it is sent after the request's session was closed."""
    with Session(engine) as session:
        yield from deliveries.export_csv(session, wanted)


def show(delivery_id: str) -> str:
    """``GET /console/deliveries/ID``."""
    entry = deliveries.get_delivery(db.session, delivery_id)
    client = db.session.get(Client, entry.delivery.client_id)
    is_registered = client is not None and client.removed_at is None
    return render_template("console/delivery.html", entry=entry, is_registered=is_registered)


def send_again(delivery_id: str) -> ResponseReturnValue:
    """``POST /console/deliveries/ID/send-again``: sends it now."""
    entry = deliveries.send_again(db.session, delivery_id, g.person.username)
    return done(result_of(entry), "console.delivery", delivery_id=delivery_id)


def asked_for() -> Search:
    """The filters in the query. An unknown person or app has no deliveries."""
    asked = {
        name: value for name in ("client_id", "person", "sid", "state") if (value := request.args.get(name, "").strip())
    }
    if not all(value.isprintable() for value in asked.values()):  # PostgreSQL refuses NUL
        return Search(sid="")
    person = asked.pop("person", None)
    sub = db.session.scalar(select(User.sub).where(User.username == person.lower())) if person else None
    return Search(sub=sub or "" if person else None, **asked)  # type: ignore[arg-type] # texts, as named above


def result_of(entry: Entry) -> str:
    """A sentence about the attempt that was just made."""
    row, app = entry.delivery, entry.client_name or entry.delivery.client_id
    last = entry.attempts[-1] if entry.attempts else None
    if row.state == "delivered":
        return f"Sent again: {app} was notified."
    if row.state == "pending" and row.tries == 0:
        return f"It is being sent to {app}, which has not answered yet."
    word = (last.outcome if last else row.outcome) + (f": {last.answer}" if last and last.answer else "")
    next_try = " The next try is soon." if row.state == "pending" else ""
    return f"Sent again, but {app} was not notified: {word}.{next_try}"
