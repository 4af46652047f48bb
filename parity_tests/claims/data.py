"""Claim 12: which files are trained on and validated on, in which order."""

from functools import cache
from pathlib import Path

import numpy as np

from lightning_tl.data import split
from parity_tests.claim import assets, claim
from parity_tests.processes import Arrays, KerasProcess, session_folder

SPLITS = [(0.2, 0), (0.25, 123), (0.5, 2**32 - 1)]


@cache
def class_folders() -> Path:
    """Names on which a wrong sorting, walk or list of extensions would show; the files are empty."""
    root = session_folder() / "classes"
    names = ["Rose/2.JPG", "Rose/10.png", "Rose/sub folder/1.jpeg", "Rose/sub-folder/9.bmp", "Rose/sub/8.gif"]
    names += ["Rose/._2.jpg", "Rose/skipped.webp", "Rose/.hidden/7.png", "daisy/skipped.txt", "été/ü.png"]
    names += [f"{flower}/{number}.jpg" for flower in ("daisy", "a b", "a-b", "été") for number in range(12)]
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def displaced(samples: tuple[split.Sample, ...], expected: Arrays, prefix: str) -> float:
    """Number of places in train and val that do not hold the file that theirs hold."""
    wrong = 0
    for name in ("train", "val", "test"):
        theirs = expected.get(f"{prefix}/{name}", np.array([], dtype=str)).tolist()
        mine = [sample.path for sample in samples if sample.split == name]
        wrong += abs(len(mine) - len(theirs)) + sum(a != b for a, b in zip(mine, theirs, strict=False))
        wrong += sum(sample.label != sample.path.split("/")[0] for sample in samples)
    return float(wrong)


SPLIT = (
    "image_dataset_from_directory in their order: number of places that hold another file, over three "
    "fractions and seeds."
)


def split_errors(theirs: KerasProcess, root: Path) -> float:
    expected = theirs.call("data.split_of_keras", {"root": str(root), "splits": SPLITS})
    return sum(
        displaced(split.keras_split(root, fraction, seed), expected, f"{fraction}/{seed}") for fraction, seed in SPLITS
    )


@claim("split-keras", 12, f"Files with difficult names by {SPLIT}", dtypes=("float32",), backends=("tensorflow",))
def split_of_keras(theirs: KerasProcess) -> float:
    return split_errors(theirs, class_folders())


@claim("split-keras-flowers", 12, f"4064 photographs by {SPLIT}", dtypes=("float32",), backends=("tensorflow",))
def split_of_flowers(theirs: KerasProcess) -> float:
    return split_errors(theirs, assets().resolve() / "data/flowers")


@claim(
    "split-keras_ref",
    12,
    "Both kinds of split by the reference, in their order: number of places that hold another file.",
    dtypes=("float32",),
    backends=("torch",),
)
def split_of_reference(theirs: KerasProcess) -> dict[str, float]:
    root, errors = class_folders(), {"keras": 0.0, "stratified": 0.0}
    expected = theirs.call("data.split_of_reference", {"root": str(root), "splits": SPLITS})
    for fraction, seed in SPLITS:
        by_keras = split.keras_split(root, fraction, seed)
        errors["keras"] += displaced(by_keras, expected, f"keras/{fraction}/{seed}")
        stratified = split.stratified_split(by_keras, fraction, 0.1, seed)
        errors["stratified"] += displaced(stratified, expected, f"stratified/{fraction}/{seed}")
    return errors
