"""A folder that one process at a time may write to."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lightning_tl.errors import InputError

LOCK = "lock"
"""Name of the file in it."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Create a folder and keep other processes from it meanwhile, where the system can.

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
