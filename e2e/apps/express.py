"""A small app with npm's express-openid-connect. The tests start it: e2e/peers/app.mjs."""

import json
from pathlib import Path
from urllib.parse import urlsplit

from e2e.apps.plain import Plain
from e2e.peer import PEERS, Peer, npm_version


class Express(Plain):
    """Its library's own addresses for sign-in, sign-out and back-channel logout."""

    title = "Express"
    version = npm_version("express-openid-connect")
    client_id = "express"
    logged_out_path = ""  # it leaves out the slash

    def start(self, folder: Path) -> None:
        settings = {
            "issuer": self.provider.issuer,
            "url": self.url,
            "port": urlsplit(self.url).port,
            "client_id": self.client_id,
            "client_secret": self.client_secret,
        }
        self._peer = Peer(["node", str(PEERS / "app.mjs")], folder, "express", stdin=json.dumps(settings))
        self._peer.wait_for(self.url)

    def end(self) -> None:
        self._peer.end()
