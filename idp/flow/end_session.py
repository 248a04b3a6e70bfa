"""[10] RP-Initiated Logout 1.0: an app sends the browser here to end the session.

Whose session ends? The cookie decides: it is this browser's session or none. The app's
``id_token_hint`` only vouches: with a hint for this very session the user has asked for it, in an app
that takes part. Otherwise anybody could have made the link, and the user is asked (RPIL §2).
Where to afterwards? Only to an address the client registered, character by character (RPIL §3).
"""

from dataclasses import dataclass, replace
from urllib.parse import quote_plus

from flask import Response, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from itsdangerous import BadSignature, URLSafeTimedSerializer
from werkzeug.datastructures import MultiDict

from idp import logged_out
from idp.addresses import with_parameters
from idp.authorization.pending import MAX_IN_URL, MAX_REQUEST, MAX_RETURNED, for_url, from_url, is_too_long
from idp.clients.registry import find_client
from idp.error_pages import error_page, too_late, too_long
from idp.flow import session_ending
from idp.models import LONG_REQUEST_SECONDS, Client, Delivery, SsoSession, User
from idp.outbox.reasons import Reason
from idp.provider import current_provider
from idp.sign_in.sso_session import cookie_of_browser, current_sso_session, delete_cookie, is_active
from idp.tokens.id_token_hint import HintError, verify_hint
from pickup_web.database import db
from pickup_web.security import content_security_policy

CONFIRM_SECONDS = 3600  # how long the question may stay open


class Refused(Exception):
    """The request has an error: a page says which, and nothing is redirected (RPIL §4).

    ``advice`` says what the app should change; ``blamed`` are the parameters to look at.
    """

    def __init__(self, sentence: str, advice: str, *blamed: str) -> None:
        super().__init__(sentence)
        self.advice, self.blamed = advice, blamed


@dataclass(frozen=True)
class LogoutRequest:
    """A checked request. ``hint_sid`` is the session the hint was issued in; None without a hint."""

    client: Client | None
    redirect_uri: str | None  # complete with state; where to go afterwards
    hint_sid: str | None

    def resume_url(self) -> str:
        """The same request as a navigation of our own. The hint itself, which may be long, is not needed again."""
        content = [self.client and self.client.client_id, self.redirect_uri, self.hint_sid]
        return url_for("end_session", resume=for_url(_resume_signer().dumps(content)))

    @classmethod
    def read(cls, given: str) -> "LogoutRequest | None":
        """What came back; None if it is not ours, too old, or its client was removed."""
        try:
            client_id, redirect_uri, hint_sid = _resume_signer().loads(from_url(given), max_age=LONG_REQUEST_SECONDS)
        except BadSignature:
            return None
        client = find_client(client_id) if client_id else None
        return None if client_id and client is None else cls(client, redirect_uri, hint_sid)


def end_session() -> ResponseReturnValue:
    """``GET`` and ``POST /oidc/logout`` (RPIL §2)."""
    if "resume" in request.args:
        if (resumed := LogoutRequest.read(request.args["resume"])) is None:
            return too_late()
        return answer(resumed)
    if is_too_long():
        return too_long(MAX_REQUEST)
    # A post from another site brings no SameSite=Lax cookie; a redirect to ourselves does.
    comes_again = request.method == "POST" and cookie_of_browser() is None
    if comes_again:
        target = with_parameters(url_for("end_session"), request.form.items(multi=True))
        if len(target) <= MAX_IN_URL:
            return redirect(target, 303)
    parameters = request.form if request.method == "POST" else request.args
    try:
        logout_request = check(parameters)
    except Refused as error:
        is_signed_in = current_sso_session() is not None
        return error_page(
            title="The app's logout request has an error",
            text=f"{error} You were not sent anywhere{', and you are still signed in' if is_signed_in else ''}.",
            facts={name: parameters.get(name, "") for name in error.blamed},
            advice=f"{error.advice}{' You can still log out here.' if is_signed_in else ''}",
            offer_logout=is_signed_in,
        )
    return redirect(logout_request.resume_url(), 303) if comes_again else answer(logout_request)


def answer(logout_request: LogoutRequest) -> ResponseReturnValue:
    """A checked request: whose session ends, and must the user be asked?"""
    session = current_sso_session()
    if session is None:  # RPL-27: over already; not an error. RPL-23: without a hint there is no redirect
        if logout_request.hint_sid and not logout_request.redirect_uri and is_active(logout_request.hint_sid):
            return nothing_ended()
        return leave(logout_request if logout_request.hint_sid else replace(logout_request, redirect_uri=None))
    if logout_request.hint_sid == session.sid:  # RPL-19: the user clicked "log out" in an app of this very session
        return end_and_leave(session, logout_request)
    return ask(session, logout_request)


def check(parameters: MultiDict[str, str]) -> LogoutRequest:
    """Everything the request says, verified; :class:`Refused` for the first thing that is wrong."""
    if any(len(values) > 1 for _, values in parameters.lists()):
        raise Refused("A parameter appears more than once.", "The app's developer should send each parameter once.")
    try:
        hint = verify_hint(parameters["id_token_hint"]) if parameters.get("id_token_hint") else None
    except HintError as error:
        advice = (
            "The app should send the ID token it got when you signed in, unchanged. No other kind of token is accepted."
        )
        raise Refused(str(error), advice) from error
    client_id = parameters.get("client_id") or (hint["aud"] if hint else None)
    if hint and hint["aud"] != client_id:  # RPL-05
        advice = "The app mixes up two sets of settings: its client_id and the ID token belong to different clients."
        raise Refused("client_id is not the client the id_token_hint was issued to.", advice, "client_id")
    client = find_client(client_id) if client_id else None
    if client_id and client is None:
        advice = "Its operator should compare client_id in the app's settings with the one given to it here."
        raise Refused("client_id is not registered here.", advice, "client_id")
    target = parameters.get("post_logout_redirect_uri")
    if target and client and target not in client.post_logout_redirect_uris:  # RPL-22
        advice = (
            f"The operator of {client.name} should register exactly this address here, or correct it in the app. "
            "Every character counts: http or https, the port, a slash at the end."
        )
        sentence = f"post_logout_redirect_uri is not one of those registered for {client.name}."
        raise Refused(sentence, advice, "post_logout_redirect_uri", "client_id")
    if len(quote_plus(parameters.get("state", ""))) > MAX_RETURNED:
        advice = f"It returns in the app's URL, which has room for {MAX_RETURNED:,} characters of it."
        raise Refused("state is too long.", advice, "state")
    if target and client and parameters.get("state"):
        target = with_parameters(target, [("state", parameters["state"])])
    # RPL-23: without a client there is no way to be sure of the address, so there is no redirect.
    return LogoutRequest(client, target if client and target else None, hint["sid"] if hint else None)


def ask(session: SsoSession, logout_request: LogoutRequest) -> Response:
    """RPL-18: nobody vouches that the user wants this, so the user is asked."""
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
    """``POST /oidc/logout/confirm``: the user's answer. "No" leaves everything as it is (RPL-20)."""
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
    if pending["sid"] != session.sid:  # RPL-16: the question was about another session, or is not one of ours
        return ask(session, logout_request)
    return end_and_leave(session, logout_request)


def end_and_leave(session: SsoSession, logout_request: LogoutRequest) -> ResponseReturnValue:
    """End the session, tell the apps for as long as a user may be kept waiting, then leave."""
    provider = current_provider()
    deliveries = session_ending.end_session(
        db.session,
        session.sid,
        Reason.LOGOUT,
        provider.settings.delete_tokens_on_logout,
        initiator=logout_request.client,
    )
    provider.outbox.send(deliveries)  # BCL-29: before the redirect, but never longer than the set wait
    return leave(logout_request, session.sid)


def leave(logout_request: LogoutRequest, ended_sid: str | None = None) -> Response:
    """Back to the client, or to a page of ours that says it is done. The cookie goes either way."""
    if logout_request.redirect_uri:
        response = make_response(redirect(logout_request.redirect_uri, 303))
    else:
        response = logged_out.page(logged_out.unconfirmed(Delivery.sid == ended_sid))
    delete_cookie(response)
    if ended_sid:
        logged_out.remember(response, ended_sid)
    response.headers["Cache-Control"] = "no-store"
    return response


def nothing_ended() -> Response:
    """The hint's session is active, but its cookie did not come: some proxies send a hint from server to server.

    ID tokens get into logs and histories, so a hint alone ends nothing. The page must not say "logged out".
    """
    response = make_response(render_template("idp/nothing_ended.html"))
    response.headers["Cache-Control"] = "no-store"
    return response


def home() -> ResponseReturnValue:
    """``GET /``: who is signed in here, and the ways on."""
    session = current_sso_session()
    user = db.session.get_one(User, session.sub) if session else None
    return render_template("idp/home.html", user=user, apps=logged_out.all_apps())


def _resume_signer() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(current_provider().settings.secret_key.get_secret_value(), salt="logout-resumed")


def _signer() -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(current_provider().settings.secret_key.get_secret_value(), salt="logout-request")
