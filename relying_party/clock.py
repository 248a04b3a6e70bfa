"""The clock of this package: whole seconds since the epoch, as in a JWT."""

import time


def now() -> int:
    """The current time. Tests replace :func:`time.time`."""
    return int(time.time())
