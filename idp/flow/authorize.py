"""[3] [8] The authorization endpoint: which client asks, is the user signed in, and a code for the app.

1. Is the client registered, and the redirect_uri with it? If not: an error page, never a redirect.
2. Is the request valid? If not: redirect to the client with an error.
3. Is the right user signed in, recently enough? If not: login.py asks for the password and returns here.
4. Does the app request consent? If so: consent.py asks the user and returns here.
5. Issue a code. If the user is already signed in through another app, 3 and 4 ask nothing: single sign-on [8].
"""

from flask import Response, redirect, request
from flask.typing import ResponseReturnValue
from werkzeug.datastructures import MultiDict

from idp.authorization import consent, request_object
from idp.authorization import response as authorization_response
from idp.authorization.error_pages import (
    answer_too_long,
    unknown_client,
    unknown_redirect_uri,
    unknown_response_mode,
)
from idp.authorization.pending import MAX_RETURNED, Pending, Received, receive
from idp.authorization.request import (
    MODES,
    AuthorizationError,
    AuthorizationRequest,
    check,
    response_mode_of,
    returned_length,
)
from idp.clients.registry import known_client
from idp.error_pages import too_late
from idp.flow.login import ask_for_password
from idp.models import ActiveSession, Client
from idp.sign_in.sso_session import current_sso_session
from idp.tokens.id_token_hint import HintError, verify_hint
from pickup_web.clock import now


def authorize() -> ResponseReturnValue:
    """``GET`` and ``POST /oauth2/authorize`` (Core §3.1.2.1). ``?resume=`` continues a request after a page of ours."""
    if "resume" in request.args:
        return resume_request(request.args["resume"])
    received = receive("authorize")
    return start_request(received) if isinstance(received, Received) else received


def start_request(received: Received) -> ResponseReturnValue:
    """A new request: which client sent it, and where may the answer go?"""
    parameters = MultiDict((name, value) for name, value in received.parameters.items(multi=True) if value)
    client = known_client(parameters.get("client_id", ""))
    if client is None:
        return unknown_client(parameters)
    try:
        resolved = request_object.resolve(client, parameters)
    except AuthorizationError as error:
        # RFC 9700 §2.1: redirect only to a registered URI. The object is invalid, so its redirect_uri cannot be
        # trusted: the one outside it is used, if it is registered.
        return refuse(client, parameters, error)
    pending = Pending(resolved, now())
    # A form posted from another site comes without our SameSite=Lax cookie. A redirect to ourselves brings it.
    if received.lacks_cookie and client.check_redirect_uri(resolved.get("redirect_uri", "")):
        return redirect(pending.resume_url(), 303)
    return answer_request(pending, client)


def resume_request(signed: str) -> ResponseReturnValue:
    """Continue a request after the login or consent page. Everything is checked again: it may have changed."""
    pending = Pending.read(signed)
    if pending is None:
        return too_late()
    client = known_client(pending.parameters.get("client_id", ""))
    return unknown_client(pending.parameters) if client is None else answer_request(pending, client)


def answer_request(pending: Pending, client: Client) -> ResponseReturnValue:
    """Answer the request, or show the user the login or consent page first."""
    # Core §3.1.2.6: the error cannot be returned in a mode that is not supported, so it is shown on a page.
    if pending.parameters.get("response_mode", "query") not in MODES:
        return unknown_response_mode(client, pending.parameters["response_mode"])
    # Core §3.1.2.1: redirect_uri MUST exactly match one that the client registered.
    if not client.check_redirect_uri(pending.parameters.get("redirect_uri", "")):
        return unknown_redirect_uri(client, pending.parameters.get("redirect_uri"))
    # Our own limit: state and nonce return in the app's URL, and servers reject long ones.
    if returned_length(pending.parameters) > MAX_RETURNED:
        return answer_too_long(client, pending.parameters)
    try:
        authorization_request = check(client, pending.parameters, hinted_sub(pending.parameters))
        return prompt_or_grant(authorization_request, pending)
    except AuthorizationError as error:
        return refuse(client, pending.parameters, error)


def prompt_or_grant(authorization_request: AuthorizationRequest, pending: Pending) -> Response:
    """Items 3 to 5 of the list at the top. With ``prompt=none`` each page becomes an error (Core §3.1.2.6)."""
    session = current_sso_session()
    silent = "none" in authorization_request.prompts
    if session is None or must_sign_in_again(session, authorization_request, pending.asked_at):
        if silent:
            raise AuthorizationError("login_required", "The user must sign in first.")
        return ask_for_password(pending, authorization_request.client, pending.parameters.get("login_hint", ""))
    # Core §3.1.2.2: the client named a user (id_token_hint or claims), but another one signed in on our login page.
    if authorization_request.sub and session.sub != authorization_request.sub:
        raise AuthorizationError("login_required", "A different user is signed in.")
    if pending.denied:  # RFC 6749 §4.1.2.1
        raise AuthorizationError("access_denied", "The user denied the request.")
    if consent.is_missing(authorization_request, session, pending.asked_at):
        return consent.ask_for_consent(pending, authorization_request, session)
    return authorization_response.grant(authorization_request, session)


def must_sign_in_again(session: ActiveSession, authorization_request: AuthorizationRequest, asked_at: int) -> bool:
    """Core §3.1.2.1: a user is signed in, but the client asks for another user or a more recent sign-in."""
    if session.auth_time >= asked_at:
        return False  # the user signed in for this request; max_age=0 or prompt=login must not ask again
    max_age = authorization_request.max_age
    too_old = max_age is not None and asked_at - session.auth_time > max_age
    another = authorization_request.sub is not None and session.sub != authorization_request.sub
    asks_again = bool(authorization_request.prompts & {"login", "select_account"})
    return too_old or max_age == 0 or another or asks_again


def hinted_sub(parameters: MultiDict[str, str]) -> str | None:
    """Core §3.1.2.1: the user named by ``id_token_hint``, an ID token that we issued."""
    if not parameters.get("id_token_hint"):
        return None
    try:
        return str(verify_hint(parameters["id_token_hint"])["sub"])
    except HintError as error:
        raise AuthorizationError("invalid_request", "id_token_hint is not an ID token of this provider.") from error


def refuse(client: Client, parameters: MultiDict[str, str], error: AuthorizationError) -> Response:
    """Redirect to the client with the error, if redirect_uri is registered; else show an error page."""
    redirect_uri = parameters.get("redirect_uri", "")
    if not client.check_redirect_uri(redirect_uri):
        return unknown_redirect_uri(client, redirect_uri, str(error))
    if returned_length(parameters) > MAX_RETURNED:
        return answer_too_long(client, parameters)
    mode, state = response_mode_of(parameters), parameters.get("state")
    # Multiple Response Types §5: a response type with a token never uses the query, not even for its errors.
    if mode == "query" and "token" in (parameters.get("response_type") or ""):
        mode = "fragment"
    return authorization_response.refuse(client.client_id, redirect_uri, mode, state, error.error, str(error))
