"""Model files: opened by plain Keras, and written by it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

Arrays = dict[str, np.ndarray]


def predict(arrays: Mapping[str, np.ndarray], options: Mapping[str, Any]) -> Arrays:
    """``probabilities`` of ``images`` (batch, height, width, 3) by the model in file ``options["path"]``."""
    model = keras.saving.load_model(options["path"])
    return {"probabilities": model.predict(arrays["images"], verbose=0)}


def save_again(arrays: Mapping[str, np.ndarray], options: Mapping[str, Any]) -> Arrays:
    """Load ``options["path"]`` and save it as ``options["target"]``. Returns nothing but the file."""
    keras.saving.load_model(options["path"]).save(options["target"])
    return {"done": np.array(1)}


def written(arrays: Mapping[str, np.ndarray], options: Mapping[str, Any]) -> Arrays:
    """Write MobileNetV2 at ``options["alpha"]`` with lived-in weights in all three formats.

    Files are ``<backend>.h5``, ``.weights.h5`` and ``.keras`` in ``options["folder"]``.

    Returns:
        Every variable in Keras' axis order by ``layer/variable``.
    """
    base = keras.applications.MobileNetV2((96, 96, 3), options["alpha"], include_top=False, weights=None)
    rng = np.random.default_rng(0)
    for variable in base.variables:
        low, high = (0.5, 1.5) if "variance" in variable.path or "gamma" in variable.path else (-0.3, 0.3)
        variable.assign(rng.uniform(low, high, variable.shape).astype("float32"))
    name = str(Path(options["folder"], keras.config.backend()))
    base.save(f"{name}.keras")
    base.save(f"{name}.h5")
    base.save_weights(f"{name}.weights.h5")
    return {
        f"{layer.name}/{variable.name}": np.asarray(keras.ops.convert_to_numpy(variable))
        for layer in base.layers
        for variable in layer.variables
    }
