"""The learner's app as a third app of the running stack: the same file, at the real IdP.

It is a public client with PKCE, so it needs no secret. The stack's command line registers it.
"""

import json
import os
import subprocess
from pathlib import Path

import requests

from attack.pickup import ROOT
from pickup_learn.receiver.process import App, CannotStart

CLIENT_ID = "pickup-receiver"
IDP_URL = os.environ.get("PICKUP_IDP_URL", "http://idp.localhost:9000")
PORT = int(os.environ.get("PICKUP_RECEIVER_PORT", "8083"))
URL = f"http://receiver.localhost:{PORT}"


class Live:
    """The app at the real IdP, while the stack is up."""

    def __init__(self, file: Path, data: Path) -> None:
        self.app = App(file, IDP_URL, CLIENT_ID, URL, data / "live.sqlite", data / "live.log")
        self._is_registered = False

    def start(self) -> str:
        """Start the saved file, and return a sentence about it."""
        if not is_up():
            self.app.stop()
            return "The stack is not running. With `make up`, your app also runs at the real IdP."
        try:
            if not self._is_registered:
                self._register()
            self.app.start()
        except CannotStart as error:
            return f"Your app does not run at the real IdP: {error}"
        return (
            f"Your app also runs at the real IdP: {URL}/ Sign in there and in Dispatch, log out of Dispatch, and watch "
            "the flow page."
        )

    def _register(self) -> None:
        """Its entry at the IdP; and the address at which a container reaches it."""
        metadata = {
            "client_name": "My receiver",
            "home_url": f"{URL}/",
            "redirect_uris": [f"{URL}/callback"],
            "token_endpoint_auth_method": "none",
            "scope": "openid",
            "backchannel_logout_uri": f"{URL}/bclogout",
            "backchannel_logout_session_required": True,
        }
        done = script("service", "cli", "idp", "client", "register", CLIENT_ID, json.dumps(metadata))
        if done.returncode:
            words = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
            raise CannotStart(f"it could not be registered. {''.join(words)}")
        # A container reaches programs on its host only at an address of the network, not at the loopback.
        self.app.host = "0.0.0.0" if script("stack", "mode").stdout.strip() == "compose" else "127.0.0.1"  # noqa: S104
        self._is_registered = True


def script(name: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """One of the stack's own scripts."""
    command = [str(ROOT / "scripts" / name), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)  # noqa: S603 # our own


def is_up() -> bool:
    """Whether the IdP answers."""
    with requests.Session() as http:
        http.trust_env = False
        try:
            return http.get(f"{IDP_URL}/healthz", timeout=2).ok
        except requests.RequestException:
            return False
