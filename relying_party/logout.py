"""[9] Signing out: here first, then at the provider, which tells everybody else.

RP-Initiated Logout 1.0. The route takes POST only; its cookie is SameSite=Lax, so another site
cannot sign anybody out; nor can a page of a neighbour such as blog.example.com, where the browser tells.
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
        abort(400, "This form came from another site.")  # also in an application without CSRF tokens
    session, state = current_session(), current_state()
    login = session.login
    if login is None:  # another tab was faster; most often guard.ask_first says so
        return redirect(url_for("relying_party.logged_out"), 303)
    # Our own end comes first, and depends on nobody else: the provider is not even asked whether it is there. Its
    # logout token for this session then finds nothing, and that is answered 200 (BCL §2.7).
    ended = state.sessions.sign_out(session, LOGGED_OUT)
    emit("rp.session.ended", sid=login["claims"].get("sid"), outcome=LOGGED_OUT)
    tell_application(ended, LOGGED_OUT)
    endpoint = login.get("end_session_endpoint")
    if not endpoint:  # RPL-39: then there is nobody to go to
        return redirect(url_for("relying_party.logged_out"), 303)
    session["rp_logout_state"] = secrets.token_urlsafe(32)
    parameters = {
        "id_token_hint": login["id_token"],  # RPIL §2: says which session, and that we are its client
        "client_id": login["client_id"],
        "post_logout_redirect_uri": state.config.url("/logged-out"),
        "state": session["rp_logout_state"],
    }
    separator = "&" if "?" in endpoint else "?"
    return redirect(f"{endpoint}{separator}{urlencode(parameters)}", 303)


def logged_out() -> ResponseReturnValue:
    """``GET /logged-out?state=…``: where the provider sends the browser afterwards."""
    session = current_session()
    expected = session.pop("rp_logout_state", None)
    answered = request.args.get("state", "")
    retry_url = url_for("relying_party.login")
    if session.login is not None:
        return redirect(home_url(), 303)
    if expected and hmac.compare_digest(expected.encode(), answered.encode()):
        # What the provider could not deliver, we do not know; an application's own page may say where to ask.
        return message_page(
            TITLE, f"{ENDED_HERE} {ASKED}", retry_url=retry_url, own_template="relying_party/logged_out.html"
        )
    return message_page(TITLE, ENDED_HERE, retry_url=retry_url)  # RPL-37: an answer to a question we did not ask
