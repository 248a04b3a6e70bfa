"""A relying party that has nothing in common with ours, and does everything right.

The bench must have nothing to say about it. The others of this folder are made from it by taking one thing away.
"""

import json
import math
import secrets
import threading
import time
from contextlib import suppress
from typing import Any, ClassVar
from urllib.parse import quote_plus, urlencode

import jwt
import requests
from flask import Flask, Response, redirect, request
from flask.typing import ResponseReturnValue

LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"
FORM = "application/x-www-form-urlencoded"
LEEWAY = 60
MAX_AGE = 86_400
MAX_BODY = 64 * 1024


class Refused(Exception):
    """This request is not carried out."""


class CarefulReceiver:
    """One client of one provider; its sessions are in memory, because it is one process."""

    METHODS: tuple[str, ...] = ("POST",)
    ALGORITHMS: tuple[str, ...] = ("RS256",)
    KEY_TYPES: ClassVar[set[str]] = {"RSA"}
    PARAMETERS: ClassVar[dict[str, str]] = {}  # further ones of the authorization request

    def __init__(self, issuer: str, client_id: str, client_secret: str, base_url: str) -> None:
        self.issuer, self.client_id, self.client_secret, self.base_url = issuer, client_id, client_secret, base_url
        self.sessions: dict[str, dict[str, Any]] = {}  # ID tokens' claims, by cookie
        self.ended: set[str] = set()  # every sid that is over
        self.seen: set[str] = set()  # every jti that was carried out
        self.keys: dict[str, jwt.PyJWK] = {}
        self.fetches_left = 12
        self.lock = threading.Lock()
        self.http = requests.Session()
        self.http.trust_env = False

    def app(self) -> Flask:
        """Its routes."""
        app = Flask("receiver")
        app.add_url_rule("/login", "login", self.login)
        app.add_url_rule("/callback", "callback", self.callback)
        app.add_url_rule("/page", "page", self.page)
        app.add_url_rule("/bclogout", "bclogout", self.bclogout, methods=self.METHODS)
        return app

    # --- signing in ---

    def login(self) -> ResponseReturnValue:
        """To the provider."""
        parameters = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": f"{self.base_url}/callback",
            "scope": "openid",
            "nonce": secrets.token_urlsafe(8),
            **self.PARAMETERS,
        }
        return redirect(f"{self.issuer}/authorize?{urlencode(parameters)}")

    def callback(self) -> ResponseReturnValue:
        """And back. What concerns logging in is not the point here, and left out."""
        form = {"grant_type": "authorization_code", "code": request.values["code"], "redirect_uri": "x"}
        basic = (quote_plus(self.client_id), quote_plus(self.client_secret))
        answer = self.http.post(f"{self.issuer}/token", data=form, auth=basic).json()
        claims = jwt.decode(answer["id_token"], options={"verify_signature": False})
        cookie = secrets.token_urlsafe()
        with self.lock:
            if claims["sid"] in self.ended:
                return "signed out meanwhile", 403
            self.sessions[cookie] = claims
        response = redirect("/page")
        response.set_cookie("session", cookie)
        return response

    def page(self) -> ResponseReturnValue:
        """For people who are signed in."""
        return ("welcome", 200) if request.cookies.get("session") in self.sessions else ("who are you?", 401)

    # --- being told ---

    def bclogout(self) -> Response:
        """200 or 400."""
        try:
            self.carry_out(self.verified(self.token()))
        except Exception as error:
            answer = self.refusal(error)
        else:
            answer = Response("")
        answer.headers["Cache-Control"] = "no-store"
        return answer

    def refusal(self, error: Exception) -> Response:  # noqa: ARG002 # others look at it
        """Whatever was wrong."""
        return Response(json.dumps({"error": "invalid_request"}), 400, mimetype="application/json")

    def token(self) -> str:
        """The one logout_token."""
        request.max_content_length = MAX_BODY
        tokens = request.form.getlist("logout_token")
        if request.mimetype != FORM or "logout_token" in request.args or len(tokens) != 1:
            raise Refused
        return tokens[0]

    def verified(self, token: str) -> dict[str, Any]:
        """The claims of a token that passes every check."""
        header = jwt.get_unverified_header(token)
        if header.get("typ", "JWT").lower() not in ("jwt", "logout+jwt"):
            raise Refused
        payload = jwt.PyJWS().decode(token, self.key(header.get("kid")), algorithms=list(self.ALGORITHMS))
        claims = self.read(payload.decode())
        self.check(claims)
        return claims

    def read(self, payload: str) -> dict[str, Any]:
        """The claims; of two members with the same name the last one counts (RFC 7519 §4)."""
        return dict(json.loads(payload, parse_constant=not_json))

    def key(self, kid: str | None) -> jwt.PyJWK:
        """The provider's key of that name; without a name, the only one."""
        keys = self.keys
        if not keys or (kid is not None and kid not in keys):
            self.fetch_keys()
            keys = self.keys
        return next(iter(keys.values())) if kid is None else keys[kid]

    def fetch_keys(self) -> None:
        """As often as is decent."""
        if self.fetches_left == 0:
            raise Refused
        self.fetches_left -= 1
        found = {}
        for jwk in self.http.get(f"{self.issuer}/jwks").json()["keys"]:
            if jwk.get("kty") in self.KEY_TYPES and jwk.get("use") == "sig":
                with suppress(jwt.InvalidKeyError, jwt.PyJWKError):  # RFC 7517 §5: ignore keys that lack members
                    found[jwk["kid"]] = jwt.PyJWK(jwk)
        self.keys = found

    def check(self, claims: dict[str, Any]) -> None:
        """BCL §2.6 (4) to (7)."""
        now = time.time()
        times = [claims["iat"], claims["exp"]]
        if any(type(value) not in (int, float) or not math.isfinite(value) or value > 1e12 for value in times):
            raise Refused
        audience = [claims["aud"]] if isinstance(claims["aud"], str) else claims["aud"]
        names = [claims[name] for name in ("sub", "sid") if name in claims]
        wrong = (
            claims["iss"] != self.issuer,
            audience != [self.client_id],
            not now - MAX_AGE < times[0] < now + LEEWAY,
            times[1] < now - LEEWAY,
            not names,
            any(not isinstance(name, str) or not name for name in names),
            not isinstance(claims["jti"], str),
            not isinstance(claims["events"][LOGOUT_EVENT], dict),
            "nonce" in claims,
        )
        if any(wrong):
            raise Refused

    def carry_out(self, claims: dict[str, Any]) -> None:
        """Once."""
        with self.lock:
            self.mark(claims["jti"])
            self.end(claims)

    def mark(self, jti: str) -> None:
        """Each jti is good for one time."""
        if jti in self.seen:
            raise Refused
        self.seen.add(jti)

    def end(self, claims: dict[str, Any]) -> None:
        """The sessions that are meant, and logins that are still under way."""
        self.ended.add(claims.get("sid", ""))
        for cookie, session in list(self.sessions.items()):
            if self.is_meant(claims, session):
                del self.sessions[cookie]

    def is_meant(self, claims: dict[str, Any], session: dict[str, Any]) -> bool:
        """BCL §2.7: both must be right, if both are there."""
        return all(claims[name] == session[name] for name in ("sub", "sid") if name in claims)


def not_json(word: str) -> None:
    """NaN and the like."""
    raise Refused(word)
