"""Freed memory kept for the next step, instead of given back to the system and zeroed by it page by page."""

import ctypes
import platform
from functools import cache

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
"""Parameters of glibc's mallopt(3), by their numbers in malloc.h."""

TOP_PAD = 64 * 2**20
"""Bytes that the heap grows by at once."""


@cache
def keep_freed_memory() -> bool:
    """Tell glibc's malloc to keep what is freed and to map no block on its own; for the rest of the process.

    A feature map of a batch is a block of tens of megabytes. glibc gives each back to the system when it is freed and
    asks for new pages at the next layer, which the system zeroes first; docs/benchmark.md says what that costs. The
    numbers that a step computes do not depend on it; memory is held until the process ends.

    Returns:
        Whether it was done: False without glibc.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    settings = ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1), (M_TOP_PAD, TOP_PAD))
    return sum(int(mallopt(parameter, value)) for parameter, value in settings) == len(settings)


def give_back_freed_memory() -> None:
    """Give back to the system what was freed and kept; nothing without glibc.

    For a process that was forked from one that keeps it: pages that both have are copied as soon as one writes to them,
    and the copies, a feature map each, would be held by one that never reads them.
    """
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
