"""The pages: make a booking, list them, assign a driver, cancel."""

from flask import abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import select, update

from pickup_dispatch import drivers
from pickup_dispatch.drivers import DriverList
from pickup_dispatch.models import Booking
from pickup_web.clock import now
from pickup_web.database import db
from pickup_web.forms import Field, Form, choice, phone, text
from relying_party import session_user, signed_in

SHOWN = 200  # bookings on the list
LATER = "later"


def home() -> ResponseReturnValue:
    """``GET /``: the booking form, or the landing page for users who are not signed in."""
    if not signed_in():
        return render_template("landing.html")
    available = drivers.fetch()
    return form_page(Form(booking_fields(available), {"driver": first_choice(available)}), available)


def make() -> ResponseReturnValue:
    """``POST /bookings``: store the booking, or show the errors."""
    available = drivers.fetch()
    form = Form.read(booking_fields(available), request.form)
    if form.errors:
        return form_page(form, available), 422
    user = session_user() or {}
    db.session.add(
        Booking(
            **driver_columns(form.values["driver"], available),
            passenger=form.values["passenger"],
            contact=form.values["contact"],
            created_at=now(),
            created_by=user["sub"],
            created_by_name=user.get("name") or user.get("preferred_username") or user["sub"],
        )
    )
    db.session.commit()
    flash(f"Booked a cab for {form.values['passenger']}.")
    return redirect(url_for("bookings"), 303)


def show_all() -> ResponseReturnValue:
    """``GET /bookings``: the company's bookings, newest first. Needs only our own database."""
    newest = select(Booking).order_by(Booking.created_at.desc(), Booking.id.desc()).limit(SHOWN)
    return render_template("bookings.html", bookings=db.session.scalars(newest).all(), shown=SHOWN)


def choose_driver(booking_id: int) -> ResponseReturnValue:
    """``GET /bookings/ID/driver``: the form to assign a driver later."""
    available = drivers.fetch()
    form = Form([driver_field(available)], {"driver": first_choice(available)})
    return render_template("driver.html", booking=find(booking_id), form=form, problem=available.problem)


def assign_driver(booking_id: int) -> ResponseReturnValue:
    """``POST /bookings/ID/driver``."""
    booking, available = find(booking_id), drivers.fetch()
    form = Form.read([driver_field(available)], request.form)
    if form.errors:
        return render_template("driver.html", booking=booking, form=form, problem=available.problem), 422
    columns = driver_columns(form.values["driver"], available)
    booking.driver_id, booking.driver_name = columns["driver_id"], columns["driver_name"]
    db.session.commit()
    flash(f"{booking.driver_name or 'No driver'} is assigned to {booking.passenger}.")
    return redirect(url_for("bookings"), 303)


def cancel(booking_id: int) -> ResponseReturnValue:
    """``POST /bookings/ID/cancel``: a second request changes nothing."""
    booking = find_any(booking_id)
    live = (Booking.id == booking_id) & Booking.cancelled_at.is_(None)
    db.session.execute(update(Booking).where(live).values(cancelled_at=now()))
    db.session.commit()
    flash(f"Cancelled the booking of {booking.passenger}.")
    return redirect(url_for("bookings"), 303)


def find(booking_id: int) -> Booking:
    """The booking; 404 if it does not exist or was cancelled."""
    booking = find_any(booking_id)
    return abort(404) if booking.cancelled_at else booking


def find_any(booking_id: int) -> Booking:
    """The booking, cancelled or not, or 404."""
    return db.session.get(Booking, booking_id) or abort(404)


def booking_fields(available: DriverList) -> list[Field]:
    """The fields of the form, with the drivers available now."""
    return [
        driver_field(available),
        Field("passenger", "Passenger", text("the passenger's name"), hint="The person to pick up."),
        Field("contact", "Contact number", phone, hint="With the country code: +1 202 555 0143", kind="tel"),
    ]


def driver_field(available: DriverList) -> Field:
    """The drivers available now. "Assign a driver later" is always a choice."""
    later = (LATER, "Assign a driver later")
    known = [(driver_id, f"{driver_id} · {name}") for driver_id, name in available.names.items()]
    choices = [("", "Choose a driver"), *known, later] if known else [later]
    sentence = f"Choose a driver, or select “{later[1]}”."
    if available.problem:
        sentence = "This driver cannot be checked now. Assign a driver later, or try again."
    return Field("driver", "Driver", choice(choices, sentence), kind="select", choices=choices)


def first_choice(available: DriverList) -> str:
    """The initial choice."""
    return "" if available.names else LATER


def driver_columns(driver_id: str, available: DriverList) -> dict[str, str | None]:
    """The booking's columns for a value of the driver field."""
    name = available.names.get(driver_id)
    return {"driver_id": driver_id if name else None, "driver_name": name}


def form_page(form: Form, available: DriverList) -> str:
    """The page "Make a booking"."""
    return render_template("make_booking.html", form=form, problem=available.problem)
