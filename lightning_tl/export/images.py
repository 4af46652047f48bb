"""Real images, as the run decodes and resizes them: to compare on, to calibrate with, to measure accuracy by."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lightning_tl.checkpoint import CheckpointInfo
from lightning_tl.data import UNKNOWN_LABEL, ImageFolderDataModule, list_images, resize_image
from lightning_tl.data.decode import why_undecodable
from lightning_tl.data.options import DataOptions
from lightning_tl.data.source import open_source
from lightning_tl.data.split import check_trainable
from lightning_tl.errors import InputError
from lightning_tl.export.origin import Origin

COMPARED = 64
"""Images that a file is compared on: every class of most data sets is there, and it takes seconds."""


@dataclass(frozen=True)
class Images:
    """Images that are read when they are asked for.

    Attributes:
        names: paths, or places in a data set.
        labels: class positions; -1 where unknown.
        read: from a name to uint8, shape (3, height, width), of the model's size.
        description: how many and what they are, for people.
    """

    names: tuple[str, ...]
    labels: tuple[int, ...]
    read: Callable[[str], Tensor]
    description: str

    def __len__(self) -> int:
        return len(self.names)

    def spread(self, count: int) -> "Images":
        """At most ``count`` of them, evenly spaced: the run's order is by class."""
        chosen = [i * len(self) // count for i in range(count)] if len(self) > count else range(len(self))
        names, labels = (tuple(column[i] for i in chosen) for column in (self.names, self.labels))
        description = f"{len(chosen)} of {self.description}" if len(self) > count else self.description
        return Images(names, labels, self.read, description)  # type: ignore[arg-type]  # columns of two types

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Images, uint8 (size or fewer, 3, height, width), and labels, int64, in their order."""
        for start in range(0, len(self), size):
            images = torch.stack([self.read(name) for name in self.names[start : start + size]])
            yield images, torch.tensor(self.labels[start : start + size])

    def all(self) -> Tensor:
        """All of them at once: uint8, (images, 3, height, width)."""
        return torch.stack([self.read(name) for name in self.names])


def given_images(paths: Sequence[str], checkpoint: CheckpointInfo, size: tuple[int, int]) -> Images:
    """The images at ``paths``, files or folders, without labels.

    Raises:
        InputError: a path does not exist or a folder holds no image; on reading, a file that does not decode.
    """
    try:
        names = tuple(name for path in paths for name in list_images(path))
    except InputError as error:
        raise InputError(f"images: {str(error).removeprefix('data.root').lstrip(': ')}") from error
    file = partial(_read_file, Path(), "Replace it, or leave it out of --images.")
    read = _resized(file, size, checkpoint.data.get("resize", "stretch"), checkpoint.data.get("antialias"))
    return Images(names, (UNKNOWN_LABEL,) * len(names), read, f"{len(names)} images given with --images")


OR_IMAGES = ", or, without --int8, give --images with any images to compare on"


def run_images(origin: Origin, size: tuple[int, int], root: str | None = None, or_else: str = "") -> dict[str, Images]:
    """The images of the run by split: train, val, and test where there is one.

    Args:
        origin: of the checkpoint.
        size: (height, width) that the model takes, in pixels.
        root: where the run's images lie now; None for where they were. Of a data set that is not imported, a folder
            with one folder a class, which is divided as the run's settings say: its split.csv names no files.
        or_else: what else the error may advise.

    Raises:
        InputError: they cannot be reached, or are of other classes; on reading, a file that does not decode.
    """
    foreign = origin.checkpoint.foreign_dataset
    if foreign is not None and root is None:
        raise InputError(
            f"images: the run was trained on {foreign!r}, which is neither torchvision's nor ours and is not imported "
            f"on the word of a file. Give --data.root with a folder that has its images, one folder a class{or_else}."
        )
    try:
        return _by_split(origin, _options(origin, size, root), f"Replace it{or_else}.")
    except InputError as error:
        raise InputError(
            f"images: those that the run was trained on cannot be reached ({error}) "
            f"Give --data.root with the folder they are in now{or_else}."
        ) from error


def _options(origin: Origin, size: tuple[int, int], root: str | None) -> DataOptions:
    settings: dict[str, Any] = {**origin.checkpoint.data, "image_size": size}
    if root is not None:
        settings["root"] = root
    if origin.checkpoint.foreign_dataset is not None:
        settings["split"] = "stratified"  # as data sets are divided; a split file names places in this one
    elif origin.split_file is not None:
        settings["split"] = str(origin.split_file)
    return ImageFolderDataModule(**settings).options


def _by_split(origin: Origin, options: DataOptions, advice: str) -> dict[str, Images]:
    source, names = open_source(options), origin.checkpoint.class_names
    check_trainable(source.samples, source.description)
    if set(source.class_names) != set(names):
        raise InputError(f"the data has other classes than the checkpoint, among them {_differing(source, names)}.")
    file = source.read if source.root is None else partial(_read_file, source.root, advice)
    read = _resized(file, options.size, options.resize, options.antialias)
    found: dict[str, Images] = {}
    for split in ("train", "val", "test"):
        samples = [sample for sample in source.samples if sample.split == split]
        if samples:
            paths, labels = (tuple(s.path for s in samples), tuple(names.index(s.label) for s in samples))
            found[split] = Images(paths, labels, read, f"{len(paths)} images {_whose(origin, split)}")
    return found


def _whose(origin: Origin, split: str) -> str:
    """What is known of a split's images; of a folder in a data set's place, not which of them the run has seen."""
    if origin.checkpoint.foreign_dataset is None:
        return f"of the run's {split} split"
    return f"of the {split} part of --data.root (the run may have been trained on any of them)"


def _read_file(root: Path, advice: str, path: str) -> Tensor:
    """The image at ``path``, relative to ``root``: uint8, (3, height, width); InputError where it does not decode."""
    found: list[Tensor] = []
    if reason := why_undecodable(root / path, found.append):
        raise InputError(f"images: {str(root / path)!r} cannot be decoded as an image: {reason}. {advice}")
    return found[0]


def _differing(source: Any, names: Sequence[str]) -> str:
    return repr(min(set(source.class_names) ^ set(names)))


def _resized(
    read: Callable[[str], Tensor], size: tuple[int, int], mode: Any, antialias: Any
) -> Callable[[str], Tensor]:
    return lambda name: resize_image(read(name), size, mode, bool(antialias))


def held_out(images: dict[str, Images]) -> Images:
    """The images that accuracy is measured on: of the test split, or of val where there is none."""
    return images.get("test") or images["val"]


def compared_images(
    origin: Origin, size: tuple[int, int], paths: Sequence[str] = (), root: str | None = None
) -> Images:
    """At most ``COMPARED`` images to compare on: at ``paths`` if given, else of the run's validation split.

    ``size`` is their height and width in pixels, ``root`` where the run's images are now, if not where they were.

    Raises:
        InputError: they cannot be reached, or are of other classes; on reading, a file that does not decode.
    """
    found = given_images(paths, origin.checkpoint, size) if paths else run_images(origin, size, root, OR_IMAGES)["val"]
    return found.spread(COMPARED)
