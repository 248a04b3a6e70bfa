"""npm's oidc-provider, with its own development pages. The tests start it: e2e/peers/provider.mjs."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from playwright.sync_api import Page, expect

from e2e.apps import App
from e2e.peer import PEERS, Peer, npm_version
from e2e.providers import PEOPLE, Provider
from e2e.signing import as_jwk, new_key

if TYPE_CHECKING:
    from e2e.stack import StackControl


class NodeOidcProvider(Provider):
    """Accepts any password. Asks for consent, and whether to log out."""

    can: ClassVar[frozenset[str]] = frozenset({"notifies_first_app", "revokes_access_tokens", "signs"})
    version = npm_version("oidc-provider")

    def expect_sign_in(self, tab: Page) -> None:
        expect(tab.get_by_placeholder("Enter any login")).to_be_visible()

    def sign_in(self, tab: Page, user: str, password: str) -> None:
        tab.get_by_placeholder("Enter any login").fill(user)
        tab.get_by_placeholder("and password").fill(password)
        tab.get_by_role("button", name="Sign-in").click()
        tab.get_by_role("button", name="Continue").click()

    def consent(self, tab: Page) -> None:
        tab.wait_for_load_state()
        if (button := tab.get_by_role("button", name="Continue")).count():
            button.click()

    def confirm_logout(self, tab: Page) -> None:
        tab.get_by_role("button", name="Yes, sign me out").click()

    def signing_key(self, hands: "StackControl") -> dict[str, Any]:
        del hands
        return self._key

    def start(self, folder: Path, port: int, apps: Sequence[App]) -> None:
        self._key = as_jwk(new_key(), "key-of-the-tests")
        settings = {
            "issuer": self.issuer,
            "port": port,
            "clients": [app.metadata() for app in apps],
            "key": self._key,
            "people": {user: {"name": name} for user, name in PEOPLE.items()},
        }
        self._peer = Peer(["node", str(PEERS / "provider.mjs")], folder, "oidc-provider", stdin=json.dumps(settings))
        self._peer.wait_for(f"http://127.0.0.1:{port}/.well-known/openid-configuration")

    def end(self) -> None:
        self._peer.end()
