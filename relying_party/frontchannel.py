"""``GET /fclogout``: the provider's page loads this in a frame after a logout (Front-Channel Logout 1.0, FCL).

Only with the setting ``RELYING_PARTY_FRONTCHANNEL_LOGOUT``. Best effort: it needs the user's browser, and a cookie that
many browsers block. The back channel (backchannel.py) needs neither.

The session's own cookie is SameSite=Lax, so the browser does not send it with a frame in another site's page, and it
stays so. This route has a second cookie: the session's key. It gives no access; a browser can only end the session with
it.
"""

import re
from urllib.parse import urlsplit

from flask import Flask, Response, current_app, make_response, request
from flask.sessions import SessionInterface

from relying_party.errors import RelyingPartyError
from relying_party.sessions import FRONT_CHANNEL
from relying_party.state import current_session, current_state, emit, tell_application

KEY = re.compile("[0-9a-f]{64}")  # see sessions.hash_of
MAX_SID = 255  # characters
ENDED = "Logged out."
NOT_ENDED = "No session of this browser was ended."
PAGE = '<!doctype html><html lang="en"><meta charset="utf-8"><title>{text}</title><p>{text}</p></html>\n'


def frontchannel_logout() -> Response:
    """FCL §2: end the session of this browser, and of no other."""
    if request.environ["REQUEST_METHOD"] == "HEAD":  # RFC 9110 §9.2.1: HEAD is safe, so it ends no session
        return page(NOT_ENDED, 405)
    try:
        sid = session_id_parameter()
        key = key_of_browser()
        if key is None:
            # This looks the same for an app that was not open here and for a browser that blocks the cookie.
            emit("rp.frontchannel_logout.failed", sid=sid, outcome="The browser sent no cookie for this address.")
            return page(NOT_ENDED)
        # FCL §2: ignore the request if iss and sid do not match those of the session's ID token.
        state = current_state()
        ended = state.sessions.end_in_browser(key, state.config.issuer, sid, FRONT_CHANNEL)
    except RelyingPartyError as error:
        emit("rp.frontchannel_logout.rejected", outcome=str(error))
        return page(NOT_ENDED, 400)
    emit("rp.frontchannel_logout.accepted", sid=sid, outcome=f"{len(ended)} ended")
    tell_application(ended, FRONT_CHANNEL)
    # FCL §2: if the user is already logged out, the logout has succeeded. The RP clears cookies of the session.
    return forget_browser(page(ENDED))


def session_id_parameter() -> str:
    """The ``sid``, if ``iss`` is our provider.

    FCL §2: if either is included, both MUST be. This client requires both (``frontchannel_logout_session_required``),
    because otherwise any site could end a session with a frame.
    """
    sent = {name: request.args.getlist(name) for name in ("iss", "sid")}
    if any(len(values) != 1 or not values[0] for values in sent.values()):
        raise RelyingPartyError("There must be exactly one iss and one sid.")
    if sent["iss"][0] != current_state().config.issuer:
        raise RelyingPartyError("iss is not our provider.")
    sid = sent["sid"][0]
    if len(sid) > MAX_SID or not sid.isprintable():  # not every database stores such text, which goes into the record
        raise RelyingPartyError("sid is too long, or has control characters.")
    return sid


def page(text: str, status: int = 200) -> Response:
    """FCL §2: the response SHOULD have ``Cache-Control: no-store``. Only the provider may frame it."""
    response = make_response(PAGE.format(text=text), status)
    issuer = urlsplit(current_state().config.issuer)
    response.headers["Content-Security-Policy"] = (
        f"default-src 'none'; frame-ancestors {issuer.scheme}://{issuer.netloc}"
    )
    response.headers["Cache-Control"] = "no-store"
    return response


# --- the cookie ---


def remember_browser(response: Response) -> Response:
    """Set the second cookie when a user has signed in."""
    session = current_session()
    if session.new_cookie and session.login is not None and session.key:
        # SameSite=None: sent with a frame in another site's page. Browsers require Secure for that, and accept it from
        # http://localhost and names below it.
        response.set_cookie(cookie_name(), session.key, path=path(), httponly=True, secure=True, samesite="None")
    return response


def forget_browser(response: Response) -> Response:
    """Delete it."""
    response.delete_cookie(cookie_name(), path=path(), httponly=True, secure=True, samesite="None")
    return response


def key_of_browser() -> str | None:
    """The key in the cookie, if there is one."""
    key = KEY.fullmatch(request.cookies.get(cookie_name(), ""))
    return key[0] if key else None


def cookie_name() -> str:
    """As the session's cookie, with its prefix ``__Host-`` if it has one: then no neighbouring host can set it."""
    return f"{_sessions().get_cookie_name(_app())}_frontchannel"


def path() -> str:
    """That of the session's cookie, which ``__Host-`` requires to be ``/``."""
    return _sessions().get_cookie_path(_app())


def _app() -> Flask:
    return current_app._get_current_object()  # type: ignore[attr-defined,no-any-return] # not the proxy


def _sessions() -> SessionInterface:
    return _app().session_interface
