"""[10] RP-Initiated Logout 1.0 (RPIL): an app sends the browser here to end the session.

Whose session ends? The cookie decides: it is this browser's session or none. The app's
``id_token_hint`` only vouches: with a hint for this very session the user has asked for it, in an app
that takes part. Otherwise an attacker could have made the link, and the user is asked (RPIL §2).
Where to afterwards? Only to a URI that the client registered, compared character by character (RPIL §3).
"""

from dataclasses import replace
from urllib.parse import quote_plus

from flask import Response, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from itsdangerous import BadSignature, URLSafeTimedSerializer
from werkzeug.datastructures import MultiDict

from idp import frontchannel, logged_out
from idp.addresses import with_parameters
from idp.authorization.logout_request import LogoutRequest, Refused
from idp.authorization.pending import MAX_RETURNED, Received, receive
from idp.clients.registry import find_client
from idp.error_pages import error_page, too_late
from idp.flow import session_ending
from idp.models import ActiveSession, Delivery, User
from idp.outbox.reasons import Reason
from idp.provider import current_provider
from idp.sign_in.sso_session import current_sso_session, delete_cookie, is_active
from idp.tokens.id_token_hint import HintError, verify_hint
from pickup_web.database import db
from pickup_web.security import content_security_policy

CONFIRM_SECONDS = 3600  # how long the user may take to answer


def end_session() -> ResponseReturnValue:
    """``GET`` and ``POST /oidc/logout`` (RPIL §2)."""
    if "resume" in request.args:
        if (resumed := LogoutRequest.read(request.args["resume"])) is None:
            return too_late()
        return answer(resumed)
    received = receive("end_session")
    if not isinstance(received, Received):
        return received
    try:
        logout_request = check(received.parameters)
    except Refused as error:
        is_signed_in = current_sso_session() is not None
        return error_page(
            title="The app's logout request has an error",
            text=f"{error} You were not sent anywhere{', and you are still signed in' if is_signed_in else ''}.",
            facts={name: received.parameters.get(name, "") for name in error.blamed},
            advice=f"{error.advice}{' You can still log out here.' if is_signed_in else ''}",
            offer_logout=is_signed_in,
        )
    return redirect(logout_request.resume_url(), 303) if received.lacks_cookie else answer(logout_request)


def answer(logout_request: LogoutRequest) -> ResponseReturnValue:
    """Whose session ends, and must the user be asked first?"""
    session = current_sso_session()
    # RPIL §4: being logged out already is not an error. RPIL §3: without a valid hint there is no redirect.
    if session is None:
        # The hint's session is active, but not in this browser, so the page must not say "logged out".
        if logout_request.hint_sid and not logout_request.redirect_uri and is_active(logout_request.hint_sid):
            return logged_out.nothing_ended()
        return leave(logout_request if logout_request.hint_sid else replace(logout_request, redirect_uri=None))
    # RPIL §2: asking is only a SHOULD when the hint belongs to the current session, so one click logs out.
    if logout_request.hint_sid == session.sid:
        return end_and_leave(session, logout_request)
    return ask(session, logout_request)


def check(parameters: MultiDict[str, str]) -> LogoutRequest:
    """The validated request; :class:`Refused` for the first error found."""
    # RFC 6749 §3.1, by analogy: RPIL does not mention repeated parameters.
    if any(len(values) > 1 for _, values in parameters.lists()):
        raise Refused("A parameter appears more than once.", "The app's developer should send each parameter once.")
    # RPIL §2: the OP MUST validate that it issued the ID token in id_token_hint.
    try:
        hint = verify_hint(parameters["id_token_hint"]) if parameters.get("id_token_hint") else None
    except HintError as error:
        advice = (
            "The app should send the ID token it got when you signed in, unchanged. No other kind of token is accepted."
        )
        raise Refused(str(error), advice) from error
    client_id = parameters.get("client_id") or (hint["aud"] if hint else None)
    # RPIL §2: when client_id and id_token_hint are both sent, client_id must be the one the token was issued to.
    if hint and hint["aud"] != client_id:
        advice = "The app mixes up two sets of settings: its client_id and the ID token belong to different clients."
        raise Refused("client_id is not the client the id_token_hint was issued to.", advice, "client_id")
    client = find_client(client_id) if client_id else None
    if client_id and client is None:
        advice = "Its operator should compare client_id in the app's settings with the one given to it here."
        raise Refused("client_id is not registered here.", advice, "client_id")
    target = parameters.get("post_logout_redirect_uri")
    # RPIL §3: redirect only to a URI that equals a registered one exactly.
    if target and client and target not in client.post_logout_redirect_uris:
        advice = (
            f"The operator of {client.name} should register exactly this address here, or correct it in the app. "
            "Every character counts: http or https, the port, a slash at the end."
        )
        sentence = f"post_logout_redirect_uri is not one of those registered for {client.name}."
        raise Refused(sentence, advice, "post_logout_redirect_uri", "client_id")
    # Our own limit: servers reject long URLs.
    if len(quote_plus(parameters.get("state", ""))) > MAX_RETURNED:
        advice = f"It is returned in the app's URL, so it may have at most {MAX_RETURNED:,} characters."
        raise Refused("state is too long.", advice, "state")
    # RPIL §2: if state was sent, it is passed back unchanged in the query.
    if target and client and parameters.get("state"):
        target = with_parameters(target, [("state", parameters["state"])])
    # RPIL §3: without a known client the URI cannot be verified, so there is no redirect.
    return LogoutRequest(client, target if client and target else None, hint["sid"] if hint else None)


def ask(session: ActiveSession, logout_request: LogoutRequest) -> Response:
    """RPIL §2: without a hint for the current session, the user must be asked."""
    user = db.session.get_one(User, session.sub)
    pending = {
        "sid": session.sid,
        "client_id": logout_request.client and logout_request.client.client_id,
        "to": logout_request.redirect_uri,
    }
    body = render_template(
        "idp/confirm_logout.html",
        user_name=user.claims.get("name", user.username),
        client_name=logout_request.client and logout_request.client.name,
        hidden={"request": _signer().dumps(pending)},
    )
    response = make_response(body)
    targets = [logout_request.redirect_uri] if logout_request.redirect_uri else []
    response.headers["Content-Security-Policy"] = content_security_policy(targets)
    return response


def confirm() -> ResponseReturnValue:
    """``POST /oidc/logout/confirm``: the user's answer. "Yes" must log the user out (RPIL §2); "no" changes nothing."""
    try:
        pending = _signer().loads(request.form.get("request", ""), max_age=CONFIRM_SECONDS)
    except BadSignature:
        pending = {"sid": None, "client_id": None, "to": None}
    session = current_sso_session()
    client = find_client(pending["client_id"]) if pending["client_id"] else None
    logout_request = LogoutRequest(client, pending["to"], None)
    if session is None:
        return leave(logout_request)
    if request.form.get("answer") != "yes":
        return redirect(url_for("home"), 303)
    # RPIL §2: the answer was for another session, or is forged, so the user must be asked about this session.
    if pending["sid"] != session.sid:
        return ask(session, logout_request)
    return end_and_leave(session, logout_request)


def end_and_leave(session: ActiveSession, logout_request: LogoutRequest) -> ResponseReturnValue:
    """End the session, notify the apps within the set time limit, then leave."""
    provider = current_provider()
    deliveries = session_ending.end_session(
        db.session,
        session.sid,
        Reason.LOGOUT,
        provider.settings.delete_tokens_on_logout,
        initiator=logout_request.client,
    )
    provider.outbox.send(deliveries)  # RPIL §2: notify the apps before the redirect; the wait is limited (LOGOUT_WAIT)
    return leave(logout_request, session.sid)


def leave(logout_request: LogoutRequest, ended_sid: str | None = None) -> Response:
    """Redirect to the client, or show our logged-out page. Deletes the cookie in both cases."""
    frames = frontchannel.frames_of(ended_sid, logout_request.client) if ended_sid else []  # apps that registered one
    if logout_request.redirect_uri and frames:
        response = frontchannel.page(frames, logout_request.redirect_uri)
    elif logout_request.redirect_uri:
        response = make_response(redirect(logout_request.redirect_uri, 303))
    else:
        response = logged_out.page(logged_out.unconfirmed(Delivery.sid == ended_sid), sid=ended_sid, frames=frames)
    delete_cookie(response)
    if ended_sid:
        logged_out.remember(response, ended_sid)
    response.headers["Cache-Control"] = "no-store"
    return response


def _signer() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(current_provider().settings.secret_key.get_secret_value(), salt="logout-request")
