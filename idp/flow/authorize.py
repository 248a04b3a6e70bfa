"""[3] The authorization endpoint: who asks, is there a session already, and a code for the app.

1. Is the client known and the redirect_uri one of its own? If not: a page, never a redirect.
2. Is the request one that can be granted? If not: back to the client with an error.
3. Is the right person signed in here, recently enough? If not: login.py asks, and comes back to this point.
4. Does the app want them asked for consent? consent.py does, and comes back to this point.
5. A code. The second app to ask gets it without a question: that is single sign-on.
"""

from urllib.parse import quote_plus

from flask import Response, redirect, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.datastructures import MultiDict

from idp.addresses import with_parameters
from idp.authorization import consent, request_object
from idp.authorization import response as authorization_response
from idp.authorization.pending import MAX_IN_URL, MAX_REQUEST, MAX_RETURNED, Pending, is_too_long
from idp.authorization.request import (
    MODES,
    AuthorizationError,
    AuthorizationRequest,
    check,
    response_mode_of,
)
from idp.clients.registry import known_client
from idp.error_pages import error_page, too_late, too_long
from idp.flow.login import ask_for_password
from idp.models import Client, SsoSession
from idp.sign_in.sso_session import cookie_of_browser, current_sso_session
from idp.tokens.id_token_hint import HintError, verify_hint
from pickup_web.clock import now


def authorize() -> ResponseReturnValue:
    """``GET`` and ``POST /oauth2/authorize`` (Core §3.1.2.1). ``?resume=`` is our own way back from the login."""
    if "resume" in request.args:
        return resume_request(request.args["resume"])
    if is_too_long():
        return too_long(MAX_REQUEST)
    # A post from another site brings no SameSite=Lax cookie; a redirect to ourselves does.
    comes_again = request.method == "POST" and cookie_of_browser() is None
    if comes_again:
        target = with_parameters(url_for("authorize"), request.form.items(multi=True))
        if len(target) <= MAX_IN_URL:
            return redirect(target, 303)
    parameters = request.form if request.method == "POST" else request.args
    return start_request(MultiDict((name, value) for name, value in parameters.items(multi=True) if value), comes_again)


def start_request(parameters: MultiDict[str, str], comes_again: bool = False) -> ResponseReturnValue:
    """A request that has just come in: whose is it, and where may the answer go?

    ``comes_again``: it is a long one that lacks the cookie, so it is kept while a redirect brings that.
    """
    client = known_client(parameters.get("client_id", ""))
    if client is None:
        return unknown_client(parameters)
    try:
        resolved = request_object.resolve(client, parameters)
    except AuthorizationError as error:
        # ROB-04: the object's own redirect_uri is not to be believed, so the one beside it must be good.
        return refuse(client, parameters, error)
    pending = Pending(resolved, now())
    if comes_again and client.check_redirect_uri(resolved.get("redirect_uri", "")):
        return redirect(pending.resume_url(), 303)
    return answer_request(pending, client)


def resume_request(signed: str) -> ResponseReturnValue:
    """A request that has waited for the person; whatever has happened meanwhile counts."""
    pending = Pending.read(signed)
    if pending is None:
        return too_late()
    client = known_client(pending.parameters.get("client_id", ""))
    return unknown_client(pending.parameters) if client is None else answer_request(pending, client)


def answer_request(pending: Pending, client: Client) -> ResponseReturnValue:
    """Answer the request: at once, or after another question to the person in front of the browser."""
    if pending.parameters.get("response_mode", "query") not in MODES:  # ERR-04: there is no way to answer
        return unknown_response_mode(client, pending.parameters["response_mode"])
    if not client.check_redirect_uri(pending.parameters.get("redirect_uri", "")):
        return unknown_redirect_uri(client, pending.parameters.get("redirect_uri"))
    if returned_length(pending.parameters) > MAX_RETURNED:
        return unanswerable(client, pending.parameters)
    try:
        authorization_request = check(client, pending.parameters, hinted_sub(pending.parameters))
        return prompt_or_grant(authorization_request, pending)
    except AuthorizationError as error:
        return refuse(client, pending.parameters, error)


def prompt_or_grant(authorization_request: AuthorizationRequest, pending: Pending) -> Response:
    """Steps 3 to 5. With ``prompt=none`` every question becomes an error (Core §3.1.2.6)."""
    session = current_sso_session()
    silent = "none" in authorization_request.prompts
    if session is None or must_sign_in_again(session, authorization_request, pending.asked_at):
        if silent:
            raise AuthorizationError("login_required", "No user is signed in who meets the request.")
        return ask_for_password(pending, authorization_request.client, pending.parameters.get("login_hint", ""))
    if authorization_request.sub and session.sub != authorization_request.sub:
        raise AuthorizationError("login_required", "A different user is signed in.")  # for this very request
    if pending.denied:
        raise AuthorizationError("access_denied", "The user did not allow it.")
    if consent.is_missing(authorization_request, session, pending.asked_at):
        return consent.ask_for_consent(pending, authorization_request, session)
    return authorization_response.grant(authorization_request, session)


def must_sign_in_again(session: SsoSession, authorization_request: AuthorizationRequest, asked_at: int) -> bool:
    """Core §3.1.2.1: a session is there, but the client wants another person or a newer password."""
    if session.auth_time >= asked_at:
        return False  # done for this very request; a slow page must not ask again
    max_age = authorization_request.max_age
    too_old = max_age is not None and asked_at - session.auth_time > max_age
    another = authorization_request.sub is not None and session.sub != authorization_request.sub
    asks_again = bool(authorization_request.prompts & {"login", "select_account"})
    return too_old or max_age == 0 or another or asks_again


def hinted_sub(parameters: MultiDict[str, str]) -> str | None:
    """Core §3.1.2.1: ``id_token_hint``, an ID token of ours about the person who should be signed in."""
    if not parameters.get("id_token_hint"):
        return None
    try:
        return str(verify_hint(parameters["id_token_hint"])["sub"])
    except HintError as error:
        raise AuthorizationError("invalid_request", "id_token_hint is not an ID token of this provider.") from error


def refuse(client: Client, parameters: MultiDict[str, str], error: AuthorizationError) -> Response:
    """Back to the client with the error, if the address is its own."""
    redirect_uri = parameters.get("redirect_uri", "")
    if not client.check_redirect_uri(redirect_uri):
        return unknown_redirect_uri(client, redirect_uri, str(error))
    if returned_length(parameters) > MAX_RETURNED:
        return unanswerable(client, parameters)
    mode, state = response_mode_of(parameters), parameters.get("state")
    if mode == "query" and "token" in (parameters.get("response_type") or ""):
        mode = "fragment"
    return authorization_response.refuse(client.client_id, redirect_uri, mode, state, error.error, str(error))


def returned_length(parameters: MultiDict[str, str]) -> int:
    """How many characters of the request the answer has in its URL; a form_post may have any number."""
    if response_mode_of(parameters) == "form_post":
        return 0
    nonce = parameters.get("nonce", "") if "id_token" in parameters.get("response_type", "") else ""
    return len(quote_plus(parameters.get("state", ""))) + len(nonce.encode())


def unknown_client(parameters: MultiDict[str, str]) -> Response:
    """Core §3.1.2.6: nobody to send back to."""
    return error_page(
        title="This app is not known here",
        text="The app that sent you here uses a client_id that is not registered with this identity provider (IdP).",
        facts={"client_id": parameters.get("client_id", "")},
        advice="The app's operator should compare client_id in the app's settings with the one registered here.",
    )


def unknown_redirect_uri(client: Client, redirect_uri: str | None, also: str = "") -> Response:
    """RFC 9700 §4.1.3: an address that is not registered, character by character, is not redirected to."""
    what = "is not one of those registered for the app" if redirect_uri else "is missing from the app's request"
    return error_page(
        title=f"Redirect address {'not registered for' if redirect_uri else 'missing for'} {client.name}",
        text=f"The redirect address {what}, so you were not sent back to the app. {also}".strip(),
        facts={"redirect_uri": redirect_uri or "", "client_id": client.client_id},
        advice="The app's operator should register exactly this address here, or correct redirect_uri in the app. "
        "Every character counts: http or https, the port, a slash at the end.",
        links=start_page_of(client),
    )


def unknown_response_mode(client: Client, response_mode: str) -> Response:
    """Core §3.1.2.6: an answer that could not be sent in the way that was asked for."""
    return error_page(
        title=f"Response mode of {client.name} not supported",
        text=f"The app asked for a response_mode that is not supported here. Supported are {', '.join(MODES)}.",
        facts={"response_mode": response_mode, "client_id": client.client_id},
        advice="The app's developer should ask for one of these, or leave response_mode out.",
        links=start_page_of(client),
    )


def start_page_of(client: Client) -> dict[str, str]:
    """The way back from an error page. Only an operator sets ``home_url``, so no app can place a link there itself."""
    return {f"Go to {client.name}": client.home_url} if client.home_url else {}


def unanswerable(client: Client, parameters: MultiDict[str, str]) -> Response:
    """An answer that would make a URL too long for servers (RFC 9110 §4.1)."""
    return error_page(
        title=f"{client.name} wants back more than a URL holds",
        text=f"state and nonce return in the app's URL, which has room for {MAX_RETURNED:,} characters of them. "
        "Nothing was done.",
        facts={name: parameters[name] for name in ("state", "nonce") if parameters.get(name)},
        advice="The app's developer should send short values and keep the rest in the app, or ask for "
        "response_mode=form_post.",
        links=start_page_of(client),
    )
