"""Sign-ins at the IdP as deployed: the memory of a worker, and other pages during a flood of passwords."""

import os
import re
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from html import unescape
from pathlib import Path

import requests

from bench.relying_party import Figure

ROOT = Path(__file__).parents[1]
PASSWORD = "for the bench"  # noqa: S105 # of users that exist only in this run's folder
SIGN_INS, AT_ONCE = 1_000, 16  # a sign-in is a page and a password, in a new browser
PEOPLE = ("admin", "cameron", "alex")
BUSY = (429, 503)  # too many for one name, too many in total; with Retry-After
FLOOD, FLOOD_SECONDS = 64, 10  # browsers that send passwords without a pause, and for how long
PAGES = ("/login?next=/account", "/", "/oauth2/jwks")  # the pages that other users open meanwhile, in turn
WORKERS = 2  # in gunicorn.conf.py
START_SECONDS = 30  # for the server to start


def many_passwords() -> Iterator[Figure]:
    """Start the IdP with its two workers, sign in many times, then flood it."""
    with tempfile.TemporaryDirectory(prefix="bench") as folder, provider(Path(folder)) as (url, pid):
        yield Figure("memory of each worker, at first", memory_of_workers(pid))
        with ThreadPoolExecutor(AT_ONCE) as browsers:
            refused = sum(browsers.map(sign_in, [url] * SIGN_INS))
        value = f"{memory_of_workers(pid)}   {refused} tries were told to come again"
        yield Figure(f"after {SIGN_INS:,} sign-ins, {AT_ONCE} at once", value)
        yield from flood(url)
        yield Figure("memory of each worker, after the flood", memory_of_workers(pid))


@contextmanager
def provider(folder: Path) -> Iterator[tuple[str, int]]:
    """Its address and process, with gunicorn.conf.py and a new database."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    names = ("SECRET_KEY", "DISPATCH_CLIENT_SECRET", "MANAGER_CLIENT_SECRET", "DEMO_PASSWORD")
    settings = {
        **{f"PICKUP_{name}": PASSWORD for name in names},
        "PICKUP_DATA_DIR": str(folder),
        "PICKUP_DEMO_PLAIN_HTTP": "true",
        "PICKUP_IDP_URL": f"http://{address}",
        "PICKUP_LISTEN": address,
    }
    with (folder / "log").open("w") as log:
        command = [sys.executable, "-m", "gunicorn", "--chdir", str(ROOT), "idp:create_app()"]
        server = subprocess.Popen(command, env={**os.environ, **settings}, cwd=ROOT, stdout=log, stderr=log)
    try:
        wait_for(f"http://{address}/healthz", folder / "log")
        yield f"http://{address}", server.pid
    finally:
        server.terminate()
        server.wait()


def wait_for(url: str, log: Path) -> None:
    """Wait until it responds."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            requests.get(url, timeout=5).raise_for_status()
        except requests.RequestException as error:
            if time.monotonic() > deadline:
                raise RuntimeError(f"The provider did not start:\n{log.read_text('utf-8')[-2000:]}") from error
            time.sleep(0.05)
        else:
            return


def memory_of_workers(pid: int) -> str:
    """Of each worker: PSS, which counts shared pages in part, and RSS, which counts them fully."""
    while len(children := Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()) < WORKERS:
        time.sleep(0.05)
    rollups = [Path(f"/proc/{child}/smaps_rollup").read_text("ascii") for child in children]
    sizes = [dict(re.findall(r"^(Pss|Rss): +(\d+) kB", rollup, re.M)) for rollup in rollups]
    return ", ".join(f"PSS {int(size['Pss']) / 1024:.0f} RSS {int(size['Rss']) / 1024:.0f} MiB" for size in sizes)


def new_browser() -> requests.Session:
    """Without cookies. Each request has its own connection, because an idle one may be closed at any time."""
    browser = requests.Session()
    browser.headers["Connection"] = "close"
    return browser


def form_of(browser: requests.Session, url: str) -> dict[str, str]:
    """The hidden fields of the login page."""
    page = browser.get(f"{url}/login?next=/account", timeout=60).text
    return {name: unescape(value) for name, value in re.findall(r'name="(\w+)" value="([^"]*)"', page)}


def sign_in(url: str) -> int:
    """Sign in with a new browser; returns how many times it had to retry."""
    refused = 0
    with new_browser() as browser:
        form = {**form_of(browser, url), "username": secrets.choice(PEOPLE), "password": PASSWORD}
        while (answer := browser.post(f"{url}/login", form, timeout=60, allow_redirects=False)).status_code in BUSY:
            refused += 1
            time.sleep(float(answer.headers["Retry-After"]))
        if answer.status_code != 303:
            raise RuntimeError(f"The sign-in was answered {answer.status_code}.")
    return refused


def flood(url: str) -> Iterator[Figure]:
    """Passwords of many browsers, in a separate process, while another user opens pages."""
    command = [sys.executable, "-c", f"from bench.passwords import attack; attack({url!r})"]
    waits: list[float] = []
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as attackers:
        time.sleep(1)  # until all of them have the form
        end = time.monotonic() + FLOOD_SECONDS
        while time.monotonic() < end:
            began = time.perf_counter()
            requests.get(url + PAGES[len(waits) % len(PAGES)], timeout=60).raise_for_status()
            waits.append(time.perf_counter() - began)
        answers, _ = attackers.communicate()
    yield Figure(f"{FLOOD} browsers send wrong passwords", answers.strip())
    waits.sort()
    middle, late = waits[len(waits) // 2], waits[len(waits) * 99 // 100]
    value = f"median {middle:.3f} s, 99 in 100 within {late:.3f} s, longest {waits[-1]:.3f} s, of {len(waits)}"
    yield Figure("another page meanwhile", value)


def attack(url: str) -> None:
    """Each browser sends wrong passwords, one after the other, each for another name."""
    statuses, end = Counter[int](), time.monotonic() + FLOOD_SECONDS + 1

    def send(number: int) -> None:
        with new_browser() as browser:
            form = {**form_of(browser, url), "password": "wrong"}
            while time.monotonic() < end:
                answer = browser.post(f"{url}/login", {**form, "username": f"{number} {time.time()}"}, timeout=60)
                statuses[answer.status_code] += 1

    with ThreadPoolExecutor(FLOOD) as browsers:
        list(browsers.map(send, range(FLOOD)))
    print("a second:", ", ".join(f"{n / FLOOD_SECONDS:.0f} times {status}" for status, n in sorted(statuses.items())))
