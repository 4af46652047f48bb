"""Keras' side of claims 4, 7 and 11: training by the phases of keras_ref, on arrays from outside.

Arrays: ``images`` (phases, steps, batch, height, width, 3), ``labels`` and ``index`` (phases, steps, batch).
Dropout and augmentation take the draws of keras_ref.draws for these indices, a phase being one epoch.
"""

from typing import Any

import keras
import numpy as np

from keras_ref import draws
from keras_ref.backbone import check_statistics
from keras_ref.classifier import TransferClassifier
from keras_ref.head import make_loss
from keras_ref.naive import statistics_drift
from keras_ref.phase import Phase, make_phases
from keras_ref.phases import compile_model
from parity_tests.jobs.gradient import of_variables
from parity_tests.jobs.model import Arrays, array, build, by_name


def gradients(arrays: Arrays, options: dict[str, Any]) -> Arrays:
    """Gradients of every trainable tensor at the first step, by ``layer/variable``, for the one phase given."""
    classifier = build(options)
    (phase,) = make_phases(options["phases"])
    classifier.backbone.unfreeze_last(phase.unfreeze_last)
    inputs, labels = batch(classifier, arrays, options, 0, 0)
    found = of_variables(classifier.model, make_loss(0.0), inputs, labels)
    names = {id(variable): name for name, variable in variables(classifier).items()}
    trained = [names[id(variable)] for variable in classifier.model.trainable_variables]
    return dict(zip(trained, found, strict=True))


def trajectory(arrays: Arrays, options: dict[str, Any]) -> Arrays:
    """``loss`` of every step, (phases, steps), and all variables after each phase as ``phase/layer/variable``."""
    classifier, phases = build(options), make_phases(options["phases"])
    before = classifier.backbone.statistics()
    results: Arrays = {}
    losses = []
    for number, phase in enumerate(phases):
        losses.append(_train(classifier, arrays, options, number, phase))
        results |= {f"{phase.name}/{name}": array(item) for name, item in variables(classifier).items()}
    check_statistics(before, classifier.backbone.statistics())
    return results | {"loss": np.array(losses)}


def drift(arrays: Arrays, options: dict[str, Any]) -> Arrays:
    """How far the statistics move when BatchNorm is called in inference mode inside a layer."""
    return {"held": np.array(statistics_drift(held=True))}


def _train(
    classifier: TransferClassifier, arrays: Arrays, options: dict[str, Any], number: int, phase: Phase
) -> list[float]:
    """One round of compile and train."""
    classifier.backbone.unfreeze_last(phase.unfreeze_last)
    compile_model(classifier.model, phase, label_smoothing=0.0)
    losses = []
    for step in range(arrays["images"].shape[1]):
        classifier.model.reset_metrics()  # else the loss reported is the mean of all steps
        given = batch(classifier, arrays, options, number, step)
        losses.append(float(classifier.model.train_on_batch(*given, return_dict=True)["loss"]))
    return losses


def batch(
    classifier: TransferClassifier, arrays: Arrays, options: dict[str, Any], epoch: int, step: int
) -> tuple[Arrays, np.ndarray]:
    """Inputs and labels of one step."""
    floatx = keras.config.floatx()
    inputs = {"image": arrays["images"][epoch, step].astype(floatx)}
    for name, (stream, count) in classifier.drawn.items():
        key = draws.stream_key(options["seed"], stream, epoch)
        inputs[name] = draws.uniforms(key, arrays["index"][epoch, step], count).astype(floatx)
    return inputs, arrays["labels"][epoch, step]


def variables(classifier: TransferClassifier) -> dict[str, Any]:
    """Every variable of backbone and head."""
    return by_name([*classifier.backbone.base.layers, classifier.model.get_layer("head")])
