"""[2] Signing in: to the provider and back, and then a new session on our side.

The authorization code flow with PKCE (Core §3.1, RFC 7636). Authlib builds the requests; what comes
back is checked here, in the order of the specification, and nothing is believed before.
"""

import secrets
from typing import Any

from flask import redirect, request, url_for
from flask.typing import ResponseReturnValue

from relying_party import jws
from relying_party.clock import now
from relying_party.errors import GrantRefused, LoginFailed, ProviderError, RelyingPartyError, UnknownKey
from relying_party.id_token import validate_id_token
from relying_party.pages import home_url, message_page
from relying_party.sessions import REPLACED
from relying_party.state import current_session, current_state, emit, tell_application

LOGIN_SECONDS = 600  # how long a person may take at the provider
LOGINS_AT_ONCE = 5  # tabs that are signing in at the same time
ENDED_MEANWHILE = "Your session at the identity provider (IdP) ended, or signing in took too long. Sign in again."


def start_login() -> ResponseReturnValue:
    """``GET /login?next=/path`` → redirect to the provider's authorization endpoint."""
    provider = current_state().provider
    try:
        endpoint, oauth = provider.endpoint("authorization_endpoint"), provider.oauth()
    except ProviderError as error:
        emit("rp.login.failed", outcome=str(error), evidence=str(error.evidence))
        return login_failed_page(error)
    # RP-06: random, bound to this browser's session, good for one answer.
    login = {
        "state": secrets.token_urlsafe(32),
        "nonce": secrets.token_urlsafe(32),
        "code_verifier": secrets.token_urlsafe(48),
        "next": local_path(request.args.get("next", "")),
        "started_at": now(),
    }
    current_state().sessions.remember_login(current_session(), login, most=LOGINS_AT_ONCE)
    url, _ = oauth.create_authorization_url(
        endpoint, state=login["state"], nonce=login["nonce"], code_verifier=login["code_verifier"]
    )
    emit("rp.login.started")
    return redirect(url, 303)


def callback() -> ResponseReturnValue:
    """``GET /oauth2client?code=…&state=…`` → a new session → back to where the person wanted to go."""
    try:
        login = take_login()
        tokens = current_state().provider.exchange_code(authorization_code(), login["code_verifier"])
        claims, userinfo = identify(tokens, login["nonce"])
        session = current_session()
        replaced = current_state().sessions.sign_in(session, stored_login(tokens, claims, userinfo))
    except RelyingPartyError as error:
        emit("rp.login.failed", outcome=str(error), evidence=str(error.evidence))
        return login_failed_page(error)
    emit("rp.session.created", sid=claims.get("sid"))
    tell_application(replaced, REPLACED)
    return redirect(login["next"] or home_url(), 303)


def take_login() -> dict[str, Any]:
    """The login this answer belongs to. RFC 6749 §10.12: no ``state`` of this browser, no login."""
    repeated = [name for name, values in request.args.lists() if len(values) > 1]
    if repeated:  # RFC 6749 §3.1: parameters come once
        raise LoginFailed("The identity provider (IdP) sent a parameter twice.", repeated)
    login = current_state().sessions.take_login(current_session(), request.args.get("state", ""))
    if login is None:
        raise LoginFailed("This browser did not start this sign-in, or it is already complete.")
    if login["started_at"] < now() - LOGIN_SECONDS:
        raise LoginFailed("Signing in took too long.")
    return login


def authorization_code() -> str:
    """The code out of the answer, if it is an answer of our provider and not an error."""
    # RFC 9207 §2.4: the answer names its issuer, so that another provider's answer is not taken for ours.
    config, metadata = current_state().config, current_state().provider.metadata()
    issuer = request.args.get("iss")
    required = metadata.get("authorization_response_iss_parameter_supported") is True
    if issuer != config.issuer and (required or issuer is not None):
        raise LoginFailed("The answer does not come from our identity provider (IdP).", issuer)
    if error := request.args.get("error"):
        refused = error == "access_denied"
        raise LoginFailed(
            "You did not allow the sign-in." if refused else "The identity provider (IdP) refused the sign-in.", error
        )
    code = request.args.get("code")
    if not code:
        raise LoginFailed("The identity provider (IdP) sent no code.")
    return code


def identify(tokens: dict[str, Any], nonce: str | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Who signed in: the verified claims of the ID token, and those of userinfo about the same person."""
    claims = verified_id_token(tokens, nonce)
    userinfo = current_state().provider.userinfo(tokens["access_token"])
    if userinfo is None:
        return claims, {}
    if userinfo.get("sub") != claims["sub"]:  # Core §5.3.2: otherwise the answer is not to be used
        raise LoginFailed("The identity provider (IdP) answered about a different user.")
    return claims, userinfo


def verified_id_token(tokens: dict[str, Any], nonce: str | None) -> dict[str, Any]:
    """The claims of the ID token in a token response. A key we don't know yet is asked for once (Core §10.1.1)."""
    config, provider = current_state().config, current_state().provider
    for refetch in (False, True):
        try:
            return validate_id_token(
                str(tokens.get("id_token", "")),
                provider.keys(refetch=refetch),
                issuer=config.issuer,
                client_id=provider.client().client_id,
                algorithm=config.signing_algorithm,
                now=now(),
                nonce=nonce,
                access_token=tokens["access_token"],
            )
        except UnknownKey:
            if refetch:
                raise
    raise AssertionError("unreachable")


def stored_login(tokens: dict[str, Any], claims: dict[str, Any], userinfo: dict[str, Any]) -> dict[str, Any]:
    """What the session keeps of a login. It stays on the server; logging out wipes it."""
    return {
        "claims": claims,
        "id_token_header": jws.read_header(tokens["id_token"]),
        "userinfo": userinfo,
        "id_token": tokens["id_token"],  # RPL-35: the hint for logging out
        "access_token": tokens["access_token"],
        "access_token_expires_at": now() + tokens["expires_in"],
        "refresh_token": tokens.get("refresh_token"),
        "started_at": now(),
        "client_id": current_state().provider.client().client_id,
        "end_session_endpoint": end_session_endpoint(),
    }


def end_session_endpoint() -> str | None:
    """Where to log out, kept so that logging out waits for nobody. RPL-39: not every provider has one."""
    try:
        return current_state().provider.endpoint("end_session_endpoint")
    except ProviderError:
        return None


def local_path(path: str) -> str:
    """``path``, if it is a path on this very site; else empty. No open redirector (RFC 9700 §4.11)."""
    # Browsers read a backslash as a slash, and pass over tabs and line ends.
    harmless = path.startswith("/") and not path.startswith("//") and "\\" not in path and path.isprintable()
    return path if harmless else ""


def login_failed_page(error: RelyingPartyError) -> ResponseReturnValue:
    """What happened, in a sentence; the evidence is in the log only."""
    text, status = str(error), 503 if isinstance(error, ProviderError) else 400
    if isinstance(error, GrantRefused):  # nobody's fault: what was issued a moment ago is revoked with its session
        text, status = ENDED_MEANWHILE, 400
    return message_page("Sign-in failed", text, retry_url=url_for("relying_party.login")), status
