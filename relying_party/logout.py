"""[9] Logging out: first in this app, then at the provider, which notifies the other apps.

The request to the provider follows OpenID Connect RP-Initiated Logout 1.0 (RPIL).

The route takes POST only, and its cookie is SameSite=Lax, so another site cannot log a user out. A neighbouring host
such as blog.example.com is the same site for the browser; Sec-Fetch-Site tells it apart.
"""

import hmac
import secrets
from urllib.parse import urlencode

from flask import abort, redirect, request, url_for
from flask.typing import ResponseReturnValue

from relying_party.pages import home_url, message_page
from relying_party.sessions import LOGGED_OUT
from relying_party.state import current_session, current_state, emit, tell_application

TITLE = "You are logged out"
ENDED_HERE = "Your session in this app has ended."
ASKED = "The identity provider (IdP) was asked to end the shared session and to notify the other apps."


def logout() -> ResponseReturnValue:
    """``POST /logout`` → our session is over → redirect to the provider's end_session_endpoint."""
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        abort(400, "This form came from another site.")  # also protects an app without CSRF tokens
    session, state = current_session(), current_state()
    login = session.login
    if login is None:  # another tab logged out after guard.require_login_first
        return redirect(url_for("relying_party.logged_out"), 303)
    # The local session ends first, even if the provider is unavailable. The provider's logout token for it then finds
    # no session and gets 200 (BCL §2.7).
    ended = state.sessions.sign_out(session, LOGGED_OUT)
    emit("rp.session.ended", sid=login["claims"].get("sid"), outcome=LOGGED_OUT)
    tell_application(ended, LOGGED_OUT)
    endpoint = login.get("end_session_endpoint")
    if not endpoint:  # RPIL §2.1: without it, the provider does not support RP-Initiated Logout
        return redirect(url_for("relying_party.logged_out"), 303)
    session["rp_logout_state"] = secrets.token_urlsafe(32)
    parameters = {
        # RPIL §2: RECOMMENDED, a hint about the user's session with this client.
        "id_token_hint": login["id_token"],
        "client_id": login["client_id"],
        # RPIL §3.1: has to be registered as one of post_logout_redirect_uris.
        "post_logout_redirect_uri": state.config.url("/logged-out"),
        # RPIL §2: the provider passes it back to the post_logout_redirect_uri.
        "state": session["rp_logout_state"],
    }
    separator = "&" if "?" in endpoint else "?"
    return redirect(f"{endpoint}{separator}{urlencode(parameters)}", 303)


def logged_out() -> ResponseReturnValue:
    """``GET /logged-out?state=…``: the post_logout_redirect_uri (RPIL §3)."""
    session = current_session()
    expected = session.pop("rp_logout_state", None)
    answered = request.args.get("state", "")
    retry_url = url_for("relying_party.login")
    if session.login is not None:
        return redirect(home_url(), 303)
    if expected and hmac.compare_digest(expected.encode(), answered.encode()):
        # We do not know which apps the provider has reached. An app's own template may link to the provider's page
        # about it.
        return message_page(
            TITLE, f"{ENDED_HERE} {ASKED}", retry_url=retry_url, own_template="relying_party/logged_out.html"
        )
    # Without our state, this browser did not come from a logout that we started: say nothing about the provider.
    return message_page(TITLE, ENDED_HERE, retry_url=retry_url)
