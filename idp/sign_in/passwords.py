"""How passwords are hashed, and how many of them at once.

Each hash takes 19 MiB, which the allocator then keeps for the thread that asked. So two threads of their own do all
hashing of a process. Requests wait for them, a few at a time, so that most threads are left for other pages.
"""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

MAX_PASSWORD = 1024  # characters; hashing more is work for an attacker's amusement
THREADS = 2  # per process; more are no faster on two cores
PLACES = 8  # requests per process that hash or wait; gunicorn.conf.py gives it 16 threads
RETRY_AFTER = 2  # seconds, for the browser that finds all places taken; they are free again within one

T = TypeVar("T")

hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)  # Argon2id; why these: docs/decisions.md


class TooManyAtOnce(Exception):
    """All places are taken. Nothing was done; the answer is 503 with ``Retry-After``."""


class HashingPool:
    """``threads`` that hash, for at most ``places`` requests."""

    def __init__(self, threads: int, places: int) -> None:
        self._threads, self._places = threads, places
        self._mine = threading.local()
        self.start()

    def start(self) -> None:
        """Also in each new process, as threads do not survive a fork. They are started by the first hashes."""
        self._free = threading.BoundedSemaphore(self._places)
        self._executor = ThreadPoolExecutor(self._threads, "hashing")

    @contextmanager
    def place(self) -> Iterator[None]:
        """Keeps a place for this request while it does more than hash; :class:`TooManyAtOnce`. May be nested."""
        if getattr(self._mine, "has_place", False):
            yield
            return
        if not self._free.acquire(blocking=False):
            raise TooManyAtOnce
        self._mine.has_place = True
        try:
            yield
        finally:
            self._mine.has_place = False
            self._free.release()

    def run(self, act: Callable[..., T], *arguments: str) -> T:
        """Calls ``act`` in one of the threads and returns or raises what it does; :class:`TooManyAtOnce`."""
        with self.place():
            return self._executor.submit(act, *arguments).result()


pool = HashingPool(THREADS, PLACES)


def hash_password(password: str) -> str:
    """An Argon2id hash with a salt and its parameters; :class:`TooManyAtOnce`."""
    return pool.run(hasher.hash, password)


def is_password(password_hash: str, password: str) -> bool:
    """Whether the hash is one of ``password``; False for what is not a hash. :class:`TooManyAtOnce`."""
    try:
        return pool.run(hasher.verify, password_hash, password[:MAX_PASSWORD])
    except (Argon2Error, InvalidHashError):
        return False
