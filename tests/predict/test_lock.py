"""A folder that cannot be locked is used without, and any other trouble is told."""

import errno
import fcntl
import os
from pathlib import Path

import pytest

from lightning_tl.predict.lock import LOCK, locked


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EIO])
def test_a_file_system_without_locks(tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "lockf", refuse)
    if number == errno.EIO:
        with pytest.raises(OSError, match=os.strerror(number)), locked(tmp_path / "x"):
            pass
        return
    with pytest.warns(UserWarning, match="x is on a file system without locks") as said, locked(tmp_path / "x"):
        assert (tmp_path / "x" / LOCK).is_file()
    assert len(said) == 1
