"""Keras' own layers, told what to do by uniform numbers from outside: draw apart from apply."""

from collections.abc import Callable
from typing import Any

import keras
from keras import layers, ops

Transformation = dict[str, Any]
"""What a layer's ``transform_images`` takes in place of its own random transformation."""


class Injected(keras.layers.Layer):  # type: ignore[misc]  # keras ships no types
    """A layer of ``TRANSFORMS`` whose draws come as a second input.

    Args:
        layer: one of Keras' augmentation layers; its own random stream is never used.
    """

    def __init__(self, layer: Any, **options: Any) -> None:
        super().__init__(**options)
        self.layer = layer

    @property
    def draws(self) -> int:
        """Uniform numbers that one sample uses."""
        return _DRAWS[type(self.layer)]

    def build(self, images_shape: Any, uniforms_shape: Any) -> None:
        """Build the layer inside."""
        self.layer.build(images_shape)

    def call(self, images: Any, uniforms: Any, training: bool = False) -> Any:
        """Transform images in training; identity otherwise.

        Args:
            images: float32 in [0, 255], (batch, height, width, 3).
            uniforms: in [0, 1), (batch, draws).
            training: whether to transform at all.
        """
        return apply(self.layer, images, uniforms) if training else images


def apply(layer: Any, images: Any, uniforms: Any) -> Any:
    """Images transformed by ``layer`` as ``uniforms`` (batch, draws) say."""
    if isinstance(layer, layers.RandomColorJitter):
        for part, numbers in _parts(layer, uniforms):
            images = apply(part, images, numbers)
        return images
    height, width = images.shape[1:3]
    return layer.transform_images(images, _TRANSFORMATIONS[type(layer)](layer, uniforms, height, width))


def _flip(layer: Any, uniforms: Any, height: int, width: int) -> Transformation:
    """Draw 0 decides."""
    return {"flips": uniforms[:, 0, None, None, None] <= 0.5}


def _rotation(layer: Any, uniforms: Any, height: int, width: int) -> Transformation:
    """Draw 0 is the angle, in degrees; the matrix is the layer's own."""
    lower, upper = layer.factor
    angle = uniforms[:, 0] * (360.0 * (upper - lower)) + 360.0 * lower
    none = ops.zeros_like(angle)
    matrix = layer._compute_affine_matrix(
        center_x=0.5, center_y=0.5, angle=angle, translate_x=none, translate_y=none, scale=none + 1.0,
        shear_x=none, shear_y=none, height=height, width=width,
    )  # fmt: skip
    return {"rotation_matrix": matrix}


def _zoom(layer: Any, uniforms: Any, height: int, width: int) -> Transformation:
    """Draw 0 is the height's zoom, draw 1 the width's, unused where the width follows the height."""
    height_zoom = _between((1.0 + layer.height_lower, 1.0 + layer.height_upper), uniforms[:, 0:1])
    if layer.width_factor is None:
        return {"height_zoom": height_zoom, "width_zoom": height_zoom}
    return {
        "height_zoom": height_zoom,
        "width_zoom": _between((1.0 + layer.width_lower, 1.0 + layer.width_upper), uniforms[:, 1:2]),
    }


def _translation(layer: Any, uniforms: Any, height: int, width: int) -> Transformation:
    """Draw 0 shifts down, draw 1 right; here in pixels."""
    down = _between((layer.height_lower, layer.height_upper), uniforms[:, 0:1]) * height
    right = _between((layer.width_lower, layer.width_upper), uniforms[:, 1:2]) * width
    return {"translations": ops.concatenate([right, down], axis=1)}


def _contrast(layer: Any, uniforms: Any, height: int, width: int) -> Transformation:
    """Draw 0 is the scale."""
    lower, upper = layer.factor
    return {"contrast_factor": _between((1.0 - lower, 1.0 + upper), uniforms[:, 0, None, None, None])}


def _brightness(layer: Any, uniforms: Any, height: int, width: int) -> Transformation:
    """Draw 0 is the number to add, in the units of the pixels."""
    span = layer.value_range[1] - layer.value_range[0]
    return {"rgb_delta": _between(layer.factor, uniforms[:, 0, None, None, None]) * span}


def _saturation(layer: Any, uniforms: Any, height: int, width: int) -> Transformation:
    """Draw 0 is s, which scales the saturation by s / (1 - s).

    differs: with pixels in [0, 255] Keras lets a scaled saturation exceed 1; lightning_tl cuts it there.
    """
    factor = _between(layer.factor, uniforms[:, 0])
    return {"factor": factor / (1.0 - factor + keras.config.epsilon())}


def _hue(layer: Any, uniforms: Any, height: int, width: int) -> Transformation:
    """Draw 0 is the direction, draw 1 the amount, halved."""
    amount = _between(layer.factor, uniforms[:, 1]) * 0.5
    return {"factor": ops.where(uniforms[:, 0] > 0.5, -amount, amount)}


def _parts(layer: Any, uniforms: Any) -> list[tuple[Any, Any]]:
    """The layers inside RandomColorJitter in the order in which it applies them, with their draws."""
    parts = [
        (layer.random_brightness, uniforms[:, 0:1]),
        (layer.random_contrast, uniforms[:, 1:2]),
        (layer.random_saturation, uniforms[:, 2:3]),
        (layer.random_hue, uniforms[:, 3:5]),
    ]
    return [(part, numbers) for part, numbers in parts if part is not None]


def _between(ends: tuple[float, float], uniforms: Any) -> Any:
    lower, upper = ends
    return uniforms * (upper - lower) + lower


_TRANSFORMATIONS: dict[type, Callable[[Any, Any, int, int], Transformation]] = {
    layers.RandomFlip: _flip,
    layers.RandomRotation: _rotation,
    layers.RandomZoom: _zoom,
    layers.RandomTranslation: _translation,
    layers.RandomContrast: _contrast,
    layers.RandomBrightness: _brightness,
    layers.RandomSaturation: _saturation,
    layers.RandomHue: _hue,
}
_DRAWS: dict[type, int] = {
    layers.RandomFlip: 1,
    layers.RandomRotation: 1,
    layers.RandomZoom: 2,
    layers.RandomTranslation: 2,
    layers.RandomContrast: 1,
    layers.RandomBrightness: 1,
    layers.RandomColorJitter: 5,
}
