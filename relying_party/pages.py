"""The pages of the extension itself: the profile with its session panel, and messages."""

import json
from datetime import UTC, datetime
from typing import Any

from flask import current_app, render_template, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.routing import BuildError

from relying_party.sessions import ABSOLUTE_SECONDS
from relying_party.state import current_session, current_state, session_user

MESSAGE = "relying_party/message.html"
# What profile.html needs; an application that has filters of these names keeps its own.
FILTERS = {
    "datetime": lambda seconds: f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC",
    "address": str,
    "pretty_json": lambda value: json.dumps(value, indent=2, ensure_ascii=False),
}


def profile() -> ResponseReturnValue:
    """``GET /profile``: what the provider says about the user, and this session with its ID token."""
    login = current_session().login or {}  # never empty: the route is behind login_required
    claims = login["claims"]
    panel = {
        "sid": claims.get("sid"),
        "issuer": claims["iss"],
        "issued_at": claims["iat"],
        "expires_at": claims["exp"],
        "session_started": login["started_at"],
        "session_expires": login["started_at"] + ABSOLUTE_SECONDS,
        "id_token_header": login["id_token_header"],
        "id_token_claims": claims,
    }
    return render_template("relying_party/profile.html", claims=user_claims(), panel=panel)


def user_claims() -> dict[str, Any]:
    """The claims about the person, without those about the token."""
    about_token = {"iss", "aud", "azp", "exp", "iat", "nbf", "jti", "nonce", "at_hash", "c_hash", "sid"}
    return {name: value for name, value in (session_user() or {}).items() if name not in about_token}


def home_url() -> str:
    """Where to go when there is nowhere else; an application without that endpoint has a front page at least."""
    try:
        return url_for(current_state().config.home)
    except BuildError:
        return request.script_root + "/"


def this_page() -> str:
    """The address that was asked for, below the mount point of this application; empty if it takes only a POST."""
    adapter = current_app.create_url_adapter(request)
    is_page = adapter is not None and adapter.test(method="GET")
    return request.script_root + request.full_path.removesuffix("?") if is_page else ""


def message_page(title: str, text: str, *, retry_url: str, kept: bool = False, own_template: str = "") -> str:
    """A page with one message and the way to the login; ``kept``: it may speak of what was typed (kept.js).

    ``own_template``: a template that an application may have for this page.
    """
    template = current_app.jinja_env.select_template([own_template or MESSAGE, MESSAGE])
    return render_template(template, title=title, text=text, retry_url=retry_url, kept=kept)
