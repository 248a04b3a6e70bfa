"""The token workbench: builds a logout token field by field, sends it to an app of the demo, and shows the verdict.

This service has no key of the IdP. It makes the tokens of an attacker itself, as anyone could with curl. For a token
with the IdP's signature the browser opens the IdP's console, where an operator has it signed and sent.
"""

import json
import threading
from typing import Any, NamedTuple

import jwt
import requests
from flask import Response, abort, current_app, jsonify, render_template, request

from pickup_learn import practice
from pickup_learn.checks import LOGOUT_EVENT
from pickup_learn.forgery import ISSUER_PATH, MAKERS
from pickup_web.settings import Settings

TIMEOUT_SECONDS = 5
MAX_CLAIMS = 4096  # characters
PLACES = 16  # tokens that may be sent at once: each holds a thread, and one for Practice needs a second thread
KEYS = {
    "right": "The IdP's key (an operator confirms it in the console)",
    "foreign": "A key of your own, under the name of the IdP's key",
    "hs256": "HS256, with the IdP's public key as the secret",
    "none": "No key: the algorithm none",
}


sending = threading.BoundedSemaphore(PLACES)


class Mistake(NamedTuple):
    """What differs from a right token. A claim that is None is left out; iat and exp are seconds from now."""

    name: str
    words: str
    claims: dict[str, Any] = {}  # noqa: RUF012 # never changed
    typ: str = "logout+jwt"
    key: str = "right"


OTHER_APP, SLASH, OWN_ISSUER = "other app", "slash", "own"  # for the page's script, which knows the app
MISTAKES = (
    Mistake("nothing", "Nothing: a right token"),
    Mistake("event", "event instead of events, as in some tutorials", {"events": None, "event": {LOGOUT_EVENT: {}}}),
    Mistake("other-event", "events with another event", {"events": {"http://schemas.openid.net/event/other": {}}}),
    Mistake("nonce", "A nonce, as in an ID token", {"nonce": "n-0S6_WzA2Mj"}),
    Mistake("audience", "The audience is another app", {"aud": OTHER_APP}),
    Mistake("issuer", "A slash after the issuer", {"iss": SLASH}),
    Mistake("expired", "Expired an hour ago", {"iat": -3720, "exp": -3600}),
    Mistake("future", "Issued in an hour", {"iat": 3600, "exp": 110}),
    Mistake("no-jti", "No jti", {"jti": None}),
    Mistake("nobody", "Neither sub nor sid", {"sub": None, "sid": None}),
    Mistake("sub-only", "sub without sid: all sessions of the person", {"sid": None}),
    Mistake("type", "The type of another security event", typ="secevent+jwt"),
    Mistake("foreign", "Signed with a foreign key", key="foreign"),
    Mistake("foreign-issuer", "An issuer of your own, with its key", {"iss": OWN_ISSUER}, key="foreign"),
    Mistake("hs256", "Signed with the public key (HS256)", key="hs256"),
    Mistake("none", "Not signed (alg none)", key="none"),
)
CLAIMS = ("iss", "aud", "iat", "exp", "jti", "events", "event", "sub", "sid", "nonce")


def receivers(settings: Settings) -> dict[str, str]:
    """The back-channel logout URL of each app, by its name."""
    return {
        "dispatch": f"{settings.dispatch_url}/bclogout",
        "manager": f"{settings.manager_url}/bclogout",
        "practice": f"{settings.learn_url}/practice/bclogout",
    }


def page() -> str:
    """``GET /workbench``. Its script fills in the form."""
    settings = current_settings()
    return render_template(
        "workbench.html",
        mistakes=[mistake._asdict() for mistake in MISTAKES],
        keys=KEYS,
        claims=CLAIMS,
        receivers=receivers(settings),
        issuer=settings.idp_url,
        own_issuer=settings.learn_url + ISSUER_PATH,
    )


def send() -> Response | tuple[Response, int]:
    """``POST /api/workbench``: makes a token without the IdP's key, and sends it. The record has the app's answer."""
    to, key, text = (request.form.get(name, "") for name in ("to", "key", "claims"))
    uri = receivers(current_settings()).get(to)
    try:
        claims = json.loads(text) if len(text) <= MAX_CLAIMS else None
    except (ValueError, RecursionError):
        claims = None
    if uri is None or key not in MAKERS or not isinstance(claims, dict):
        abort(400)
    if to == "practice" and not practice.is_own(claims):
        return jsonify(error="At Practice you can attack only your own sessions. Sign in to it in this browser."), 403
    if not sending.acquire(blocking=False):
        return jsonify(error="Too many tokens are being sent. Try again."), 503
    try:
        return sent(uri, key, claims)
    finally:
        sending.release()


def sent(uri: str, key: str, claims: dict[str, Any]) -> Response | tuple[Response, int]:
    """The app's answer to the token of this request."""
    verify = current_settings().ca_bundle or True
    try:
        keys = requests.get(f"{current_settings().idp_url}/oauth2/jwks", timeout=TIMEOUT_SECONDS, verify=verify).json()
        known = next((one for one in jwt.PyJWKSet.from_dict(keys).keys if one.algorithm_name == "RS256"), None)
        if known is None:
            return jsonify(error="The IdP has no key for RS256."), 502
        token = MAKERS[key]({"typ": request.form.get("typ", "")}, claims, known)
        answer = requests.post(
            uri, {"logout_token": token}, timeout=TIMEOUT_SECONDS, verify=verify, allow_redirects=False
        )
    except requests.RequestException:
        return jsonify(error="The IdP or the app does not answer."), 502
    return jsonify(status=answer.status_code)


def current_settings() -> Settings:
    settings: Settings = current_app.extensions["settings"]
    return settings
