"""Dividing samples into train, val and test: stratified, or as Keras does."""

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from lightning_tl.data.folder import SPLITS, Sample, check_classes, check_root, listed, refuse_unlisted, subfolders
from lightning_tl.draws import epoch_order
from lightning_tl.errors import InputError

KERAS_EXTENSIONS = (".bmp", ".gif", ".jpeg", ".jpg", ".png")
"""keras.src.utils.image_dataset_utils.ALLOWLIST_FORMATS of Keras 3.15: no WebP."""


def stratified_split(
    samples: Sequence[Sample], val_fraction: float, test_fraction: float = 0.0, seed: int = 0
) -> tuple[Sample, ...]:
    """Divide every class by itself, so that all splits have the same mix of classes.

    Of a class of n images, the nearest integer to n * fraction goes to val and test, at least one each as
    long as one is left for train. Which ones follows from the seed and a hash of each image's path alone: not
    from the order in which files are found, and adding an image moves hardly any other.

    Args:
        samples: to divide; their present split is ignored.
        val_fraction: in (0, 1).
        test_fraction: in [0, 1).
        seed: of the run.

    Returns:
        The samples with their split set, sorted by split, then path.

    Raises:
        InputError: a split is left empty.
    """
    fractions = {"val": val_fraction, "test": test_fraction}
    divided: list[Sample] = []
    for label in sorted({sample.label for sample in samples}):
        shuffled = _shuffled([sample for sample in samples if sample.label == label], seed)
        for split, count in _side_counts(len(shuffled), fractions).items():
            divided += (replace(sample, split=split) for sample in shuffled[:count])
            del shuffled[:count]
        divided += (replace(sample, split="train") for sample in shuffled)
    divided.sort(key=lambda sample: (SPLITS.index(sample.split), sample.path))
    wanted = ["train", *(split for split, fraction in fractions.items() if fraction)]
    _check_none_empty(divided, wanted, f"val_fraction {val_fraction}, test_fraction {test_fraction}")
    return tuple(divided)


def keras_split(root: str | Path, val_fraction: float, seed: int) -> tuple[Sample, ...]:
    """The files, in order, of ``keras.utils.image_dataset_from_directory(root, validation_split=, seed=)``.

    Train are those of ``subset="training"``, val those of ``"validation"``. Whatever Keras does is done here
    too: files of WebP are left out, hidden files are not.

    Args:
        root: folder that holds one folder per class.
        val_fraction: in (0, 1).
        seed: that Keras would be given, from 0 to 2**32 - 1.

    Raises:
        InputError: no such folder, fewer than two classes, a class without images, a folder that cannot be read, or a
            split is left empty.
    """
    folder = check_root(root)
    names = subfolders(folder)
    found = [Sample("train", path, name) for name in names for path in _keras_files(folder, name)]
    counts = Counter(sample.label for sample in found)
    check_classes(folder, {name: counts[name] for name in names})
    order = list(range(len(found)))
    np.random.RandomState(seed).shuffle(order)  # Keras shuffles the list of paths with this very generator
    boundary = len(found) - int(val_fraction * len(found))
    divided = [replace(found[i], split="train" if n < boundary else "val") for n, i in enumerate(order)]
    _check_none_empty(divided, ["train", "val"], f"val_fraction {val_fraction}")
    return tuple(divided)


def check_trainable(samples: Sequence[Sample], source: str) -> None:
    """Check that there is something to train and to validate on, and that train knows every class.

    Args:
        samples: with their splits.
        source: what they come from, for the message.

    Raises:
        InputError: train or val is empty, there are fewer than two classes, or val or test has a class that
            train lacks.
    """
    for split in ("train", "val"):
        if not any(sample.split == split for sample in samples):
            raise InputError(f"{source} leaves split {split} empty. Both train and val need images.")
    classes = {split: {s.label for s in samples if s.split == split} for split in SPLITS}
    for split in ("val", "test"):
        if unknown := sorted(classes[split] - classes["train"]):
            raise InputError(f"{source} leaves no image in train of classes that {split} has: {listed(unknown)}.")
    if len(classes["train"]) < 2:
        raise InputError(f"{source} has a single class, {classes['train'].pop()!r}; classification needs at least two.")


def check_measurable(samples: Sequence[Sample], split: str, source: str) -> None:
    """Raise InputError where no image of ``source``, which the message names, is in the split to be measured."""
    if not any(sample.split == split for sample in samples):
        raise InputError(
            f"{source} leaves split {split} empty, which is to be measured. Give a split file with images in it, or "
            "set data.split to all to measure every image."
        )


def _shuffled(samples: list[Sample], seed: int) -> list[Sample]:
    """Samples in an order that depends on the seed and their paths alone."""
    by_index = {_path_index(sample.path): sample for sample in samples}
    index = torch.tensor(list(by_index), dtype=torch.int64)
    return [by_index[i] for i in epoch_order(seed, 0, index).tolist()]


def _path_index(path: str) -> int:
    """63 bits of the path's SHA-256, so that the draw belongs to the file and not to its place in a list."""
    digest = hashlib.sha256(path.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _side_counts(images: int, fractions: dict[str, float]) -> dict[str, int]:
    """How many of a class's images go to each side asked for."""
    wanted = {side: fraction for side, fraction in fractions.items() if fraction > 0}
    counts: dict[str, int] = {}
    spare = images - 1  # one stays in train
    for later, (side, fraction) in zip(reversed(range(len(wanted))), wanted.items(), strict=True):
        most = max(spare - later, min(spare, 1))  # leave one for each side still to come
        counts[side] = min(max(1, int(images * fraction + 0.5)), most)
        spare -= counts[side]
    return counts


def _keras_files(root: Path, name: str) -> list[str]:
    """Files of one class in the order of keras.src.utils.dataset_utils.iter_valid_files, relative to root."""
    paths = []
    for parent, _, files in sorted(os.walk(root / name, onerror=refuse_unlisted), key=lambda entry: entry[0]):
        paths += [Path(parent, file) for file in sorted(files) if file.lower().endswith(KERAS_EXTENSIONS)]
    return [path.relative_to(root).as_posix() for path in paths]


def _check_none_empty(samples: Sequence[Sample], splits: Sequence[str], fractions: str) -> None:
    present = {sample.split for sample in samples}
    if empty := [split for split in splits if split not in present]:
        raise InputError(
            f"{fractions} of {len(samples)} images leaves split {empty[0]} empty. Change the fraction or add images; "
            "validate and test measure all of them with data.split all."
        )
