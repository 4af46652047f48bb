"""Who uses the processor while one framework is measured (Linux; elsewhere nothing is known)."""

import os
from collections.abc import Collection
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


def busy_seconds(cores: Collection[int]) -> float:
    """Processor seconds that these cores have been busy, by anybody, since the machine started."""
    try:
        lines = Path("/proc/stat").read_text().splitlines()
    except OSError:
        return 0.0
    wanted = {f"cpu{core}" for core in cores}
    rows = [line.split() for line in lines if line.split(" ")[0] in wanted]
    # user, nice, system, idle, iowait, irq, softirq, steal: all but the two in the middle
    return sum(sum(map(int, row[1:4])) + sum(map(int, row[6:9])) for row in rows) / TICKS


def family_seconds(pid: int) -> float:
    """Processor seconds of a process and its children, those among them that have ended and were waited for."""
    try:
        children = [int(c) for path in Path(f"/proc/{pid}/task").glob("*/children") for c in path.read_text().split()]
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return sum(map(int, fields[11:15])) / TICKS + sum(family_seconds(child) for child in children)


def all_cores() -> tuple[int, ...]:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return tuple(sorted(os.sched_getaffinity(0)))
    return tuple(range(os.cpu_count() or 1))
