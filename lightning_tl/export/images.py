"""Real images, as the run decodes and resizes them: to compare on, to calibrate with, to measure accuracy by."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lightning_tl.checkpoint import CheckpointInfo
from lightning_tl.data import UNKNOWN_LABEL, ImageFolderDataModule, list_images, resize_image
from lightning_tl.data.dataset import FileReader
from lightning_tl.data.options import DataOptions
from lightning_tl.data.source import open_source
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
        raise InputError(str(error).replace("data.root", "images:", 1)) from error
    read = _resized(FileReader(), size, checkpoint.data.get("resize", "stretch"), checkpoint.data.get("antialias"))
    return Images(names, (UNKNOWN_LABEL,) * len(names), read, f"{len(names)} images given with --images")


OR_IMAGES = ", or --images with any images to compare on"


def run_images(origin: Origin, size: tuple[int, int], root: str | None = None, or_else: str = "") -> dict[str, Images]:
    """The images of the run by split: train, val, and test where there is one.

    Args:
        origin: of the checkpoint.
        size: (height, width) that the model takes, in pixels.
        root: where the run's images lie now; None for where they were.
        or_else: what else the error may advise.

    Raises:
        InputError: they cannot be reached, or are of other classes.
    """
    try:
        return _by_split(origin, _options(origin, size, root))
    except InputError as error:
        raise InputError(
            f"images: those that the run was trained on cannot be reached ({error}) "
            f"Give --data.root with the folder they are in now{or_else}."
        ) from error


def _options(origin: Origin, size: tuple[int, int], root: str | None) -> DataOptions:
    settings: dict[str, Any] = {**origin.checkpoint.data, "image_size": size}
    if root is not None:
        settings["root"] = root
    if origin.split_file is not None:
        settings["split"] = str(origin.split_file)
    return ImageFolderDataModule(**settings).options


def _by_split(origin: Origin, options: DataOptions) -> dict[str, Images]:
    source, names = open_source(options), origin.checkpoint.class_names
    if set(source.class_names) != set(names):
        raise InputError(f"the data has other classes than the checkpoint, among them {_differing(source, names)}.")
    read = _resized(source.read, options.size, options.resize, options.antialias)
    found: dict[str, Images] = {}
    for split in ("train", "val", "test"):
        samples = [sample for sample in source.samples if sample.split == split]
        if samples:
            paths, labels = (tuple(s.path for s in samples), tuple(names.index(s.label) for s in samples))
            found[split] = Images(paths, labels, read, f"{len(paths)} images of the run's {split} split")
    return found


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
    """At most ``COMPARED`` images to compare on: at ``paths`` if given, else of the run's validation split."""
    found = given_images(paths, origin.checkpoint, size) if paths else run_images(origin, size, root, OR_IMAGES)["val"]
    return found.spread(COMPARED)
