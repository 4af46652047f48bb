"""The classification head and its loss: dropout, a dense softmax layer, cross-entropy on probabilities."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from keras_ref import draws
from keras_ref.errors import InputError


class SharedDropout(keras.layers.Layer):  # type: ignore[misc]  # keras ships no types
    """Inverted dropout whose mask comes from uniform numbers given as a second input.

    Args:
        rate: fraction of features set to zero in training, in [0, 1).
    """

    def __init__(self, rate: float, **options: Any) -> None:
        super().__init__(**options)
        self.rate = rate

    def call(self, features: Any, uniforms: Any, training: bool = False) -> Any:
        """Keep features where ``uniforms >= rate``, scaled by 1 / (1 - rate); identity in inference mode.

        Args:
            features: (batch, features).
            uniforms: in [0, 1), same shape.
            training: whether to drop at all.
        """
        if not training or self.rate == 0:
            return features
        return features * ops.cast(uniforms >= self.rate, features.dtype) / (1 - self.rate)


def head_kernel(num_features: int, num_classes: int, seed: int) -> NDArray[np.float32]:
    """Glorot uniform weights drawn from ``seed``, (num_features, num_classes).

    differs: Keras keeps a dense kernel as (in, out), torch as (out, in).
    """
    key = draws.stream_key(seed, draws.HEAD, 0)
    limit = math.sqrt(6 / (num_features + num_classes))  # Glorot & Bengio 2010, equation 16
    uniforms = draws.uniforms(key, np.arange(num_classes), num_features)
    kernel: NDArray[np.float32] = ((2 * uniforms - 1) * np.float32(limit)).T
    return kernel


def class_weight_dict(weights: Mapping[str, float] | None, class_names: Sequence[str]) -> dict[int, float] | None:
    """One weight a class, 1 where none is given, as ``Model.fit(class_weight=)`` takes them; None for none.

    Raises:
        InputError: a name that is no class, or a weight that is negative or not finite, or none above 0.
    """
    if not weights:
        return None
    weights = {str(name): weight for name, weight in weights.items()}  # YAML reads a class called 0 as a number
    unknown = sorted(set(weights) - set(class_names))
    if unknown:
        raise InputError(f"class_weights: no such class: {', '.join(unknown)}. Classes: {', '.join(class_names)}.")
    if not all(0 <= weight < math.inf for weight in weights.values()):
        raise InputError(f"class_weights: finite numbers of 0 or more are needed. Received: {weights}.")
    known = {label: float(weights.get(name, 1.0)) for label, name in enumerate(class_names)}
    if not any(known.values()):
        raise InputError(f"class_weights: all are 0, so that nothing would train. Received: {weights}.")
    return known


def make_loss(label_smoothing: float) -> Any:
    """The recipe's loss on probabilities; with smoothing its form for one-hot labels, which alone smooths."""
    if label_smoothing:
        return keras.losses.CategoricalCrossentropy(label_smoothing=label_smoothing)
    return keras.losses.SparseCategoricalCrossentropy()
