"""The recipe in Keras on one backend, with the model, augmentation and training of ``keras_ref``."""

import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.meter import Meter
from benchmarks.resident import Images, load_images
from benchmarks.runners.base import Base, NotOfferedError
from benchmarks.settings import AUGMENT, DROPOUT, PHASES, Settings
from keras_ref.backend import select_backend

BACKEND = select_backend()  # before anything imports Keras; the worker has set KERAS_BACKEND

import keras  # noqa: E402

from benchmarks.device import BY_BACKEND  # noqa: E402
from benchmarks.runners.keras_callbacks import Goal, Losses, Steps  # noqa: E402
from benchmarks.runners.keras_data import ENDLESS, Feed, files  # noqa: E402
from keras_ref.classifier import TransferClassifier, build_classifier  # noqa: E402
from keras_ref.head import head_kernel  # noqa: E402
from keras_ref.options import ModelConfig  # noqa: E402
from keras_ref.phase import Phase  # noqa: E402
from keras_ref.phases import compile_model  # noqa: E402


class Runner(Base):
    """One Keras model.

    Args:
        job: see ``benchmarks.job.Job``.
    """

    def __init__(self, job: dict[str, Any]) -> None:
        self.job, self.settings = job, Settings(**job["settings"])
        self.device = BY_BACKEND[BACKEND](self.settings.accelerator)
        if BACKEND == "torch":
            sys.modules["torch"].set_num_threads(job["threads"])
        keras.config.set_dtype_policy({"float32": "float32", "mixed": "mixed_bfloat16"}[job["precision"]])
        keras.utils.set_random_seed(self.settings.seed)
        self.classifier = self._build(shared=False)
        self.initial = [keras.ops.convert_to_numpy(weight.value).copy() for weight in self.classifier.model.weights]
        self.weights = list(self.classifier.model.weights)

    def train(self, phase: str, source: str, meter: Meter) -> None:
        """Fit one phase until the meter ends it."""
        self._compile(self.classifier, phase)
        size = self.settings.batch_size
        data, length, sizes = Feed(self._images("train"), size, ENDLESS), ENDLESS, lambda _: size
        if source == "files":
            data, length, sizes = files(self.job, self.settings)
        self.classifier.model.fit(
            data,
            epochs=ENDLESS,
            steps_per_epoch=length,
            shuffle=False,
            callbacks=[Steps(meter, sizes)],
            verbose=0,
        )

    def evaluate(self, what: str, source: str, batches: int, meter: Meter) -> None:
        """Predict or validate so many batches, and one that shows that the last of them has ended."""
        model, size = self.classifier.model, self.settings.batch_size
        data, sizes = Feed(self._images("train"), size, batches + 1), lambda _: size
        if source == "files":
            data, _, sizes = files(self.job, self.settings)
        run = model.predict
        if what == "validate":
            run = model.evaluate
            if not model.compiled:
                self._compile(self.classifier, "head")
        run(data, steps=batches + 1, callbacks=[Steps(meter, sizes)], verbose=0)

    def losses(self, phase: str, steps: int) -> list[float]:
        """Losses of the first steps with augmentation and dropout drawn as lightning-tl draws them."""
        if (BACKEND, self.job["precision"]) == ("tensorflow", "mixed"):
            raise NotOfferedError("on TensorFlow, Keras' matrices of mixed augmentation take no draws from outside")
        classifier, kept = self._build(shared=True), Losses()
        self._compile(classifier, phase, restore=False)
        feed = Feed(self._images("train"), self.settings.batch_size, steps, classifier.drawn, self.settings.seed)
        classifier.model.fit(feed, shuffle=False, callbacks=[kept], verbose=0)
        return kept.losses

    def reach(self, accuracy: float, epochs: int) -> dict[str, Any]:
        """Train both phases until the held-out images are classified well enough."""
        size, val, goal = self.settings.batch_size, self._images("val"), Goal(accuracy, self.settings)
        train = Feed(self._images("train"), size, self.settings.batches)
        held_out = Feed(val, size, max(1, len(val.labels) // size))
        for phase in PHASES:
            if not goal.result["reached"]:
                self._compile(self.classifier, phase, restore=phase == PHASES[0])
                self.classifier.model.fit(
                    train, epochs=epochs, validation_data=held_out, shuffle=False, callbacks=[goal], verbose=0
                )
        return goal.result

    def _build(self, shared: bool) -> TransferClassifier:
        """The model with the pretrained weights and the head that every framework begins with."""
        settings, classes = self.settings, len(self.job["classes"])
        config = ModelConfig(
            weights=self.job["weights"],
            dropout=DROPOUT,
            augment=AUGMENT,
            fused=False,
            backbone_args={"width_mult": settings.alpha},
        )
        classifier = build_classifier(config, (settings.image_size,) * 2, classes, settings.seed, shared)
        head = classifier.model.get_layer("head")
        kernel = head_kernel(int(head.kernel.shape[0]), classes, settings.seed)
        head.set_weights([kernel, np.zeros(classes, np.float32)])
        return classifier

    def _compile(self, classifier: TransferClassifier, phase: str, restore: bool = True) -> None:
        """Freeze, unfreeze and take a fresh optimizer, from the initial weights."""
        layers = self.settings.unfreeze_last(phase)
        classifier.backbone.unfreeze_last(layers)
        if restore:
            for weight, value in zip(self.weights, self.initial, strict=True):
                weight.assign(value)
        compile_model(classifier.model, Phase(phase, 1, self.settings.lr(phase), layers), 0.0)

    def _images(self, part: str) -> Images:
        return load_images(Path(self.job["folder"]), part)
