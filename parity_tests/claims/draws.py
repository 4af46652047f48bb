"""Claim 10, the random part: Keras' draws and ours are of one distribution; and whole pipelines."""

from typing import Any

import numpy as np
import torch

from lightning_tl.augment import AugmentationPipeline, from_config
from parity_tests import ours
from parity_tests.claim import claim
from parity_tests.claims.augmentation import noise, waves
from parity_tests.compare import absolute
from parity_tests.processes import Arrays, KerasProcess

SAMPLES = 4000
SEED, EPOCH = 7, 3
INDEX = np.array([3, 17, 1_000_003, 250])
"""Samples of the pipelines' batch."""

Config = dict[str, Any]

DRAWN: dict[str, Config] = {
    "RandomFlip": {},
    "RandomRotation": {"factor": 0.1},
    "RandomZoom": {"height_factor": 0.1, "width_factor": [-0.3, 0.1]},
    "RandomTranslation": {"height_factor": 0.2, "width_factor": [0.1, 0.4]},
    "RandomContrast": {"factor": [0.2, 0.6]},
    "RandomBrightness": {"factor": 0.2},
    "ColorJitter": {
        "brightness_factor": [-0.1, 0.3],
        "contrast_factor": 0.4,
        "saturation_factor": [0.0, 0.6],
        "hue_factor": 0.3,
    },
}
"""Saturation as a pair: of a number f Keras 3.15.1 makes [-f, f], ours [0, f], which Keras' manual says too."""

RECIPE: list[Config] = [
    {"class_path": "RandomFlip", "init_args": {"mode": "horizontal"}},
    {"class_path": "RandomRotation", "init_args": {"factor": 0.1}},
    {"class_path": "RandomZoom", "init_args": {"height_factor": 0.1}},
]
SHIFTED = [
    *RECIPE,
    {"class_path": "RandomTranslation", "init_args": {"height_factor": 0.05, "width_factor": 0.05}},
]
COLOURED = [
    {"class_path": "RandomFlip", "init_args": {"mode": "vertical"}},
    {"class_path": "RandomTranslation", "init_args": {"height_factor": 0.2, "width_factor": 0.3}},
    {"class_path": "RandomBrightness", "init_args": {"factor": 0.2}},
    {"class_path": "RandomContrast", "init_args": {"factor": [0.3, 0.3]}},
    {
        "class_path": "ColorJitter",
        "init_args": {"brightness_factor": 0.1, "saturation_factor": [0.0, 0.5], "hue_factor": 0.2},
    },
]

BORDER = 30
"""Of 96 pixels: what is left at the centre reads nothing beyond the image, whatever is drawn."""


def configs(layers: dict[str, Config], **more: Any) -> dict[str, Config]:
    return {name: {"class_path": name, "init_args": {**args, **more}} for name, args in layers.items()}


def our_draws() -> Arrays:
    """Parameters of the first samples of a run: (SAMPLES,) by ``transform/parameter``."""
    layers = configs(DRAWN)
    pipeline = AugmentationPipeline([from_config(config) for config in layers.values()])
    drawn = pipeline.draw(torch.arange(SAMPLES), SEED, EPOCH)
    return {
        f"{name}/{key}": value.double().numpy()
        for name, params in zip(layers, drawn, strict=True)
        for key, value in params.items()
    }


def distance(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Kolmogorov and Smirnov's: the largest difference between two samples' distribution functions."""
    places = np.union1d(ours, theirs)
    below = [np.searchsorted(np.sort(sample), places, side="right") / len(sample) for sample in (ours, theirs)]
    return float(np.abs(below[0] - below[1]).max())


def distances(ours: Arrays, theirs: Arrays) -> dict[str, float]:
    """Of every parameter, and of its difference between neighbours, which shows draws shared by samples."""
    if set(ours) != set(theirs):
        return {"parameters": float("inf")}
    found = {}
    for name, values in theirs.items():
        values = np.round(values, 5)  # where a matrix or a picture's size stood between, floats are a bit off
        mine = np.round(ours[name], 5)
        found[name] = max(distance(mine, values), distance(np.diff(mine), np.diff(values)))
    return found


def pairs(draws: Arrays) -> Arrays:
    """The difference of the two draws of transforms that have two: shows one used for both."""
    zoom, shift = "RandomZoom", "RandomTranslation"
    return {
        f"{zoom}/height - width": draws[f"{zoom}/height_zoom"] - draws[f"{zoom}/width_zoom"],
        f"{shift}/height - width": draws[f"{shift}/height_shift"] - draws[f"{shift}/width_shift"],
    }


@claim(
    "draws",
    10,
    f"Two-sample test: {SAMPLES} draws of each parameter by Keras' generator and by ours have distribution "
    "functions that differ by at most this (Kolmogorov-Smirnov).",
    dtypes=("float32",),
)
def distributions(theirs: KerasProcess) -> dict[str, float]:
    options = {"layers": configs(DRAWN, seed=SEED), "samples": SAMPLES}
    expected, drawn = theirs.call("augmentation.drawn", options), our_draws()
    return distances(drawn | pairs(drawn), expected | pairs(expected))


def pipeline_pictures(layers: list[Config], images: np.ndarray, fused: bool, float64: bool) -> np.ndarray:
    """What ``TransferClassifier`` makes of a batch in training."""
    pipeline = AugmentationPipeline([from_config(layer) for layer in layers], fused=fused)
    batch = pipeline(ours.to_torch(images, float64), torch.from_numpy(INDEX), SEED, EPOCH)
    return ours.to_numpy(batch)


def keras_pictures(theirs: KerasProcess, layers: list[Config], images: np.ndarray) -> np.ndarray:
    """Keras' layers in a row, their draws by keras_ref's own writing of the definition."""
    options = {"layers": layers, "seed": SEED, "epoch": EPOCH}
    return theirs.call("augmentation.chain", options, images=images, index=INDEX)["images"]


@claim(
    "pipeline",
    10,
    "Whole pipelines, one resampling after the other, from (seed, epoch, index) alone: largest difference of a "
    "pixel on [0, 255].",
)
def sequential(theirs: KerasProcess) -> dict[str, float]:
    errors = {}
    for name, layers, images in (
        ("recipe, smooth picture", RECIPE, waves(96, 96)[: len(INDEX)]),
        ("recipe, noise", RECIPE, noise(65, 64)[: len(INDEX)]),
        ("colours, noise", COLOURED, noise(65, 64)[: len(INDEX)]),
    ):
        mine = pipeline_pictures(layers, images, False, theirs.float64)
        errors[name] = absolute(mine, keras_pictures(theirs, layers, images))
    return errors


@claim(
    "fused",
    10,
    "One resampling by the product of the matrices against Keras' one after the other, away from borders: "
    "largest difference of a pixel on [0, 255] of a smooth picture.",
    dtypes=("float32",),
)
def fused(theirs: KerasProcess) -> dict[str, float]:
    images, inside = waves(96, 96)[: len(INDEX)], (slice(None), *(slice(BORDER, -BORDER),) * 2)
    return {
        name: absolute(
            pipeline_pictures(layers, images, True, theirs.float64)[inside],
            keras_pictures(theirs, layers, images)[inside],
        )
        for name, layers in (("recipe", RECIPE), ("recipe and translation", SHIFTED))
    }
