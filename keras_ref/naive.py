"""What ``base(x, training=False)`` does in the installed Keras: the trap that ``Backbone`` avoids.

differs: torch has no such trap, since a module's mode is its own.
"""

from typing import Any

import keras
import numpy as np


class Held(keras.layers.Layer):  # type: ignore[misc]  # keras ships no types
    """Calls a model in inference mode, as ``keras_ref.backbone.Backbone`` does."""

    def __init__(self, base: Any) -> None:
        super().__init__()
        self.base = base

    def call(self, x: Any) -> Any:
        """The model's output in inference mode."""
        return self.base(x, training=False)


def statistics_drift(held: bool) -> float:
    """Train a step on top of an unfrozen BatchNorm that is called with ``training=False``.

    Args:
        held: call it inside a layer, instead of in the functional model as the recipe does.

    Returns:
        The largest change of its moving mean: 0.0 if ``training=False`` was respected.
    """
    norm_input = keras.Input((4,))
    base = keras.Model(norm_input, keras.layers.BatchNormalization(momentum=0.9)(norm_input))
    inputs = keras.Input((4,))
    features = Held(base)(inputs) if held else base(inputs, training=False)
    model = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(features))
    model.compile(keras.optimizers.Adam(1e-3), keras.losses.SparseCategoricalCrossentropy())
    model.fit(np.full((8, 4), 3.0, np.float32), np.zeros(8, np.int64), batch_size=8, verbose=0)
    return float(np.abs(keras.ops.convert_to_numpy(base.layers[1].moving_mean)).max())
