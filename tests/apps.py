"""What the tests of the two apps share: a browser for one of them, signing in, and a fake neighbour."""

import html
import io
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from flask import Flask
from flask.testing import FlaskClient
from pydantic import SecretStr
from requests.adapters import BaseAdapter
from werkzeug.test import TestResponse

from pickup_web import Settings, clock
from relying_party.sessions import AppSession, SessionStore


def settings(folder: Path) -> Settings:
    """Settings of a test, with its database in ``folder``."""
    return Settings(
        idp_url="http://idp.test",
        dispatch_url="http://dispatch.test/pickup-dispatch",
        manager_url="http://manager.test/pickup-manager",
        data_dir=folder,
        dispatch_database_url=f"sqlite:///{folder}/dispatch.db",
        manager_database_url=f"sqlite:///{folder}/manager.db",
        secret_key=SecretStr("a key for tests"),
        dispatch_client_secret=SecretStr("dispatch's secret"),
        manager_client_secret=SecretStr("manager's: secret"),
        demo_password=SecretStr("unused"),
        demo_plain_http=True,
    )


class Browser:
    """Asks one app by the paths a person sees, keeps its cookies, and fills in its forms."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.base = urlsplit(app.config["RELYING_PARTY_BASE_URL"])
        self.client: FlaskClient = app.test_client()

    def get(self, path: str, **options: Any) -> TestResponse:
        """Open a page, as a browser asks for it."""
        headers = {"Accept": "text/html", **options.pop("headers", {})}
        return self._open(path, headers=headers, **options)

    def post(self, path: str, form: Mapping[str, Any] | None = None, *, csrf: str | None = None) -> TestResponse:
        """Send a form with ``csrf``, or with the token of a page this browser has open."""
        token = self.csrf_token() if csrf is None else csrf
        return self._open(path, method="POST", data={"csrf_token": token, **(form or {})})

    def _open(self, path: str, **options: Any) -> TestResponse:
        origin = f"{self.base.scheme}://{self.base.netloc}"
        return self.client.open(path=self.base.path + path, base_url=origin, **options)

    def csrf_token(self) -> str:
        """The token in the "Log out" form that every page has."""
        found = re.search(r'name="csrf_token" value="([^"]+)"', self.get("/profile").text)
        assert found, "a signed-in person's pages carry the token for forms"
        return found[1]

    def sign_in(self, **claims: Any) -> None:
        """Be signed in as the person of ``claims``, as after a login at the provider."""
        now = clock.now()
        config = self.app.config
        person = {"sub": "u-cameron", "name": "Cameron Reyes", **claims}
        token = {
            "iss": config["RELYING_PARTY_ISSUER"],
            "sid": "s-1",
            "iat": now,
            "exp": now + 300,
            "sub": person["sub"],
        }
        session = AppSession()
        store: SessionStore = self.app.extensions["relying_party"].sessions
        store.sign_in(
            session,
            {
                "claims": token,
                "userinfo": person,
                "id_token": "unused",
                "id_token_header": {"alg": "RS256"},
                "access_token": "the access token",
                "access_token_expires_at": now + 300,
                "refresh_token": None,
                "started_at": now,
            },
        )
        self.client.set_cookie(
            config["SESSION_COOKIE_NAME"],
            session.new_cookie or "",
            domain=self.base.hostname or "",
            path=self.base.path,
        )


def words(answer: TestResponse) -> str:
    """What a person reads on the page."""
    body = answer.text.partition("<main")[2]
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).split())


class Neighbour(BaseAdapter):
    """Another service, as ``requests`` sees it: answers what it is told to, records what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.status = 200
        self.body: Any = {}
        self.failure: Exception | None = None
        self.asked: list[requests.PreparedRequest] = []

    def send(self, request: requests.PreparedRequest, **_options: Any) -> requests.Response:  # type: ignore[override] # ours takes them all
        """Answer."""
        self.asked.append(request)
        if self.failure:
            raise self.failure
        answer = requests.Response()
        answer.status_code = self.status
        answer.url = request.url or ""
        answer.raw = io.BytesIO(self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode())
        return answer

    def close(self) -> None:
        """Nothing is open."""
