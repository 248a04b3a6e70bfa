"""Prints the memory of processes and all their children: ``memory.py PID…``. Linux only; containers need root."""

import sys
from pathlib import Path


def family(pid: int) -> list[int]:
    """The process and all its descendants."""
    children = (Path("/proc") / str(pid) / "task" / str(pid) / "children").read_text().split()
    return [pid, *(one for child in children for one in family(int(child)))]


def proportional_kib(pid: int) -> int:
    """Its proportional share (PSS): a page that n processes share counts 1/n for each."""
    lines = (Path("/proc") / str(pid) / "smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


try:
    total = sum(proportional_kib(pid) for root in sys.argv[1:] for pid in family(int(root)))
    print(f"{total / 1024:.0f} MiB")
except OSError as error:
    print(f"not readable here ({error.strerror})")
