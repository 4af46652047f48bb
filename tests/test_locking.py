"""A folder that cannot be locked is used without, and any other trouble is told."""

import errno
import fcntl
import os
from pathlib import Path

import pytest

from lightning_tl.errors import InputError
from lightning_tl.locking import alone


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EIO])
def test_a_file_system_without_locks(tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "lockf", refuse)
    if number == errno.EIO:
        with pytest.raises(OSError, match=os.strerror(number)), alone(tmp_path / "x", "taken"):
            pass
        return
    with pytest.warns(UserWarning, match="is on a file system without locks") as said, alone(tmp_path / "x", "taken"):
        assert (tmp_path / "x").is_file()
    assert len(said) == 1


def test_a_lock_that_was_removed_meanwhile_keeps_nobody_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process may have made a new one: whoever waits for the old one does not have it."""
    path = tmp_path / "x"

    def remove(descriptor: int, operation: int) -> None:
        path.unlink()

    monkeypatch.setattr(fcntl, "lockf", remove)
    with pytest.raises(InputError, match="taken"), alone(path, "taken"):
        pass
