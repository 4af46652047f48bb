"""Script: build a Keras model from ``spec.json`` and ``arrays.npz`` in a folder; save ``model.keras`` there.

Run by ``write.py`` in a process of its own. It imports nothing of this package: the file cannot depend on it.
"""

import json
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

TORCH_EPSILON, TORCH_MOMENTUM = 1e-5, 0.9
"""torch.nn.BatchNorm2d's defaults; Keras counts momentum from the other end (torch 0.1)."""


def build(spec: dict[str, Any]) -> tuple[keras.Model, keras.Model]:
    """The whole model and the backbone within it, with initial weights."""
    shape = (*spec["image_size"], 3)
    torch_convention = spec["convention"] == "torch"
    base = _torch_backbone(spec, shape) if torch_convention else _keras_backbone(spec, shape)
    base.trainable = False  # the recipe's first phase; Keras' fit() could otherwise move BatchNorm's statistics
    pixels = keras.Input(shape, name="pixels")
    if torch_convention:
        scaled = layers.Rescaling(1 / 255)(pixels)
        scaled = layers.Normalization(mean=spec["mean"], variance=spec["variance"])(scaled)
    else:
        scaled = layers.Rescaling(1 / 127.5, offset=-1)(pixels)
    features = layers.GlobalAveragePooling2D()(base(scaled, training=False))
    features = layers.Dropout(spec["dropout"])(features)
    probabilities = layers.Dense(spec["classes"], activation="softmax", name="head")(features)
    return keras.Model(pixels, probabilities), base


def _keras_backbone(spec: dict[str, Any], shape: tuple[int, ...]) -> keras.Model:
    return keras.applications.MobileNetV2(input_shape=shape, alpha=spec["alpha"], include_top=False, weights=None)


def _torch_backbone(spec: dict[str, Any], shape: tuple[int, ...]) -> keras.Model:
    """The same layers with torch's symmetric padding. Stride 1 needs none: there "same" is symmetric."""
    image = x = shortcut = keras.Input(shape, name="input_layer")
    block = -1
    for layer in spec["layers"][1:]:
        if layer["block"] != block:
            block, shortcut = layer["block"], x
        if layer["kind"] == "Add":
            x = layers.Add(name=layer["name"])([shortcut, x])
            continue
        if layer["name"] == "Conv1":
            x = layers.ZeroPadding2D(1, name="Conv1_pad")(x)
        x = _torch_layer(layer)(x)
    return keras.Model(image, x, name=f"mobilenetv2_{spec['alpha']:0.2f}_{shape[0]}_torch")


def _torch_layer(layer: dict[str, Any]) -> keras.Layer:
    name, stride = layer["name"], layer["stride"]
    conv = {"strides": stride, "padding": "same" if stride == 1 else "valid", "use_bias": False, "name": name}
    match layer["kind"]:
        case "Conv2D":
            return layers.Conv2D(layer["outputs"], layer["kernel"], **conv)
        case "DepthwiseConv2D":
            return layers.DepthwiseConv2D(layer["kernel"], **conv)
        case "BatchNormalization":
            return layers.BatchNormalization(epsilon=TORCH_EPSILON, momentum=TORCH_MOMENTUM, name=name)
        case "ReLU":
            return layers.ReLU(6.0, name=name)
        case "ZeroPadding2D":
            return layers.ZeroPadding2D(1, name=name)
    raise ValueError(f"layer kind {layer['kind']}")


def set_weights(model: keras.Model, base: keras.Model, arrays: Any) -> None:
    """Assign every variable by the name ``layer/variable``."""
    for layer in [*base.layers, model.get_layer("head")]:
        for variable in layer.variables:
            variable.assign(arrays[f"{layer.name}/{variable.name}"])


def main(folder: Path) -> None:
    """Build, fill, save."""
    model, base = build(json.loads((folder / "spec.json").read_text()))
    with np.load(folder / "arrays.npz") as arrays:
        set_weights(model, base, arrays)
    # Saving imports TensorFlow wherever it is installed, to recognise its types: that takes seconds, and
    # beside torch it has been seen to abort. None makes the import fail as if there were none.
    sys.modules.setdefault("tensorflow", None)  # type: ignore[arg-type]
    model.save(folder / "model.keras")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
