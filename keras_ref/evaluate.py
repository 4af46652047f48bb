"""What a trained model says of each image: predictions, the confusion matrix and results.json."""

import json
import math
import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import keras
import matplotlib.figure
import numpy as np
from numpy.typing import NDArray

from keras_ref.data import Sample
from keras_ref.data.dataset import Batches
from keras_ref.files import replacing, write_text
from keras_ref.table import guarded, write_table

PACKAGES = ("lightning-tl", "keras", "numpy", "pillow")

MOST_NAMES = 70
"""On an axis of the confusion matrix; slanted names would run into one another where there are more."""


@dataclass(frozen=True)
class Predictions:
    """Predictions for the images of one or more splits, ordered by index.

    Attributes:
        index: position in the split file, int64 (images,).
        label: true class, int64 (images,).
        probabilities: float32 (images, classes).
        loss: cross-entropy of each image, float32 (images,).
    """

    index: NDArray[np.int64]
    label: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    loss: NDArray[np.float32]

    @property
    def predicted(self) -> NDArray[np.int64]:
        """Most probable class, the first of equals, (images,)."""
        return np.asarray(self.probabilities.argmax(axis=1), dtype=np.int64)

    def accuracy(self) -> float:
        """Share of images whose predicted class is the true one."""
        return float((self.predicted == self.label).mean())

    def f1(self) -> float:
        """Mean of the classes' F1, 2 hits / (predicted + true), over the classes that are there or predicted."""
        counts = confusion_matrix(self, self.probabilities.shape[1])
        total = counts.sum(axis=0) + counts.sum(axis=1)
        return float((2 * counts.diagonal()[total > 0] / total[total > 0]).mean())

    def where(self, keep: NDArray[np.bool_]) -> "Predictions":
        """Those rows alone; ``keep`` is (images,)."""
        return Predictions(self.index[keep], self.label[keep], self.probabilities[keep], self.loss[keep])


def collect(model: Any, batches: Sequence[Batches], label_smoothing: float) -> Predictions:
    """Predict whole splits and join them, sorted by index.

    differs: lightning_tl joins the batches of its predict step, whose loss comes from logits; here there are
    probabilities alone, clipped where Keras' loss clips them.
    """
    index = np.concatenate([part.indices for part in batches])
    label = batches[0].source.labels[index]
    probabilities = np.concatenate([model.predict(part, verbose=0) for part in batches])
    loss = cross_entropy(probabilities, label, label_smoothing)
    order = np.argsort(index)
    return Predictions(index[order], label[order], probabilities[order], loss[order])


def cross_entropy(
    probabilities: NDArray[np.float32], label: NDArray[np.int64], label_smoothing: float = 0.0
) -> NDArray[np.float32]:
    """Each image's part of the validation loss, float32 (images,).

    Args:
        probabilities: (images, classes), in [0, 1].
        label: true classes, (images,).
        label_smoothing: share of the target spread evenly over all classes, in [0, 1).
    """
    classes = probabilities.shape[1]
    target = np.eye(classes)[label] * (1 - label_smoothing) + label_smoothing / classes
    # Keras' loss clips probabilities, but on TensorFlow it finds the logits that they were made of.
    epsilon = float(np.finfo(np.float32).tiny) if keras.backend.backend() == "tensorflow" else keras.config.epsilon()
    losses: NDArray[np.float32] = -(target * np.log(probabilities.clip(epsilon, 1 - epsilon))).sum(axis=1)
    return losses.astype(np.float32)


def confusion_matrix(predictions: Predictions, num_classes: int) -> NDArray[np.int64]:
    """Counts, int64 (true class, predicted class)."""
    flat = predictions.label * num_classes + predictions.predicted
    return np.bincount(flat, minlength=num_classes**2).reshape(num_classes, num_classes)


def write_predictions(path: Path, predictions: Predictions, samples: Sequence[Sample], classes: Sequence[str]) -> None:
    """Write split, path, true and predicted label and a probability column a class; samples are by index.

    Names that a spreadsheet would take for formulas begin with an apostrophe; see ``guarded``.

    Raises:
        OSError: the file cannot be written; an old one stays.
    """
    rows = [["split", "path", "label", "predicted", *(f"probability_{name}" for name in classes)]]
    for row, index in enumerate(predictions.index):
        sample = samples[index]
        names = (sample.split, sample.path, sample.label, classes[predictions.predicted[row]])
        values = (f"{value:.9g}" for value in predictions.probabilities[row])
        rows.append([*map(guarded, names), *values])
    write_table(path, rows)


def draw_confusion_matrix(path: Path, counts: NDArray[np.int64], classes: Sequence[str], title: str) -> None:
    """Save the confusion matrix as a PNG: counts in the cells, colour by share of the true class."""
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = min(2.5 + 0.55 * len(classes), 24)
    figure = matplotlib.figure.Figure(figsize=(side + 1, side), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, label="share of the true class", shrink=0.8)
    step = -(-len(classes) // MOST_NAMES)
    named = range(0, len(classes), step)
    names = [name if len(name) <= 24 else name[:23] + "…" for name in (_plain(classes[label]) for label in named)]
    axes.set_xticks(named, names, rotation=45, ha="right", parse_math=False)
    axes.set_yticks(named, names, parse_math=False)
    axes.set(xlabel="predicted" if step == 1 else f"predicted (1 class in {step} is named)", ylabel="true")
    axes.set_title(title, parse_math=False)
    if len(classes) <= 30:
        for (row, column), count in np.ndenumerate(counts):
            colour = "white" if share[row, column] > 0.5 else "black"
            cell = axes.text(column, row, str(count), ha="center", va="center", color=colour, fontsize=9)
            cell.set_in_layout(False)  # it never leaves the axes, and measuring 900 takes half a second
    with replacing(path) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # a box stands for it
        figure.savefig(temporary, format="png", dpi=120)


def results(
    predictions: Predictions,
    split: str,
    phases: Sequence[Mapping[str, Any]],
    classes: Sequence[str],
    weights: Mapping[str, str],
    seed: int,
    checkpoint: str | None = None,
) -> dict[str, Any]:
    """The contents of results.json; ``predictions`` are those of the split that ``test`` speaks of.

    ``checkpoint`` is the SHA-256 of the file whose weights have predicted, if they were in one: a run that is resumed
    and does not come to its end leaves the results of its earlier end beside a newer best checkpoint.
    """
    test = {
        "accuracy": predictions.accuracy(),
        "f1": predictions.f1(),
        "loss": float(predictions.loss.mean(dtype=np.float64)),
        "split": split,
    }
    return {
        "phases": [dict(phase) for phase in phases],
        "test": test,
        "classes": list(classes),
        "weights": dict(weights),
        "framework": f"keras-{keras.config.backend()}",
        "versions": _versions(),
        "seed": seed,
        "checkpoint_sha256": checkpoint,
    }


def write_results(path: Path, values: Mapping[str, Any]) -> None:
    """Write results.json; what is no number, as the loss of a run that diverged, is null.

    Raises:
        OSError: the file cannot be written; an old one stays.
    """
    write_text(path, json.dumps(_finite(values), indent=2, allow_nan=False) + "\n")


def _finite(value: Any) -> Any:
    """``value`` as JSON can hold it: NaN and infinity are none of its numbers."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _versions() -> dict[str, str]:
    """Of the packages, and of the backend, which several distributions bring (tensorflow, tensorflow-cpu)."""
    backend = keras.config.backend()
    return {package: _version(package) for package in PACKAGES} | {backend: sys.modules[backend].__version__}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # run from a checkout
        return "not installed"


def _plain(name: str) -> str:
    """A class name that any font can draw: undecodable bytes and control characters become question marks."""
    return "".join(c if c.isprintable() and not "\ud800" <= c <= "\udfff" else "?" for c in name)
