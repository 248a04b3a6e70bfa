"""``GET /``: the start page of the IdP."""

from flask import render_template

from idp import logged_out
from idp.models import User
from idp.sign_in.sso_session import current_sso_session
from pickup_web.database import db


def home() -> str:
    """Shows the user who is signed in, and the apps."""
    session = current_sso_session()
    user = db.session.get_one(User, session.sub) if session else None
    return render_template("idp/home.html", user=user, apps=logged_out.all_apps())
