"""Views that need a login, and what everybody else is told."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from flask import abort, current_app, redirect, request, url_for
from flask.typing import ResponseReturnValue

from relying_party.pages import message_page, this_page
from relying_party.state import current_session


def login_required(view: Callable[..., Any]) -> Any:
    """View decorator: a page leads to the login and back, everything else is answered 401."""

    @wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        return require_login() or view(*args, **kwargs)

    guarded.login_required = True  # type: ignore[attr-defined] # for ask_first
    return guarded


def ask_first() -> ResponseReturnValue | None:
    """Asks for the login before anything else looks at the request.

    CSRF protection, for one: the token of a form died with its session, so it would call the form forged, and
    nobody would learn that they are signed out.
    """
    view = current_app.view_functions.get(request.endpoint or "")
    if getattr(view, "login_required", False):
        return require_login()
    if request.endpoint == "relying_party.logout" and current_session().login is None:
        return redirect(url_for("relying_party.logged_out"), 303)  # which is what they wanted
    return None


def require_login() -> ResponseReturnValue | None:
    """The answer to somebody who is not signed in; None for those who are."""
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
