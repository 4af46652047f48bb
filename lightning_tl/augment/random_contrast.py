"""Raise or lower the contrast of images at random."""

from typing import ClassVar

from torch import Tensor

from lightning_tl.augment.arguments import Factor, check_factor, check_value_range, factor_range
from lightning_tl.augment.base import Augmentation, Params, as_float
from lightning_tl.augment.color import ValueRange, adjust_contrast


class RandomContrast(Augmentation):
    """Scales the distance of each pixel to its channel's mean; Keras' ``RandomContrast``.

    Args:
        factor: in [0, 1]; a pair (a, b) with a ≤ b draws from [1 - a, 1 + b]. A number f draws from
            [1, 1 + f]: Keras' documentation says [1 - f, 1 + f], but this is what it does (3.15.1). Write
            (f, f) for the symmetric range.
        value_range: of the pixels; results are cut to it.

    Raises:
        InputError: an argument is outside its range.
    """

    draws: ClassVar[int] = 1

    def __init__(self, factor: Factor, value_range: ValueRange = (0, 255)) -> None:
        super().__init__()
        self.factor = check_factor(self, "factor", factor, 0.0, 1.0)
        self.value_range = check_value_range(self, value_range)

    def draw(self, uniforms: Tensor) -> Params:
        """Draw 0 is the scale: ``contrast_factor`` (batch,)."""
        return {"contrast_factor": contrast_scale(self.factor, uniforms[:, 0])}

    def apply(self, images: Tensor, params: Params) -> Tensor:
        """Scale about the mean and cut; see ``Augmentation.apply``."""
        return adjust_contrast(as_float(images), params["contrast_factor"], self.value_range)


def contrast_scale(factor: Factor, uniforms: Tensor) -> Tensor:
    """Uniform in [1 - lower, 1 + upper] of the factor's range; (batch,) from uniforms in [0, 1), (batch,)."""
    lower, upper = factor_range(factor, 0.0)
    return uniforms * (upper + lower) + (1.0 - lower)
