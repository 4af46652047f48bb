"""Keras' augmentation layers by the names that they have in YAML files."""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import keras

from keras_ref.errors import InputError
from keras_ref.options import number

TRANSFORMS: dict[str, Any] = {
    "RandomFlip": keras.layers.RandomFlip,
    "RandomRotation": keras.layers.RandomRotation,
    "RandomZoom": keras.layers.RandomZoom,
    "RandomTranslation": keras.layers.RandomTranslation,
    "RandomContrast": keras.layers.RandomContrast,
    "RandomBrightness": keras.layers.RandomBrightness,
    "ColorJitter": keras.layers.RandomColorJitter,
}
"""differs: lightning_tl writes these classes; their arguments and defaults are those of the layers."""

FOREIGN = "lightning_tl.augment"
"""Package that a full class path may name."""


def from_config(config: Mapping[str, Any], shared: bool = False) -> Any:
    """Build a layer from ``{"class_path": …, "init_args": {…}}``.

    Args:
        config: ``class_path`` is a short name (``RandomFlip``) or a full one
            (``lightning_tl.augment.RandomFlip``); ``init_args`` may be absent.
        shared: arguments mean what docs/randomness.md says, where Keras does something else.

    Raises:
        InputError: the class or an argument is unknown, or an argument is outside its range.
    """
    if not isinstance(config, Mapping) or not isinstance(config.get("class_path"), str):
        raise InputError(f"augment: an element needs a class_path (a string). Received: {config!r}.")
    unknown = sorted(set(config) - {"class_path", "init_args"})
    if unknown:
        raise InputError(f"augment: an element has class_path and init_args. Received also: {unknown}.")
    name = _name(config["class_path"])
    arguments = config.get("init_args") or {}
    saturation = arguments.get("saturation_factor") if shared and isinstance(arguments, Mapping) else None
    if number(saturation):  # of which Keras 3.15 makes [-f, f], its documentation [0, f]
        arguments = {**arguments, "saturation_factor": [0, saturation]}
    try:
        return _jitted(TRANSFORMS[name](**arguments))
    except (TypeError, ValueError, NotImplementedError) as error:
        raise InputError(f"{name}: Keras refuses init_args {arguments!r}: {error}.") from error


def _jitted(layer: Any) -> Any:
    """Let jax compile the layer, and with it the training step.

    Keras forbids it for all backends where TensorFlow's compiler lacks an operation; operation by operation,
    jax is several times slower.
    """
    layer.supports_jit = layer.supports_jit or keras.config.backend() == "jax"
    return layer


def _name(class_path: str) -> str:
    """The short name, or the nearest names in the error."""
    module, _, name = class_path.rpartition(".")
    if module in ("", FOREIGN) and name in TRANSFORMS:
        return name
    near = get_close_matches(name, TRANSFORMS, n=2, cutoff=0.4)
    hint = f"Did you mean {' or '.join(near)}?" if near else f"Known are {', '.join(TRANSFORMS)}."
    raise InputError(f"augment: unknown transform {class_path!r}. {hint}")
