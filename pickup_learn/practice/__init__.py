"""Practice: the app of the labs. A relying party with a correct receiver, which each person can break for themselves.

It is part of Pickup Learn, so that it needs no port. It knows the IdP only by its issuer and imports nothing of it.
"""

import time
from collections.abc import Mapping
from typing import Any

from flask import Blueprint, Flask, Response, request
from sqlalchemy import select

from pickup_learn.practice import backchannel, pages, sessions, sign_in
from pickup_learn.practice.models import LabRun
from pickup_learn.practice.provider import CLIENT_ID, Provider
from pickup_learn.practice.sessions import person
from pickup_learn.practice.settings import Fault, change
from pickup_web import Settings, csrf, messages
from pickup_web.database import db

__all__ = ["begin_lab", "init_app", "is_own", "person", "restore", "runs"]

# fmt: off
ROUTES = [
    ("GET",      "/",               "home",       pages.home),
    ("GET",      "/login",          "login",      sign_in.login),
    ("GET",      "/oauth2client",   "callback",   sign_in.callback),
    ("POST",     "/logout",         "logout",     sign_in.logout),
    ("GET",      "/logged-out",     "logged_out", sign_in.logged_out),
    ("POST",     "/bclogout",       "bclogout",   backchannel.receive),
    ("GET",      "/bclogout",       "wrong_method", backchannel.wrong_method),
    ("GET",      "/session/status", "status",     pages.status),
    ("GET POST", "/settings",       "settings",   pages.settings),
]
KINDS = {
    "practice.login":        "start_sign_in",
    "practice.callback":     "authorization_response",
    "practice.logout":       "log_out",
    "practice.logged_out":   "logged_out",
    "practice.bclogout":     "backchannel_logout",
    "practice.wrong_method": "backchannel_logout",
}
# fmt: on


def init_app(app: Flask, settings: Settings) -> None:
    """Its record and its routes below ``/practice``."""
    app.config["LEARN_URL"] = settings.learn_url
    app.extensions["practice"] = Provider(settings.idp_url, settings.ca_bundle)
    messages.init_app(app, "practice", settings.learn_url, KINDS, known)
    blueprint = Blueprint("practice", __name__, url_prefix="/practice")
    for methods, path, name, view in ROUTES:
        blueprint.add_url_rule(path, name, view, methods=methods.split())
    csrf.exempt(backchannel.receive)  # a logout request comes from the IdP and has no token of a form of ours
    app.register_blueprint(blueprint)


def known(_response: Response) -> Mapping[str, str | None]:
    """What is recorded of a request besides its parameters."""
    found = sessions.current() if request.endpoint != "practice.bclogout" else None
    return {"client_id": CLIENT_ID, **({"sid": found.sid, "sub": found.sub} if found else {})}


def begin_lab(lab: str, fault: Fault) -> bool:
    """Set the fault for the signed-in person, and note the time. False if this browser is not signed in."""
    found = person()
    if found:
        change(db.session, found.sub, fault.values, fault.conditions)
        db.session.merge(LabRun(sub=found.sub, lab=lab, started_at=int(time.time() * 1000)))
        db.session.commit()
    return found is not None


def restore() -> bool:
    """The right settings for the signed-in person. False if this browser is not signed in."""
    found = person()
    if found:
        change(db.session, found.sub, {}, ())
        db.session.commit()
    return found is not None


def is_own(claims: Mapping[str, Any]) -> bool:
    """Whether a logout token with these claims names no other person than the one who is signed in."""
    found = person()
    return found is not None and backchannel.person_named_by(dict(claims)) in (None, found.sub)


def runs() -> dict[str, dict[str, int]]:
    """When each person last started each lab: times in ms by lab and ``sub``."""
    found: dict[str, dict[str, int]] = {}
    for run in db.session.scalars(select(LabRun)):
        found.setdefault(run.lab, {})[run.sub] = run.started_at
    return found
