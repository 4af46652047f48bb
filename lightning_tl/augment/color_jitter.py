"""Change brightness, contrast, saturation and hue of images at random."""

from typing import ClassVar

import torch
from torch import Tensor

from lightning_tl.augment.arguments import Factor, check_factor, check_value_range, factor_range
from lightning_tl.augment.base import Augmentation, Params, as_float
from lightning_tl.augment.color import (
    ValueRange,
    adjust_brightness,
    adjust_contrast,
    adjust_hue,
    adjust_saturation,
)
from lightning_tl.augment.random_brightness import brightness_delta
from lightning_tl.augment.random_contrast import contrast_scale
from lightning_tl.errors import InputError

EPSILON = 1e-7
"""``keras.config.epsilon()``, which keeps a saturation factor of 1 finite."""

ADJUSTMENTS = {
    "rgb_delta": adjust_brightness,
    "contrast_factor": adjust_contrast,
    "saturation_factor": adjust_saturation,
    "hue_factor": adjust_hue,
}
"""What each parameter does, in the order in which it is done."""


class ColorJitter(Augmentation):
    """Brightness, contrast, saturation, hue, in this order; Keras' ``RandomColorJitter``.

    What is None is left alone. Factors are those of RandomBrightness, RandomContrast and Keras'
    ``RandomSaturation`` and ``RandomHue``.

    Args:
        value_range: of the pixels; results are cut to it.
        brightness_factor: in [-1, 1], fraction of the value range; f draws from [-f, f].
        contrast_factor: in [0, 1]; f draws the scale from [1, 1 + f], a pair (a, b) from [1 - a, 1 + b].
        saturation_factor: in [0, 1]; f draws from [0, f]. 0 is grey, 0.5 changes nothing, 1 is the full
            colour: a draw s scales the saturation by s / (1 - s).
        hue_factor: in [0, 1]; f draws from [0, f], and a second draw chooses the direction. 1 turns the hue
            by half of the colour circle.

    Raises:
        InputError: an argument is outside its range.
    """

    draws: ClassVar[int] = 5

    def __init__(
        self,
        value_range: ValueRange = (0, 255),
        brightness_factor: Factor | None = None,
        contrast_factor: Factor | None = None,
        saturation_factor: Factor | None = None,
        hue_factor: Factor | None = None,
    ) -> None:
        super().__init__()
        self.value_range = check_value_range(self, value_range)
        self.brightness_factor = self._checked("brightness_factor", brightness_factor, -1.0)
        self.contrast_factor = self._checked("contrast_factor", contrast_factor, 0.0)
        self.saturation_factor = self._checked("saturation_factor", saturation_factor, 0.0)
        self.hue_factor = self._checked("hue_factor", hue_factor, 0.0)

    def draw(self, uniforms: Tensor) -> Params:
        """Draws 0 to 4: brightness, contrast, saturation, direction of the hue, amount of the hue.

        Returns:
            For each factor that is not None its parameter, shape (batch,): ``rgb_delta`` in the units of the
            pixels, ``contrast_factor``, ``saturation_factor`` and ``hue_factor``, a fraction of the circle.
        """
        params: Params = {}
        if self.brightness_factor is not None:
            params["rgb_delta"] = brightness_delta(self.brightness_factor, self.value_range, uniforms[:, 0])
        if self.contrast_factor is not None:
            params["contrast_factor"] = contrast_scale(self.contrast_factor, uniforms[:, 1])
        if self.saturation_factor is not None:
            params["saturation_factor"] = _saturation_scale(self.saturation_factor, uniforms[:, 2])
        if self.hue_factor is not None:
            params["hue_factor"] = _hue_turn(self.hue_factor, uniforms[:, 3], uniforms[:, 4])
        return params

    def apply(self, images: Tensor, params: Params) -> Tensor:
        """Adjust by every parameter given; see ``Augmentation.apply``."""
        if images.shape[-3] != 3:
            raise InputError(f"ColorJitter needs three channels (RGB). Received: {tuple(images.shape)}.")
        images = as_float(images)
        for name, adjust in ADJUSTMENTS.items():
            if name in params:
                images = adjust(images, params[name], self.value_range)
        return images

    def _checked(self, name: str, factor: Factor | None, low: float) -> Factor | None:
        return None if factor is None else check_factor(self, name, factor, low, 1.0)


def _saturation_scale(factor: Factor, uniforms: Tensor) -> Tensor:
    """Give s / (1 - s) for s uniform in the factor's range."""
    lower, upper = factor_range(factor, 0.0)
    saturation = uniforms * (upper - lower) + lower
    return saturation / (1.0 - saturation + EPSILON)


def _hue_turn(factor: Factor, direction: Tensor, amount: Tensor) -> Tensor:
    """Half of a number uniform in the factor's range, negative where the direction is above 0.5."""
    lower, upper = factor_range(factor, 0.0)
    turn = 0.5 * (amount * (upper - lower) + lower)
    return torch.where(direction > 0.5, -turn, turn)
