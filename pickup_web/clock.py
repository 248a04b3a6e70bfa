"""The one clock. Times are whole seconds since the epoch (UTC), as in a JWT: NumericDate, RFC 7519 §2."""

import time


def now() -> int:
    """The time of day; tests turn it by replacing this function's :mod:`time`."""
    return int(time.time())
