"""Sign-in and logout of Practice: authorization code with PKCE, as a public client."""

import base64
import hashlib
import secrets
import time
from typing import Any
from urllib.parse import urlencode

from flask import abort, current_app, flash, redirect, render_template, request, session, url_for
from flask.typing import ResponseReturnValue

from pickup_learn.practice import sessions
from pickup_learn.practice.provider import CLIENT_ID, Unreachable, current_idp
from pickup_learn.practice.receiver import Refused, check_times, signed_content
from pickup_web.database import db

PENDING = "practice sign-in"  # name in the cookie: state, nonce and verifier of the sign-in under way


def address(endpoint: str) -> str:
    """The public address of one of our endpoints. It is built from the setting, never from the Host header."""
    return str(current_app.config["LEARN_URL"]) + url_for(endpoint).removeprefix(request.script_root)


def login() -> ResponseReturnValue:
    """``GET /practice/login?lab=NAME``: to the IdP. Afterwards the browser returns to that lab."""
    names = ("state", "nonce", "code_verifier")
    pending = {name: secrets.token_urlsafe(32) for name in names}
    session[PENDING] = {**pending, "lab": request.args.get("lab", "")[:80]}
    digest = hashlib.sha256(pending["code_verifier"].encode()).digest()
    query = {
        "response_type": "code",
        "client_id": CLIENT_ID,
        "redirect_uri": address("practice.callback"),
        "scope": "openid profile",
        "state": pending["state"],
        "nonce": pending["nonce"],
        "code_challenge": base64.urlsafe_b64encode(digest).decode().rstrip("="),
        "code_challenge_method": "S256",
    }
    try:
        return redirect(f"{current_idp().endpoint('authorization_endpoint')}?{urlencode(query)}")
    except Unreachable as error:
        abort(503, str(error))


def callback() -> ResponseReturnValue:
    """``GET /practice/oauth2client``: exchange the code, check the ID token, begin a session."""
    pending = session.pop(PENDING, None)
    # RFC 6749 §10.12: the answer must belong to a request of this browser.
    state = request.args.get("state", "")
    if not pending or not secrets.compare_digest(state.encode(), pending["state"].encode()):
        abort(400, "This sign-in was not started in this browser, or it was started twice.")
    if "code" not in request.args:
        abort(400, "The IdP did not sign you in.")
    # RFC 9207 §2.4: the answer must come from the issuer that was asked.
    if request.args.get("iss", current_idp().issuer) != current_idp().issuer:
        abort(400, "The answer comes from another issuer.")
    try:
        tokens = current_idp().redeem(request.args["code"], address("practice.callback"), pending["code_verifier"])
        claims = id_token_claims(str(tokens.get("id_token")), pending["nonce"])
        name = current_idp().name_of(str(claims["sub"]), str(tokens.get("access_token")))
    except Unreachable as error:
        abort(503, str(error))
    except Refused as refused:
        abort(400, f"The ID token is not valid: {refused}")
    if not sessions.begin(claims, name, str(tokens["id_token"])):
        abort(400, "Your session ended while you signed in. Sign in again.")
    return redirect(url_for("lab", name=pending["lab"]) if pending["lab"] else url_for("practice.home"))


def id_token_claims(token: str, nonce: str) -> dict[str, Any]:
    """The claims of the ID token (Core §3.1.3.7). Labs change the receiver only, so no setting applies here."""
    _, claims = signed_content(token, current_idp().key)
    wanted = {"iss": current_idp().issuer, "aud": CLIENT_ID, "nonce": nonce}
    for name, value in wanted.items():
        if claims.get(name) != value:
            raise Refused(f"{name} is not {value}.")
    for name in ("sub", "sid"):
        if not isinstance(claims.get(name), str):
            raise Refused(f"{name} is missing.")
    check_times(claims, time.time())
    return claims


def logout() -> ResponseReturnValue:
    """``POST /practice/logout``: end our session, then the session at the IdP (RP-Initiated Logout §2)."""
    found = sessions.person()
    session.pop(sessions.COOKIE, None)
    if found is None:
        return redirect(url_for("practice.home"))
    hint = found.id_token
    sessions.end(found, "You logged out.")
    db.session.commit()
    query = {"id_token_hint": hint, "client_id": CLIENT_ID, "post_logout_redirect_uri": address("practice.logged_out")}
    try:
        return redirect(f"{current_idp().endpoint('end_session_endpoint')}?{urlencode(query)}", 303)
    except Unreachable:
        flash("You are logged out here. The IdP does not answer.", "warn")
        return redirect(url_for("practice.home"), 303)


def logged_out() -> str:
    """``GET /practice/logged-out``: after the logout at the IdP."""
    return render_template("practice/home.html", person=None, ended="You are logged out.")
