"""[5] The token endpoint: an app redeems its code and becomes a participant of the session.

    redeem the code ─ lock the session ─ issue tokens ─ write the participation ─ sign the ID token ─ commit

Authlib reads the request, authenticates the client, calls :func:`exchange_code` for a code, and formats the response
(tokens/authlib_server.py, tokens/code_grant.py). This file decides what a code is exchanged for, in the order above.
"""

from collections.abc import Mapping
from typing import Any

from flask import Response, jsonify, make_response, request

from idp.models import Client
from idp.provider import current_provider
from idp.sign_in.participation import record_participation
from idp.sign_in.sso_session import lock_if_active
from idp.tokens.code_grant import InvalidGrant, check_code_verifier, check_redirect_uri, redeem_code
from idp.tokens.token_store import issue_id_token, issue_tokens
from pickup_web import events
from pickup_web.database import db
from pickup_web.security import uncached


def token_endpoint() -> Response:
    """``POST /oauth2/token`` (RFC 6749 §3.2). One transaction: a refused request changes nothing."""
    if any(len(values) > 1 for values in request.form.listvalues()):  # RFC 6749 §3.2
        answer = jsonify(error="invalid_request", error_description="A parameter appears more than once.")
        return uncached(make_response(answer, 400))
    response = current_provider().oauth.create_token_response()
    if response.status_code == 200:
        db.session.commit()
    else:
        db.session.rollback()
        events.record(db.session, "op.token.refused", outcome=(response.get_json(silent=True) or {}).get("error"))
        db.session.commit()
    return uncached(response)


def exchange_code(client: Client, form: Mapping[str, str]) -> dict[str, Any]:
    """The token response for a code (Core §3.1.3.3), for a client that has authenticated.

    Raises Authlib's ``OAuth2Error``. Does not commit: :func:`token_endpoint` does, when the response is complete.
    """
    # RFC 6749 §4.1.2: a code is used once. Of two requests with the same code, only one succeeds.
    code = redeem_code(form.get("code"), client)
    # Core §3.1.3.2: redirect_uri must be the one of the authorization request. RFC 7636 §4.6: code_verifier must match.
    check_redirect_uri(code, form.get("redirect_uri"))
    check_code_verifier(code, form.get("code_verifier"), is_public=client.is_public)
    # RFC 6749 §5.2: invalid_grant for a code of an ended session. Until our commit, the session cannot end: a logout
    # waits for it, then notifies this app and revokes its tokens too.
    if not lock_if_active(code.sid):
        raise InvalidGrant("The session in which the code was issued has ended.")
    tokens = issue_tokens(client, code, with_refresh_token=client.check_grant_type("refresh_token"))
    if "openid" in code.scope.split():
        # BCL §2.3: an app that got an ID token in this session is notified of its end. BCL §2.1: the token has the sid.
        record_participation(code.sid, client.client_id, code.sub)
        tokens["id_token"] = issue_id_token(
            client, code, nonce=code.nonce, access_token=tokens["access_token"], code=form["code"], scope=code.scope
        )
    return tokens
