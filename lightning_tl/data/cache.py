"""Images decoded and resized once, and kept."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from lightning_tl.data.check import BadImage, find_bad_images
from lightning_tl.data.decode import ResizeMode, resize_image
from lightning_tl.errors import InputError

CacheMode = Literal["none", "disk", "ram", "device"]
CACHE_MODES: tuple[CacheMode, ...] = ("none", "disk", "ram", "device")
GIGABYTE = 10**9


@dataclass(frozen=True)
class Pixels:
    """Decoded images of one size.

    Attributes:
        images: uint8 in [0, 255], (images, 3, height, width); rows of bad images hold anything.
        bad: the files that cannot be decoded.
    """

    images: Tensor
    bad: tuple[BadImage, ...]


@dataclass(frozen=True)
class ImageSettings:
    """What decides the pixels of a decoded file; the fields are those of ``resize_image``."""

    size: tuple[int, int]
    resize: ResizeMode
    antialias: bool

    def apply(self, image: Tensor) -> Tensor:
        """uint8 (3, any height, any width) to (3, *size)."""
        return resize_image(image, self.size, self.resize, self.antialias)

    def shape(self, count: int) -> tuple[int, int, int, int]:
        """Of ``count`` images."""
        return (count, 3, *self.size)


def keep_in_memory(
    paths: Sequence[str], root: Path | None, settings: ImageSettings, read: Callable[[str], Tensor]
) -> Pixels:
    """Decode every image into memory.

    Args:
        paths: of the images, relative to root.
        root: folder of the paths; without one ``read`` knows them.
        settings: how they are resized.
        read: from a path to uint8 (3, any height, any width).

    Raises:
        InputError: there is not enough memory.
    """
    try:
        images = torch.empty(settings.shape(len(paths)), dtype=torch.uint8)
    except RuntimeError as error:
        raise InputError(
            f"data.cache: {np.prod(settings.shape(len(paths))) / GIGABYTE:.1f} GB of decoded images do not fit into "
            "memory. Set data.cache to disk or none."
        ) from error
    if root is not None:
        return Pixels(images, decode_into(images, paths, root, settings))
    for row, path in enumerate(paths):
        images[row] = settings.apply(read(path))
    return Pixels(images, ())


def decode_into(
    images: Tensor, paths: Sequence[str], root: str | Path, settings: ImageSettings
) -> tuple[BadImage, ...]:
    """Fill the rows of ``images``; the files that cannot be decoded."""

    def keep(row: int, image: Tensor) -> None:
        images[row] = settings.apply(image)

    return find_bad_images(paths, root, keep)
