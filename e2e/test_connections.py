"""A client may use its connection again: a server that closed it in that moment would lose the request."""

import os
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPSConnection
from urllib.parse import urlsplit

import pytest

from e2e.stack import SERVICES, Stack

pytestmark = pytest.mark.needs("pickup_idp", "pickup_app")

CONNECTIONS, TIMES = 250, 2
IDLE_SECONDS = (2.0, 4.0)  # gunicorn's own limit is 2 s and a little; Node keeps an idle connection for 4 s


@contextmanager
def connection(url: str) -> Iterator[HTTPConnection]:
    """One connection, which is never opened again."""
    parts, host = urlsplit(url), "127.0.0.1" if url.startswith("http:") else urlsplit(url).hostname or ""
    if parts.scheme == "https":
        tls = ssl.create_default_context(cafile=os.environ.get("PICKUP_CA_BUNDLE"))
        made: HTTPConnection = HTTPSConnection(host, parts.port, timeout=10, context=tls)
    else:
        made = HTTPConnection(host, parts.port, timeout=10)
    made.connect()
    made.auto_open = 0
    yield made
    made.close()


def ask(over: HTTPConnection, url: str, method: str = "GET", body: str | None = None) -> int:
    """The status of the answer."""
    parts = urlsplit(url)
    over.request(method, parts.path, body, {"Host": parts.netloc})
    answer = over.getresponse()
    answer.read()
    return answer.status


@pytest.mark.thorough
def test_500_requests_over_connections_that_were_idle_are_all_answered(stack: Stack) -> None:
    pause = threading.Event()

    def ask_again_and_again(number: int) -> list[int]:
        url = f"{stack.url(SERVICES[number % len(SERVICES)])}/nothing-here"
        with connection(url) as over:
            found = [ask(over, url)]
            for _ in range(TIMES):
                pause.wait(IDLE_SECONDS[0] + (IDLE_SECONDS[1] - IDLE_SECONDS[0]) * number / CONNECTIONS)
                found.append(ask(over, url))
        return found

    with ThreadPoolExecutor(CONNECTIONS) as clients:
        answers = list(clients.map(ask_again_and_again, range(CONNECTIONS)))
    assert answers == [[404] * (TIMES + 1)] * CONNECTIONS


@pytest.mark.parametrize("service", SERVICES)
def test_form_that_is_refused_unread_does_not_cost_the_next_request(service: str, stack: Stack) -> None:
    url = f"{stack.url(service)}/nothing-here"
    for _ in range(50):
        with connection(url) as over:
            assert ask(over, url, "POST", "a=b" * 1000) == 404
            assert ask(over, url) == 404
