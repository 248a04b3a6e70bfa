"""The limit of simultaneous password hashes, and the response to a request above it."""

import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from werkzeug.test import TestResponse

from idp.models import FailedLogins, SsoSession, User
from idp.sign_in import passwords
from idp.sign_in.passwords import PLACES, RETRY_AFTER, THREADS, HashingPool, TooManyAtOnce
from tests.conftest import PASSWORD, SiteClient, eventually
from tests.idp.conftest import Provider, hidden
from tests.idp.console.conftest import operator
from tests.network import query_of

ROOT = Path(__file__).parents[3]
PERSON = {"username": "robin", "name": "Robin Okoye", "email": "", "role": "user"}


class SlowHasher:
    """Hashes nothing before it is released, and records its callers."""

    def __init__(self) -> None:
        self.may_end = threading.Event()
        self.threads: list[str] = []

    def hash(self, password: str) -> str:
        """A readable hash."""
        self.threads.append(threading.current_thread().name)
        assert self.may_end.wait(10)
        return f"hash of {password}"


@pytest.fixture
def slow() -> Iterator[SlowHasher]:
    hasher = SlowHasher()
    yield hasher
    hasher.may_end.set()


@contextmanager
def many_requests(pool: HashingPool, hasher: SlowHasher, count: int) -> Iterator[list[Future[str]]]:
    """So many threads, each with a password to hash."""
    with ThreadPoolExecutor(count) as requests:
        try:
            yield [requests.submit(pool.run, hasher.hash, str(number)) for number in range(count)]
        finally:
            hasher.may_end.set()


def test_pool_limits_simultaneous_hashes(slow: SlowHasher) -> None:
    """Each thread needs 19 MiB, so memory must not depend on the number of requests."""
    pool = HashingPool(threads=2, places=5)
    with many_requests(pool, slow, 5) as answers:
        eventually(lambda: len(slow.threads) == 2)
        eventually(lambda: pool._executor._work_queue.qsize() == 3, "the others wait")
        assert len(slow.threads) == 2
        slow.may_end.set()
        assert {answer.result(10) for answer in answers} == {f"hash of {number}" for number in range(5)}
    assert len(set(slow.threads)) <= 2


def test_full_queue_rejects_immediately_and_recovers(slow: SlowHasher) -> None:
    """A rejection does not wait; otherwise a flood would occupy every thread of the process."""
    pool = HashingPool(threads=1, places=3)
    with many_requests(pool, slow, 3) as answers:
        eventually(lambda: pool._executor._work_queue.qsize() == 2)
        with pytest.raises(TooManyAtOnce):
            pool.run(slow.hash, "one too many")
        slow.may_end.set()
        assert [answer.result(10) for answer in answers]
    assert pool.run(slow.hash, "later") == "hash of later"
    assert "one too many" not in slow.threads


def test_failure_frees_its_place() -> None:
    """Otherwise eight failures would block all sign-ins."""
    pool = HashingPool(threads=1, places=1)

    def fail(_: str) -> str:
        raise ValueError("no hash")

    for _ in range(3):
        with pytest.raises(ValueError, match="no hash"):
            pool.run(fail, "x")
    assert pool.run(str.upper, "x") == "X"


def test_request_with_a_place_can_hash_twice() -> None:
    """A password change verifies the old one and hashes the new one; it cannot be rejected halfway."""
    pool = HashingPool(threads=1, places=1)
    with pool.place():
        assert [pool.run(str.upper, text) for text in ("old", "new")] == ["OLD", "NEW"]
        with ThreadPoolExecutor(1) as another, pytest.raises(TooManyAtOnce):
            another.submit(pool.run, str.upper, "x").result(10)
    assert pool.run(str.upper, "x") == "X"


def test_new_process_has_its_own_threads_and_places(slow: SlowHasher) -> None:
    """After a fork neither the threads nor the requests that held places exist."""
    pool = HashingPool(threads=1, places=1)
    with many_requests(pool, slow, 1):
        eventually(lambda: slow.threads)
        pool.start()  # as gunicorn's hook does in a worker
        assert pool.run(str.upper, "x") == "X"


def test_worker_starts_its_own_pool(provider: Provider) -> None:
    """The hook after the fork is set."""
    assert passwords.pool.start in provider.app.extensions["after_fork"]


def test_most_threads_stay_free_for_other_pages() -> None:
    """Half of gunicorn's threads may wait for hashes, and more wait than hash."""
    found = re.search(r"^threads = (\d+)$", (ROOT / "gunicorn.conf.py").read_text("utf-8"), re.M)
    assert found
    assert int(found[1]) >= 2 * PLACES
    assert THREADS < PLACES


# --- every operation with a hash ---


@pytest.fixture
def full() -> Iterator[ExitStack]:
    """Other requests hold all places until the test releases them."""
    with ExitStack() as places:
        taken = [passwords.pool._free.acquire(blocking=False) for _ in range(PLACES)]
        assert all(taken)
        for _ in range(PLACES):
            places.callback(passwords.pool._free.release)
        yield places


def says_so(response: TestResponse) -> None:
    """503, Retry-After, and a plain message."""
    assert response.status_code == 503
    assert response.headers["Retry-After"] == str(RETRY_AFTER)
    assert "Too many passwords are being checked" in response.text
    assert response.headers["Cache-Control"] == "no-store"


def test_sign_in_without_a_place_gets_503(provider: Provider, full: ExitStack) -> None:
    """The same form is shown again; no attempt was counted or recorded."""
    browser = provider.browser()
    page = provider.authorize(browser)
    for _ in range(20):
        response = provider.enter_password(browser, page)
        says_so(response)
    assert hidden(response, "request") == hidden(page, "request")
    assert 'value="cameron"' in response.text
    assert (provider.rows(FailedLogins), provider.rows(SsoSession), provider.events("op.login.failed")) == ([], [], [])
    full.close()
    assert "code" in query_of(provider.enter_password(browser, response).location)


@pytest.mark.usefixtures("cameron", "full")
def test_other_pages_need_no_place(provider: Provider, cameron: SiteClient) -> None:
    """Only a password needs one."""
    assert cameron.get("/account").status_code == 200
    assert provider.browser().get("/login?next=/account").status_code == 200
    assert provider.authorize(cameron).status_code == 303


def change_own_password(provider: Provider) -> Callable[[], TestResponse]:
    browser = operator(provider)
    browser.get("/account/password")
    return lambda: browser.submit("/account/password", old=PASSWORD, new="a new password", again="a new password")


def add_person(provider: Provider) -> Callable[[], TestResponse]:
    browser = operator(provider)
    browser.get("/console/people/add")
    return lambda: browser.submit("/console/people/add", **PERSON)


def reset_password(provider: Provider) -> Callable[[], TestResponse]:
    browser = operator(provider)
    browser.get("/console/people/248289761002/password")
    return lambda: browser.submit("/console/people/248289761002/password")


@pytest.mark.parametrize("prepare", [change_own_password, add_person, reset_password])
def test_every_operation_respects_the_limit(
    prepare: Callable[[Provider], Callable[[], TestResponse]],
    provider: Provider,
    request: pytest.FixtureRequest,
) -> None:
    """A rejected request changed nothing, and does not count as a wrong password."""
    send = prepare(provider)
    before = {user.sub: user.password_hash for user in provider.rows(User)}
    full: ExitStack = request.getfixturevalue("full")
    says_so(send())
    assert {user.sub: user.password_hash for user in provider.rows(User)} == before
    assert provider.rows(FailedLogins) == []
    full.close()
    assert send().status_code in (200, 201, 303)
