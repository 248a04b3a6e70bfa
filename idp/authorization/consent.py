"""Asks the user to consent to the requested scopes (Core §3.1.2.4), if the app sends ``prompt=consent``."""

from dataclasses import replace

from flask import Response, make_response, redirect, render_template, request
from flask.typing import ResponseReturnValue

from idp.authorization.pending import Pending
from idp.authorization.request import AuthorizationRequest
from idp.clients.registry import known_client
from idp.error_pages import too_late
from idp.models import ActiveSession, Consent, User
from idp.sign_in.sso_session import current_sso_session
from pickup_web import events
from pickup_web.clock import now
from pickup_web.database import db
from pickup_web.security import content_security_policy

# How the consent page describes each scope.
IN_WORDS = {
    "openid": "who you are",
    "profile": "your name and profile",
    "email": "your email address",
    "phone": "your phone number",
    "address": "your postal address",
    "offline_access": "all of this, even after you log out",
    "fleet.read": "the company's drivers",
}


def is_missing(authorization_request: AuthorizationRequest, session: ActiveSession, asked_at: int) -> bool:
    """Whether the user must be asked: the app requests it, and the user has not consented to this request yet."""
    if "consent" not in authorization_request.prompts:
        return False
    given = db.session.get(Consent, (session.sub, authorization_request.client.client_id))
    return given is None or given.given_at < asked_at or not set(authorization_request.scopes) <= set(given.scopes)


def ask_for_consent(pending: Pending, authorization_request: AuthorizationRequest, session: ActiveSession) -> Response:
    """The consent page. Its form contains the signed authorization request."""
    user = db.session.get_one(User, session.sub)
    body = render_template(
        "idp/consent.html",
        client=authorization_request.client,
        user_name=user.claims.get("name", user.username),
        wishes=[IN_WORDS.get(scope, scope) for scope in authorization_request.scopes],
        scopes=" ".join(authorization_request.scopes),
        request_token=replace(pending, person=session.sub).signed(),
    )
    response = make_response(body)
    response.headers["Content-Security-Policy"] = content_security_policy([authorization_request.redirect_uri])
    return response


def answer_consent() -> ResponseReturnValue:
    """``POST /consent``: store a yes, then continue the pending request, which is checked again."""
    pending, session = Pending.read(request.form.get("request", "")), current_sso_session()
    client = known_client(pending.parameters.get("client_id", "")) if pending else None
    if pending is None or session is None or client is None:
        return too_late()
    if pending.person != session.sub:  # another user has signed in since: ask that user
        return redirect(pending.resume_url(), 303)
    allowed = request.form.get("answer") == "allow"
    outcome = "allowed" if allowed else "denied"
    events.record(db.session, "op.consent.answered", sid=session.sid, client_id=client.client_id, outcome=outcome)
    if allowed:
        scopes = client.get_allowed_scope(pending.parameters.get("scope")).split()
        db.session.merge(Consent(sub=session.sub, client_id=client.client_id, scopes=scopes, given_at=now()))
    db.session.commit()
    return redirect(replace(pending, denied=not allowed).resume_url(), 303)
