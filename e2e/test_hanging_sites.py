"""Anyone can make the IdP ask for the keys of a registered client: a site that hangs must not stop the IdP."""

import json
import socket
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import requests

from e2e.operator import Operator
from e2e.plain import http
from e2e.stack import OwnProcesses, Stack

pytestmark = [pytest.mark.needs("pickup_idp", "pickup_app"), pytest.mark.thorough]

CLIENT = "pickup-manager"
REQUESTS = 40  # more than both workers have threads
IN_TIME = 4  # seconds for the pages of everybody else, on a busy machine; less than a request waits for keys


@contextmanager
def hanging_site(operator: Operator) -> Iterator[socket.socket]:
    """The client's keys are at an address that takes connections and never answers."""
    site = socket.create_server(("127.0.0.1", 0), backlog=REQUESTS)
    keys = f"http://127.0.0.1:{site.getsockname()[1]}/jwks.json"
    with site, operator.client_setting(CLIENT, jwks_uri=keys):
        yield site


def forged_assertion() -> str:
    """Made by anyone who knows the client's name."""
    parts = ({"alg": "RS256", "kid": "unknown"}, {"iss": CLIENT, "sub": CLIENT})
    encoded = [urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts]
    return ".".join([*encoded, "eA"])


def test_jwks_uri_that_hangs_does_not_stop_the_idp(stack: Stack, operator: Operator) -> None:
    if not isinstance(stack.hands, OwnProcesses):
        pytest.skip("the address of the keys is on this machine")
    answers: list[requests.Response] = []
    form = {
        "grant_type": "authorization_code",
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": forged_assertion(),
    }

    def ask() -> None:
        answers.append(http.post(f"{stack.idp_url}/oauth2/token", data=form, timeout=120))

    threads = [threading.Thread(target=ask) for _ in range(REQUESTS)]
    with hanging_site(operator) as site:
        for thread in threads:
            thread.start()
        connection, _ = site.accept()
        slowest = 0.0
        while any(thread.is_alive() for thread in threads):
            began = time.monotonic()
            assert http.get(f"{stack.idp_url}/oauth2/jwks", timeout=120).status_code == 200
            slowest = max(slowest, time.monotonic() - began)
        connection.close()
    print(f"slowest page during {REQUESTS} requests for keys that hang: {slowest:.2f} s")
    statuses = sorted(answer.status_code for answer in answers)
    assert set(statuses) == {400, 503}, statuses
    assert slowest < IN_TIME
