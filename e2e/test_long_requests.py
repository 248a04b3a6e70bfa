"""Long requests, by programs that post them: through every server on the way, nothing ends in 414 or 502."""

import hashlib
import json
import re
import secrets
from urllib.parse import urlencode, urljoin

import pytest
import requests

from e2e.logout_tokens import encoded
from e2e.plain import PlainClient
from e2e.stack import Stack

pytestmark = pytest.mark.needs("pickup_idp", "pickup_app")

SIZES = [3_000, 5_000, 9_000, 20_000]  # bytes: on both sides of what servers and proxies take in a line or header
TOO_LONG = [40_000, 200_000, 300_000, 900_000]
MAX_LOCATION = 3_000


def parameters(stack: Stack, **more: str) -> dict[str, str]:
    """A good authorization request of Dispatch."""
    return {
        "response_type": "code",
        "client_id": stack.dispatch.client_id,
        "redirect_uri": f"{stack.dispatch.url}/oauth2client",
        "scope": "openid",
        "code_challenge": encoded(hashlib.sha256(b"any verifier").digest()),
        "code_challenge_method": "S256",
        **more,
    }


def claims(size: int) -> str:
    """A claims parameter of about so many bytes on the wire."""
    names = {secrets.token_hex(20): None for _ in range(size // 70)}
    return json.dumps({"userinfo": names})


def follow(browser: PlainClient, stack: Stack, answer: requests.Response) -> requests.Response:
    """The next step of a redirect of the IdP to itself."""
    assert answer.status_code == 303, answer.text
    location = answer.headers["Location"]
    assert len(location) < MAX_LOCATION
    return browser.get(urljoin(stack.idp_url, location))


@pytest.mark.parametrize("size", SIZES)
def test_long_authorization_request_gets_its_code(size: int, stack: Stack) -> None:
    browser = PlainClient()
    asked = parameters(stack, claims=claims(size))
    page = follow(browser, stack, browser.post(f"{stack.idp_url}/oauth2/authorize", data=asked))
    assert page.status_code == 200, page.text
    fields = dict(re.findall(r'name="(request|csrf_token)" value="([^"]*)"', page.text))
    form = {**fields, "username": "cameron", "password": stack.password}
    answer = follow(browser, stack, browser.post(f"{stack.idp_url}/login", data=form))
    assert answer.status_code == 303, answer.text
    assert answer.headers["Location"].startswith(asked["redirect_uri"] + "?code=")


@pytest.mark.parametrize("length", [1_000, 7_900])
def test_long_state_comes_back(length: int, stack: Stack) -> None:
    state = secrets.token_hex(length // 2)
    asked = parameters(stack, state=state, prompt="none")
    browser = PlainClient()
    answer = follow(browser, stack, browser.post(f"{stack.idp_url}/oauth2/authorize", data=asked))
    assert answer.status_code == 303, answer.text
    assert f"state={state}" in answer.headers["Location"]


@pytest.mark.parametrize("size", SIZES)
def test_long_logout_request_is_answered(size: int, stack: Stack) -> None:
    browser = PlainClient()
    data = {"client_id": stack.dispatch.client_id, "logout_hint": "x" * size}
    page = follow(browser, stack, browser.post(f"{stack.idp_url}/oidc/logout", data=data))
    assert page.status_code == 200, page.text


@pytest.mark.parametrize("path", ["/oauth2/authorize", "/oidc/logout"])
@pytest.mark.parametrize("size", TOO_LONG)
def test_above_the_bound_a_page_says_so(size: int, path: str, stack: Stack) -> None:
    answer = PlainClient().post(stack.idp_url + path, data={"client_id": "x", "state": "x" * size})
    assert answer.status_code == 413
    assert "request is too long" in answer.text


@pytest.mark.parametrize("path", ["/oauth2/authorize", "/oidc/logout"])
def test_address_of_seven_kilobytes_is_read(path: str, stack: Stack) -> None:
    query = urlencode({"client_id": "unknown", "state": "x" * 7_000})
    answer = PlainClient().get(f"{stack.idp_url}{path}?{query}")
    assert (answer.status_code, "unknown" in answer.text) == (400, True)


@pytest.mark.parametrize("size", [8_100, 20_000])
def test_longer_address_gets_a_page_of_the_proxy(size: int, stack: Stack) -> None:
    if not stack.idp_url.startswith("https://"):
        pytest.skip("gunicorn alone answers 414, in a word")
    answer = PlainClient().get(f"{stack.idp_url}/oidc/logout?state={'x' * size}")
    assert answer.status_code == 413
    assert "request is too long" in answer.text
