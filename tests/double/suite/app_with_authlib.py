"""An app with plain Authlib: it keeps its sessions on the server, by ``sid``, and checks logout tokens itself."""

from pathlib import Path
from typing import Any

from authlib.integrations.flask_client import OAuth
from flask import Flask, redirect, request, session
from flask.typing import ResponseReturnValue
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

CALLBACK, BACKCHANNEL = "/callback", "/bclogout"
EVENT = "http://schemas.openid.net/event/backchannel-logout"


def create_app(issuer: str, client_id: str, secret: str, url: str, data: Path) -> Flask:
    """The app at ``url``. It has no use for ``data``: its sessions are in memory."""
    del data
    app = Flask(__name__)
    app.config.update(SECRET_KEY="the app's own", SESSION_COOKIE_NAME="authlib-app")
    app.config.update(SESSION_COOKIE_SECURE=True)  # a browser sends it to http://localhost, so the plugin's must too
    sessions: dict[str, dict[str, Any]] = {}  # by sid
    oauth = OAuth(app)
    idp = oauth.register(
        "idp",
        client_id=client_id,
        client_secret=secret,
        server_metadata_url=f"{issuer}/.well-known/openid-configuration",
        client_kwargs={"scope": "openid profile email", "code_challenge_method": "S256"},
    )

    @app.get("/me")
    def me() -> ResponseReturnValue:
        user = sessions.get(session.get("sid", ""))
        return f"Hello {user['name']}" if user else idp.authorize_redirect(url + CALLBACK)

    @app.get(CALLBACK)
    def callback() -> ResponseReturnValue:
        token = idp.authorize_access_token()
        session["sid"] = token["userinfo"]["sid"]
        sessions[session["sid"]] = idp.userinfo(token=token)
        return redirect("/me")

    @app.post(BACKCHANNEL)
    def backchannel() -> ResponseReturnValue:
        """BCL §2.6, in short: signature, iss, aud, exp, events, no nonce."""
        keys = KeySet.import_key_set(idp.fetch_jwk_set())
        rules = jwt.JWTClaimsRegistry(
            iss={"essential": True, "value": issuer},
            aud={"essential": True, "value": client_id},
            exp={"essential": True},
        )
        try:
            claims = jwt.decode(request.form.get("logout_token", ""), keys, ["RS256"]).claims
            rules.validate(claims)
        except (JoseError, ValueError):
            return {"error": "invalid_request"}, 400
        if EVENT not in claims.get("events", {}) or "nonce" in claims:
            return {"error": "invalid_request"}, 400
        sessions.pop(claims["sid"], None)
        return "", 200, {"Cache-Control": "no-store"}

    return app
