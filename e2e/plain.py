"""A plain HTTP client: no browser, no script, no cookie but those it is given. What an attacker would use, too."""

from typing import Any

import requests

from e2e.stack import App

LOGOUT_PATH = "/bclogout"
SECONDS = 10  # nothing in a story may hang for ever


class PlainClient(requests.Session):
    """``requests``, with a time limit, no redirects, and no proxy that the machine may have."""

    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False

    def request(self, *arguments: Any, **options: Any) -> requests.Response:
        return super().request(*arguments, **{"timeout": SECONDS, **options, "allow_redirects": False})


http = PlainClient()


def is_signed_in(app: App, cookie: str) -> bool:
    """Whether ``app`` takes the bearer of this cookie for somebody, on its pages and when asked directly."""
    headers = {"Cookie": cookie, "Accept": "text/html"}
    page = http.get(app.url + app.front, headers=headers)
    status = http.get(f"{app.url}/session/status", headers=headers).json()["signed_in"]
    assert (page.status_code == 200) is status, "the page and the status say the same about a cookie"
    return bool(status)


def post_logout_token(app: App, token: str) -> requests.Response:
    """What the provider does when a session is over. Anybody can send this."""
    return http.post(app.url + LOGOUT_PATH, data={"logout_token": token})
