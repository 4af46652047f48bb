"""Rotate images at random."""

import math
from typing import ClassVar

import torch
from torch import Tensor

from lightning_tl.augment.arguments import Factor, Interpolation, check_factor, factor_range
from lightning_tl.augment.base import Geometric, Params, affine
from lightning_tl.augment.resample import FillMode


class RandomRotation(Geometric):
    """Rotates each image about its centre by an angle of its own; Keras' ``RandomRotation``.

    Args:
        factor: fraction of a full turn, in [-1, 1]; 0.1 draws from [-36°, 36°], a pair is the range itself.
            Positive angles turn counter-clockwise.
        fill_mode: reflect, constant, nearest or wrap; see ``Geometric``.
        interpolation: bilinear or nearest.
        fill_value: of ``constant``, any number; pixels are in [0, 255].

    Raises:
        InputError: an argument is outside its range.
    """

    draws: ClassVar[int] = 1

    def __init__(
        self,
        factor: Factor,
        fill_mode: FillMode = "reflect",
        interpolation: Interpolation = "bilinear",
        fill_value: float = 0.0,
    ) -> None:
        super().__init__(fill_mode, interpolation, fill_value)
        self.factor = check_factor(self, "factor", factor, -1.0, 1.0)

    def draw(self, uniforms: Tensor) -> Params:
        """Draw 0 is the angle: ``angle`` (batch,), degrees."""
        lower, upper = factor_range(self.factor, -1.0)
        return {"angle": uniforms[:, 0] * (360.0 * (upper - lower)) + 360.0 * lower}

    def matrix(self, params: Params, height: int, width: int) -> Tensor:
        """Rotation about ((W-1)/2, (H-1)/2); see ``Geometric.matrix``."""
        angle = params["angle"] * (math.pi / 180.0)
        cos, sin = torch.cos(angle), torch.sin(angle)
        x, y = 0.5 * (width - 1), 0.5 * (height - 1)
        return affine((cos, -sin, x - x * cos + y * sin), (sin, cos, y - x * sin - y * cos), like=angle)
