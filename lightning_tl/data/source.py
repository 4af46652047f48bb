"""Where the samples come from: folders or a torchvision data set, divided as the options say."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from lightning_tl.data import torchvision_source
from lightning_tl.data.check import FindBad, find_bad_images
from lightning_tl.data.dataset import FileReader
from lightning_tl.data.folder import Sample, check_root, has_split_folders, scan
from lightning_tl.data.options import ALL, DIVISION, DataOptions
from lightning_tl.data.split import keras_split, stratified_split
from lightning_tl.data.split_file import read_split
from lightning_tl.errors import InputError


@dataclass(frozen=True)
class Source:
    """Samples divided into splits, and how to get at their pixels.

    Attributes:
        samples: in the order of the split file.
        class_names: in the order of the labels.
        read: from a sample's path to uint8 RGB, shape (3, height, width).
        find_bad: which of these paths cannot be decoded; see ``check.find_bad_images``.
        root: the folder of the paths; None where they are no files.
        description: for messages.
    """

    samples: tuple[Sample, ...]
    class_names: tuple[str, ...]
    read: Callable[[str], Tensor]
    find_bad: FindBad
    root: Path | None
    description: str


def open_source(options: DataOptions) -> Source:
    """Find and divide the samples; no image is read. Whether there are enough to train is not checked.

    Raises:
        InputError: whatever is wrong with the folders, the split file or the data set.
    """
    return _open_dataset(options) if options.dataset else _open_folder(options)


def _open_folder(options: DataOptions) -> Source:
    root = check_root(options.root or "")
    if options.split_file:
        samples = read_split(options.split_file, root)
    elif options.split == ALL:
        samples = _held_out(scan(root))
    elif has_split_folders(root):
        _tell_ignored(options, f"{str(root)!r} is divided by its folders train and val", DIVISION)
        samples = scan(root)
    elif options.split == "keras":
        samples = keras_split(root, options.val_fraction, options.seed)
    else:
        samples = stratified_split(scan(root), options.val_fraction, options.test_fraction, options.seed)
    names = tuple(sorted({sample.label for sample in samples}))
    description = f"Split file {options.split_file!r}" if options.split_file else f"data.root {str(root)!r}"
    return Source(samples, names, FileReader(root), partial(find_bad_images, root=root), root, description)


def _open_dataset(options: DataOptions) -> Source:
    class_path = options.dataset or ""
    parts = torchvision_source.open_parts(class_path, options.dataset_args, options.root)
    reader = torchvision_source.TorchvisionReader(parts)
    labels = {split: torchvision_source.all_labels(data) for split, data in parts.items()}
    names = torchvision_source.class_names(getattr(parts["train"], "classes", None), labels)
    samples = torchvision_source.samples_of(labels, names)
    if options.split_file:
        samples = _chosen(samples, options.split_file)
    elif options.split == ALL:
        samples = _held_out(samples)
    elif "val" not in parts:
        samples = _with_val(samples, options)
    else:
        _tell_ignored(options, f"{class_path} has train and val of its own", DIVISION)
    return Source(samples, names, reader, reader.find_bad, None, f"data.dataset {class_path}")


def _tell_ignored(options: DataOptions, why: str, names: Iterable[str]) -> None:
    """Warn of those of the options that were given and divide nothing."""
    given = {name: getattr(options, name) for name in names if getattr(options, name) != DIVISION[name]}
    if given:
        told = ", ".join(f"data.{name}: {value}" for name, value in given.items())
        rank_zero_warn(f"{told} is not used: {why}. Leave it out, or give a split file as data.split.")


def _held_out(samples: tuple[Sample, ...]) -> tuple[Sample, ...]:
    """Samples of any split, all in test."""
    return tuple(replace(sample, split="test") for sample in samples)


def _with_val(samples: tuple[Sample, ...], options: DataOptions) -> tuple[Sample, ...]:
    """Divide train; a test part of the data set's own stays as it is."""
    train = [sample for sample in samples if sample.split == "train"]
    test = tuple(sample for sample in samples if sample.split == "test")
    fraction = 0.0 if test else options.test_fraction
    if test:
        _tell_ignored(options, f"{options.dataset} has a test part of its own", ("test_fraction",))
    return stratified_split(train, options.val_fraction, fraction, options.seed) + test


def _chosen(samples: tuple[Sample, ...], split_file: str) -> tuple[Sample, ...]:
    """Samples as the split file divides them, which must be of this data set."""
    labels = {sample.path: sample.label for sample in samples}
    chosen = read_split(split_file, root=None)
    if strangers := [sample for sample in chosen if labels.get(sample.path) != sample.label]:
        counts = Counter(sample.path in labels for sample in strangers)
        raise InputError(
            f"Split file {split_file!r} is of another data set: {counts[False]} unknown paths, "
            f"{counts[True]} other labels, such as {strangers[0].path!r} with label {strangers[0].label!r}."
        )
    return chosen
