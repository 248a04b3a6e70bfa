"""Keycloak, on this machine. scripts/keycloak unpacks it; the tests start it with its data in memory."""

import os
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import requests
from playwright.sync_api import Page, expect

from e2e.apps import App
from e2e.operator import Operator, Person
from e2e.peer import Peer
from e2e.plain import PlainClient
from e2e.providers import PEOPLE, Provider
from e2e.signing import as_jwk, as_pem, new_key

if TYPE_CHECKING:
    from e2e.stack import StackControl

REALM = "pickup"
VERSION = "26.3.5"  # as in scripts/keycloak
FOLDER = Path(__file__).parent.parent.parent / ".run" / f"keycloak-{VERSION}"
ADMIN = "admin"


class Keycloak(Provider):
    """One realm, without consent."""

    can: ClassVar[frozenset[str]] = frozenset(
        {"shared_sid", "checks_passwords", "notifies_first_app", "revokes_access_tokens", "signs"}
    )
    version = VERSION
    issuer_path = f"/realms/{REALM}"

    def expect_sign_in(self, tab: Page) -> None:
        expect(tab.locator("#password")).to_be_visible()

    def sign_in(self, tab: Page, user: str, password: str) -> None:
        tab.locator("#username").fill(user)
        tab.locator("#password").fill(password)
        tab.locator("#kc-login").click()

    def expect_refused(self, tab: Page) -> None:
        expect(tab.get_by_text(re.compile("Invalid username or password|Account is disabled"))).to_be_visible()

    def operator(self) -> Operator:
        return AdminApi(self.issuer.removesuffix(self.issuer_path), self.password)

    def signing_key(self, hands: "StackControl") -> dict[str, Any]:
        del hands
        return as_jwk(self._key, self._kid)

    def start(self, folder: Path, port: int, apps: Sequence[App]) -> None:
        base = self.issuer.removesuffix(self.issuer_path)
        hosts = folder / "hosts"  # Java asks no resolver that knows names under .localhost
        hosts.write_text("127.0.0.1 " + " ".join(f"{name}.localhost" for name in ("idp", "dispatch", "manager")) + "\n")
        environment = {
            "JAVA_OPTS_APPEND": f"-Djdk.net.hosts.file={hosts}",
            "KC_BOOTSTRAP_ADMIN_USERNAME": ADMIN,
            "KC_BOOTSTRAP_ADMIN_PASSWORD": self.password,
        }
        options = [
            "--cache=local",
            "--http-enabled=true",
            "--http-host=127.0.0.1",
            f"--http-port={port}",
            f"--hostname={base}",
        ]
        command = [str(FOLDER / "bin" / "kc.sh"), "start", "--optimized", *options]
        self._peer = Peer(command, folder, "keycloak", environment={**os.environ, **environment})
        self._peer.wait_for(f"{base}/realms/master")
        api = AdminApi(base, self.password)
        api.call("POST", "", realm(apps, self.password))
        self._key = new_key()
        api.call("POST", f"/{REALM}/components", key_component(as_pem(self._key)))
        kids = [key["kid"] for key in self.public_keys() if key["alg"] == "RS256"]
        (self._kid,) = [kid for kid in kids if kid == api.active_key()]

    def end(self) -> None:
        self._peer.end()


def realm(apps: Sequence[App], password: str) -> dict[str, Any]:
    """The realm with the apps and the people of the stories."""
    return {
        "realm": REALM,
        "enabled": True,
        "sslRequired": "none",
        "clients": [client(app.metadata()) for app in apps],
        "users": [user(username, name, password) for username, name in PEOPLE.items()],
    }


def client(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """A client in Keycloak's words."""
    return {
        "clientId": metadata["client_id"],
        "secret": metadata["client_secret"],
        "redirectUris": metadata["redirect_uris"],
        "frontchannelLogout": False,
        "attributes": {
            "post.logout.redirect.uris": "##".join(metadata["post_logout_redirect_uris"]),
            "backchannel.logout.url": metadata["backchannel_logout_uri"],
            "backchannel.logout.session.required": "true",
        },
    }


def user(username: str, name: str, password: str) -> dict[str, Any]:
    """A person in Keycloak's words. Without an email address it would ask for one at the sign-in."""
    first, last = name.split()
    return {
        "username": username,
        "firstName": first,
        "lastName": last,
        "email": f"{username}@example.com",
        "enabled": True,
        "credentials": [{"type": "password", "value": password}],
    }


def key_component(pem: str) -> dict[str, Any]:
    """Our key, preferred to its own."""
    config = {"privateKey": [pem], "priority": ["200"], "algorithm": ["RS256"], "active": ["true"], "enabled": ["true"]}
    return {
        "name": "key of the tests",
        "providerId": "rsa",
        "providerType": "org.keycloak.keys.KeyProvider",
        "config": config,
    }


class AdminApi(Operator):
    """Keycloak's admin REST API."""

    def __init__(self, base: str, password: str) -> None:
        self._base, self._password, self._http = base, password, PlainClient()

    def call(self, method: str, path: str, body: object = None) -> requests.Response:
        """One request below ``/admin/realms``. Its tokens are valid for a minute, so each has a new one."""
        login = {"grant_type": "password", "client_id": "admin-cli", "username": ADMIN, "password": self._password}
        answer = self._http.post(f"{self._base}/realms/master/protocol/openid-connect/token", data=login)
        token = {"Authorization": f"Bearer {answer.json()['access_token']}"}
        answer = self._http.request(method, f"{self._base}/admin/realms{path}", json=body, headers=token, timeout=30)
        assert answer.ok, f"Keycloak refused {method} {path}: {answer.status_code} {answer.text}"
        return answer

    def active_key(self) -> str:
        """The ``kid`` with which it signs."""
        return str(self.call("GET", f"/{REALM}/keys").json()["active"]["RS256"])

    def add_person(self, name: str) -> Person:
        username, password = f"{name.split()[0].lower()}-{secrets.token_hex(4)}", secrets.token_hex()
        answer = self.call("POST", f"/{REALM}/users", user(username, name, password))
        return Person(answer.headers["Location"].rsplit("/", 1)[1], username, name, password)

    def reset_password(self, person: Person) -> None:
        new = {"type": "password", "value": secrets.token_hex()}
        self.call("PUT", f"/{REALM}/users/{person.sub}/reset-password", new)

    def sign_out(self, person: Person) -> None:
        self.call("POST", f"/{REALM}/users/{person.sub}/logout")

    def disable(self, person: Person) -> None:
        self.call("PUT", f"/{REALM}/users/{person.sub}", {"enabled": False})

    def remove(self, person: Person) -> None:
        self.call("DELETE", f"/{REALM}/users/{person.sub}")

    def end_session(self, sid: str) -> None:
        self.call("DELETE", f"/{REALM}/sessions/{sid}")

    @contextmanager
    def client_setting(self, client_id: str, **changes: str | bool | list[str]) -> Iterator[None]:
        """Of its members only the back-channel URI."""
        assert set(changes) == {"backchannel_logout_uri"}
        (found,) = self.call("GET", f"/{REALM}/clients?clientId={client_id}").json()
        attributes = {**found["attributes"], "backchannel.logout.url": changes["backchannel_logout_uri"]}
        self.call("PUT", f"/{REALM}/clients/{found['id']}", {**found, "attributes": attributes})
        try:
            yield
        finally:
            self.call("PUT", f"/{REALM}/clients/{found['id']}", found)
