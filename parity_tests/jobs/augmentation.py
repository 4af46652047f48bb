"""Keras' augmentation layers: with draws from outside, in a row, and with draws of their own."""

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from keras_ref import draws
from keras_ref.augment import from_config
from keras_ref.augment.injected import _rotation as rotation
from keras_ref.augment.injected import apply

Arrays = dict[str, np.ndarray]


def injected(arrays: Mapping[str, np.ndarray], options: Mapping[str, Any]) -> Arrays:
    """Layers on images, each told what to do by uniform numbers.

    ``options["cases"]`` holds ``[name, layer config, images, uniforms]``, the last two being keys of ``arrays``:
    images (batch, height, width, 3) in [0, 255], uniforms (batch, draws). Returns images by case name.
    """
    return {
        name: transformed([config], arrays[images], [arrays[uniforms]])
        for name, config, images, uniforms in options["cases"]
    }


def rotation_matrices(arrays: Mapping[str, np.ndarray], options: Mapping[str, Any]) -> Arrays:
    """RandomRotation's own matrices for ``uniforms`` (batch, draws) and images of each of ``options["sizes"]``.

    Returns:
        ``HEIGHTxWIDTH`` to (batch, 3, 3), from pixels of the output to those of the input.
    """
    layer, found = from_config(options["layer"]), {}
    uniforms = ops.convert_to_tensor(arrays["uniforms"].astype(_precision(layer)))
    for height, width in options["sizes"]:
        rows = ops.convert_to_numpy(rotation(layer, uniforms, height, width)["rotation_matrix"])
        matrix = np.concatenate([rows, np.ones((len(rows), 1), rows.dtype)], axis=1)
        found[f"{height}x{width}"] = matrix.reshape(-1, 3, 3)
    return found


def chain(arrays: Mapping[str, np.ndarray], options: Mapping[str, Any]) -> Arrays:
    """``options["layers"]`` one after the other, told what to do by the shared definition of randomness.

    Returns ``images`` for the samples ``index`` (batch,) in ``options["epoch"]`` of a run of
    ``options["seed"]``.
    """
    uniforms = [
        draws.uniforms(
            draws.stream_key(options["seed"], draws.AUGMENT + position, options["epoch"]), arrays["index"], 5
        )
        for position in range(len(options["layers"]))
    ]
    return {"images": transformed(options["layers"], arrays["images"], uniforms)}


def affine(arrays: Arrays, options: dict[str, Any]) -> Arrays:
    """``images`` (batch, height, width, 3) resampled once by ``matrix`` (batch, 3, 3), from output to input."""
    rows = arrays["matrix"].reshape(-1, 9)[:, :8]  # their last number is 1
    single = keras.config.backend() == "tensorflow"
    images = ops.image.affine_transform(
        ops.convert_to_tensor(arrays["images"].astype(keras.config.floatx())),
        ops.convert_to_tensor(rows.astype("float32" if single else keras.config.floatx())),
        data_format="channels_last",
        **options,
    )
    return {"images": np.asarray(ops.convert_to_numpy(images))}


def transformed(configs: list[Mapping[str, Any]], images: np.ndarray, uniforms: list[np.ndarray]) -> np.ndarray:
    """Images through all layers, in Keras' float type."""
    # A copy: RandomBrightness adds in place on torch, whose tensors share NumPy's memory.
    result = ops.convert_to_tensor(images.astype(keras.config.floatx(), copy=True))
    for config, numbers in zip(configs, uniforms, strict=True):
        layer = from_config(config, shared=True)
        result = apply(layer, result, ops.convert_to_tensor(numbers.astype(_precision(layer))))
    return np.asarray(ops.convert_to_numpy(result))


def _precision(layer: Any) -> str:
    """Keras' float type; on tensorflow geometry is float32 whatever the images are."""
    colours = (layers.RandomContrast, layers.RandomBrightness, layers.RandomColorJitter)
    single = keras.config.backend() == "tensorflow" and not isinstance(layer, colours)
    return "float32" if single else str(keras.config.floatx())


def drawn(arrays: Mapping[str, np.ndarray], options: Mapping[str, Any]) -> Arrays:
    """What layers draw for themselves.

    ``options["layers"]`` maps names to layer configs, each with a ``seed`` among its arguments;
    ``options["samples"]`` is the batch. Returns arrays (samples,) named ``name/parameter``.
    """
    images = ops.zeros((options["samples"], 8, 8, 3))
    found: Arrays = {}
    for name, config in options["layers"].items():
        layer = from_config(config)
        for part in _parts(layer):
            transformation = part.get_random_transformation(images)
            for parameter, read in _PARAMETERS.items():
                if parameter in transformation:
                    values = read(ops.convert_to_numpy(transformation[parameter]))
                    found |= {f"{name}/{key}": value for key, value in _named(part, parameter, values).items()}
    return found


def _parts(layer: Any) -> list[Any]:
    """The layers inside RandomColorJitter, or the layer itself."""
    if not isinstance(layer, keras.layers.RandomColorJitter):
        return [layer]
    inside = (layer.random_brightness, layer.random_contrast, layer.random_saturation, layer.random_hue)
    return [part for part in inside if part is not None]


def _flat(values: np.ndarray) -> dict[str, np.ndarray]:
    return {"": values.reshape(len(values)).astype(np.float64)}


def _shifts(values: np.ndarray) -> dict[str, np.ndarray]:
    """Pixels, x before y, of images of 8 x 8, as fractions."""
    return {"width_shift": values[:, 0].astype(np.float64) / 8, "height_shift": values[:, 1].astype(np.float64) / 8}


_PARAMETERS: dict[str, Callable[[np.ndarray], dict[str, np.ndarray]]] = {
    "flips": _flat,
    "angle": _flat,
    "height_zoom": _flat,
    "width_zoom": _flat,
    "translations": _shifts,
    "contrast_factor": _flat,
    "rgb_delta": _flat,
    "factor": _flat,
}
"""How each parameter is read; the key ``""`` stands for its own name."""


def _named(part: Any, parameter: str, values: Mapping[str, np.ndarray]) -> Arrays:
    """Values by lightning_tl's names; ``factor`` is that of the layer's kind."""
    kinds = {"RandomSaturation": "saturation_factor", "RandomHue": "hue_factor"}
    own = kinds.get(type(part).__name__, parameter)
    return {key or own: value for key, value in values.items()}
