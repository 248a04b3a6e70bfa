"""Hashes passwords, and limits how many are hashed at a time.

A hash takes 19 MiB, which the allocator then keeps for that thread. So two dedicated threads do all hashing of a
process. Only a few requests may wait for them, so that most request threads stay free for other pages.
"""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

MAX_PASSWORD = 1024  # characters; longer ones would let an attacker make us hash for long
THREADS = 2  # per process; on two cores more would not be faster
PLACES = 8  # requests per process that hash or wait; gunicorn.conf.py gives it 16 threads
RETRY_AFTER = 2  # seconds; all places are usually free again within one

T = TypeVar("T")

hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)  # Argon2id; why these: docs/decisions.md


class TooManyAtOnce(Exception):
    """All places are taken. Nothing was hashed; the response is 503 with ``Retry-After``."""


class HashingPool:
    """A pool of ``threads`` that hash for at most ``places`` requests at a time."""

    def __init__(self, threads: int, places: int) -> None:
        self._threads, self._places = threads, places
        self._mine = threading.local()
        self.start()

    def start(self) -> None:
        """Call again in each forked process: threads do not survive a fork. The first hashes start the threads."""
        self._free = threading.BoundedSemaphore(self._places)
        self._executor = ThreadPoolExecutor(self._threads, "hashing")

    @contextmanager
    def place(self) -> Iterator[None]:
        """Reserves a place until the block ends, or raises :class:`TooManyAtOnce`. May be nested."""
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
        """Runs ``act`` in a hashing thread and returns its result. Raises :class:`TooManyAtOnce`."""
        with self.place():
            return self._executor.submit(act, *arguments).result()


pool = HashingPool(THREADS, PLACES)


def hash_password(password: str) -> str:
    """The Argon2id hash, with its salt and parameters. Raises :class:`TooManyAtOnce`."""
    return pool.run(hasher.hash, password)


def is_password(password_hash: str, password: str) -> bool:
    """Whether ``password`` matches the hash; False for an invalid hash. Raises :class:`TooManyAtOnce`."""
    try:
        return pool.run(hasher.verify, password_hash, password[:MAX_PASSWORD])
    except (Argon2Error, InvalidHashError):
        return False
