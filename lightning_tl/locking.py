"""Processes of one machine, or of several with the same disk, one after the other."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path


@contextlib.contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Wait until no other process is in such a block for ``path``, a file that is made and stays.

    The lock ends with the process, however that ends. Where the system or the drive has none, or the file cannot be
    made, nobody waits.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    descriptor = _lock_file(path)
    if descriptor is None:
        yield
        return
    try:
        lock: Callable[[int, int], None] = fcntl.flock
        with contextlib.suppress(OSError):  # a network file system without locks
            lock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _lock_file(path: Path) -> int | None:
    """A descriptor of the file, which is made if there is none; None of another user's that we may not even read."""
    for flags in (os.O_RDWR | os.O_CREAT, os.O_RDONLY):
        with contextlib.suppress(OSError):
            return os.open(path, flags, 0o666)
    return None
