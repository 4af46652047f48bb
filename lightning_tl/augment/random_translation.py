"""Shift images at random."""

from typing import ClassVar

from torch import Tensor

from lightning_tl.augment.arguments import Factor, Interpolation, check_factor, factor_range
from lightning_tl.augment.base import Geometric, Params, affine
from lightning_tl.augment.resample import FillMode


class RandomTranslation(Geometric):
    """Shifts each image by a distance of its own; Keras' ``RandomTranslation``.

    Args:
        height_factor: fraction of the height, in [-1, 1]; 0.2 draws from [-20 %, 20 %], a pair is the range
            itself. Positive shifts go down.
        width_factor: fraction of the width; positive shifts go right.
        fill_mode: reflect, constant, nearest or wrap; see ``Geometric``.
        interpolation: bilinear or nearest.
        fill_value: of ``constant``, any number; pixels are in [0, 255].

    Raises:
        InputError: an argument is outside its range.
    """

    draws: ClassVar[int] = 2

    def __init__(
        self,
        height_factor: Factor,
        width_factor: Factor,
        fill_mode: FillMode = "reflect",
        interpolation: Interpolation = "bilinear",
        fill_value: float = 0.0,
    ) -> None:
        super().__init__(fill_mode, interpolation, fill_value)
        self.height_factor = check_factor(self, "height_factor", height_factor, -1.0, 1.0)
        self.width_factor = check_factor(self, "width_factor", width_factor, -1.0, 1.0)

    def draw(self, uniforms: Tensor) -> Params:
        """Draw 0 is ``height_shift``, draw 1 ``width_shift``, each (batch,), fractions of the size.

        differs: Keras keeps pixels, as its draw knows the images' size.
        """
        return {
            "height_shift": _shift(self.height_factor, uniforms[:, 0]),
            "width_shift": _shift(self.width_factor, uniforms[:, 1]),
        }

    def matrix(self, params: Params, height: int, width: int) -> Tensor:
        """Shift: x' = x - shift·W, and likewise y; see ``Geometric.matrix``."""
        x, y = -params["width_shift"] * width, -params["height_shift"] * height
        return affine((1.0, 0.0, x), (0.0, 1.0, y), like=x)


def _shift(factor: Factor, uniforms: Tensor) -> Tensor:
    """Uniform in the factor's range."""
    lower, upper = factor_range(factor, -1.0)
    return uniforms * (upper - lower) + lower
