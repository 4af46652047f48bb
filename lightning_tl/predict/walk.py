"""Folders and globs, file by file in sorted order: one folder's names are held at a time on each level."""

import fnmatch
import os
import re
from collections.abc import Iterator
from typing import Protocol

from lightning_tl.data.folder import IMAGE_EXTENSIONS, OTHER_EXTENSIONS

States = frozenset[int]
"""How much of a glob a path has matched: positions in its parts, of which ``**`` allows several at once."""

ENDINGS = (*IMAGE_EXTENSIONS, *OTHER_EXTENSIONS)

MAGIC = re.compile(r"[*?[]")


class Rule(Protocol):
    """Which folders are entered and which files are taken."""

    start: States

    def enter(self, states: States, name: str, link: bool) -> States:
        """The states inside folder ``name`` of a folder with ``states``; none: it is not entered."""

    def takes(self, states: States, name: str) -> bool:
        """Whether file ``name`` of a folder with ``states`` is one."""


class Images:
    """All images below a folder, as ``data.folder.list_images`` finds them: no hidden names, no links to folders.

    With those of formats that are not read, which are then reported as such.
    """

    start: States = frozenset({0})

    def enter(self, states: States, name: str, link: bool) -> States:
        """Every folder."""
        return frozenset() if link or name.startswith(".") else states

    def takes(self, states: States, name: str) -> bool:
        """By its suffix."""
        return name.lower().endswith(ENDINGS) and not name.startswith(".")


class Glob:
    """Files whose path matches a pattern as in a shell, ``**`` being any number of folders.

    ``*``, ``?`` and ``[...]`` match no hidden name unless their part of the pattern begins with a dot, and ``**``
    does not follow links to folders.

    Args:
        parts: of the pattern, between its slashes.
    """

    def __init__(self, parts: list[str]) -> None:
        self.parts = [None if part == "**" else re.compile(fnmatch.translate(part)) for part in parts]
        self.dotted = [part.startswith(".") for part in parts]
        self.start = self._closure({0})

    def enter(self, states: States, name: str, link: bool) -> States:
        """What is left to match inside; none where nothing is."""
        inside = self._after(states, name, link)
        return inside if inside - {len(self.parts)} else frozenset()

    def takes(self, states: States, name: str) -> bool:
        """Whether nothing is left to match."""
        return len(self.parts) in self._after(states, name, link=False)

    def _after(self, states: States, name: str, link: bool) -> States:
        found: set[int] = set()
        for state in states - {len(self.parts)}:
            part = self.parts[state]
            if name.startswith(".") and not self.dotted[state]:
                continue
            if part is None and not link:
                found.add(state)
            elif part is not None and part.match(name):
                found.add(state + 1)
        return self._closure(found)

    def _closure(self, states: set[int]) -> States:
        """With the states that follow because ``**`` may match nothing."""
        for state in range(len(self.parts)):
            if state in states and self.parts[state] is None:
                states.add(state + 1)
        return frozenset(states)


def walk(prefix: str, rule: Rule) -> Iterator[str]:
    """Paths of the files that ``rule`` takes, in the order of ``sorted``.

    Args:
        prefix: folder to begin in, with a slash at its end, or nothing for the current one; every path begins
            with it.
        rule: what is taken.

    Yields:
        Paths; and that of a folder that cannot be listed, which whoever reads it will report.
    """
    levels = [(prefix, rule.start, _names(prefix))]
    while levels:
        folder, states, names = levels[-1]
        name = next(names, None)
        if name is None:
            levels.pop()
        elif not name:  # see _names
            yield folder.rstrip("/") or folder
        elif name.endswith("/"):
            link = os.path.islink(folder + name[:-1])  # noqa: PTH114  # not by Path: of a million names it costs seconds
            if inside := rule.enter(states, name[:-1], link):
                levels.append((folder + name, inside, _names(folder + name)))
        elif rule.takes(states, name):
            yield folder + name


def _names(folder: str) -> Iterator[str]:
    """Names in a folder, sorted, those of folders with a slash at their end; a single empty one if it has no list.

    With the slash names sort as whole paths do: ``a-1.jpg`` before ``a/1.jpg``.
    """
    try:
        with os.scandir(folder or ".") as entries:
            return iter(sorted([entry.name + "/" if _is_folder(entry) else entry.name for entry in entries]))
    except OSError:
        return iter([""])


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is one, or a link to one; not where that cannot be told, as for links in a circle."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def split_glob(pattern: str) -> tuple[str, list[str]]:
    """The folder that a pattern begins in, as ``walk`` takes it, and the parts that are to match below it."""
    parts = pattern.split("/")
    first = next(number for number, part in enumerate(parts) if MAGIC.search(part))
    return "".join(part + "/" for part in parts[:first]), [part for part in parts[first:] if part]
