"""A plain HTTP client: no browser, no script, no cookie but those it is given. What an attacker would use, too."""

import os
import time
from typing import Any

import requests

from e2e.stack import App

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
    """Whether ``app`` takes the bearer of this cookie for somebody, on its pages and when asked directly."""
    page = http.get(app.url + app.front, headers={"Cookie": cookie, "Accept": "text/html"})
    assert (page.status_code == 200) is status(app, cookie), "the page and the status say the same about a cookie"
    return page.status_code == 200


def status(app: App, cookie: str) -> bool:
    """What the app says when it is asked whether this is a session."""
    return bool(http.get(f"{app.url}/session/status", headers={"Cookie": cookie}).json()["signed_in"])


def wait_until_signed_out(app: App, cookie: str, *, within: float = 10) -> None:
    """The redirect after a logout waits for the apps to hear of it, but not for ever: neither do we."""
    deadline = time.monotonic() + within
    while status(app, cookie):
        assert time.monotonic() < deadline, f"{app.title} still takes the cookie for somebody after {within} s"
        time.sleep(LOOK_SECONDS)
    assert not is_signed_in(app, cookie)


def post_logout_token(app: App, token: str) -> requests.Response:
    """What the provider does when a session is over. Anybody can send this."""
    return http.post(app.url + LOGOUT_PATH, data={"logout_token": token})
