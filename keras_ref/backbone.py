"""Pretrained networks without their classifier. differs: in Keras there is one convention, its own."""

from collections.abc import Mapping
from typing import Any, Literal

import keras
import numpy as np
from numpy.typing import NDArray

from keras_ref.errors import InputError

Statistics = dict[str, NDArray[np.float32]]
"""BatchNorm's moving means and variances by layer and name."""


class Backbone(keras.layers.Layer):  # type: ignore[misc]  # keras ships no types
    """MobileNetV2 in inference mode always, whatever ``training`` the model around it is called with.

    The recipe's ``base(x, training=False)`` is not enough: in a functional model ``fit`` overrides the
    argument (Keras 3.15; ``keras_ref.naive`` shows it). Inside a layer's ``call`` it stays.

    Args:
        image_size: (height, width) in pixels.
        alpha: width multiplier.
    """

    def __init__(self, image_size: tuple[int, int], alpha: float = 1.0, **options: Any) -> None:
        super().__init__(**options)
        self.base = keras.applications.MobileNetV2(
            input_shape=(*image_size, 3), alpha=alpha, include_top=False, weights=None
        )

    def call(self, scaled: Any) -> Any:
        """The last feature map, (batch, h, w, channels), of pixels in [-1, 1], (batch, height, width, 3)."""
        return self.base(scaled, training=False)

    def unfreeze_last(self, count: int | Literal["all"]) -> list[str]:
        """Make the last ``count`` layers trainable, freeze the others; return the names of trainable tensors.

        Raises:
            InputError: the network has fewer layers.
        """
        layers = self.base.layers
        if count != "all" and not 0 <= count <= len(layers):
            raise InputError(
                f"unfreeze_last: MobileNetV2 has {len(layers)} layers. Received: {count}; "
                f"give 0 to {len(layers)} or all."
            )
        frozen = 0 if count == "all" else len(layers) - count
        for position, layer in enumerate(layers):
            # Layer by layer: on TensorFlow ``base.trainable = True`` does nothing where it is True already, even
            # if its layers are frozen (tensorflow's AutoTrackable.__setattr__ skips equal values).
            layer.trainable = position >= frozen
        return [variable.path for variable in self.base.trainable_variables]

    def statistics(self) -> Statistics:
        """A copy of every moving mean and variance."""
        norms = [layer for layer in self.base.layers if isinstance(layer, keras.layers.BatchNormalization)]
        tensors = [tensor for norm in norms for tensor in (norm.moving_mean, norm.moving_variance)]
        return {tensor.path: np.array(keras.ops.convert_to_numpy(tensor)) for tensor in tensors}


def check_statistics(before: Mapping[str, NDArray[np.float32]], after: Mapping[str, NDArray[np.float32]]) -> None:
    """Hold the recipe to its word: BatchNorm is in inference mode in every phase.

    Raises:
        RuntimeError: a moving statistic has changed, by even a bit.
    """
    moved = {name: float(np.abs(after[name] - before[name]).max()) for name in before}
    changed = [name for name in before if not np.array_equal(before[name], after[name])]
    if changed:
        worst = max(changed, key=moved.__getitem__)
        raise RuntimeError(
            f"BatchNorm has not stayed in inference mode: {len(changed)} of {len(before)} moving statistics "
            f"changed in training, most of all {worst}, by {moved[worst]:.3g}. The run is not the recipe's."
        )


def preprocess(images: Any) -> Any:
    """Pixels in [0, 255] as the network was trained to see them: x / 127.5 - 1."""
    return keras.applications.mobilenet_v2.preprocess_input(images)
