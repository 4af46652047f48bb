"""The paths to predict, one after the other: files, folders, globs, or a list on standard input."""

import errno
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from io import BufferedReader
from itertools import islice
from pathlib import Path
from typing import Any, cast

from lightning_tl.data.folder import IMAGE_EXTENSIONS
from lightning_tl.errors import InputError
from lightning_tl.predict.walk import MAGIC, Glob, Images, split_glob, walk

STDIN = "-"
MAX_PATH = 2**16
"""Bytes of a path in a list: no system opens longer ones (Linux: 4096), and a list without line ends is no list."""


class PathStream:
    """An iterator over all paths, of which it holds none; pickled, it continues where it was.

    Args:
        words: each an existing file, an existing folder (all images below it, sorted), a glob, or alone ``-``, a
            list on standard input.
        null: the list's paths end with a NUL, not with the line.

    Attributes:
        taken: how many paths it has given.

    Raises:
        InputError: an empty word; ``-`` beside other words; in iterating, the list is no list of paths.
    """

    def __init__(self, words: Sequence[str], null: bool = False) -> None:
        self.words, self.null, self.taken = tuple(words), null, 0
        self._paths: Iterator[str] | None = None
        if "" in self.words:  # which pathlib takes for the current folder
            raise InputError("PATH: a file, folder, glob or -; an unset shell variable gives none. Received: ''.")
        if self.from_stdin and len(self.words) > 1:
            raise InputError(f"PATH: {STDIN}, a list on standard input, stands alone. Received: {' '.join(words)!r}.")
        if null and not self.from_stdin:
            raise InputError(f"null: it tells how the list on standard input is written. Give {STDIN} as the PATH.")

    @property
    def from_stdin(self) -> bool:
        """Whether the paths come from standard input, which can be read once."""
        return STDIN in self.words

    def check(self) -> None:
        """See that each word leads to at least one file. Raises InputError if one does not."""
        for word in self.words:
            if word != STDIN and next(_expand(word), None) is None:
                raise InputError(_nothing(word))

    def count(self) -> int:
        """Of all paths, by going through the folders; not for standard input."""
        return sum(1 for word in self.words for _ in _expand(word))

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self._paths is None:
            self._paths = islice(self._all(), self.taken, None)
        path = next(self._paths)
        self.taken += 1
        return path

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_paths": None}

    def _all(self) -> Iterator[str]:
        if self.from_stdin:
            yield from _listed(self.null)
        for word in () if self.from_stdin else self.words:
            yield from _expand(word)


def _expand(word: str) -> Iterator[str]:
    """A file as it is, though its name be like a glob; a folder's images; or what matches a glob.

    A folder that cannot be listed is a path to be reported; one that is not there holds nothing that matches.
    """
    if os.path.isdir(word):  # noqa: PTH112  # Path raises where it may not look
        folder = "" if str(Path(word)) == "." else f"{str(Path(word)).rstrip('/')}/"
        return walk(folder, Images())
    if MAGIC.search(word) and not os.path.lexists(word):
        if word.endswith("/"):  # in a shell, folders
            raise InputError(f"PATH: a pattern matches files. Received: {word!r}; give {word + '**'!r}.")
        folder, parts = split_glob(word)
        return walk(folder, Glob(parts)) if not folder or _may_be_folder(folder) else iter(())
    return iter([word] if os.path.lexists(word) else [])


def _may_be_folder(path: str) -> bool:
    """Whether it is one, or nobody may look."""
    try:
        return stat.S_ISDIR(Path(path).stat().st_mode)
    except OSError as error:
        return error.errno == errno.EACCES


def _nothing(word: str) -> str:
    if os.path.isdir(word):  # noqa: PTH112
        return f"PATH: the folder holds no image ({', '.join(IMAGE_EXTENSIONS)}). Received: {word!r}."
    if MAGIC.search(word):
        return f"PATH: no file matches the pattern. Received: {word!r}."
    return f"PATH: no such file or folder. Received: {word!r}."


def _listed(null: bool) -> Iterator[str]:
    """Paths on standard input; empty lines are left out. The bytes of a path are kept, whatever they are."""
    for number, raw in enumerate(_pieces(b"\0" if null else b"\n"), start=1):
        if len(raw) > MAX_PATH or b"\0" in raw:
            what = f"is longer than {MAX_PATH} bytes" if len(raw) > MAX_PATH else "holds a NUL"
            hint = "Give one path a line" if null else "If its paths end with a NUL (find -print0), say --null true"
            raise InputError(f"PATH: path {number} of the list on standard input {what}. {hint}.")
        if raw:
            yield os.fsdecode(raw)


def _pieces(end: bytes) -> Iterator[bytes]:
    """Standard input up to each ``end``; of a piece that is too long for a path, just too much."""
    rest, stdin = b"", cast(BufferedReader, sys.stdin.buffer)
    while block := stdin.read1(MAX_PATH):
        *whole, rest = (rest + block).split(end)
        yield from whole
        if len(rest) > MAX_PATH:
            yield rest
    if rest:
        yield rest
