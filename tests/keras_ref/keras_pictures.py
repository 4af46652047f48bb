"""What the worker is asked of pictures: maps, overlays, grids, and a folder of them; arrays for the tests to read."""

from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_ref.augment import augmented_samples, lay_out
from keras_ref.backbone import preprocess
from keras_ref.choice import training_samples
from keras_ref.classifier import TransferClassifier, build_classifier
from keras_ref.config import Config, read_config
from keras_ref.data import Source, open_source
from keras_ref.data.dataset import TrainBatches, pixels, shared_order
from keras_ref.evaluate import Predictions
from keras_ref.gradcam import gradcam, overlay
from keras_ref.pictures import write_pictures
from keras_ref.thumbnail import thumbnails

EPOCHS = 2


def leave_pictures(folder: Path) -> dict[str, Any]:
    """Pictures of an untrained model in ``explained`` (shared draws), ``drawn`` (Keras draws), ``plain`` (no draws)."""
    answers = {}
    shared = {"model.weights": str(folder / "weights.h5"), "data.image_size": "[96, 128]"}
    drawn = {**shared, "keras.draws": "keras"}
    for name, changes in (("explained", shared), ("drawn", drawn), ("plain", {**drawn, "model.augment": "[]"})):
        config = read_config(folder / "config.yaml", changes)
        source = open_source(config.data, config.seed)
        classifier = build_classifier(config.model, config.data.size, 2, config.seed, config.draws == "shared")
        spread(classifier, source, config)
        before = state(classifier)
        write_pictures(folder / name, classifier, source, config, mistaken(source), EPOCHS)
        if classifier.augment:
            save_grids(folder / name, classifier, source, config)
        if classifier.drawn:
            save_maps(folder / name, classifier, source, config)
        answers[name] = [np.array_equal(old, new) for old, new in zip(before, state(classifier), strict=True)]
    return answers


def mistaken(source: Source) -> Predictions:
    """Of the held-out images, each taken for the other class, the later the surer."""
    index = np.sort(np.concatenate([source.indices(split) for split in ("val", "test")]))
    label, sure = source.labels[index], np.linspace(0.6, 0.9, len(index), dtype=np.float32)[:, None]
    probabilities = np.where(np.eye(2)[1 - label] > 0, sure, 1 - sure).astype(np.float32)
    return Predictions(index, label, probabilities, np.ones(len(index), np.float32))


def spread(classifier: TransferClassifier, source: Source, config: Config) -> None:
    """Give the head weights with which every class has places for it and places against it.

    Channels of random weights hardly differ from place to place: with a random head a map is of one sign. Here the
    head is made orthogonal to the mean of all places.
    """
    images = pixels(source, config.data, mistaken(source).index.tolist()).astype(np.float32)
    mean = classifier.backbone.base.predict_on_batch(preprocess(images)).mean(axis=(0, 1, 2), dtype=np.float64)
    head = classifier.model.get_layer("head")
    kernel = np.random.default_rng(5).normal(0, 0.1, (len(mean), 2))
    head.set_weights([(kernel - np.outer(mean, mean @ kernel) / (mean @ mean)).astype(np.float32), np.zeros(2)])


def state(classifier: TransferClassifier) -> list[np.ndarray]:
    """Every number of the model: weights, statistics and where its random streams are."""
    return [keras.ops.convert_to_numpy(variable).copy() for variable in classifier.model.variables]


def save_maps(folder: Path, classifier: TransferClassifier, source: Source, config: Config) -> None:
    """Maps of both classes of the held-out images; an overlay of maps of zeros, of no numbers, and of numbers."""
    held_out = mistaken(source)
    images = pixels(source, config.data, held_out.index.tolist())
    np.save(folder / "head.npy", classifier.model.get_layer("head").get_weights()[0])
    np.save(folder / "index.npy", held_out.index)
    np.save(folder / "labels.npy", held_out.label)
    for label in range(2):
        np.save(folder / f"maps_{label}.npy", gradcam(classifier, images, np.full(4, label)))
    maps = np.random.default_rng(0).random((4, 3, 4), np.float32) ** 3
    maps[0], maps[1] = 0, np.nan
    np.save(folder / "images.npy", images)
    np.save(folder / "chosen.npy", maps)
    np.save(folder / "overlay.npy", overlay(images, maps))
    for height, width in ((8, 5), (112, 60), (230, 120)):
        picture = np.random.default_rng(1).integers(0, 256, (2, height, width, 3), dtype=np.uint8)
        np.save(folder / f"large_{height}.npy", picture)
        np.save(folder / f"small_{height}.npy", thumbnails(picture))


def save_grids(folder: Path, classifier: TransferClassifier, source: Source, config: Config) -> None:
    """The grid twice, and what batches of training make of the same samples: (samples, columns, height, width, 3)."""
    rows = np.array(training_samples(source.samples))
    images = pixels(source, config.data, rows.tolist())
    for name in ("grid", "again"):
        shown = augmented_samples(images, rows, classifier.augment, classifier.drawn, config.seed, EPOCHS)
        np.save(folder / f"{name}.npy", shown)
    np.save(folder / "rows.npy", rows)
    np.save(folder / "laid_out.npy", lay_out(shown))
    if classifier.drawn:
        np.save(folder / "trained.npy", trained(classifier, source, config, rows))


def trained(classifier: TransferClassifier, source: Source, config: Config, rows: np.ndarray) -> np.ndarray:
    """The samples as the batches of each epoch give them to the model, augmented: float32, without the originals."""
    order = shared_order(config.seed)
    batches = TrainBatches(source, config.data, classifier.drawn, config.seed, order, 0, EPOCHS)
    names = {tensor.name for tensor in classifier.augment.inputs}
    found: dict[tuple[int, int], np.ndarray] = {}
    for position in range(len(batches)):
        epoch, step = divmod(position, batches.steps)
        inputs, _ = batches[position]
        augmented = classifier.augment({name: inputs[name] for name in names}, training=True)
        start = step * config.data.batch_size
        for index, image in zip(
            order(epoch, batches.indices)[start:], keras.ops.convert_to_numpy(augmented), strict=False
        ):
            found[epoch, int(index)] = image
    return np.stack([[found[epoch, row] for epoch in range(EPOCHS)] for row in rows.tolist()])
