"""Keras' side of claims 1, 2, 6 and 7: the model of keras_ref in inference, and what its layers are."""

import json
from functools import cache
from typing import Any

import keras
import numpy as np

from keras_ref.backbone import Backbone, preprocess
from keras_ref.classifier import TransferClassifier, build_classifier
from keras_ref.options import ModelConfig

Arrays = dict[str, np.ndarray]


def build(options: dict[str, Any]) -> TransferClassifier:
    """A fresh classifier of ``weights``, ``alpha``, ``size``, ``classes`` and, if given, ``augment`` and ``seed``."""
    config = ModelConfig(
        weights=options["weights"],
        backbone_args={"width_mult": options["alpha"]},
        augment=options.get("augment", ()),
    )
    size, seed = tuple(options["size"]), options.get("seed", 0)
    return build_classifier(config, size, options["classes"], seed, shared=True)


@cache
def _built(options: str) -> TransferClassifier:
    """A classifier that nobody trains."""
    return build(json.loads(options))


def forward(arrays: Arrays, options: dict[str, Any]) -> Arrays:
    """``features``, ``logits`` and ``probabilities`` of ``images``."""
    model = _built(json.dumps(options)).model
    head = model.get_layer("head")
    inference = keras.Model(model.inputs, [head.input, head.output])
    features, probabilities = inference.predict_on_batch(inputs(model, arrays["images"]))
    kernel, bias = (array(weight) for weight in head.weights)
    return {"features": features, "logits": features @ kernel + bias, "probabilities": probabilities}


def stages(arrays: Arrays, options: dict[str, Any]) -> Arrays:
    """The output of every layer of the backbone, by the layer's name."""
    base = _built(json.dumps(options)).backbone.base
    layers = base.layers[1:]
    images = preprocess(arrays["images"].astype(keras.config.floatx()))
    outputs = keras.Model(base.inputs, [layer.output for layer in layers]).predict_on_batch(images)
    return {layer.name: output for layer, output in zip(layers, outputs, strict=True)}


def trainable_sets(arrays: Arrays, options: dict[str, Any]) -> Arrays:
    """For each N, as row N, which of ``names`` train when the last N layers do; also for ``pooling="avg"``."""
    backbone = Backbone((96, 96), options["alpha"])
    names = list(by_name(backbone.base.layers))
    plain = [_flags(backbone, names, count) for count in range(len(backbone.base.layers) + 1)]
    backbone.base = keras.applications.MobileNetV2(
        (96, 96, 3), options["alpha"], include_top=False, weights=None, pooling="avg"
    )
    pooled = [_flags(backbone, names, count) for count in range(len(backbone.base.layers) + 1)]
    return {"names": np.array(names), "plain": np.array(plain), "pooled": np.array(pooled)}


def _flags(backbone: Backbone, names: list[str], count: int) -> list[bool]:
    backbone.unfreeze_last(count)
    variables = by_name(backbone.base.layers)
    training = {id(variable) for variable in backbone.base.trainable_variables}
    return [id(variables[name]) in training for name in names]


def constants(arrays: Arrays, options: dict[str, Any]) -> Arrays:
    """Epsilon and momentum of every BatchNormalization, in order."""
    base = Backbone((96, 96), options["alpha"]).base
    norms = [layer for layer in base.layers if isinstance(layer, keras.layers.BatchNormalization)]
    return {
        "epsilon": np.array([norm.epsilon for norm in norms]),
        "momentum": np.array([norm.momentum for norm in norms]),
    }


def inputs(model: Any, images: np.ndarray) -> Arrays:
    """Images and, for the inputs that are uniform numbers, zeros, which inference does not look at."""
    floatx = keras.config.floatx()
    given = {tensor.name: np.zeros((len(images), *tensor.shape[1:]), floatx) for tensor in model.inputs}
    return given | {"image": images.astype(floatx)}


def by_name(layers: Any) -> dict[str, Any]:
    """Every variable of these layers as ``layer/variable``."""
    return {f"{layer.name}/{variable.name}": variable for layer in layers for variable in layer.weights}


def array(variable: Any) -> np.ndarray:
    """A copy of a variable or tensor."""
    return np.array(keras.ops.convert_to_numpy(variable))
