"""Keras' side of claims 3, 5, 8 and 9: loss, Adam, dropout and the head's initial weights."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ref.head import SharedDropout, class_weight_dict, head_kernel, make_loss
from keras_ref.phase import Phase
from keras_ref.phases import build_optimizer
from parity_tests.jobs.gradient import of_inputs
from parity_tests.jobs.model import Arrays, array


def loss(arrays: Arrays, options: dict[str, Any]) -> Arrays:
    """Mean loss, gradient and each sample's loss of ``logits`` through softmax and the loss of keras_ref.

    ``smoothing`` and ``class_weights`` (class name to weight, with ``classes``) are optional.
    """
    smoothing, labels = options.get("smoothing", 0.0), arrays["labels"]
    classes = arrays["logits"].shape[1]
    weights = class_weight_dict(options.get("class_weights"), options.get("classes", ()))
    sample_weight = None if weights is None else np.array([weights[label] for label in labels])
    targets = np.eye(classes)[labels] if smoothing else labels

    def mean(logits: Any) -> Any:
        return make_loss(smoothing)(targets, keras.activations.softmax(logits), sample_weight=sample_weight)

    logits = arrays["logits"].astype(keras.config.floatx())
    each = make_loss(smoothing).call(targets, keras.activations.softmax(ops.convert_to_tensor(logits)))
    return {
        "mean": array(mean(ops.convert_to_tensor(logits))),
        "gradient": of_inputs(mean, logits),
        "each": array(each),
    }


def adam(arrays: Arrays, options: dict[str, Any]) -> Arrays:
    """Parameters after each step with given gradients: ``values`` (tensors, …), ``gradients`` (steps, tensors, …)."""
    optimizer = build_optimizer(Phase("adam", epochs=1, lr=options["lr"]))
    floatx = keras.config.floatx()
    variables = [keras.Variable(values.astype(floatx), dtype=floatx) for values in arrays["values"]]
    path = []
    for step in arrays["gradients"].astype(floatx):
        optimizer.apply([ops.convert_to_tensor(gradient) for gradient in step], variables)
        path.append([array(variable) for variable in variables])
    return {"path": np.array(path)}


def dropout(arrays: Arrays, options: dict[str, Any]) -> Arrays:
    """``stock``: Keras' own Dropout, with a mask of its own; ``shared``: keras_ref's, with given numbers."""
    features = ops.convert_to_tensor(arrays["features"].astype(keras.config.floatx()))
    uniforms = ops.convert_to_tensor(arrays["uniforms"].astype(keras.config.floatx()))
    stock = keras.layers.Dropout(options["rate"], seed=1)(features, training=True)
    shared = SharedDropout(options["rate"])(features, uniforms, training=True)
    return {"stock": array(stock), "shared": array(shared)}


def initial_head(arrays: Arrays, options: dict[str, Any]) -> Arrays:
    """``stock``: kernels of fresh Dense layers, (layers, in, out), and their ``bias``; ``shared``: keras_ref's."""
    features, classes = options["features"], options["classes"]
    kernels, biases = [], []
    for seed in options["seeds"]:
        keras.utils.set_random_seed(seed)
        dense = keras.layers.Dense(classes, activation="softmax")
        dense.build((None, features))
        kernels.append(array(dense.kernel))
        biases.append(array(dense.bias))
    shared = [head_kernel(features, classes, seed) for seed in options["seeds"]]
    return {"stock": np.array(kernels), "bias": np.array(biases), "shared": np.array(shared)}
