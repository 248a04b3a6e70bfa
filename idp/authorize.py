"""[2] The authorization endpoint: who asks, is there a session already, and a code for the app.

1. Is the client known and the redirect_uri one of its own? If not: a page, never a redirect.
2. Is the request one we support? If not: back to the client with an error.
3. Is somebody signed in here, recently enough? If not: login.py asks, and comes back to this point.
4. A code. The second app to ask gets it without a question: that is single sign-on.
"""

from authlib.common.urls import add_params_to_uri
from authlib.oauth2 import OAuth2Error
from flask import Response, redirect, request
from flask.typing import ResponseReturnValue
from werkzeug.datastructures import MultiDict

from idp.errors import error_page
from idp.login import ask_for_password, current_sso_session, pending_request
from idp.models import Client, SsoSession
from idp.state import current_state
from pickup_web import events
from pickup_web.clock import now
from pickup_web.database import db

SUPPORTED_RESPONSE_TYPES = ("code",)


def authorize() -> ResponseReturnValue:
    """``GET`` and ``POST /oauth2/authorize`` (Core §3.1.2.1); ``?resume=`` is our own way back from the login."""
    if "resume" in request.args:
        pending = pending_request(request.args["resume"])
        if pending is None:
            return error_page(title="This login took too long", text="Please start again from the app.")
        return proceed(MultiDict(tuple(pair) for pair in pending["parameters"]), pending["at"])
    return proceed(request.values if request.method == "POST" else request.args, now())


def proceed(parameters: MultiDict[str, str], asked_at: int) -> ResponseReturnValue:
    """Answer the authorization request that came in at ``asked_at``."""
    # RFC 6749 §3.1: a parameter without a value counts as left out.
    parameters = MultiDict((name, value) for name, value in parameters.items(multi=True) if value)
    client = db.session.get(Client, parameters.get("client_id", ""))
    if client is None:
        return unknown_client(parameters)
    redirect_uri = parameters.get("redirect_uri", "")
    if not client.check_redirect_uri(redirect_uri):
        return unknown_redirect_uri(client, redirect_uri)
    state = parameters.get("state")
    if refusal := refuse(client, parameters):
        return answer(client, redirect_uri, error=refusal[0], error_description=refusal[1], state=state)

    session = current_sso_session()
    prompts = parameters.get("prompt", "").split()
    if session is None or must_sign_in_again(session, prompts, parameters.get("max_age"), asked_at):
        if "none" in prompts:  # Core §3.1.2.6: no page may be shown, so this is the answer
            return answer(client, redirect_uri, error="login_required", state=state)
        return ask_for_password(parameters, asked_at, client)
    return issue_code(parameters, session)


def refuse(client: Client, parameters: MultiDict[str, str]) -> tuple[str, str] | None:
    """The error word and sentence for a request that cannot be granted, whoever signs in."""
    repeated = [name for name, values in parameters.lists() if len(values) > 1]
    if repeated:  # RFC 6749 §3.1
        return "invalid_request", "A parameter is there more than once."
    for name in ("request", "request_uri", "registration"):  # Core §3.1.2.6: not silently ignored
        if parameters.get(name):
            return f"{name}_not_supported", f"This provider does not support {name}."
    response_type = parameters.get("response_type", "")
    if response_type not in SUPPORTED_RESPONSE_TYPES:
        word = "unsupported_response_type" if response_type else "invalid_request"
        return word, "response_type must be code."
    if parameters.get("response_mode", "query") != "query":
        return "invalid_request", "response_mode must be query."
    if not client.get_allowed_scope(parameters.get("scope")):
        return "invalid_scope", "No requested scope is one this client may ask for."
    return refuse_challenge(client, parameters) or refuse_login_rules(parameters)


def refuse_challenge(client: Client, parameters: MultiDict[str, str]) -> tuple[str, str] | None:
    """PKCE (RFC 7636 §4.4.1): whoever must use it, does; and only S256 proves anything."""
    challenge = parameters.get("code_challenge")
    if client.require_pkce and not challenge:
        return "invalid_request", "code_challenge is missing: this client must use PKCE."
    if challenge and parameters.get("code_challenge_method") != "S256":
        # RFC 9700 §2.1.1; without a method it would be "plain".
        return "invalid_request", "code_challenge_method must be S256."
    return None


def refuse_login_rules(parameters: MultiDict[str, str]) -> tuple[str, str] | None:
    """``prompt`` and ``max_age`` that make no sense (Core §3.1.2.1)."""
    prompts = parameters.get("prompt", "").split()
    if "none" in prompts and len(prompts) > 1:
        return "invalid_request", "prompt none excludes every other value."
    max_age = parameters.get("max_age") or "0"
    if not (max_age.isascii() and max_age.isdigit() and len(max_age) < 12):
        return "invalid_request", "max_age must be a number of seconds."
    return None


def must_sign_in_again(session: SsoSession, prompts: list[str], max_age: str | None, asked_at: int) -> bool:
    """Core §3.1.2.1: the session is there, but the client wants a password that is newer than that."""
    if session.auth_time >= asked_at:
        return False  # done for this very request; a slow page must not ask again
    too_old = max_age is not None and asked_at - session.auth_time > int(max_age)
    return too_old or max_age == "0" or "login" in prompts


def issue_code(parameters: MultiDict[str, str], session: SsoSession) -> ResponseReturnValue:
    """A code for this client and this session (RFC 6749 §4.1.2). Authlib makes it; oauth_server.py stores it."""
    oauth = current_state().oauth
    oauth_request = oauth.create_oauth2_request(parameters)
    try:
        oauth_request.user = session
        grant = oauth.get_authorization_grant(oauth_request)
        response = oauth.create_authorization_response(oauth_request, grant_user=session, grant=grant)
    except OAuth2Error as error:
        client = db.session.get_one(Client, parameters["client_id"])
        return answer(client, parameters["redirect_uri"], error=error.error, state=parameters.get("state"))
    events.record(db.session, "op.code.issued", sid=session.sid, client_id=parameters["client_id"])
    db.session.commit()
    return redirect(with_issuer(response.location), 303)


def answer(client: Client, redirect_uri: str, **values: str | None) -> Response:
    """Back to the client's own address with an error (Core §3.1.2.6)."""
    events.record(db.session, "op.authorization.refused", client_id=client.client_id, outcome=values.get("error"))
    db.session.commit()
    sent = {name: value for name, value in values.items() if value}
    return redirect(with_issuer(add_params_to_uri(redirect_uri, sent)), 303)  # type: ignore[return-value] # Flask's own class


def with_issuer(location: str) -> str:
    """RFC 9207 §2: every answer says who it is from."""
    return str(add_params_to_uri(location, {"iss": current_state().issuer}))


def unknown_client(parameters: MultiDict[str, str]) -> Response:
    """Core §3.1.2.6: nobody to send back to."""
    return error_page(
        title="This app is not known here",
        text="The app that sent you here asks under a client_id that is not registered.",
        facts={"client_id": parameters.get("client_id", "(none)")},
        advice="Its operator should compare the client_id in the app's settings with the one registered here.",
    )


def unknown_redirect_uri(client: Client, redirect_uri: str) -> Response:
    """RFC 9700 §4.1.3: an address that is not registered, character by character, is not redirected to."""
    return error_page(
        title=f"{client.name} asks to be answered elsewhere",
        text="The address it wants the answer at is not one of those registered for it.",
        facts={"redirect_uri": redirect_uri or "(none)"},
        advice="Register exactly this address, or correct the app's setting. Every character counts.",
    )
