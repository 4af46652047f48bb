"""The recipe's rounds of compile and fit, over any list of phases."""

import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from keras_ref.backbone import check_statistics
from keras_ref.classifier import TransferClassifier
from keras_ref.config import Config
from keras_ref.data import Source
from keras_ref.data.dataset import Batches, TrainBatches, numpy_order, shared_order
from keras_ref.errors import InputError
from keras_ref.head import class_weight_dict, make_loss
from keras_ref.metrics import MacroF1
from keras_ref.options import number
from keras_ref.phase import Phase
from keras_ref.recorder import Recorder
from keras_ref.schedule import build_early_stopping, build_scheduler


def fit_phases(classifier: TransferClassifier, source: Source, config: Config, recorder: Recorder) -> None:
    """Train through all phases.

    Args:
        classifier: with its initial weights; holds the last weights afterwards.
        source: the samples.
        config: of the run.
        recorder: notes what happens.

    Raises:
        InputError: before training, for more layers than the backbone has, or an optimizer, scheduler or
            early stopping that cannot be built.
        RuntimeError: a phase has changed a moving statistic of BatchNorm.
    """
    for phase in config.phases:
        classifier.backbone.unfreeze_last(phase.unfreeze_last)
        for build in (build_optimizer, build_scheduler, build_early_stopping):
            build(phase)
    for phase, following in zip(config.phases, [*config.phases[1:], None], strict=True):
        if phase.start_from == "best" and recorder.phase_best is not None:
            classifier.model.set_weights(recorder.phase_best[1])
        keep_best = following is not None and following.start_from == "best"
        fit_phase(classifier, source, config, phase, recorder, keep_best)


def fit_phase(
    classifier: TransferClassifier,
    source: Source,
    config: Config,
    phase: Phase,
    recorder: Recorder,
    keep_best: bool = False,
) -> None:
    """One round: unfreeze, compile with a fresh optimizer, fit; ``keep_best`` remembers its best weights."""
    model, backbone = classifier.model, classifier.backbone
    backbone.unfreeze_last(phase.unfreeze_last)
    before = backbone.statistics()
    compile_model(model, phase, config.model.label_smoothing)
    train, val = make_batches(classifier, source, config, recorder.epochs, phase.epochs)
    recorder.enter(phase.name, len(train.indices), train.steps, keep_best)
    model.fit(
        train,
        epochs=phase.epochs,
        steps_per_epoch=train.steps,
        validation_data=val,
        shuffle=False,  # the order is that of TrainBatches
        class_weight=class_weight_dict(config.model.class_weights, source.class_names),
        callbacks=[*build_scheduler(phase), *build_early_stopping(phase), recorder],
        verbose="auto" if sys.stdout.isatty() else 2,
    )
    check_statistics(before, backbone.statistics())


def compile_model(model: Any, phase: Phase, label_smoothing: float) -> None:
    """Compile with a fresh optimizer for ``phase``."""
    metrics = ["accuracy", MacroF1(model.output_shape[-1])]
    model.compile(optimizer=build_optimizer(phase), loss=make_loss(label_smoothing), metrics=metrics)


def build_optimizer(phase: Phase) -> Any:
    """A fresh Adam.

    Raises:
        InputError: arguments that Keras and torch do not have in common, or that are no numbers in their range.
    """
    names: Mapping[str, Sequence[str]] = {"betas": ("beta_1", "beta_2"), "eps": ("epsilon",)}
    options: dict[str, float] = {}
    for key, value in phase.optimizer_args.items():
        if key not in names:
            raise InputError(f"phases: {phase.name}: optimizer takes {', '.join(names)} here. Received: {key}.")
        numbers = value if key == "betas" else (value,)
        if not isinstance(numbers, Sequence) or len(numbers) != len(names[key]) or not all(map(number, numbers)):
            wanted = "two numbers" if key == "betas" else "a number"
            raise InputError(f"phases: {phase.name}: optimizer: {key} is {wanted}. Received: {value!r}.")
        if not all(0 <= one < (1 if key == "betas" else math.inf) for one in numbers):
            wanted = "in [0, 1)" if key == "betas" else "0 or more"
            raise InputError(f"phases: {phase.name}: optimizer: {key} must be {wanted}. Received: {value!r}.")
        options |= zip(names[key], numbers, strict=True)
    return keras.optimizers.Adam(learning_rate=phase.lr, **options)


def make_batches(
    classifier: TransferClassifier, source: Source, config: Config, first_epoch: int, epochs: int
) -> tuple[TrainBatches, Batches]:
    """Training batches of a phase's epochs, and validation batches."""
    one_hot = config.model.label_smoothing > 0
    order = shared_order(config.seed) if config.draws == "shared" else numpy_order(config.seed)
    train = TrainBatches(source, config.data, classifier.drawn, config.seed, order, first_epoch, epochs, one_hot)
    return train, Batches(source, "val", config.data, classifier.drawn, config.seed, one_hot)
