"""What a trained model says of each image: predictions, the confusion matrix and results.json."""

import json
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import matplotlib.figure
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lightning_tl.data import Sample
from lightning_tl.data.dataset import PADDING
from lightning_tl.files import replacing, write_text
from lightning_tl.table import guarded, write_table

PACKAGES = ("lightning-tl", "torch", "torchvision", "lightning", "timm", "torchmetrics")

MOST_NAMES = 70
"""On an axis of the confusion matrix; slanted names would run into one another where there are more."""


@dataclass(frozen=True)
class Predictions:
    """Predictions for the images of one or more splits, ordered by index.

    Attributes:
        index: position in the split file, int64 (images,).
        label: true class, int64 (images,); -1 where unknown.
        probabilities: float32 (images, classes).
        loss: cross-entropy of each image, float32 (images,); NaN where the label is unknown.
    """

    index: NDArray[np.int64]
    label: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    loss: NDArray[np.float32]

    @property
    def predicted(self) -> NDArray[np.int64]:
        """Most probable class, the first of equals, (images,)."""
        predicted: NDArray[np.int64] = self.probabilities.argmax(axis=1)
        return predicted

    def accuracy(self) -> float:
        """Share of images whose predicted class is the true one, in [0, 1]; NaN without images."""
        return float((self.predicted == self.label).mean()) if len(self.index) else math.nan

    def f1(self) -> float:
        """Mean of the classes' F1, 2 hits / (predicted + true), over the classes that are there or predicted.

        In [0, 1]; NaN without images. Every label must be known.
        """
        counts = confusion_matrix(self, self.probabilities.shape[1])
        total = counts.sum(axis=0) + counts.sum(axis=1)
        return float((2 * counts.diagonal()[total > 0] / total[total > 0]).mean()) if total.any() else math.nan

    def where(self, keep: NDArray[np.bool_]) -> "Predictions":
        """Those rows alone; ``keep`` is (images,)."""
        return Predictions(self.index[keep], self.label[keep], self.probabilities[keep], self.loss[keep])


def collect(batches: Sequence[Mapping[str, Tensor]]) -> Predictions:
    """Join what ``TransferClassifier.predict_step`` returned, without padding, sorted by index, each index once."""
    joined = {key: torch.cat([batch[key].cpu() for batch in batches]).numpy() for key in batches[0]}
    index, first = np.unique(joined["index"], return_index=True)
    index, first = index[index != PADDING], first[index != PADDING]
    return Predictions(index, *(joined[key][first] for key in ("label", "probabilities", "loss")))


def confusion_matrix(predictions: Predictions, num_classes: int) -> NDArray[np.int64]:
    """Counts, int64 (true class, predicted class), of images whose labels are all known."""
    flat = predictions.label * num_classes + predictions.predicted
    return np.bincount(flat, minlength=num_classes**2).reshape(num_classes, num_classes)


def write_predictions(path: Path, predictions: Predictions, samples: Sequence[Sample], classes: Sequence[str]) -> None:
    """Write split, path, true and predicted label and one probability column a class; samples are by index.

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
    """Save ``counts``, (classes, classes), as a PNG: counts in the cells, colour by share of the true class."""
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
        "framework": "lightning",
        "versions": {package: version(package) for package in PACKAGES},
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


def _plain(name: str) -> str:
    """A class name that any font can draw: undecodable bytes and control characters become question marks."""
    return "".join(c if c.isprintable() and not "\ud800" <= c <= "\udfff" else "?" for c in name)
