"""Who may see the provider's own pages, /account and /console: people who are signed in, and operators."""

from flask import abort, g, redirect, request, url_for
from flask.typing import ResponseReturnValue

from idp.models import User
from idp.sso_session import current_sso_session
from pickup_web.database import db


def require_person() -> ResponseReturnValue | None:
    """Before each request of a blueprint: sets ``g.person`` and ``g.sso_session``, or asks for the password."""
    session = current_sso_session()
    if session is None:
        if request.method != "GET":
            abort(401)
        return redirect(url_for("login_page", next=request.script_root + request.full_path.rstrip("?")))
    g.sso_session, g.person = session, db.session.get_one(User, session.sub)
    return None


def require_operator() -> ResponseReturnValue | None:
    """The same, for operators only."""
    refusal = require_person()
    if refusal is None and g.person.role != "operator":
        abort(403, f"This page is for operators, and you are signed in as {g.person.username}.")
    return refusal


def is_own_page(path: str) -> bool:
    """Whether a sign-in may lead there: a page of ours, never another site."""
    own = (url_for("account.show"), url_for("console.show"))
    return path.isprintable() and "\\" not in path and path.partition("?")[0].startswith(own)
