"""Gradients in the way of each backend, which Keras leaves to them."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

Arrays = dict[str, np.ndarray]


def of_inputs(function: Callable[[Any], Any], values: np.ndarray) -> np.ndarray:
    """The gradient of a scalar ``function`` of a tensor at ``values``."""
    tensor = keras.ops.convert_to_tensor(values)
    if keras.backend.backend() == "jax":
        import jax

        return np.asarray(jax.grad(function)(tensor))
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(tensor)
            result = function(tensor)
        return np.asarray(tape.gradient(result, tensor))
    tensor.requires_grad_(True)
    function(tensor).backward()
    return np.asarray(tensor.grad)


def of_variables(model: Any, loss: Any, inputs: Arrays, labels: np.ndarray) -> list[np.ndarray]:
    """The loss's gradients in training mode, in the order of ``model.trainable_variables``."""
    backend = keras.backend.backend()
    return {"jax": _jax, "tensorflow": _tensorflow, "torch": _torch}[backend](model, loss, inputs, labels)


def _jax(model: Any, loss: Any, inputs: Arrays, labels: np.ndarray) -> list[np.ndarray]:
    import jax

    frozen = [variable.value for variable in model.non_trainable_variables]

    def function(trained: list[Any]) -> Any:
        outputs, _ = model.stateless_call(trained, frozen, inputs, training=True)
        return loss(labels, outputs)

    gradients = jax.jit(jax.grad(function))([variable.value for variable in model.trainable_variables])
    return [np.asarray(gradient) for gradient in gradients]


def _tensorflow(model: Any, loss: Any, inputs: Arrays, labels: np.ndarray) -> list[np.ndarray]:
    import tensorflow as tf

    variables = [variable.value for variable in model.trainable_variables]
    with tf.GradientTape() as tape:
        result = loss(labels, model(inputs, training=True))
    return [np.asarray(gradient) for gradient in tape.gradient(result, variables)]


def _torch(model: Any, loss: Any, inputs: Arrays, labels: np.ndarray) -> list[np.ndarray]:
    model.zero_grad()
    loss(labels, model(inputs, training=True)).backward()
    return [np.asarray(variable.value.grad) for variable in model.trainable_variables]
