"""Requests with the cookies of a browser."""

from http.cookiejar import DefaultCookiePolicy

import requests
from requests.cookies import RequestsCookieJar


class Http(requests.Session):
    """Sends the Secure cookies of ``http://localhost`` back to it, as a browser does. Uses no proxy."""

    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False  # no proxy between a test and its own machine
        self.forget_cookies()

    def forget_cookies(self) -> None:
        """No cookies any more."""
        self.cookies = RequestsCookieJar(policy=DefaultCookiePolicy(secure_protocols=("http", "https")))

    def prepare_request(self, request: requests.Request) -> requests.PreparedRequest:
        """requests copies the cookies to a jar with the default policy, so take them from our jar again."""
        prepared = super().prepare_request(request)
        prepared.headers.pop("Cookie", None)
        prepared.prepare_cookies(self.cookies)
        return prepared
