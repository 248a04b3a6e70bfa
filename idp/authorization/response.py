"""The authorization response: which codes and tokens it has, and how they are returned.

Codes and tokens (Core §3.1.2.5, §3.3.2.5), and errors (§3.1.2.6), in the query, the fragment or a form.
"""

import secrets
from typing import Any

from flask import Response, make_response, redirect, render_template

from idp.addresses import with_parameters
from idp.authorization.request import AuthorizationError, AuthorizationRequest
from idp.clients.registry import mark_client_used
from idp.models import ActiveSession, AuthorizationCode, Token, hash_of
from idp.provider import current_provider
from idp.sign_in.participation import record_participation
from idp.sign_in.sso_session import lock_if_active
from idp.tokens.code_grant import CODE_SECONDS
from idp.tokens.token_store import ACCESS_SECONDS, SignIn, issue_id_token
from pickup_web import events
from pickup_web.clock import now
from pickup_web.database import add_row, db, relax
from pickup_web.security import content_security_policy


def grant(authorization_request: AuthorizationRequest, session: ActiveSession) -> Response:
    """Issue what the response type requests, and return it."""
    # Tokens need the lock, so that none is issued during a logout. A code does not: flow/token.py checks the session.
    if authorization_request.response_types == {"code"}:
        relax(db.session)  # an unredeemed code may be lost in a power cut, so no fsync
    elif not lock_if_active(session.sid):
        raise AuthorizationError("login_required", "The session has just ended.")
    else:
        mark_client_used(authorization_request.client)
    values: dict[str, Any] = {}
    client_id = authorization_request.client.client_id
    code = secrets.token_urlsafe(32) if "code" in authorization_request.response_types else None
    if code:
        values["code"] = code
        store_code(code, authorization_request, session)
    if "token" in authorization_request.response_types:
        access_token = secrets.token_urlsafe(32)
        values |= {"access_token": access_token, "token_type": "Bearer", "expires_in": ACCESS_SECONDS}
        store_token(access_token, code, authorization_request, session)
    if "id_token" in authorization_request.response_types:
        values["id_token"] = front_channel_id_token(authorization_request, session, code, values.get("access_token"))
        if code:  # BCL §2.3: an app that got an ID token in this session is notified of its end
            record_participation(session.sid, client_id, session.sub)
    events.record(db.session, "op.code.issued" if code else "op.tokens.issued", sid=session.sid, client_id=client_id)
    db.session.commit()
    return send(
        authorization_request.redirect_uri,
        authorization_request.response_mode,
        {**values, "state": authorization_request.state},
    )


def store_code(code: str, authorization_request: AuthorizationRequest, session: ActiveSession) -> None:
    """Stores the code, bound to the request's parameters and to the session."""
    add_row(
        db.session,
        AuthorizationCode,
        code_hash=hash_of(code),
        client_id=authorization_request.client.client_id,
        sid=session.sid,
        sub=session.sub,
        redirect_uri=authorization_request.redirect_uri,
        scope=" ".join(authorization_request.scopes),
        nonce=authorization_request.nonce,
        auth_time=session.auth_time,
        amr=session.amr,
        acr=authorization_request.acr,
        claims=authorization_request.claims,
        code_challenge=authorization_request.code_challenge,
        code_challenge_method="S256" if authorization_request.code_challenge else None,
        expires_at=now() + CODE_SECONDS,
    )


def store_token(
    access_token: str, code: str | None, authorization_request: AuthorizationRequest, session: ActiveSession
) -> None:
    """Stores a front-channel access token in the family of its code: a second use of the code revokes it."""
    add_row(
        db.session,
        Token,
        access_hash=hash_of(access_token),
        family=hash_of(code) if code else hash_of(access_token),
        client_id=authorization_request.client.client_id,
        sid=session.sid,
        sub=session.sub,
        scope=" ".join(scope for scope in authorization_request.scopes if scope != "offline_access"),
        auth_time=session.auth_time,
        amr=session.amr,
        acr=authorization_request.acr,
        claims=authorization_request.claims,
        issued_at=now(),
        access_expires_at=now() + ACCESS_SECONDS,
    )


def front_channel_id_token(
    authorization_request: AuthorizationRequest, session: ActiveSession, code: str | None, access_token: str | None
) -> str:
    """An ID token returned through the browser, with hashes of the code and token beside it (Core §3.3.2.11)."""
    return issue_id_token(
        authorization_request.client,
        SignIn(
            session.sub,
            session.sid,
            session.auth_time,
            session.amr,
            authorization_request.acr,
            authorization_request.claims,
        ),
        nonce=authorization_request.nonce,
        access_token=access_token,
        code=code,
        scope=" ".join(authorization_request.scopes),
        is_alone=authorization_request.response_types == {"id_token"},
    )


def refuse(client_id: str, redirect_uri: str, mode: str, state: str | None, error: str, description: str) -> Response:
    """Return an error to the client. The caller has checked ``redirect_uri``."""
    events.record(db.session, "op.authorization.refused", client_id=client_id, outcome=error, reason=description)
    db.session.commit()
    return send(redirect_uri, mode, {"error": error, "error_description": description, "state": state})


def send(redirect_uri: str, mode: str, values: dict[str, Any]) -> Response:
    """Return ``values`` to the client in its response mode. ``iss`` names the issuer (RFC 9207 §2)."""
    sent = {name: str(value) for name, value in values.items() if value is not None}
    sent["iss"] = current_provider().issuer
    if mode == "form_post":
        return send_form(redirect_uri, sent)
    # RFC 9700 §4.12: 303, never 307, which would make the browser post the password to the client.
    location = with_parameters(redirect_uri, sent.items(), fragment=mode == "fragment")
    response = redirect(location, 303)
    response.autocorrect_location_header = False
    response.headers["Cache-Control"] = "no-store"
    return response  # type: ignore[return-value] # Flask's own class


def send_form(redirect_uri: str, values: dict[str, str]) -> Response:
    """A page whose form is posted to the client by a script, or by a button (Form Post Response Mode §2)."""
    response = make_response(render_template("idp/form_post.html", action=redirect_uri, values=values))
    response.headers["Content-Security-Policy"] = content_security_policy([redirect_uri])
    response.headers["Cache-Control"] = "no-store"
    return response
