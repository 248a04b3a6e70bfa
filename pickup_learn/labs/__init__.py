"""The labs: their checks, by the name of the file in docs/labs, in the order in which the overview lists them.

A lab with a fault is started at Practice: its check gets the messages of the people who started it, since they did.
"""

from pickup_learn.labs import attack, mend, watch
from pickup_learn.practice.settings import Fault
from pickup_learn.steps import Check

CHECKS: dict[str, Check] = {**watch.CHECKS, **mend.CHECKS, **attack.CHECKS}
FAULTS: dict[str, Fault] = {**mend.FAULTS, **attack.FAULTS}
