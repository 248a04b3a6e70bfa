"""The only clock. Times are whole seconds since the epoch (UTC), as in a JWT: NumericDate, RFC 7519 §2."""

import time


def now() -> int:
    """The current time; tests set it by replacing this module's :mod:`time`."""
    return int(time.time())
