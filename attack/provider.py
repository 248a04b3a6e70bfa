"""The provider that the application under test trusts: discovery, keys, and the code flow with PKCE.

It signs in every user immediately. It counts the key requests, and can fail on purpose.
"""

import hashlib
import json
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_plus, urlencode, urlsplit

from flask import Flask, Response, redirect, render_template_string, request
from flask.typing import ResponseReturnValue
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from attack.tokens import KeyRing, b64, jws, pem_text

WHO = "Attack-Session"  # the header in which our browser sends the user and session: "sub sid"
HOLD_SECONDS = 20.0  # the longest time an answer is held

FORM_POST = """<!doctype html><title>Signing in</title><form method="post" action="{{ uri }}">
{% for name, value in answer.items() %}<input type="hidden" name="{{ name }}" value="{{ value }}">{% endfor %}
<button>Go on</button></form>"""


@dataclass(frozen=True)
class Login:
    """The login behind a code, and later behind an access token."""

    sub: str
    sid: str
    parameters: dict[str, str]  # of the authorization request


@dataclass
class Gate:
    """Holds answers. ``reached`` signals that a request waits; ``open`` releases it."""

    reached: threading.Event = field(default_factory=threading.Event)
    opened: threading.Event = field(default_factory=threading.Event)


class Provider:
    """One issuer, one client."""

    def __init__(self, issuer: str, client_id: str, client_secret: str, alg: str) -> None:
        self.issuer, self.client_id, self.client_secret = issuer, client_id, client_secret
        self.ring = KeyRing(alg)
        self.hits: Counter[str] = Counter()  # how often "jwks" and "attacker" were requested
        self.id_tokens: dict[str, str] = {}  # the newest, by sid
        self.access_tokens: dict[str, str] = {}
        self.trouble = ""  # the last error at an endpoint, for debugging
        self.before_token: Callable[[Login], None] | None = None  # called before a token request is answered
        self._certificate = pem_text(self.ring.attacker.certificate())
        self._codes: dict[str, Login] = {}
        self._logins: dict[str, Login] = {}  # by access token
        self._extra_jwks: list[dict[str, Any]] = []
        self._keys_answer: Callable[[], Response] | None = None
        self._lock = threading.Lock()

    def url(self, path: str) -> str:
        """The URL of one of our endpoints."""
        return self.issuer.rstrip("/") + path

    def for_client(self, client_id: str, client_secret: str) -> None:
        """Set the client."""
        self.client_id, self.client_secret = client_id, client_secret

    # --- configured behaviour ---

    @contextmanager
    def publishing(self, *jwks: dict[str, Any]) -> Iterator[None]:
        """Add keys to the key set."""
        self._extra_jwks = list(jwks)
        yield
        self._extra_jwks = []

    @contextmanager
    def keys_answered(self, answer: Callable[[], Response]) -> Iterator[None]:
        """Let ``answer`` respond to key requests."""
        self._keys_answer = answer
        try:
            yield
        finally:
            self._keys_answer = None

    @contextmanager
    def keys_held(self) -> Iterator[Gate]:
        """Let key requests wait."""
        gate = Gate()

        def wait() -> Response:
            gate.reached.set()
            gate.opened.wait(HOLD_SECONDS)
            return self._jwks()

        with self.keys_answered(wait):
            try:
                yield gate
            finally:
                gate.opened.set()

    # --- its endpoints ---

    def app(self) -> Flask:
        """The provider as a web application."""
        app = Flask("attack-provider")
        prefix = urlsplit(self.issuer).path.rstrip("/")
        routes: list[tuple[str, str, Callable[[], ResponseReturnValue]]] = [
            ("GET", "/.well-known/openid-configuration", self.discovery),
            ("GET", "/jwks", self.jwks),
            ("GET POST", "/authorize", self.authorize),
            ("POST", "/token", self.token),
            ("GET POST", "/userinfo", self.userinfo),
            ("GET POST", "/end_session", self.end_session),
            ("GET", "/attacker/keys", self.attacker_keys),
            ("GET", "/attacker/certificate", self.attacker_certificate),
        ]
        for methods, path, view in routes:
            app.add_url_rule(prefix + path, path, view, methods=methods.split())
        return app

    def discovery(self) -> dict[str, Any]:
        """Discovery §3. Announces more algorithms than the client registered, because the list is not a permission."""
        return {
            "issuer": self.issuer,
            "authorization_endpoint": self.url("/authorize"),
            "token_endpoint": self.url("/token"),
            "jwks_uri": self.url("/jwks"),
            "userinfo_endpoint": self.url("/userinfo"),
            "end_session_endpoint": self.url("/end_session"),
            "backchannel_logout_supported": True,
            "backchannel_logout_session_supported": True,
            "response_types_supported": ["code"],
            "response_modes_supported": ["query", "form_post"],
            "grant_types_supported": ["authorization_code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": sorted(
                {self.ring.alg, "RS256", "RS512", "PS256", "ES256", "none"}
            ),
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
            "scopes_supported": ["openid", "profile", "email"],
            "claims_supported": ["sub", "name", "email", "sid"],
            "code_challenge_methods_supported": ["S256", "plain"],
            "authorization_response_iss_parameter_supported": True,
        }

    def jwks(self) -> Response:
        """The key set. Requests are counted."""
        with self._lock:
            self.hits["jwks"] += 1
        return self._keys_answer() if self._keys_answer else self._jwks()

    def _jwks(self) -> Response:
        return json_response({"keys": [*(key.jwk() for key in self.ring.published()), *self._extra_jwks]})

    def authorize(self) -> ResponseReturnValue:
        """Core §3.1.2: signs in the user that our browser names, or a default one, and redirects immediately."""
        parameters = request.values.to_dict()
        if parameters.get("client_id") != self.client_id:
            return self._refuse(
                "invalid_client", f"client_id is {parameters.get('client_id')!r}, not {self.client_id!r}"
            )
        if not parameters.get("redirect_uri") or parameters.get("response_type") != "code":
            return self._refuse("invalid_request", "redirect_uri is missing, or response_type is not code")
        sub, _, sid = request.headers.get(WHO, f"visitor {secrets.token_urlsafe(8)}").partition(" ")
        code = secrets.token_urlsafe(24)
        self._codes[code] = Login(sub, sid, parameters)
        answer = {"code": code, "iss": self.issuer}
        if "state" in parameters:
            answer["state"] = parameters["state"]
        uri = parameters["redirect_uri"]
        if parameters.get("response_mode") == "form_post":
            return render_template_string(FORM_POST, uri=uri, answer=answer)
        return redirect(f"{uri}{'&' if '?' in uri else '?'}{urlencode(answer)}", 303)

    def token(self) -> ResponseReturnValue:
        """Core §3.1.3: exchanges the code for tokens."""
        login = self._codes.pop(request.form.get("code", ""), None)
        if request.form.get("grant_type") != "authorization_code" or login is None:
            return self._refuse("invalid_grant", "the token request has no code that is valid")
        if not self._client_is_genuine():
            return self._refuse("invalid_client", "the client's id or secret is not the one given to the bench", 401)
        if not proves(login.parameters, request.form.get("code_verifier", "")):
            return self._refuse("invalid_grant", "code_verifier does not fit code_challenge")
        if self.before_token:
            self.before_token(login)
        access_token = self._access_token(login)
        self._logins[access_token] = login
        self.access_tokens[login.sid], self.id_tokens[login.sid] = access_token, self._id_token(login)
        answer = {
            "access_token": access_token,
            "token_type": "Bearer",
            "expires_in": 3600,
            "id_token": self.id_tokens[login.sid],
            "scope": login.parameters.get("scope", "openid"),
        }
        return json_response(answer)

    def userinfo(self) -> ResponseReturnValue:
        """Core §5.3."""
        login = self._logins.get(request.headers.get("Authorization", "").removeprefix("Bearer "))
        if login is None:
            return self._refuse("invalid_token", "userinfo was asked with an unknown access token", 401)
        return json_response(person(login.sub))

    def end_session(self) -> ResponseReturnValue:
        """RPIL §2, for users who try the application by hand."""
        uri, state = request.values.get("post_logout_redirect_uri"), request.values.get("state")
        if not uri:
            return "Signed out."
        return redirect(uri + (f"{'&' if '?' in uri else '?'}{urlencode({'state': state})}" if state else ""), 303)

    def attacker_keys(self) -> Response:
        """The target of ``jku`` and of a URL as ``kid``. No application may request it."""
        self.hits["attacker"] += 1
        return json_response({"keys": [self.ring.attacker.jwk()]})

    def attacker_certificate(self) -> Response:
        """The target of ``x5u``. No application may request it."""
        self.hits["attacker"] += 1
        return Response(self._certificate, mimetype="application/x-pem-file")

    # --- helpers ---

    def _refuse(self, error: str, description: str, status: int = 400) -> Response:
        self.trouble = f"{request.path}: {description}"
        return json_response({"error": error, "error_description": description}, status)

    def _client_is_genuine(self) -> bool:
        basic = request.authorization
        if basic is not None and basic.username is not None:  # RFC 6749 §2.3.1: both parts are form-encoded
            client_id, secret = unquote_plus(basic.username), unquote_plus(basic.password or "")
        else:
            client_id, secret = request.form.get("client_id", ""), request.form.get("client_secret", "")
        return client_id == self.client_id and (not self.client_secret or secret == self.client_secret)

    def _signed(self, claims: dict[str, Any], **header: str) -> str:
        now = int(time.time())
        whole = {"iss": self.issuer, "iat": now, "exp": now + 3600, **claims}
        return jws({"alg": self.ring.alg, "kid": self.ring.main.kid, **header}, whole, self.ring.main)

    def _id_token(self, login: Login) -> str:
        claims = {"aud": self.client_id, "sub": login.sub, "sid": login.sid, "auth_time": int(time.time())}
        nonce = {"nonce": login.parameters["nonce"]} if "nonce" in login.parameters else {}
        return self._signed({**claims, **nonce})

    def _access_token(self, login: Login) -> str:
        # RFC 9068: a JWT, so that it could be taken for another kind of token.
        claims = {"aud": self.client_id, "client_id": self.client_id, "sub": login.sub, "sid": login.sid}
        return self._signed({**claims, "jti": secrets.token_urlsafe(12), "scope": "openid"}, typ="at+jwt")


def person(sub: str) -> dict[str, Any]:
    """Core §5.1, with every claim an application could need."""
    return {
        "sub": sub,
        "name": sub.title(),
        "given_name": sub.title(),
        "family_name": "Example",
        "preferred_username": sub,
        "email": f"{sub}@example.com",
        "email_verified": True,
    }


def proves(parameters: dict[str, str], verifier: str) -> bool:
    """RFC 7636 §4.6; without a challenge nothing is checked."""
    challenge = parameters.get("code_challenge")
    if challenge is None:
        return True
    if parameters.get("code_challenge_method", "plain") == "plain":
        return verifier == challenge
    return b64(hashlib.sha256(verifier.encode()).digest()) == challenge


def json_response(value: Any, status: int = 200) -> Response:
    """``value`` as JSON, not cacheable, because requests are counted."""
    return Response(json.dumps(value), status, {"Cache-Control": "no-store"}, mimetype="application/json")


class Quiet(WSGIRequestHandler):
    """Logs no requests, so that only the report is printed."""

    def log(self, type: str, message: str, *args: Any) -> None:
        """Nothing."""


@contextmanager
def served(app: Flask, host: str, port: int, tls: tuple[str, str] | None = None) -> Iterator[BaseWSGIServer]:
    """Serves ``app`` at this address, in threads of this process. Port 0 means any free port."""
    server = make_server(host, port, app, threaded=True, ssl_context=tls, request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
