"""Images decoded and resized once, and kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from lightning_tl.data.check import BadImage, FindBad
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


def keep_in_memory(paths: Sequence[str], settings: ImageSettings, find_bad: FindBad) -> Pixels:
    """Decode every image into memory.

    Args:
        paths: of the images, as ``find_bad`` knows them.
        settings: how they are resized.
        find_bad: reads them; see ``check.find_bad_images``.

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
    return Pixels(images, decode_into(images, paths, settings, find_bad))


def decode_into(
    images: Tensor, paths: Sequence[str], settings: ImageSettings, find_bad: FindBad
) -> tuple[BadImage, ...]:
    """Fill the rows of ``images``; the files that cannot be decoded."""

    def keep(row: int, image: Tensor) -> None:
        images[row] = settings.apply(image)

    return find_bad(paths, use=keep)
