"""Keras' metrics, early stopping and learning-rate schedules on given sequences of values."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_ref.phase import Phase
from keras_ref.schedule import build_early_stopping, build_scheduler

Arrays = dict[str, np.ndarray]


def metrics(arrays: Mapping[str, np.ndarray], options: Mapping[str, Any]) -> Arrays:
    """Keras' metrics over batches.

    Arrays: ``probabilities`` (samples, classes), ``label`` (samples,), ``loss`` (batches,). ``options["batch"]``
    is the batch size; the last batch may be smaller.

    Returns:
        ``accuracy``, ``f1`` (macro) and ``loss`` (mean over samples).
    """
    classes, step = arrays["probabilities"].shape[1], options["batch"]
    accuracy = keras.metrics.SparseCategoricalAccuracy()
    f1, loss = keras.metrics.F1Score(average="macro"), keras.metrics.Mean()
    for batch, start in enumerate(range(0, len(arrays["label"]), step)):
        label, probabilities = (arrays[name][start : start + step] for name in ("label", "probabilities"))
        accuracy.update_state(label, probabilities)
        f1.update_state(np.eye(classes)[label], probabilities)
        loss.update_state(arrays["loss"][batch], sample_weight=float(len(label)))
    return {
        name: np.array(float(keras.ops.convert_to_numpy(metric.result())))
        for name, metric in (("accuracy", accuracy), ("f1", f1), ("loss", loss))
    }


def early_stopping(arrays: Mapping[str, np.ndarray], options: Mapping[str, Any]) -> Arrays:
    """The epoch after which ``keras.callbacks.EarlyStopping`` stops, -1 for never.

    Arrays: ``values`` (sequences, epochs) of the monitored quantity. ``options["variants"]`` holds the
    callback's arguments.

    Returns:
        ``epochs``, int (variants, sequences).
    """
    model = _model(1e-3)
    stopped = [
        [_stop(model, keras.callbacks.EarlyStopping(**variant), values) for values in arrays["values"]]
        for variant in options["variants"]
    ]
    return {"epochs": np.array(stopped)}


def early_stopping_of_reference(arrays: Mapping[str, np.ndarray], options: Mapping[str, Any]) -> Arrays:
    """As ``early_stopping``, with the callback that keras_ref builds for a phase of these arguments."""
    model = _model(1e-3)
    stopped = []
    for variant in options["variants"]:
        phase = Phase(name="phase", epochs=1, lr=1e-3, early_stopping=variant)
        stopped.append([_stop(model, build_early_stopping(phase)[0], values) for values in arrays["values"]])
    return {"epochs": np.array(stopped)}


def plateau(arrays: Mapping[str, np.ndarray], options: Mapping[str, Any]) -> Arrays:
    """Learning rates after each epoch by ``keras.callbacks.ReduceLROnPlateau``.

    Arrays and ``variants`` as in ``early_stopping``; ``options["lr"]`` is the rate at the start.

    Returns:
        ``rates``, (variants, sequences, epochs).
    """
    rates = [
        [_rates(options["lr"], keras.callbacks.ReduceLROnPlateau(**variant), values) for values in arrays["values"]]
        for variant in options["variants"]
    ]
    return {"rates": np.array(rates)}


def schedule_of_reference(arrays: Mapping[str, np.ndarray], options: Mapping[str, Any]) -> Arrays:
    """As ``plateau``, with the callback that keras_ref builds: variants are ``[scheduler, scheduler_args]``."""
    epochs, rates = arrays["values"].shape[1], []
    for scheduler, args in options["variants"]:
        phase = Phase(name="phase", epochs=epochs, lr=options["lr"], scheduler=scheduler, scheduler_args=args)
        rates.append([_rates(phase.lr, build_scheduler(phase)[0], values) for values in arrays["values"]])
    return {"rates": np.array(rates)}


def cosine(arrays: Mapping[str, np.ndarray], options: Mapping[str, Any]) -> Arrays:
    """``keras.optimizers.schedules.CosineDecay`` at the beginning of each epoch: ``rates`` (epochs,)."""
    decay = keras.optimizers.schedules.CosineDecay(
        options["lr"], options["epochs"], alpha=options["eta_min"] / options["lr"]
    )
    rates = [float(keras.ops.convert_to_numpy(decay(epoch))) for epoch in range(options["epochs"])]
    return {"rates": np.array(rates)}


def _model(lr: float) -> Any:
    """The smallest compiled model, for callbacks to act on."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(optimizer=keras.optimizers.Adam(learning_rate=lr), loss="mse")
    return model


def _stop(model: Any, callback: Any, values: Sequence[float]) -> int:
    model.stop_training = False
    callback.set_model(model)
    callback.on_train_begin()
    for epoch, value in enumerate(values):
        callback.on_epoch_end(epoch, {"val_loss": float(value)})
        if model.stop_training:
            return epoch
    return -1


def _rates(lr: float, callback: Any, values: Sequence[float]) -> list[float]:
    """The rate at which each epoch trains, and that of the epoch after the last."""
    model = _model(lr)
    callback.set_model(model)
    callback.on_train_begin()
    rates = []
    for epoch, value in enumerate(values):
        callback.on_epoch_begin(epoch, {})
        rates.append(float(keras.ops.convert_to_numpy(model.optimizer.learning_rate)))
        callback.on_epoch_end(epoch, {"val_loss": float(value)})
    return rates
