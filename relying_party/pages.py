"""The extension's own pages: the profile and the messages."""

import json
from datetime import UTC, datetime
from typing import Any

from flask import current_app, render_template, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.routing import BuildError

from relying_party.sessions import ABSOLUTE_SECONDS
from relying_party.state import current_session, current_state, session_user

MESSAGE = "relying_party/message.html"
# For profile.html. An app's own filters with these names take precedence.
FILTERS = {
    "datetime": lambda seconds: f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC",
    "address": str,
    "pretty_json": lambda value: json.dumps(value, indent=2, ensure_ascii=False),
}


def profile() -> ResponseReturnValue:
    """``GET /profile``: the user's claims, the session and its ID token."""
    login = current_session().login or {}  # never empty, because of login_required
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
    """The claims about the user, without those about the token."""
    about_token = {"iss", "aud", "azp", "exp", "iat", "nbf", "jti", "nonce", "at_hash", "c_hash", "sid"}
    return {name: value for name, value in (session_user() or {}).items() if name not in about_token}


def home_url() -> str:
    """The URL of the endpoint in ``RELYING_PARTY_HOME``; without such an endpoint, the app's root."""
    try:
        return url_for(current_state().config.home)
    except BuildError:
        return request.script_root + "/"


def this_page() -> str:
    """The path and query of this request, if GET is allowed for it; else empty."""
    adapter = current_app.create_url_adapter(request)
    is_page = adapter is not None and adapter.test(method="GET")
    return request.script_root + request.full_path.removesuffix("?") if is_page else ""


def message_page(title: str, text: str, *, retry_url: str, kept: bool = False, own_template: str = "") -> str:
    """A page with a message and a link to sign in.

    With ``kept`` the page says that typed input was kept, if it was (kept.js). ``own_template`` is a template that the
    app may provide for this page.
    """
    template = current_app.jinja_env.select_template([own_template or MESSAGE, MESSAGE])
    return render_template(template, title=title, text=text, retry_url=retry_url, kept=kept)
