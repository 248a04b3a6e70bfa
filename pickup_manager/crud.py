"""List, add, edit and remove, for every resource in resources.py."""

from typing import Any

from flask import abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import delete, select, update
from sqlalchemy.exc import IntegrityError

from pickup_manager.models import Base
from pickup_manager.resources import RESOURCES, Resource
from pickup_web.database import db
from pickup_web.forms import Form, Wrong


def show_all(kind: str) -> ResponseReturnValue:
    """``GET /drivers``."""
    resource = RESOURCES[kind]
    rows = db.session.scalars(select(resource.model).order_by(resource.model.id.desc())).all()
    return render_template("list.html", resource=resource, rows=rows, title_of=title_of)


def add(kind: str) -> ResponseReturnValue:
    """``GET /drivers/add`` → the form; ``POST`` → a new row."""
    resource = RESOURCES[kind]
    if request.method != "POST":
        return form_page(resource, Form(resource.fields))
    form = Form.read(resource.fields, request.form)
    if form.errors:
        return form_page(resource, form), 422
    db.session.add(resource.model(**form.values))
    try:
        db.session.commit()
    except IntegrityError:  # another request may have taken the key
        db.session.rollback()
        form.errors["id"] = f"There is already a {resource.singular} {form.values['id']}."
        return form_page(resource, form), 409
    return done(resource, f"Added {form.values[resource.title_field]}.")


def edit(kind: str, key: str) -> ResponseReturnValue:
    """``GET /drivers/D0072/edit`` → the form; ``POST`` → changes the row, except its key."""
    resource, row = RESOURCES[kind], find(kind, key)
    if request.method != "POST":
        return form_page(resource, Form(resource.fields, values_of(resource, row)), row)
    form = Form.read(resource.fields, {**request.form, "id": key})
    if form.errors:
        return form_page(resource, form, row), 422
    db.session.execute(update(resource.model).where(resource.model.id == key).values(form.values))
    db.session.commit()
    return done(resource, f"Saved {form.values[resource.title_field]}.")


def remove(kind: str, key: str) -> ResponseReturnValue:
    """``GET /drivers/D0072/remove`` → asks; ``POST`` → deletes the row."""
    resource, row = RESOURCES[kind], find(kind, key)
    title = title_of(resource, row)
    if request.method != "POST":
        return render_template("remove.html", resource=resource, row=row, title=title)
    db.session.execute(delete(resource.model).where(resource.model.id == key))
    db.session.commit()
    return done(resource, f"Removed {title}.")


def find(kind: str, key: str) -> Base:
    """The row, or 404, also for an invalid key."""
    resource = RESOURCES[kind]
    try:
        row = db.session.get(resource.model, resource.fields[0].read(key))
    except Wrong:
        row = None
    return row if row and row.id == key else abort(404)


def values_of(resource: Resource, row: Base) -> dict[str, Any]:
    """The row's values by field."""
    return {field.name: getattr(row, field.name) for field in resource.fields}


def title_of(resource: Resource, row: Base) -> str:
    """The row's display name."""
    return str(getattr(row, resource.title_field))


def form_page(resource: Resource, form: Form, row: Base | None = None) -> str:
    """The page to add a row or, with ``row``, to edit it."""
    title = title_of(resource, row) if row else None
    return render_template("form.html", resource=resource, form=form, row=row, title=title)


def done(resource: Resource, message: str) -> ResponseReturnValue:
    """Redirect to the list, with a message."""
    flash(message)
    return redirect(url_for("show_all", kind=resource.plural), 303)
