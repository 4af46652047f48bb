"""The same image twice: in two splits, where it is no test of a model that has trained on it, or in two classes."""

import hashlib
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from lightning_tl.report.pictures import below, is_file

MANY = 5000
"""Images: from here on a line on stderr says what takes time."""

Sample = tuple[str, str, str]
"""Split, path below the root, label."""


def shared_images(samples: Sequence[Sample], root: Path) -> tuple[list[list[Sample]], int]:
    """Groups of files with the same bytes in more than one split or class, and how many files could not be read.

    Only files of the same size are read, a block at a time; a picture that was saved anew or resized is not found.

    Args:
        samples: rows of split.csv.
        root: that their paths are relative to.
    """
    if len(samples) > MANY:
        print(f"lightning-tl: comparing {len(samples)} images for duplicates ...", file=sys.stderr, flush=True)
    by_size: dict[int, list[Sample]] = defaultdict(list)
    unread = 0
    for sample in samples:
        path = below(root, sample[1])
        if path is not None and is_file(path):
            by_size[path.stat().st_size].append(sample)
        else:
            unread += 1
    by_hash: dict[str, list[Sample]] = defaultdict(list)
    for group in (group for group in by_size.values() if _differs(group)):
        for sample in group:
            content = _sha256(root / sample[1])
            unread += content is None
            if content is not None:
                by_hash[content].append(sample)
    return [group for group in by_hash.values() if _differs(group)], unread


def splits_of(group: Sequence[Sample]) -> int:
    """How many splits a group is in."""
    return len({split for split, _, _ in group})


def classes_of(group: Sequence[Sample]) -> int:
    """How many classes a group is in."""
    return len({label for _, _, label in group})


def _differs(group: Sequence[Sample]) -> bool:
    return splits_of(group) > 1 or classes_of(group) > 1


def _sha256(path: Path) -> str | None:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return None
