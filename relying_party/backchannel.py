"""[14] ``POST /bclogout``: the provider's server tells us that a session has ended (BCL §2.5).

    request → one logout_token → validated (logout_token.py) → sessions ended (sessions.py) → 200
                              ↘ a check fails: 400, and nothing has changed

The request has no cookie. The token's signature is the only credential, so CSRF protection does not apply here.
"""

from typing import Any

from flask import Response, jsonify, make_response, request
from werkzeug.exceptions import HTTPException

from relying_party.clock import now
from relying_party.errors import InvalidToken, ProviderError, RelyingPartyError, UnknownKey
from relying_party.logout_token import LogoutToken, validate_logout_token
from relying_party.provider import REFETCH_SECONDS
from relying_party.sessions import reason_of
from relying_party.state import current_state, emit, tell_application

MAX_BODY = 64 * 1024  # bytes; a logout token has about one thousand


def backchannel_logout() -> Response:
    """BCL §2.8: 200 if the logout succeeded, 400 if the request was invalid or the logout failed."""
    try:
        token = validated_token(logout_token_parameter())
        ended = current_state().sessions.apply_logout(token)
    except RelyingPartyError as error:
        emit("rp.logout_token.rejected", outcome=str(error), evidence=str(error.evidence)[:200], **caller())
        return refusal(error)
    emit("rp.logout_token.accepted", sid=token.sid, jti=token.jti, outcome=f"{len(ended)} ended", **caller())
    tell_application(ended, reason_of(token))
    # BCL §2.7: if the session is already logged out, the logout has succeeded.
    return uncached(make_response("", 200))


def wrong_method() -> Response:
    """BCL §2.5: the provider uses HTTP POST. RFC 9110 §15.5.6: 405 with ``Allow`` for other methods."""
    response = refusal(RelyingPartyError("A logout request is a POST."))
    response.status_code, response.headers["Allow"] = 405, "POST"
    return response


def logout_token_parameter() -> str:
    """BCL §2.5: the body is form-encoded and MUST include ``logout_token``. Other parameters are ignored."""
    request.max_content_length = MAX_BODY
    if (request.content_length or 0) > MAX_BODY:
        raise RelyingPartyError("The request is too large.", request.content_length)
    if request.mimetype != "application/x-www-form-urlencoded":
        raise RelyingPartyError("The request is not application/x-www-form-urlencoded.", request.mimetype)
    if "logout_token" in request.args:  # URLs are logged
        raise RelyingPartyError("logout_token must be in the body, not in the URL.")
    try:
        body = request.get_data()  # kept for request.form
        tokens = request.form.getlist("logout_token")
    except HTTPException as error:  # the body is incomplete
        raise RelyingPartyError("The request's body cannot be read.", error.name) from error
    # Werkzeug reads a body without an announced length up to the limit and ignores the rest.
    if not request.content_length and len(body) >= MAX_BODY:
        raise RelyingPartyError("The request is too large.", len(body))
    if len(tokens) != 1 or not tokens[0]:
        raise RelyingPartyError("There must be exactly one logout_token.", len(tokens))
    return tokens[0]


def validated_token(raw: str) -> LogoutToken:
    """The validated token. Core §10.1.1: fetch the keys again when the token has an unfamiliar ``kid``."""
    config, provider = current_state().config, current_state().provider
    credentials = current_state().registration.known()
    if credentials is None:
        raise InvalidToken("This app is not registered at the identity provider yet.")
    for refetch in (False, True):
        try:
            return validate_logout_token(
                raw,
                provider.keys(refetch=refetch),
                issuer=config.issuer,
                client_id=credentials.client_id,
                algorithm=config.signing_algorithm,
                now=now(),
                oldest=config.logout_token_seconds,
            )
        except UnknownKey:
            if refetch:
                raise
    raise AssertionError("unreachable")


def refusal(error: RelyingPartyError) -> Response:
    """BCL §2.8: 400; the body may have ``error`` and ``error_description`` in JSON, as in RFC 6749 §5.2."""
    response = uncached(make_response(jsonify(error=error.error, error_description=str(error)), 400))
    if isinstance(error, ProviderError | UnknownKey):
        # We could not fetch the provider's current keys, so the token may be valid. A sender may try again after
        # this time (RFC 9110 §10.2.3).
        response.headers["Retry-After"] = str(REFETCH_SECONDS)
    return response


def uncached(response: Response) -> Response:
    """BCL §2.8: the response SHOULD have ``Cache-Control: no-store``."""
    response.headers["Cache-Control"] = "no-store"
    return response


def caller() -> dict[str, Any]:
    """Details of the sender for the log. They show that it was not a browser with a cookie."""
    return {
        "from_address": request.remote_addr,
        "user_agent": request.user_agent.string[:100],
        "cookie_sent": bool(request.cookies),
    }
