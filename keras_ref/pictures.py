"""Pictures that a run leaves behind, so that a report of it needs neither the model nor the data.

``pictures/pictures.json`` in the run folder says what there is; paths are relative to it, and an index is the position
in split.csv. Any key may be absent:

- ``image_size``: [height, width] in pixels, as the model takes images;
- ``images``: from index to the thumbnail of a held-out image, as it goes into the model;
- ``gradcam``: from index to the same thumbnail under the Grad-CAM map of the predicted class, for mistakes;
- ``augmented``: ``file``, a grid of training samples (``rows``: their indices; ``columns``: original, then epochs) as
  training has drawn them.

differs: where Keras draws by itself, the columns of ``augmented`` are not epochs but draws, and training had others.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keras_ref.augment import augmented_samples, lay_out
from keras_ref.choice import mistakes, training_samples, worth_a_look
from keras_ref.classifier import TransferClassifier
from keras_ref.config import Config
from keras_ref.data import Source
from keras_ref.data.dataset import pixels
from keras_ref.evaluate import Predictions
from keras_ref.files import new_folder
from keras_ref.gradcam import gradcam, overlay
from keras_ref.thumbnail import save_jpeg, thumbnails

FOLDER, CONTENTS = "pictures", "pictures.json"
EXPLAINED = 60
"""Mistakes with a Grad-CAM overlay."""
EPOCHS = 6
"""Augmented columns."""
TOGETHER = 16
"""Images in memory at a time, and in a batch of the network."""

Read = Callable[[Sequence[int]], NDArray[np.uint8]]
"""From indices to the images, as the model takes them: uint8 (indices, height, width, 3)."""


def write_pictures(
    run_folder: Path,
    classifier: TransferClassifier,
    source: Source,
    config: Config,
    predictions: Predictions,
    epochs: int,
) -> None:
    """Write ``run_folder/pictures``, whole or not at all, in place of an earlier one.

    Args:
        run_folder: of the run.
        classifier: with the weights that predicted; nothing of it changes.
        source: its data.
        config: of the run.
        predictions: of held-out images.
        epochs: that the run has trained.

    Raises:
        InputError: an image can no longer be read.
        OSError: the folder cannot be written, or another one that is no run's is in its place.
    """

    def read(indices: Sequence[int]) -> NDArray[np.uint8]:
        return pixels(source, config.data, indices)

    remove_pictures(run_folder)
    rows = worth_a_look(predictions)
    with new_folder(run_folder / FOLDER) as folder:
        contents: dict[str, Any] = {"image_size": list(config.data.size)}
        indices = predictions.index[rows].tolist()
        contents["images"] = _write(folder, "images", indices, lambda part: thumbnails(read(part)))
        explained = _write_gradcam(folder, classifier, read, predictions)
        shown = training_samples(source.samples)
        augmented = _write_augmented(folder, classifier, read, shown, config.seed, min(epochs, EPOCHS))
        contents |= {"gradcam": explained} if explained else {}
        contents |= {"augmented": augmented} if augmented else {}
        (folder / CONTENTS).write_text(json.dumps(contents, indent=1) + "\n", encoding="utf-8")


def remove_pictures(run_folder: Path) -> None:
    """Remove what ``write_pictures`` has left there, if possible; another folder of that name stays."""
    if (run_folder / FOLDER / CONTENTS).is_file():
        shutil.rmtree(run_folder / FOLDER, ignore_errors=True)


def _write(
    folder: Path, name: str, indices: Sequence[int], draw: Callable[[list[int]], NDArray[np.uint8]]
) -> dict[str, str]:
    """Save what ``draw`` makes of a few indices at a time; from index to the file's path in ``folder``."""
    (folder / name).mkdir()
    files = {}
    for start in range(0, len(indices), TOGETHER):
        part = list(indices[start : start + TOGETHER])
        for index, picture in zip(part, draw(part), strict=True):
            files[str(index)] = f"{name}/{index:06}.jpg"
            save_jpeg(folder / files[str(index)], picture)
    return files


def _write_gradcam(
    folder: Path, classifier: TransferClassifier, read: Read, predictions: Predictions
) -> dict[str, str]:
    """Overlays of the most confident mistakes; none where the network has no map."""
    rows = mistakes(predictions)[:EXPLAINED]
    predicted = dict(zip(predictions.index[rows].tolist(), predictions.predicted[rows].tolist(), strict=True))
    indices = list(predicted)

    def explain(part: list[int]) -> NDArray[np.float32] | None:
        return gradcam(classifier, read(part), np.array([predicted[index] for index in part]))

    def draw(part: list[int]) -> NDArray[np.uint8]:
        maps = explain(part)
        assert maps is not None
        return overlay(thumbnails(read(part)), maps)

    if indices and explain(indices[:TOGETHER]) is None:  # no fewer: JAX compiles anew for every batch size
        return {}
    return _write(folder, "gradcam", indices, draw) if indices else {}


def _write_augmented(
    folder: Path, classifier: TransferClassifier, read: Read, rows: list[int], seed: int, epochs: int
) -> dict[str, Any] | None:
    """The grid of augmented training samples; nothing where training augments none."""
    if classifier.augment is None or epochs < 1:
        return None
    shown = augmented_samples(read(rows), np.array(rows), classifier.augment, classifier.drawn, seed, epochs)
    small = np.stack([thumbnails(columns) for columns in shown])
    save_jpeg(folder / "augmented.jpg", lay_out(small))
    column = "epoch" if classifier.drawn else "draw"
    columns = ["original", *(f"{column} {number}" for number in range(epochs))]
    return {"file": "augmented.jpg", "rows": rows, "columns": columns}
