"""``login_required``, and the response for a user who is not signed in."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from flask import abort, current_app, redirect, request, url_for
from flask.typing import ResponseReturnValue

from relying_party.pages import message_page, this_page
from relying_party.state import current_session


def login_required(view: Callable[..., Any]) -> Any:
    """View decorator. Without a session, a GET for a page redirects to sign in; other requests get 401."""

    @wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        return require_login() or view(*args, **kwargs)

    guarded.login_required = True  # type: ignore[attr-defined] # read by require_login_first
    return guarded


def require_login_first() -> ResponseReturnValue | None:
    """Before all other request handlers: require the login that the view requires.

    Otherwise CSRF protection would reject a form of an ended session as forged, because its CSRF token ended with the
    session. The user would not learn that they are logged out.
    """
    view = current_app.view_functions.get(request.endpoint or "")
    if getattr(view, "login_required", False):
        return require_login()
    if request.endpoint == "relying_party.logout" and current_session().login is None:
        return redirect(url_for("relying_party.logged_out"), 303)
    return None


def require_login() -> ResponseReturnValue | None:
    """The response for a user who is not signed in; None if the user is signed in."""
    session = current_session()
    if session.login is not None:
        return None
    if not request.accept_mimetypes.accept_html:
        abort(401)
    login_url = url_for("relying_party.login", next=this_page() or None)
    if request.method == "GET":
        return redirect(login_url, 303)
    reason = session.ended.reason if session.ended else "You are not signed in."
    text = f"{reason} Your form was not processed. Sign in and send it again."
    return message_page("You are logged out", text, retry_url=login_url, kept=True), 401
