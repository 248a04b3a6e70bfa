"""How many examples a test tries: few by default; all with ``make unit THOROUGH=1``, which CI runs."""

import os

THOROUGH = os.environ.get("PICKUP_THOROUGH") == "1"


def examples(few: int, many: int) -> int:
    """``many`` in a thorough run, else ``few``."""
    return many if THOROUGH else few
