"""The same image twice: in two splits, where it is no test of a model that has trained on it, or in two classes."""

import hashlib
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lightning_tl.report.lookalikes import alike
from lightning_tl.report.pictures import below, is_file

MANY = 1000
"""Images: from here on a line on stderr says what takes time."""
LOOKED_AT = 20_000
"""Images: of more, only the bytes are compared. So many looks take 61 MB; 4,064 photographs took 6.4 s on one core."""

Sample = tuple[str, str, str]
"""Split, path below the root, label."""


@dataclass(frozen=True)
class Group:
    """Files with one picture, in several splits or classes.

    Attributes:
        samples: the files, in the order of split.csv.
        same_bytes: whether they are copies, byte for byte; else they look the same.
    """

    samples: tuple[Sample, ...]
    same_bytes: bool

    @property
    def leaks(self) -> bool:
        """Whether they are in more than one split."""
        return len({split for split, _, _ in self.samples}) > 1

    @property
    def clashes(self) -> bool:
        """Whether they are in more than one class."""
        return len({label for _, _, label in self.samples}) > 1


def shared_images(samples: Sequence[Sample], root: Path) -> tuple[list[Group], int]:
    """Files with the same picture in more than one split or class, and how many files could not be read.

    Files of the same size are compared by their bytes; those of at most ``LOOKED_AT`` also by what they look like, so
    that a picture saved anew or resized is found. One that was cropped, turned or mirrored is not.

    Args:
        samples: rows of split.csv.
        root: that their paths are relative to.
    """
    if len(samples) > MANY:
        print(f"lightning-tl: comparing {len(samples)} images for duplicates ...", file=sys.stderr, flush=True)
    readable = [sample for sample in samples if is_file(below(root, sample[1]))]
    copies, unread = _copies(readable, root)
    copied = [group for group in map(_copied, copies) if group.leaks or group.clashes]
    found: list[Group] = []
    if len(readable) <= LOOKED_AT:
        known = {sample: number for number, group in enumerate(copies) for sample in group}
        for places in alike([root / path for _, path, _ in readable]):
            group = Group(tuple(readable[place] for place in places), same_bytes=False)
            numbers = {known.get(sample) for sample in group.samples}
            if (group.leaks or group.clashes) and (len(numbers) > 1 or None in numbers):  # not one group of copies
                found.append(group)
    seen = {sample for group in found for sample in group.samples}
    one_picture = [group for group in copied if not seen.issuperset(group.samples)]  # others are in a larger group
    return [*one_picture, *found], len(samples) - len(readable) + unread


def _copies(samples: Sequence[Sample], root: Path) -> tuple[list[list[Sample]], int]:
    """Groups of files with the same bytes, read a block at a time, and how many could not be read."""
    by_size: dict[int, list[Sample]] = defaultdict(list)
    for sample in samples:
        by_size[(root / sample[1]).stat().st_size].append(sample)
    by_hash: dict[str, list[Sample]] = defaultdict(list)
    unread = 0
    for sample in (sample for group in by_size.values() if len(group) > 1 for sample in group):
        content = _sha256(root / sample[1])
        unread += content is None
        if content is not None:
            by_hash[content].append(sample)
    return [group for group in by_hash.values() if len(group) > 1], unread


def _copied(samples: Sequence[Sample]) -> Group:
    return Group(tuple(samples), same_bytes=True)


def _sha256(path: Path) -> str | None:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return None
