"""The labs: their checks, by the name of the file in docs/labs, in the order in which the overview lists them."""

from pickup_learn.labs import mend, watch
from pickup_learn.steps import Check

CHECKS: dict[str, Check] = {**watch.CHECKS, **mend.CHECKS}
