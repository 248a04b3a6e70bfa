"""[14] ``POST /bclogout``: the provider tells us, server to server, that a session is over.

    request → one logout_token → validated (logout_token.py) → sessions ended (sessions.py) → 200
                              ↘ anything wrong: 400, and nothing has changed

No cookie comes with this request and none is read: the signature is the only credential. That is why
CSRF protection must not stand in its way, and why every check counts.
"""

from typing import Any

from flask import Response, jsonify, make_response, request
from werkzeug.exceptions import HTTPException

from relying_party.clock import now
from relying_party.errors import InvalidToken, ProviderError, RelyingPartyError, UnknownKey
from relying_party.incoming import reading_ends_after
from relying_party.logout_token import LogoutToken, validate_logout_token
from relying_party.provider import REFETCH_SECONDS
from relying_party.sessions import reason_of
from relying_party.state import current_state, emit, tell_application

MAX_BODY = 64 * 1024  # bytes; a logout token has about one thousand
BODY_SECONDS = 5  # in which they have to be here


def backchannel_logout() -> Response:
    """200 when the session is over, whether or not it still existed; 400 with a JSON error otherwise."""
    try:
        token = validated_token(logout_token_parameter())
        ended = current_state().sessions.apply_logout(token)
    except RelyingPartyError as error:
        emit("rp.logout_token.rejected", outcome=str(error), evidence=str(error.evidence)[:200], **caller())
        return refusal(error)
    emit("rp.logout_token.accepted", sid=token.sid, jti=token.jti, outcome=f"{len(ended)} ended", **caller())
    tell_application(ended, reason_of(token))
    # BCL §2.8: 200, and not to be cached. Zero sessions are a success, too: they are over.
    return uncached(make_response("", 200))


def wrong_method() -> Response:
    """BCL §2.5: the logout request is a POST; anything else is 405."""
    response = refusal(RelyingPartyError("A logout request is a POST."))
    response.status_code, response.headers["Allow"] = 405, "POST"
    return response


def logout_token_parameter() -> str:
    """The request's one ``logout_token``."""
    # BCL §2.5: a form post with the parameter logout_token; other parameters are ignored.
    request.max_content_length = MAX_BODY
    if (request.content_length or 0) > MAX_BODY:
        raise RelyingPartyError("The request is too large.", request.content_length)
    if request.mimetype != "application/x-www-form-urlencoded":
        raise RelyingPartyError("The request is not application/x-www-form-urlencoded.", request.mimetype)
    if "logout_token" in request.args:  # addresses end up in logs
        raise RelyingPartyError("logout_token belongs into the body, not into the address.")
    try:
        with reading_ends_after(BODY_SECONDS):
            tokens = request.form.getlist("logout_token")
    except HTTPException as error:  # too slow, or too large after all: chunks tell the length only at the end
        raise RelyingPartyError("The request's body cannot be read.", error.name) from error
    if len(tokens) != 1 or not tokens[0]:
        raise RelyingPartyError("There must be exactly one logout_token.", len(tokens))
    return tokens[0]


def validated_token(raw: str) -> LogoutToken:
    """The token, checked. A key we don't know yet is asked for once (Core §10.1.1), as often as is decent."""
    config, provider = current_state().config, current_state().provider
    credentials = current_state().registration.known()
    if credentials is None:
        raise InvalidToken("This application is not registered at the provider yet.")
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
    """BCL §2.8: 400, with the error in JSON as in RFC 6749 §5.2. What we know stays in our log."""
    response = uncached(make_response(jsonify(error=error.error, error_description=str(error)), 400))
    if isinstance(error, ProviderError | UnknownKey):
        # We could not look at the provider's keys, or not yet at its newest: the token may be good. A sender
        # that minds this header (RFC 9110 §10.2.3) tries again; for the others it is a plain 400.
        response.headers["Retry-After"] = str(REFETCH_SECONDS)
    return response


def uncached(response: Response) -> Response:
    """BCL §2.8: neither answer may be stored."""
    response.headers["Cache-Control"] = "no-store"
    return response


def caller() -> dict[str, Any]:
    """Who sent it, for the record: the provider's server brings no cookie, a browser would."""
    return {
        "from_address": request.remote_addr,
        "user_agent": request.user_agent.string[:100],
        "cookie_sent": bool(request.cookies),
    }
