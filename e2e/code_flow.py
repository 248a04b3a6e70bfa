"""An app's own way to its tokens, walked by hand: the authorization code flow with PKCE, in a browser's session."""

import hashlib
import secrets
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

import pytest

from e2e.apps import App
from e2e.device import Device
from e2e.logout_tokens import encoded
from e2e.plain import http
from e2e.stack import Stack

MOST_REDIRECTS = 10


@dataclass(frozen=True)
class Tokens:
    """What the app would keep on its server."""

    access_token: str
    refresh_token: str
    id_token: str


def tokens_of(device: Device, stack: Stack, app: App, scope: str) -> Tokens:
    """Tokens as ``app`` gets them for the session in ``device``: the code is taken before it reaches the app."""
    verifier = secrets.token_urlsafe(48)
    parameters = {
        "response_type": "code",
        "client_id": app.client_id,
        "redirect_uri": app.url + app.callback_path,
        "scope": scope,
        "state": secrets.token_urlsafe(),
        "code_challenge": encoded(hashlib.sha256(verifier.encode()).digest()),
        "code_challenge_method": "S256",
        "prompt": "none",
    }
    target = f"{stack.provider.metadata['authorization_endpoint']}?{urlencode(parameters)}"
    answered = parse_qs(urlsplit(redirect_to(parameters["redirect_uri"], target, device)).query)
    assert "code" in answered, f"with prompt=none in a session the provider sent no code: {answered}"
    code = answered["code"][0]
    exchange = {"code": code, "redirect_uri": parameters["redirect_uri"], "code_verifier": verifier}
    answer = token_request(stack, app, grant_type="authorization_code", **exchange)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    return Tokens(body["access_token"], body.get("refresh_token", ""), body["id_token"])


def redirect_to(redirect_uri: str, url: str, device: Device) -> str:
    """Where the provider sends the browser in the end. A provider may first redirect to a login page of its own."""
    new: list[str] = []  # the cookies of these answers
    for _ in range(MOST_REDIRECTS):
        answer = http.get(url, headers={"Cookie": "; ".join([*new, device.cookie(url)])})
        new = [f"{cookie.name}={cookie.value}" for cookie in answer.cookies] + new
        assert "Location" in answer.headers, f"with prompt=none it must redirect; {url} answered {answer.status_code}"
        url = urljoin(url, answer.headers["Location"])
        if url.startswith(redirect_uri):
            return url
    raise AssertionError(f"after {MOST_REDIRECTS} redirects it is still at {url}")


def token_request(stack: Stack, app: App, **parameters: str) -> Any:
    """A request to the token endpoint, with the app's credentials."""
    secret = stack.client_secrets.get(app.client_id)
    if secret is None:
        where = "PICKUP_…_CLIENT_SECRET" if "pickup_app" in app.can else "client_secret in the file of APP"
        pytest.skip(f"the client secret of {app.title} is not known ({where})")
    return http.post(stack.provider.metadata["token_endpoint"], data=parameters, auth=(app.client_id, secret))
