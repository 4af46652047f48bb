"""Pictures that a run leaves behind, so that a report of it needs neither the model nor the data.

``pictures/pictures.json`` in the run folder says what there is; paths are relative to it, and an index is the position
in split.csv. Any key may be absent:

- ``image_size``: [height, width] in pixels, as the model takes images;
- ``images``: from index to the thumbnail of a held-out image, as it goes into the model;
- ``gradcam``: from index to the same thumbnail under the Grad-CAM map of the predicted class, for mistakes;
- ``augmented``: ``file``, a grid of training samples (``rows``: their indices; ``columns``: original, then
  epochs, from 0) as training has drawn them.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from lightning_tl.augment import augmented_samples, lay_out
from lightning_tl.choice import mistakes, training_samples, worth_a_look
from lightning_tl.classifier import TransferClassifier
from lightning_tl.data import ImageFolderDataModule
from lightning_tl.evaluate import Predictions
from lightning_tl.files import new_folder
from lightning_tl.gradcam import gradcam, overlay
from lightning_tl.thumbnail import save_jpeg, thumbnails

FOLDER, CONTENTS = "pictures", "pictures.json"
EXPLAINED = 60
"""Mistakes with a Grad-CAM overlay."""
EPOCHS = 6
"""Augmented columns."""
TOGETHER = 16
"""Images in memory at a time, and in a batch of the network."""


def write_pictures(
    run_folder: Path,
    model: TransferClassifier,
    data: ImageFolderDataModule,
    predictions: Predictions,
    epochs: int,
    device: torch.device | None = None,
) -> None:
    """Write ``run_folder/pictures``, whole or not at all, in place of an earlier one.

    Args:
        run_folder: of the run.
        model: with the weights that predicted; nothing of it changes.
        data: its data.
        predictions: of held-out images.
        epochs: that the run has trained.
        device: where Grad-CAM runs; by default where the model is.

    Raises:
        InputError: an image can no longer be read.
        OSError: the folder cannot be written, or another one that is no run's is in its place.
    """
    remove_pictures(run_folder)
    rows = worth_a_look(predictions)
    with new_folder(run_folder / FOLDER) as folder:
        contents: dict[str, Any] = {"image_size": list(data.options.size)}
        indices = predictions.index[rows].tolist()
        contents["images"] = _write(folder, "images", indices, lambda part: thumbnails(data.pixels(part)))
        with _on(model, device or model.device):
            explained = _write_gradcam(folder, model, data, predictions)
        augmented = _write_augmented(folder, model, data, min(epochs, EPOCHS))
        contents |= {"gradcam": explained} if explained else {}
        contents |= {"augmented": augmented} if augmented else {}
        (folder / CONTENTS).write_text(json.dumps(contents, indent=1) + "\n", encoding="utf-8")


def remove_pictures(run_folder: Path) -> None:
    """Remove what ``write_pictures`` has left there, if possible; another folder of that name stays."""
    if (run_folder / FOLDER / CONTENTS).is_file():
        shutil.rmtree(run_folder / FOLDER, ignore_errors=True)


def _write(folder: Path, name: str, indices: Sequence[int], draw: Callable[[list[int]], Tensor]) -> dict[str, str]:
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
    folder: Path, model: TransferClassifier, data: ImageFolderDataModule, predictions: Predictions
) -> dict[str, str]:
    """Overlays of the most confident mistakes; none, with a word in the log, where the network has no map."""
    rows = mistakes(predictions)[:EXPLAINED]
    predicted = dict(zip(predictions.index[rows].tolist(), predictions.predicted[rows].tolist(), strict=True))
    indices = list(predicted)

    def explain(part: list[int]) -> Tensor | None:
        classes = torch.tensor([predicted[index] for index in part], device=model.device)
        return gradcam(model, data.pixels(part).to(model.device), classes)

    def draw(part: list[int]) -> Tensor:
        maps = explain(part)
        assert maps is not None
        return overlay(thumbnails(data.pixels(part)), maps)

    if indices and explain(indices[:1]) is None:
        rank_zero_info("No Grad-CAM pictures: the last feature map of %s is no map.", model.backbone.name)
        return {}
    return _write(folder, "gradcam", indices, draw) if indices else {}


def _write_augmented(
    folder: Path, model: TransferClassifier, data: ImageFolderDataModule, epochs: int
) -> dict[str, Any] | None:
    """The grid of augmented training samples; nothing where training augments none."""
    if not len(model.augment.transforms) or epochs < 1:
        return None
    rows = training_samples(data.samples)
    with torch.no_grad():
        shown = augmented_samples(data.pixels(rows), torch.tensor(rows), model.augment, model.seed, epochs)
    small = torch.stack([thumbnails(columns) for columns in shown])
    save_jpeg(folder / "augmented.jpg", lay_out(small))
    columns = ["original", *(f"epoch {epoch}" for epoch in range(epochs))]
    return {"file": "augmented.jpg", "rows": rows, "columns": columns}


@contextmanager
def _on(model: TransferClassifier, device: torch.device) -> Iterator[None]:
    """The model on ``device``, and back when the block ends."""
    home = model.device
    model.to(device)
    try:
        yield
    finally:
        model.to(home)
