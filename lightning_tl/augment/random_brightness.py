"""Brighten or darken images at random."""

from typing import ClassVar

from torch import Tensor

from lightning_tl.augment.arguments import Factor, check_factor, check_value_range, factor_range
from lightning_tl.augment.base import Augmentation, Params, as_float
from lightning_tl.augment.color import ValueRange, adjust_brightness


class RandomBrightness(Augmentation):
    """Adds a number of its own to each image; Keras' ``RandomBrightness``.

    Args:
        factor: fraction of the value range, in [-1, 1]; 0.2 draws from [-0.2, 0.2], a pair is the range
            itself. -1 makes an image black, 1 white.
        value_range: of the pixels; results are cut to it.

    Raises:
        InputError: an argument is outside its range.
    """

    # differs: Keras truncates the number where images are integers; here images become float first.
    draws: ClassVar[int] = 1

    def __init__(self, factor: Factor, value_range: ValueRange = (0, 255)) -> None:
        super().__init__()
        self.factor = check_factor(self, "factor", factor, -1.0, 1.0)
        self.value_range = check_value_range(self, value_range)

    def draw(self, uniforms: Tensor) -> Params:
        """Draw 0 is the number to add: ``rgb_delta`` (batch,), in the units of the pixels."""
        return {"rgb_delta": brightness_delta(self.factor, self.value_range, uniforms[:, 0])}

    def apply(self, images: Tensor, params: Params) -> Tensor:
        """Add and cut; see ``Augmentation.apply``."""
        return adjust_brightness(as_float(images), params["rgb_delta"], self.value_range)


def brightness_delta(factor: Factor, value_range: ValueRange, uniforms: Tensor) -> Tensor:
    """Uniform in the factor's range, times the width of the value range; (batch,) from uniforms in [0, 1), (batch,)."""
    lower, upper = factor_range(factor, -1.0)
    return (uniforms * (upper - lower) + lower) * (value_range[1] - value_range[0])
