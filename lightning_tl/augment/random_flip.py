"""Mirror images at random."""

from typing import ClassVar, Literal

import torch
from torch import Tensor

from lightning_tl.augment.arguments import check_name
from lightning_tl.augment.base import Geometric, Params, affine, as_float

Mode = Literal["horizontal", "vertical", "horizontal_and_vertical"]

MODES = ("horizontal", "vertical", "horizontal_and_vertical")


class RandomFlip(Geometric):
    """Mirrors each image with probability one half; Keras' ``RandomFlip``.

    Alone, it only reverses the order of pixels, so values stay as they are to the bit.

    Args:
        mode: ``horizontal`` (left and right change places), ``vertical``, or ``horizontal_and_vertical``,
            which as in Keras is one decision for both: an image is turned by 180° or left alone.

    Raises:
        InputError: ``mode`` is none of these.
    """

    draws: ClassVar[int] = 1

    def __init__(self, mode: Mode = "horizontal_and_vertical") -> None:
        super().__init__()
        self.mode = check_name(self, "mode", mode, MODES)

    def draw(self, uniforms: Tensor) -> Params:
        """Draw 0 decides: ``flips`` (batch,), bool, true where the number is at most 0.5."""
        return {"flips": uniforms[:, 0] <= 0.5}

    def matrix(self, params: Params, height: int, width: int) -> Tensor:
        """Where flipped x' = W - 1 - x and likewise y; float32, exact. See ``Geometric.matrix``."""
        flips = params["flips"].to(torch.float32)
        keep, x, y = 1.0 - 2.0 * flips, "horizontal" in self.mode, "vertical" in self.mode
        x_row = (keep, 0.0, flips * (width - 1)) if x else (1.0, 0.0, 0.0)
        y_row = (0.0, keep, flips * (height - 1)) if y else (0.0, 1.0, 0.0)
        return affine(x_row, y_row, like=flips)

    def apply(self, images: Tensor, params: Params) -> Tensor:
        """Reverse pixels where flipped; see ``Augmentation.apply``."""
        axes = [axis for word, axis in (("vertical", -2), ("horizontal", -1)) if word in self.mode]
        flips = params["flips"][:, None, None, None]
        return as_float(torch.where(flips, images.flip(axes), images))
