"""What one process at a time may do, of one machine or of several with the same disk."""

import contextlib
import errno
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from lightning_tl.errors import InputError

NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
"""What file systems answer that have none: some network drives, some of FUSE."""


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


@contextlib.contextmanager
def alone(path: Path, taken: str) -> Iterator[None]:
    """Keep other processes from a folder meanwhile, where the system can; else there is a warning.

    The lock is the process's: it goes with it, however it ends, and its loader's workers do not inherit it.

    Args:
        path: a file in that folder, which is made, and may be removed before the block ends.
        taken: what is said where another process has it.

    Raises:
        InputError: another process has it.
        OSError: the file cannot be written.
    """
    with path.open("w") as file:
        try:
            _lock(file.fileno())
        except BlockingIOError as error:
            raise InputError(taken) from error
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            warnings.warn(
                f"{path.parent} is on a file system without locks ({error.strerror}): see that no other command writes "
                "to the same output meanwhile.",
                stacklevel=3,
            )
        if not (path.exists() and os.path.samestat(path.stat(), os.fstat(file.fileno()))):  # whoever had it removed it
            raise InputError(taken)
        yield


def _lock(descriptor: int) -> None:
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except PermissionError as error:  # POSIX leaves systems the choice between the two
        raise BlockingIOError from error
