"""Scenes of an audit, with bounds: ``python -m bench.audit [SCENE…] [--base "IDP DISPATCH MANAGER LEARN"]``.

Each scene loads the IdP as an attacker or a foreign client would, and prints each measured value with its bound.
Exits with 1 if a bound is exceeded. Starts its own stack, or uses the one at ``--base``; in that case
``PICKUP_DEMO_PASSWORD`` is its users' password, ``PICKUP_REGISTRATION_TOKEN`` its initial access token, and
the workers' memory is not measured.
"""

import argparse
import json
import os
import re
import secrets
import socket
import sys
import tempfile
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from html import unescape
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.parse import urlsplit

import requests

from e2e.plain import PlainClient
from e2e.stack import SERVICES, OwnProcesses, Stack, running_stack
from pickup_web import localhost

PROMPT = 0.5  # seconds within which an unrelated page must answer
SLOW_PROMPT = 2.0  # seconds within which a page must answer while slow senders occupy the server
PATIENCE = 20.0  # seconds after which we stop waiting for an answer

TOKEN_REQUESTS = 40
SIGN_INS, BROWSERS, WORKER_MB = 1_000, 16, 110
FLOOD, FLOOD_SECONDS = 32, 10
SLOW_CONNECTIONS, DRIP_SECONDS, PROBES = 100, 1.0, 5
REUSES, BURST = 500, 20
# Seconds after which clients close idle connections: gunicorn's default 2, undici 4, httpx 5, Java's HttpClient 30,
# .NET and nginx 60. To lose no request, a server must keep them longer than any client does.
IDLE_SECONDS = (2, 4, 5, 30, 60)
EARLY_LATE = 0.02  # seconds around each of them

PEOPLE = ("cameron", "alex", "admin")
HIDDEN = re.compile(r'<input type="hidden" name="(\w+)" value="([^"]*)"')
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@dataclass
class Target:
    """The stack, the means to load it, and the findings."""

    stack: Stack
    registration_token: str
    worker_mb: Callable[[], list[float]]  # of each of the IdP's workers; empty if not measurable
    sign_ins: int = SIGN_INS
    missed: list[str] = field(default_factory=list)

    def report(self, name: str, value: float, bound: float, unit: str) -> None:
        """Print the figure; record it if it exceeds its bound."""
        verdict = "ok" if value <= bound else "MISSED"
        print(f"  {name:<60}{value:>8.2f} {unit:<3}  at most {bound:g}   {verdict}", flush=True)
        if value > bound:
            self.missed.append(name)


def seconds_for(url: str) -> float:
    """The time for a new connection and a GET; ``PATIENCE`` if there is no successful response."""
    began = time.monotonic()
    with suppress(requests.RequestException), PlainClient() as client:
        if client.get(url, timeout=PATIENCE).status_code == 200:
            return time.monotonic() - began
    return PATIENCE


# --- 1: a jwks_uri that hangs ---


def encoded(part: dict[str, str]) -> str:
    """A part of a JWT."""
    return urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")


@contextmanager
def hanging_site() -> Iterator[str]:
    """The address of a site that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=1000) as site:
        yield f"http://127.0.0.1:{site.getsockname()[1]}"


def hanging_jwks_uri(target: Target) -> None:
    """40 unauthenticated token requests whose assertion makes the IdP fetch from a site that never answers."""
    idp = target.stack.idp_url
    with hanging_site() as site, ThreadPoolExecutor(TOKEN_REQUESTS) as attackers:
        metadata = {
            "redirect_uris": ["https://app.example/callback"],
            "token_endpoint_auth_method": "private_key_jwt",
            "jwks_uri": f"{site}/jwks",
        }
        bearer = {"Authorization": f"Bearer {target.registration_token}"}
        registration = PlainClient().get(f"{idp}/.well-known/openid-configuration").json()["registration_endpoint"]
        answer = PlainClient().post(registration, json=metadata, headers=bearer)
        answer.raise_for_status()
        client_id = answer.json()["client_id"]
        form = {
            "grant_type": "authorization_code",
            "code": "none",
            "client_id": client_id,
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": f"{encoded({'alg': 'RS256', 'kid': 'none'})}.{encoded({'sub': client_id})}.AAAA",
        }

        def attack() -> None:
            with suppress(requests.RequestException), PlainClient() as client:
                client.post(f"{idp}/oauth2/token", data=form, timeout=4 * PATIENCE)

        began = time.monotonic()
        under_way = [attackers.submit(attack) for _ in range(TOKEN_REQUESTS)]
        worst = 0.0
        while not all(one.done() for one in under_way) and time.monotonic() < began + PATIENCE:
            time.sleep(0.1)  # between two probes of a page
            worst = max(worst, seconds_for(f"{idp}/"))
    target.report(f"{TOKEN_REQUESTS} token requests, jwks_uri hangs: GET /", worst, PROMPT, "s")
    print(f"    all {TOKEN_REQUESTS} answered after {time.monotonic() - began:.1f} s")


# --- 4: passwords ---


RETRIES = 5  # of a sign-in that is answered 503, each after its Retry-After


class Browser(PlainClient):
    """Signs in repeatedly. It keeps its cookies, so its own wrong passwords count."""

    def __init__(self, idp: str) -> None:
        super().__init__()
        self._idp = idp

    def sign_in(self, username: str, password: str) -> requests.Response:
        """Fills in and sends the login form of the account page."""
        page = self.get(f"{self._idp}/login?next=/account", timeout=PATIENCE * 3)
        form = {name: unescape(value) for name, value in HIDDEN.findall(page.text)}
        form |= {"username": username, "password": password}
        return self.post(f"{self._idp}/login", data=form, timeout=PATIENCE * 3)


def memory_of_sign_ins(target: Target) -> None:
    """Many users sign in at once; each thread of each worker hashes passwords."""
    idp, before = target.stack.idp_url, target.worker_mb()
    refused: list[int] = []
    asked_to_wait: list[int] = []

    def sign_in_often(number: int) -> None:
        browser = Browser(idp)
        for _ in range(target.sign_ins // BROWSERS):
            username = PEOPLE[number % len(PEOPLE)]
            answer = browser.sign_in(username, target.stack.password)
            for _ in range(RETRIES):  # all places may be in use, because the two workers share no queue
                if answer.status_code != 503:
                    break
                asked_to_wait.append(number)
                time.sleep(int(answer.headers["Retry-After"]))  # as a client that follows RFC 9110 §10.2.3
                answer = browser.sign_in(username, target.stack.password)
            if answer.status_code != 303:
                refused.append(answer.status_code)

    began = time.monotonic()
    with ThreadPoolExecutor(BROWSERS) as people:
        list(people.map(sign_in_often, range(BROWSERS)))
    taken = time.monotonic() - began
    title = f"{target.sign_ins:,} sign-ins, {BROWSERS} at a time"
    target.report(f"{title}: not signed in", len(refused), 0, "")
    print(f"    asked to wait, and tried again: {len(asked_to_wait)}")
    for number, mb in enumerate(target.worker_mb()):
        target.report(f"{title}: memory of worker {number + 1}", mb, WORKER_MB, "MB")
    at_first = ", ".join(f"{mb:.0f} MB" for mb in before) or "not seen"
    print(f"    {target.sign_ins / taken:.0f} a second; memory before: {at_first}")


def flood_of_passwords(target: Target) -> None:
    """Passwords for unknown names: each costs a hash."""
    idp, over, answers = target.stack.idp_url, threading.Event(), []

    def guess() -> None:
        browser = Browser(idp)
        while not over.is_set():
            with suppress(requests.RequestException):
                answers.append(browser.sign_in(secrets.token_hex(8), "wrong").status_code)

    with ThreadPoolExecutor(FLOOD) as attackers:
        for _ in range(FLOOD):
            attackers.submit(guess)
        worst, until = 0.0, time.monotonic() + FLOOD_SECONDS
        while time.monotonic() < until:
            time.sleep(0.1)  # between two probes of a page
            worst = max(worst, seconds_for(f"{idp}/"))
        over.set()
    target.report(f"flood of passwords from {FLOOD} connections: GET /", worst, PROMPT, "s")
    counts = ", ".join(f"{answers.count(status)} times {status}" for status in sorted(set(answers)))
    print(f"    answers to the passwords: {counts}")


# --- 5: slow senders ---


@contextmanager
def slow_senders(url: str, start: bytes) -> Iterator[None]:
    """Connections that have sent ``start`` and add a byte a second; closed ones are reopened."""
    address, over = (urlsplit(url).hostname or "", urlsplit(url).port or 80), threading.Event()
    connections: list[socket.socket] = []

    def connect() -> socket.socket:
        connection = socket.create_connection(address, timeout=PATIENCE)
        connection.sendall(start)
        return connection

    def drip() -> None:
        while not over.wait(DRIP_SECONDS):
            for number, connection in enumerate(connections):
                try:
                    connection.sendall(b"x")
                except OSError:
                    connection.close()
                    with suppress(OSError):
                        connections[number] = connect()

    dripper = threading.Thread(target=drip)
    with ExitStack() as ends:
        connections.extend(connect() for _ in range(SLOW_CONNECTIONS))
        ends.callback(close_all, connections)
        dripper.start()
        ends.callback(dripper.join)
        ends.callback(over.set)
        yield


def close_all(connections: list[socket.socket]) -> None:
    """Including the reopened ones."""
    for connection in connections:
        connection.close()


def slow_requests(target: Target) -> None:
    """Slow headers and bodies, at the IdP and at Manager, which receives logout tokens."""
    for name, url, path in (
        ("IdP", target.stack.idp_url, "/oauth2/token"),
        ("Manager", target.stack.manager.url, "/bclogout"),
    ):
        parts = urlsplit(url + path)
        head = f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        form = "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 10000\r\n\r\n"
        for kind, start in (("headers", f"{head}X-Slow: "), ("bodies", f"{head}{form}logout_token=")):
            with slow_senders(url, start.encode()):
                worst = 0.0
                for _ in range(PROBES):
                    time.sleep(DRIP_SECONDS)  # spreads the probes over the attack
                    worst = max(worst, seconds_for(f"{url}/"))
                    if worst >= PATIENCE:
                        break
            title = f"{SLOW_CONNECTIONS} connections, {kind} at a byte a second: {name}"
            target.report(title, worst, SLOW_PROMPT, "s")


# --- 12: reused connections ---


def reused_connections(target: Target) -> None:
    """A client reuses connections as long as it keeps them; no request is sent twice.

    Dispatch signs users in meanwhile, so that its own connections to the IdP become idle and are reused.
    """
    with ThreadPoolExecutor(len(SERVICES)) as clients:
        counting = {service: clients.submit(count_lost, target.stack.url(service)) for service in SERVICES}
        failed = count_failed_sign_ins(target.stack)
    target.report(f"{REUSES} sign-ins at Dispatch over kept connections: failed", failed, 0, "")
    for service, counted in counting.items():
        lost = counted.result()
        target.report(f"{REUSES} connections used again: lost requests, {service}", sum(lost.values()), 0, "")
        print("    idle for   " + "   ".join(f"{idle} s: {count}" for idle, count in lost.items()))


def count_lost(url: str) -> dict[int, int]:
    """How many of the second requests got no response, by the seconds that their connections were idle."""
    parts = urlsplit(url)
    address = (parts.hostname or "", parts.port or 80)
    request = f"GET {parts.path}/healthz HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode()
    each = REUSES // len(IDLE_SECONDS)
    due: dict[int, list[tuple[float, socket.socket]]] = {idle: [] for idle in IDLE_SECONDS}
    lost = dict.fromkeys(IDLE_SECONDS, 0)
    with ExitStack() as connections:
        for number in range(REUSES):
            idle = IDLE_SECONDS[number % len(IDLE_SECONDS)]
            connection = connections.enter_context(socket.create_connection(address, timeout=PATIENCE))
            connection.sendall(request)
            if can_be_used_again(connection):
                shift = EARLY_LATE * (2 * (number // len(IDLE_SECONDS)) / each - 1)
                due[idle].append((time.monotonic() + idle + shift, connection))
        for idle, some in due.items():
            for at, connection in some:
                time.sleep(max(0.0, at - time.monotonic()))  # a connection must be idle for so long
                with suppress(OSError):  # read below
                    connection.sendall(request)
            lost[idle] = sum(can_be_used_again(connection) is None for _, connection in some)
    return lost


def can_be_used_again(connection: socket.socket) -> bool | None:
    """Reads a response; returns whether the server keeps the connection open. None: there was no response."""
    answer = HTTPResponse(connection)
    try:
        answer.begin()
        answer.read()
    except (OSError, HTTPException):
        return None
    finally:
        answer.close()
    return not answer.will_close


def count_failed_sign_ins(stack: Stack) -> int:
    """Bursts of sign-ins at Dispatch, with pauses close to gunicorn's default keep-alive."""
    failed, rounds = 0, REUSES // BURST
    browser = Browser(stack.idp_url)
    browser.sign_in(PEOPLE[0], stack.password).raise_for_status()

    def sign_in_at_dispatch(_: int) -> bool:
        with suppress(requests.RequestException), requests.Session() as person:
            person.trust_env = False
            person.verify = browser.verify
            person.cookies.update(browser.cookies)
            return person.get(f"{stack.dispatch.url}/bookings", timeout=PATIENCE).url.endswith("/bookings")
        return False

    with ThreadPoolExecutor(BURST) as people:
        for number in range(rounds):
            failed += list(people.map(sign_in_at_dispatch, range(BURST))).count(False)
            time.sleep(1.5 + 1.5 * number / rounds)  # different pauses, some close to a keep-alive limit
    return failed


# --- all scenes ---

SCENES = {
    1: (hanging_jwks_uri,),
    4: (memory_of_sign_ins, flood_of_passwords),
    5: (slow_requests,),
    12: (reused_connections,),
}


def memory_of_workers(process_id: int) -> list[float]:
    """The resident memory of each child, in MB."""
    children = Path(f"/proc/{process_id}/task/{process_id}/children").read_text("ascii").split()
    statuses = [Path(f"/proc/{child}/status").read_text("utf-8") for child in children]
    return [int(kb) * 1024 / 1e6 for status in statuses for kb in re.findall(r"^VmRSS:\s+(\d+) kB", status, re.M)]


@contextmanager
def target_at(base: str) -> Iterator[Target]:
    """The stack at these addresses, or a new one."""
    if base:
        token = os.environ.get("PICKUP_REGISTRATION_TOKEN", "")
        yield Target(running_stack(base, "none"), token, list)
        return
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        own = OwnProcesses(Path(folder))
        try:
            own.start(*SERVICES)
            token = own.environment["PICKUP_REGISTRATION_TOKEN"]
            yield Target(own.stack(), token, lambda: memory_of_workers(own.process_id("idp")))
        finally:
            own.kill_all()


def main() -> None:
    """The selected scenes, each with its own stack."""
    parser = argparse.ArgumentParser(prog="python -m bench.audit", description="Scenes of an audit, with bounds.")
    parser.add_argument(
        "scene", nargs="*", type=int, choices=[[], *SCENES], metavar="SCENE", help="1, 4, 5, 12; all by default"
    )
    urls = '"IDP DISPATCH MANAGER LEARN"'
    parser.add_argument("--base", default="", metavar=urls, help="base URLs of a running stack")
    parser.add_argument("--sign-ins", type=int, default=SIGN_INS, metavar="NUMBER", help="of scene 4")
    options = parser.parse_args()
    localhost.install()
    missed = []
    for number in options.scene or SCENES:
        print(f"\nScene {number}")
        with target_at(options.base) as target:
            target.sign_ins = options.sign_ins
            for scene in SCENES[number]:
                scene(target)
            missed += target.missed
    if missed:
        sys.exit(f"\n{len(missed)} bounds were missed.")


if __name__ == "__main__":
    main()
