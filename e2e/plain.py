"""A plain HTTP client: no browser, no script, no cookie but those it is given. What an attacker would use, too."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import requests

if TYPE_CHECKING:
    from e2e.apps import App


LOGOUT_PATH = "/bclogout"
LOOK_SECONDS = 0.03
SECONDS = 10  # nothing in a story may hang for ever


class PlainClient(requests.Session):
    """``requests``, with a time limit, no redirects, and no proxy that the machine may have."""

    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False
        self.verify = os.environ.get("PICKUP_CA_BUNDLE") or True

    def request(self, *arguments: Any, **options: Any) -> requests.Response:
        return super().request(*arguments, **{"timeout": SECONDS, **options, "allow_redirects": False})


http = PlainClient()


def is_signed_in(app: App, cookie: str) -> bool:
    """Whether ``app`` takes the bearer of this cookie for a signed-in user."""
    return app.is_signed_in(cookie)


def wait_until_signed_out(app: App, cookie: str, *, within: float = 10) -> None:
    """The redirect after a logout waits for the apps to hear of it, but not for ever: neither do we."""
    deadline = time.monotonic() + within
    while app.is_signed_in(cookie):
        assert time.monotonic() < deadline, f"{app.title} still takes the cookie for somebody after {within} s"
        time.sleep(LOOK_SECONDS)


def post_logout_token(app: App, token: str) -> requests.Response:
    """What the provider does when a session is over. Anybody can send this."""
    return http.post(app.url + app.back_channel_path, data={"logout_token": token})
