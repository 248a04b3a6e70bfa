"""What only a thorough run does (``make test THOROUGH=1``, as in CI): all examples, and the tests that take seconds."""

import os

THOROUGH = os.environ.get("PICKUP_THOROUGH") == "1"


def examples(few: int, many: int) -> int:
    """``many`` in a thorough run, else ``few``."""
    return many if THOROUGH else few
