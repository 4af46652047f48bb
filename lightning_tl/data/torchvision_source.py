"""A data set of torchvision by class path, its parts found from its signature."""

import hashlib
import importlib
import inspect
import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from lightning_tl.caches import default_folder
from lightning_tl.data.check import BadImage
from lightning_tl.data.decode import pillow_to_rgb, reason
from lightning_tl.data.folder import Sample
from lightning_tl.errors import InputError
from lightning_tl.locking import one_at_a_time

_SPLIT_NAMES = {"train": ("train", "trainval"), "val": ("val", "valid"), "test": ("test",)}
"""What data sets call their parts in ``split=``, the name to prefer first."""
_LABEL_ATTRIBUTES = ("targets", "labels", "_labels")
"""Where data sets keep all labels, so that images need not be read for them."""


class TorchvisionReader:
    """Reads images of the parts of a data set by paths like ``train/17``.

    Args:
        parts: data sets of (image, label), by split.
    """

    def __init__(self, parts: dict[str, Any]) -> None:
        self.parts = parts

    def __call__(self, path: str) -> Tensor:
        """The image as uint8, shape (3, height, width). Raises InputError if it cannot be read or is no image."""
        part, _, position = path.partition("/")
        try:
            image = self.parts[part][int(position)][0]
            return to_rgb(image)
        except InputError:
            raise
        except Exception as error:  # data sets decode as they like
            raise InputError(
                f"data.dataset: its image {path} cannot be read: {reason(error)}. Mend its files, or set "
                "data.on_bad_image to skip."
            ) from error

    def find_bad(self, paths: Sequence[str], use: Callable[[int, Tensor], None] | None = None) -> tuple[BadImage, ...]:
        """As ``check.find_bad_images``; each is read, one after the other: not every data set is made for threads.

        Raises:
            InputError: what the data set gives is no image.
        """
        bad = []
        for position, path in enumerate(paths):
            try:
                image = self(path)
            except InputError as error:
                if error.__cause__ is None:
                    raise
                bad.append(BadImage(path, reason(error.__cause__)))
                continue
            if use is not None:
                use(position, image)
        return tuple(bad)


def samples_of(labels: dict[str, list[int]], names: Sequence[str]) -> tuple[Sample, ...]:
    """One sample per label, with the path that ``TorchvisionReader`` takes, in the order of the parts.

    Raises:
        InputError: a label below 0, which data sets give to images of no known class.
    """
    for part, column in labels.items():
        if unknown := sum(label < 0 for label in column):
            raise InputError(
                f"data.dataset: {unknown} of the {len(column)} images of {part} have no class: labels below 0. "
                "Give a part that is labelled throughout: data.dataset_args: {split: ...}."
            )
    return tuple(
        Sample(part, f"{part}/{position}", names[label])
        for part, column in labels.items()
        for position, label in enumerate(column)
    )


def open_parts(class_path: str, arguments: dict[str, Any], root: str | None) -> dict[str, Any]:
    """Make the data set's parts by ``train=`` or ``split=``, whichever its class has; else one, train.

    Args:
        class_path: such as torchvision.datasets.Flowers102.
        arguments: passed on; one that names a part (``split: train``) makes that the only part.
        root: passed on as ``root`` where the class has it. What is not there is downloaded to it.

    Returns:
        By split: train, and val and test if the data set has them.

    Raises:
        InputError: no such class, unfit arguments, no root, or the download failed.
    """
    cls = _find_class(class_path)
    takes = inspect.signature(cls).parameters
    if "root" in takes and root is None and "root" not in arguments:
        raise InputError(f"data.root is missing: the folder for the files of {class_path}.")
    arguments = {"root": root, **arguments} if "root" in takes else arguments

    def make(**part: Any) -> Any:
        return _make(cls, class_path, {**arguments, **part}, "download" in takes)

    with _alone(f"{class_path} {os.path.realpath(str(arguments.get('root')))}", "download" in takes):
        return _parts(
            make, class_path, [name for name in ("train", "split") if name in takes and name not in arguments]
        )


def _alone(what: str, downloads: bool) -> AbstractContextManager[None]:
    """For one process at a time where something may be downloaded: ranks open their data sets all at once."""
    if not downloads:
        return nullcontext()
    folder = (default_folder() or Path(tempfile.gettempdir(), "lightning_tl")) / "downloads"
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    return one_at_a_time(folder / f"{hashlib.sha256(os.fsencode(what)).hexdigest()[:40]}.lock")


def _parts(make: Callable[..., Any], class_path: str, free: Sequence[str]) -> dict[str, Any]:
    """The parts by whichever of ``train`` and ``split`` is to be chosen here."""
    if "train" in free:
        return {"train": make(train=True), "test": make(train=False)}
    if "split" in free:
        parts = {split: _first_known(make, names) for split, names in _SPLIT_NAMES.items()}
        if parts["train"] is None:
            raise InputError(
                f"data.dataset: {class_path} knows no split called {' or '.join(_SPLIT_NAMES['train'])}. Name the one "
                "to train on, which is then divided: data.dataset_args: {split: ...}."
            )
        return {split: data for split, data in parts.items() if data is not None}
    return {"train": make()}


def class_names(known: Sequence[Any] | None, labels: dict[str, list[int]]) -> tuple[str, ...]:
    """The data set's own list of classes in the order of its labels; without one, the labels as text.

    Names that stand for several classes get the label as a suffix, lists of synonyms are joined.
    """
    count = max((label for column in labels.values() for label in column), default=-1) + 1
    if known is None or len(known) < count:
        return tuple(str(label) for label in range(count))
    names = [name if isinstance(name, str) else ", ".join(map(str, name)) for name in known]
    return tuple(name if names.count(name) == 1 else f"{name} ({label})" for label, name in enumerate(names))


def all_labels(data: Any) -> list[int]:
    """The label of every item, from the data set's list of them or by reading all items."""
    for name in _LABEL_ATTRIBUTES:
        labels = getattr(data, name, None)
        if labels is not None and len(labels) == len(data):
            return [int(label) for label in labels]
    return [int(data[position][1]) for position in range(len(data))]


def to_rgb(image: Any) -> Tensor:
    """A Pillow image, or a tensor of shape ([1 or 3,] height, width), as uint8 RGB, shape (3, height, width).

    Floating-point tensors are taken to be in [0, 1], uint8 ones to be in [0, 255].

    Raises:
        InputError: anything else.
    """
    if isinstance(image, Image.Image):
        return pillow_to_rgb(image.copy())  # the data set may hold it
    if not isinstance(image, Tensor) or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[0] not in (1, 3)):
        shape = f" of shape {tuple(image.shape)}" if hasattr(image, "shape") else ""
        raise InputError(
            "data.dataset must give (image, label) with a Pillow image or a tensor of 1 or 3 channels. "
            f"Received: {type(image).__name__}{shape}."
        )
    if image.dtype != torch.uint8 and not image.is_floating_point():  # whose range nobody knows
        raise InputError(
            "data.dataset must give pixels as uint8 in [0, 255] or floating-point numbers in [0, 1]. "
            f"Received: a tensor of {image.dtype}."
        )
    if image.is_floating_point():
        image = (image * 255).round().clamp(0, 255)
    rgb: Tensor = image.to(torch.uint8).expand(3, *image.shape[-2:]).contiguous()
    return rgb


def _find_class(class_path: str) -> Callable[..., Any]:
    module, _, name = class_path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)  # type: ignore[no-any-return]
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(
            f"data.dataset must be the class path of a data set, such as torchvision.datasets.Flowers102. "
            f"Received: {class_path!r} ({error})."
        ) from error


def _first_known(make: Callable[..., Any], names: Sequence[str]) -> Any:
    """The part under the first name that the data set knows; None if it knows none (ValueError says so)."""
    for name in names:
        try:
            return make(split=name)
        except InputError as error:
            if not isinstance(error.__cause__, ValueError):
                raise
    return None


def _make(cls: Callable[..., Any], class_path: str, arguments: dict[str, Any], downloads: bool) -> Any:
    """Instantiate; only when the files are not there, download them."""
    try:
        return cls(**arguments)
    except (TypeError, ValueError) as error:
        raise InputError(f"data.dataset {class_path} does not accept {arguments}: {error}.") from error
    except (RuntimeError, OSError) as error:
        if not downloads or "download" in arguments:
            raise InputError(f"data.dataset {class_path} cannot be read: {error}") from error
    try:
        return cls(**arguments, download=True)
    except (RuntimeError, OSError) as error:
        raise InputError(
            f"data.dataset {class_path} could not be downloaded to {arguments.get('root')!r}: {error}. "
            "Check the connection, or put its files there by hand."
        ) from error
