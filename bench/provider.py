"""Figures of the IdP: the database statements of one sign-in flow, and its duration."""

import contextlib
import hashlib
import io
import os
import re
import secrets
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from flask import Flask
from pydantic import SecretStr
from sqlalchemy import event

from bench.relying_party import Figure, median_us
from idp import create_app
from pickup_web import Settings
from pickup_web.database import engine_of

SECRET, CLIENT_ID, FORM = SecretStr("for the bench"), "pickup-dispatch", "application/x-www-form-urlencoded"
VERIFIER = secrets.token_urlsafe(32)
CHALLENGE = urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()


class Flow:
    """A user's browser and an app, without sockets."""

    def __init__(self, folder: Path) -> None:
        secrets_ = ("secret_key", "dispatch_client_secret", "manager_client_secret", "demo_password")
        values: dict[str, Any] = {"data_dir": folder, "demo_plain_http": True, **dict.fromkeys(secrets_, SECRET)}
        settings = Settings(**values)
        self.app: Flask = create_app(settings)
        self.callback = f"{settings.dispatch_url}/oauth2client"
        self.statements: list[str] = []
        self.browser: dict[str, str] = {}
        event.listen(engine_of(self.app), "checkout", lambda driver, *_: driver.set_trace_callback(self.note))

    def note(self, sql: str) -> None:
        """Called by SQLite for each statement; BEGIN, COMMIT and settings are not counted."""
        if sql.startswith(("SELECT", "INSERT", "UPDATE", "DELETE")):
            self.statements.append(sql)

    def call(self, method: str, target: str, form: dict[str, str] | None = None, **headers: str) -> tuple[str, str]:
        """The response's ``Location``, or none, and its body; cookies are stored in the browser."""
        body, (path, _, query), answer = urlencode(form or {}).encode(), target.partition("?"), {"Location": ""}
        environ = {
            "REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": query, "SERVER_PROTOCOL": "HTTP/1.1",
            "SERVER_NAME": "bench", "SERVER_PORT": "80", "wsgi.url_scheme": "http", "wsgi.input": io.BytesIO(body),
            "wsgi.errors": io.StringIO(), "REMOTE_ADDR": "127.0.0.1", "CONTENT_TYPE": FORM,
            "CONTENT_LENGTH": str(len(body)), **headers,
        }  # fmt: skip

        def start_response(_status: str, given: list[tuple[str, str]], _error: Any = None) -> Any:
            cookies = [value.partition(";")[0].partition("=") for name, value in given if name == "Set-Cookie"]
            self.browser.update({name: value for name, _, value in cookies})
            answer.update(given)

        answered = b"".join(self.app.wsgi_app(environ, start_response)).decode()
        return answer["Location"], answered

    def authorize(self) -> tuple[str, str]:
        """The app redirects the browser to the IdP."""
        parameters = {
            "response_type": "code", "client_id": CLIENT_ID, "redirect_uri": self.callback, "scope": "openid",
            "state": "s", "nonce": "n", "code_challenge": CHALLENGE, "code_challenge_method": "S256",
        }  # fmt: skip
        return self.call("GET", f"/oauth2/authorize?{urlencode(parameters)}", HTTP_COOKIE=self.cookies())

    def sign_in(self) -> None:
        """A password, in a new browser."""
        self.browser.clear()
        _, page = self.authorize()
        form = {name: unescape(value) for name, value in re.findall(r'name="(\w+)"[^>]* value="([^"]*)"', page)}
        form |= {"username": "alex", "password": SECRET.get_secret_value()}
        location, _ = self.call("POST", "/login", form, HTTP_COOKIE=self.cookies())
        self.call("GET", location, HTTP_COOKIE=self.cookies())

    def code(self) -> str:
        """Single sign-on: a code, without a page."""
        return parse_qs(urlsplit(self.authorize()[0]).query)["code"][0]

    def redeem(self, code: str) -> str:
        """The app's token request; returns the response."""
        pair = b64encode(f"{CLIENT_ID}:{SECRET.get_secret_value()}".replace(" ", "+").encode()).decode()
        form = {
            "grant_type": "authorization_code", "code": code, "redirect_uri": self.callback, "code_verifier": VERIFIER,
        }  # fmt: skip
        return self.call("POST", "/oauth2/token", form, HTTP_AUTHORIZATION=f"Basic {pair}")[1]

    def cookies(self) -> str:
        """A request of the browser."""
        return "; ".join(f"{name}={value}" for name, value in self.browser.items())


def flow(folder: Path, times: int) -> Iterator[Figure]:
    """Single sign-on in its two requests, and after a password; medians, without logging."""
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        one = Flow(folder)
        one.sign_in()
        one.redeem(one.code())  # the keys are loaded by now
        codes = [one.code() for _ in range(times)]
        acts: dict[str, tuple[Callable[[int], Any], int]] = {
            "authorize, signed in already": (lambda _: one.code(), times),
            "token": (lambda number: one.redeem(codes[number]), times),
            "login page, password, code": (lambda _: one.sign_in(), times // 20 or 1),
        }
        figures = []
        for name, (act, count) in acts.items():
            one.statements.clear()
            taken = median_us(act, range(count)) / 1000
            figures.append(Figure(name, f"{taken:9.2f} ms   {len(one.statements) / count:.0f} statements"))
    yield from figures
