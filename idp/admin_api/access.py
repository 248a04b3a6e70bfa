"""Access: a program needs its own access token (RFC 6750; idp/tokens/client_credentials.py)."""

from flask import g, request

from idp.admin_api.errors import Problem
from idp.clients.registry import find_client
from idp.models import Token, hash_of
from pickup_web import events
from pickup_web.database import db

REALM = 'Bearer realm="Pickup admin API"'


def require_scope(scope: str) -> None:
    """Sets ``g.caller``, the client's id; :class:`Problem` 401 without a valid token, 403 without the scope."""
    entity = scope.partition(":")[0]
    # RFC 6750 §2.1: in the header only. A token in a form or URL would end up in logs.
    kind, _, value = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() != "bearer" or not value:  # RFC 6750 §3.1: without a token, the challenge has no error code
        raise refusal(401, "unauthorized", "This needs an access token, in the header Authorization.", entity, REALM)
    token = db.session.get(Token, hash_of(value.strip()))
    client = find_client(token.client_id) if token else None
    if token is None or client is None or token.is_expired() or token.is_revoked():
        sentence = "The access token is unknown, expired or revoked."
        challenge = f'{REALM}, error="invalid_token", error_description="{sentence}"'
        raise refusal(401, "invalidToken", sentence, entity, challenge)
    # A user's token belongs to a session. A scope that the operator removed from the client stops working immediately.
    is_program = token.sid is None and client.check_grant_type("client_credentials")
    granted = is_program and scope in token.scope.split() and scope in client.scopes
    if not granted:
        events.record(db.session, "op.admin_api.refused", client_id=client.client_id, outcome=scope)
        db.session.commit()
        challenge = f'{REALM}, error="insufficient_scope", scope="{scope}"'
        raise refusal(403, "insufficientScope", f"This needs a token with the scope {scope}.", entity, challenge)
    g.caller = client.client_id


def refusal(status: int, key: str, sentence: str, entity: str, challenge: str) -> Problem:
    """RFC 6750 §3: the reason, also in the header."""
    return Problem(status, key, sentence, entity=entity, headers={"WWW-Authenticate": challenge})
