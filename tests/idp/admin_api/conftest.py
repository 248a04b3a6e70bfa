"""A service client, and its requests to the admin API."""

from base64 import b64encode
from dataclasses import dataclass, field
from typing import Any

import pytest
from werkzeug.test import TestResponse

from idp.models import Client, hash_of
from idp.tokens.client_credentials import ADMIN_SCOPES
from tests.conftest import SiteClient
from tests.idp.conftest import Provider

PREFIX = "/admin/api/v1"
CAMERON, ALEX = "248289761002", "248289761003"
ACCOUNT = f"/identityStores/people/accounts/{CAMERON}"
SESSIONS = f"{ACCOUNT}/sessions"
SECRET = "a program's secret"


@dataclass
class Program:
    """A client with the grant client_credentials, and the token it got last."""

    provider: Provider
    client_id: str = "scripts"
    token: str | None = field(default=None, repr=False)

    def ask_for_token(self, **parameters: str) -> TestResponse:
        """RFC 6749 §4.4.2."""
        pair = b64encode(f"{self.client_id}:{SECRET}".encode()).decode()
        return self.provider.app.test_client().post(
            "/oauth2/token",
            data={"grant_type": "client_credentials", **parameters},
            headers={"Authorization": f"Basic {pair}"},
        )

    def take_token(self, **parameters: str) -> str:
        """A valid token."""
        response = self.ask_for_token(**parameters)
        assert response.status_code == 200, response.text
        self.token = str(response.get_json()["access_token"])
        return self.token

    def call(self, method: str, path: str, **options: Any) -> TestResponse:
        """A request with the token, if there is one."""
        headers = {**({"Authorization": f"Bearer {self.token}"} if self.token else {}), **options.pop("headers", {})}
        client = self.provider.app.test_client(use_cookies=False)
        return client.open(PREFIX + path, method=method, headers=headers, **options)

    def get(self, path: str, **options: Any) -> TestResponse:
        """Sends GET."""
        return self.call("GET", path, **options)

    def delete(self, path: str, **options: Any) -> TestResponse:
        """Sends DELETE."""
        return self.call("DELETE", path, **options)


def add_program(provider: Provider, **values: Any) -> Program:
    """An operator registers a program."""
    known: dict[str, Any] = {
        "client_id": "scripts",
        "name": "Scripts",
        "secret_hash": hash_of(SECRET),
        "redirect_uris": [],
        "post_logout_redirect_uris": [],
        "grant_types": ["client_credentials"],
        "response_types": [],
        "scopes": list(ADMIN_SCOPES),
    }
    with provider.database() as db:
        db.add(Client(**{**known, **values}))
    return Program(provider, str({**known, **values}["client_id"]))


@pytest.fixture
def program(provider: Provider, cameron: SiteClient) -> Program:
    """A client with every scope; Cameron is signed in at both apps."""
    del cameron  # first: she may bring a database
    program = add_program(provider)
    program.take_token()
    return program


def problem(response: TestResponse, status: int, key: str) -> dict[str, Any]:
    """The error, in the format that all errors have."""
    assert response.status_code == status, response.text
    assert response.mimetype == "application/problem+json"
    assert response.headers["Cache-Control"] == "no-store"
    body = response.get_json()
    members = "detail entityName errorKey fieldErrors message params path status title"
    assert sorted(body) == members.split()
    assert (body["status"], body["errorKey"], body["message"]) == (status, key, f"error.{key}")
    assert body["detail"].endswith("."), "a sentence"
    return dict(body)
