"""Access to /account (for signed-in users) and /console (for operators)."""

from collections.abc import Callable

from flask import Blueprint, Response, abort, current_app, g, redirect, request, url_for
from flask.typing import ResponseReturnValue
from flask_wtf.csrf import CSRFError, generate_csrf, validate_csrf

from idp.error_pages import error_page
from idp.models import User
from idp.sign_in.sso_session import current_sso_session
from pickup_web import csrf
from pickup_web.database import db
from pickup_web.security import refuse_other_sites


def guard(blueprint: Blueprint, require: Callable[[], ResponseReturnValue | None]) -> None:
    """Before each request of ``blueprint``: call ``require``, and check that a form belongs to this session."""
    csrf.exempt(blueprint)  # require_own_form replaces it
    blueprint.before_request(require)
    blueprint.before_request(require_own_form)


def require_own_form() -> None:
    """A CSRF token is valid only in the session that it was made in.

    Comparing it with a cookie is not enough: a site on a sibling domain can set our cookie, with a value whose token it
    knows (RFC 6265 §8.6). It cannot get a token that contains the id of this session.
    """
    secret = f"{current_app.secret_key!r} {g.sso_session.sid}"
    if request.method != "GET":
        refuse_other_sites()
        try:
            validate_csrf(request.form.get("csrf_token"), secret)
        except ValueError as error:  # includes the ValidationError of WTForms
            raise CSRFError(str(error)) from error
    generate_csrf(secret)  # Flask-WTF keeps it for the forms of this page


def require_person() -> ResponseReturnValue | None:
    """Before each request of a blueprint: sets ``g.person`` and ``g.sso_session``, or asks for the password."""
    session = current_sso_session()
    if session is None:
        if request.method != "GET":
            abort(401)
        return redirect(url_for("login_page", next=this_page()))
    g.sso_session, g.person = session, db.session.get_one(User, session.sub)
    return None


def require_operator() -> ResponseReturnValue | None:
    """As :func:`require_person`, for operators only."""
    refusal = require_person()
    if refusal is None and g.person.role != "operator":
        return operators_only()
    return refusal


def operators_only() -> Response:
    """403, with a link to sign in as another user and return to this page."""
    following = this_page() if request.method == "GET" else url_for("console.show")
    name = g.person.username
    return error_page(
        error="403",
        title="Only operators can open the console",
        text=f"You are signed in as {name}. Signing in as someone else ends this session of {name}.",
        links={"Sign in as someone else": url_for("login_page", next=following)},
        status=403,
    )


def this_page() -> str:
    """The path and query of this request."""
    return request.script_root + request.full_path.rstrip("?")


def is_own_page(path: str) -> bool:
    """Whether the login page may redirect to this path: /account or /console, never another site."""
    own = (url_for("account.show"), url_for("console.show"))
    return path.isprintable() and "\\" not in path and path.partition("?")[0].startswith(own)
