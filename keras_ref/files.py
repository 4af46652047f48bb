"""Files that are either whole or absent: written to a temporary name, flushed, then renamed."""

import os
import secrets
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; rename it to ``path`` when the block ends without an error.

    The temporary file is in the same folder, so the rename is atomic; parents are created. When the block
    raises, the temporary file is removed and an existing ``path`` is untouched.

    Raises:
        OSError: the folder cannot be written or the disk is full.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem[:40]}.{secrets.token_hex(8)}{path.suffix}")
    temporary.touch(exist_ok=False)
    try:
        yield temporary
        _flush(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give an empty temporary folder beside ``path``; rename it to ``path`` when the block ends without an error.

    When the block raises, the temporary folder is removed. Its name is always the same, so that what a killed process
    has left goes away next time.

    Raises:
        OSError: the folder cannot be written, the disk is full, or something is at ``path``.
    """
    temporary = path.with_name(f".{path.name}")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        with ThreadPoolExecutor() as pool:  # disks flush many files at once sooner than one after the other
            list(pool.map(_flush, [path for path in temporary.rglob("*") if path.is_file()]))
        temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: str | Path, text: str) -> None:
    """Write ``text`` as UTF-8 to ``path``, whole or not at all. Raises OSError as ``replacing`` does."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


def _flush(path: Path) -> None:
    """Force the file's contents to the disk, so that the rename never exposes an empty file."""
    with path.open("rb+") as stream:
        os.fsync(stream.fileno())
