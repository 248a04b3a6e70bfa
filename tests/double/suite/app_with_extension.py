"""An app with the extension relying_party."""

from pathlib import Path

from flask import Flask

from relying_party import RelyingParty, login_required, session_user

CALLBACK, BACKCHANNEL = "/oauth2client", "/bclogout"


def create_app(issuer: str, client_id: str, secret: str, url: str, data: Path) -> Flask:
    """The app at ``url``."""
    app = Flask(__name__, instance_path=str(data))
    app.config.update(
        SECRET_KEY="the app's own",
        RELYING_PARTY_ISSUER=issuer,
        RELYING_PARTY_CLIENT_ID=client_id,
        RELYING_PARTY_CLIENT_SECRET=secret,
        RELYING_PARTY_BASE_URL=url,
        RELYING_PARTY_ALLOW_PLAIN_HTTP=True,
    )
    RelyingParty().init_app(app)

    @app.get("/")
    def home() -> str:
        return "home"

    @app.get("/me")
    @login_required
    def me() -> str:
        user = session_user()
        return f"Hello {user['name'] if user else ''}"

    return app
