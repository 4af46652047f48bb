"""A folder that one process at a time may write to."""

import errno
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lightning_tl.errors import InputError

LOCK = "lock"
"""Name of the file in it."""

NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
"""What file systems answer that have none: some network drives, some of FUSE."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Create a folder and keep other processes from it meanwhile, where the system can; else there is a warning.

    The lock is the process's: it goes with it, however it ends, and its loader's workers do not inherit it.

    Raises:
        InputError: another process has it.
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as file:
        try:
            _lock(file.fileno())
        except BlockingIOError as error:
            raise InputError(
                f"output: another process is writing to {folder}. Wait for it, or write to another file."
            ) from error
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            warnings.warn(
                f"{folder} is on a file system without locks ({error.strerror}): see that no other command writes to "
                "the same output meanwhile.",
                stacklevel=3,
            )
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
