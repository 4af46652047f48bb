"""Keras' augmentation layers with given parameters, in a process of their own: IN.npz OUT.npz.

``cases`` in the input is a JSON list of [images, layer, arguments]; the arrays of parameters are shared by
all. The output holds one array for each case.
"""

import json
import sys
from typing import Any

import keras
import numpy as np
from keras import layers, ops
from keras.src.layers import RandomHue, RandomSaturation

GIVEN = dict(np.load(sys.argv[1]))


def number(name: str, *shape: int) -> Any:
    return ops.reshape(ops.convert_to_tensor(GIVEN[name]), (-1, *shape))


def rotation(layer: Any, height: int, width: int) -> dict[str, Any]:
    angle, zero = number("angle"), ops.zeros_like(number("angle"))
    return {
        "rotation_matrix": layer._compute_affine_matrix(
            0.5, 0.5, angle, zero, zero, zero + 1, zero, zero, height, width
        )
    }


def translation(layer: Any, height: int, width: int) -> dict[str, Any]:
    shifts = [number("width_shift", 1) * width, number("height_shift", 1) * height]
    return {"translations": ops.concatenate(shifts, axis=1)}


LAYERS = {
    "RandomFlip": (layers.RandomFlip, lambda *_: {"flips": number("flips", 1, 1, 1)}),
    "RandomRotation": (layers.RandomRotation, rotation),
    "RandomZoom": (
        layers.RandomZoom,
        lambda *_: {name: number(name, 1) for name in ("height_zoom", "width_zoom")},
    ),
    "RandomTranslation": (layers.RandomTranslation, translation),
    "RandomBrightness": (layers.RandomBrightness, lambda *_: {"rgb_delta": number("rgb_delta", 1, 1, 1)}),
    "RandomContrast": (
        layers.RandomContrast,
        lambda *_: {"contrast_factor": number("contrast_factor", 1, 1, 1)},
    ),
    "saturation": (RandomSaturation, lambda *_: {"factor": number("saturation_factor")}),
    "hue": (RandomHue, lambda *_: {"factor": number("hue_factor")}),
}

results = {}
for position, (images_name, name, arguments) in enumerate(json.loads(str(GIVEN["cases"]))):
    cls, transformation = LAYERS[name]
    keras_layer = cls(**arguments)
    images = ops.convert_to_tensor(GIVEN[images_name].copy())  # RandomBrightness adds in place on torch
    output = keras_layer.transform_images(images, transformation(keras_layer, *images.shape[1:3]))
    results[str(position)] = keras.ops.convert_to_numpy(output)
np.savez(sys.argv[2], **results)
