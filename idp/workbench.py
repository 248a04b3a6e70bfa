"""``/console/logout-token``: an operator lets the IdP sign and send a logout token with a chosen mistake.

Part of the token workbench of Pickup Learn, which has no key of ours. Exists only while PICKUP_DEMO_EVENTS is on.
The token goes only to the back-channel logout URL of a demo app. It is neither shown nor logged.
"""

import json
from typing import Any

from flask import Blueprint, g, render_template, request
from flask.typing import ResponseReturnValue

from idp.console.parts import ask
from idp.flow.delivery import post
from idp.flow.logout_token import LOGOUT_EVENT, SECONDS, TYPE
from idp.models import Client
from idp.outbox.http import in_background
from idp.own_pages import guard, require_operator
from idp.provider import current_provider
from idp.seed import SEED
from pickup_web import events
from pickup_web.clock import now
from pickup_web.database import db

DEMO_APPS = frozenset(client["client_id"] for client in SEED["clients"] if "backchannel_logout_uri" in client)
# A Security Event Token without its own type (RFC 8417 §2.3): a receiver should refuse it. The types of ID tokens and
# access tokens are not offered.
TYPES = (TYPE, "secevent+jwt")
CLAIMS = frozenset({"iss", "aud", "iat", "exp", "jti", "events", "event", "sub", "sid", "nonce"})
MAX_CLAIMS = 4096  # characters

blueprint = Blueprint("workbench", __name__, url_prefix="/console")
guard(blueprint, require_operator)


class Refusal(Exception):
    """Why the IdP does not sign this."""


def logout_token() -> ResponseReturnValue:
    """``GET ?app=&typ=&claims=`` → asks; ``POST`` to the same address signs and sends."""
    try:
        client, typ, claims = asked_for()
    except Refusal as error:
        return render_template("console/refused.html", text=str(error), status=400), 400
    learn = current_provider().settings.learn_url
    if request.method != "POST":
        facts = {"App": client.name, "typ": typ, **{name: json.dumps(value) for name, value in claims.items()}}
        text = "The IdP signs this token with its current key and sends it to the app. If it is right, a session ends."
        return ask("Sign and send a logout token?", text, "Sign and send", f"{learn}/workbench", facts=facts)
    token = current_provider().keys.sign(claims, alg=client.id_token_signed_response_alg, typ=typ)
    answer = in_background(
        post(
            current_provider().http,
            client.backchannel_logout_uri or "",
            token,
            client.connect_timeout,
            client.read_timeout,
            client.ca_certificates,
        )
    ).result()
    events.record(
        db.session, "op.workbench.sent", client_id=client.client_id, outcome=answer.word, by=g.person.username
    )
    db.session.commit()
    return render_template("console/logout_token_sent.html", client=client, answer=answer, learn=learn)


def asked_for() -> tuple[Client, str, dict[str, Any]]:
    """The app, the type and the claims of this request; :class:`Refusal` if the IdP does not sign them."""
    app, typ, text = (request.args.get(name, "") for name in ("app", "typ", "claims"))
    client = db.session.get(Client, app) if app in DEMO_APPS else None
    if client is None or client.removed_at is not None or not client.backchannel_logout_uri:
        raise Refusal("Tokens are sent to the apps of this demo only.")
    if typ not in TYPES:
        raise Refusal(f"The type of the token is {' or '.join(TYPES)}.")
    try:
        claims = json.loads(text) if len(text) <= MAX_CLAIMS else None
        json.dumps(claims, ensure_ascii=False).encode()  # half of a surrogate pair cannot be signed
    except (ValueError, RecursionError):
        claims = None
    if not isinstance(claims, dict):
        raise Refusal("The claims are not a JSON object.")
    check(claims)
    return client, typ, claims


def check(claims: dict[str, Any]) -> None:
    """Raise :class:`Refusal` for a token that could be of use elsewhere, or later."""
    if unknown := claims.keys() - CLAIMS:
        raise Refusal(f"A logout token of the workbench has no claim {min(unknown)}.")
    if str(claims.get("aud")) not in DEMO_APPS:
        raise Refusal("The audience is one of the apps of this demo.")
    issued, expires = claims.get("iat"), claims.get("exp")
    if type(issued) is not int or type(expires) is not int:
        raise Refusal("iat and exp are whole numbers.")
    if expires > now() + SECONDS or expires - issued > SECONDS:
        raise Refusal(f"The token is valid for at most {SECONDS} seconds.")
    event = claims.get("events")
    if "nonce" in claims and not (isinstance(event, dict) and LOGOUT_EVENT in event):
        raise Refusal("A token with a nonce and without the logout event could pass as an ID token.")


blueprint.add_url_rule("/logout-token", "logout_token", logout_token, methods=["GET", "POST"])
