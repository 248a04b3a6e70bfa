"""[2] Signing in with the authorization code flow (Core §3.1) and PKCE (RFC 7636).

Authlib builds the requests. This file checks each response before it uses it.
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

LOGIN_SECONDS = 600  # for the user to sign in at the provider
LOGINS_AT_ONCE = 5  # sign-ins that one browser may have under way, in several tabs
ENDED_MEANWHILE = "Your session at the identity provider (IdP) ended, or signing in took too long. Sign in again."


def start_login() -> ResponseReturnValue:
    """``GET /login?next=/path`` → redirect to the provider's authorization endpoint (Core §3.1.2.1)."""
    provider = current_state().provider
    try:
        endpoint, oauth = provider.endpoint("authorization_endpoint"), provider.oauth()
    except ProviderError as error:
        emit("rp.login.failed", outcome=str(error), evidence=str(error.evidence))
        return login_failed_page(error)
    login = {
        "state": secrets.token_urlsafe(32),  # RFC 6749 §10.12: a non-guessable value bound to the browser's session
        "nonce": secrets.token_urlsafe(32),  # Core §15.5.2: a random value that binds the ID token to this session
        "code_verifier": secrets.token_urlsafe(48),  # RFC 7636 §4.1: 43 to 128 unreserved characters
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
    """``GET /oauth2client?code=…&state=…`` → a new session → redirect to the page that the user wanted."""
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
    """The login that this response belongs to. RFC 6749 §10.12: ``state`` must match one of this browser's."""
    # RFC 6749 §3.1: response parameters MUST NOT be included more than once.
    repeated = [name for name, values in request.args.lists() if len(values) > 1]
    if repeated:
        raise LoginFailed("The identity provider (IdP) sent a parameter twice.", repeated)
    login = current_state().sessions.take_login(current_session(), request.args.get("state", ""))
    if login is None:
        raise LoginFailed("This browser did not start this sign-in, or it is already complete.")
    if login["started_at"] < now() - LOGIN_SECONDS:
        raise LoginFailed("Signing in took too long.")
    return login


def authorization_code() -> str:
    """The code in the authorization response; :class:`LoginFailed` for an error response or another issuer's."""
    # RFC 9207 §2.4: compare iss with the issuer. Reject a response without iss if the issuer's metadata promises it.
    config, metadata = current_state().config, current_state().provider.metadata()
    issuer = request.args.get("iss")
    required = metadata.get("authorization_response_iss_parameter_supported") is True
    if issuer != config.issuer and (required or issuer is not None):
        raise LoginFailed("The answer does not come from this app's identity provider (IdP).", issuer)
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
    """The user's claims: those of the validated ID token, and those of the UserInfo response."""
    claims = verified_id_token(tokens, nonce)
    userinfo = current_state().provider.userinfo(tokens["access_token"])
    if userinfo is None:
        return claims, {}
    # Core §5.3.2: sub MUST match sub in the ID token; if not, the UserInfo values MUST NOT be used.
    if userinfo.get("sub") != claims["sub"]:
        raise LoginFailed("The identity provider (IdP) answered about a different user.")
    return claims, userinfo


def verified_id_token(tokens: dict[str, Any], nonce: str | None) -> dict[str, Any]:
    """The claims of the ID token in a token response.

    Core §10.1.1: fetch the keys again when the token has an unfamiliar ``kid``.
    """
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
    """What the session stores, on the server only. Logging out deletes it."""
    return {
        "claims": claims,
        "id_token_header": jws.read_header(tokens["id_token"]),
        "userinfo": userinfo,
        "id_token": tokens["id_token"],  # RPIL §2: the id_token_hint
        "access_token": tokens["access_token"],
        "access_token_expires_at": now() + tokens["expires_in"],
        "refresh_token": tokens.get("refresh_token"),
        "started_at": now(),
        "client_id": current_state().provider.client().client_id,
        "end_session_endpoint": end_session_endpoint(),
    }


def end_session_endpoint() -> str | None:
    """Stored with the session, so that logging out needs no request for the metadata.

    RP-Initiated Logout 1.0 (RPIL) §2.1: a provider that supports it has this endpoint. Not every provider does.
    """
    try:
        return current_state().provider.endpoint("end_session_endpoint")
    except ProviderError:
        return None


def local_path(path: str) -> str:
    """``path`` if it is a path on this site, else empty. RFC 9700 §4.11.1: clients MUST NOT be open redirectors."""
    # Browsers treat a backslash as a slash, and ignore tabs and line breaks.
    harmless = path.startswith("/") and not path.startswith("//") and "\\" not in path and path.isprintable()
    return path if harmless else ""


def login_failed_page(error: RelyingPartyError) -> ResponseReturnValue:
    """A sentence for the user. The evidence is in the log only."""
    text, status = str(error), 503 if isinstance(error, ProviderError) else 400
    if isinstance(error, GrantRefused):  # the provider has revoked the code or token, with its session
        text, status = ENDED_MEANWHILE, 400
    return message_page("Sign-in failed", text, retry_url=url_for("relying_party.login")), status
