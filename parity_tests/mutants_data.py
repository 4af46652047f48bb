"""Mistakes in data, decisions and files; those in augmentation are in ``mutants_augment.py``."""

from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score

from lightning_tl import schedule, stage_metrics, stopping
from lightning_tl.bridge import read, write
from lightning_tl.data import decode, split
from lightning_tl.keras_layers import Variable, name_table
from parity_tests.claims import files
from parity_tests.mutant import Mutant, replaced, wrapped
from parity_tests.mutants_augment import MUTANTS_AUGMENT

Taps = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]


def corners(source: int, target: int) -> Taps:
    """The first and the last pixel stay where they are."""
    return taps(np.linspace(0, source - 1, target, dtype=np.float32), source)


def no_half(source: int, target: int) -> Taps:
    """Pixels are points at whole numbers."""
    return taps(np.arange(target, dtype=np.float32) * np.float32(source / target), source)


def taps(position: NDArray[np.float32], source: int) -> Taps:
    first = np.floor(position)
    return first.astype(np.int64), np.minimum(first + 1, source - 1).astype(np.int64), position - first


def resized(image: Tensor, size: tuple[int, int], antialias: bool) -> Tensor:
    return original_interpolate(image, size, True)


def top_left(image: Tensor, size: tuple[int, int]) -> Tensor:
    cropped = original_crop(image, size)
    return image[:, : cropped.shape[1], : cropped.shape[2]]


def off_by_one(*args: Any) -> tuple[split.Sample, ...]:
    samples = original_split(*args)
    first = next(n for n, sample in enumerate(samples) if sample.split == "val")
    return (*samples[:first], replace(samples[first], split="train"), *samples[first + 1 :])


def more_patience(phase: str, options: dict[str, Any]) -> Any:
    return original_stopping(phase, {**options, "patience": options["patience"] + 1})


def no_delta(phase: str, options: dict[str, Any]) -> Any:
    return original_stopping(phase, {**options, "min_delta": 0.0})


def less_forgiving(optimizer: Any, patience: int = 10, **options: Any) -> Any:
    return original_plateau(optimizer, patience=patience - 1, **options)


def relative_threshold(optimizer: Any, **options: Any) -> Any:
    return original_plateau(optimizer, **{**options, "threshold_mode": "rel"})


def shorter(optimizer: Any, **options: Any) -> Any:
    return original_cosine(optimizer, **{**options, "T_max": options["T_max"] - 1})


def averaged(metric: type[Metric], instead: str, classes: int, **options: Any) -> Metric:
    """A metric averaged in another way than it is asked to be."""
    return metric(classes, **{**options, "average": instead})


def transposed(library: Any, alpha: float) -> tuple[Variable, ...]:
    """Height and width of convolutions change places, which no shape tells."""
    table = name_table(library, alpha)
    return tuple(replace(row, axes=(*row.axes[:2], row.axes[3], row.axes[2])) if len(row.axes) == 4 else row
                 for row in table)  # fmt: skip


def swapped_statistics(library: Any, alpha: float) -> tuple[Variable, ...]:
    other = {"moving_mean": "moving_variance", "moving_variance": "moving_mean"}
    rows = []
    for row in name_table(library, alpha):
        layer, _, variable = row.keras.partition("/")
        rows.append(replace(row, keras=f"{layer}/{other.get(variable, variable)}"))
    return tuple(rows)


def other_convention(folder: Any, spec: dict[str, Any], arrays: dict[str, np.ndarray]) -> Any:
    spec["convention"] = {"keras": "torch", "torch": "keras"}[spec["convention"]]
    return original_run(folder, spec, arrays)


original_interpolate, original_crop, original_split = decode._interpolate, decode._centre_crop, split.keras_split
original_stopping, original_run = stopping._early_stopping, write._run_keras
original_plateau, original_cosine = schedule.ReduceLROnPlateau, schedule.CosineAnnealingLR

PIXELS = ("resize-ops", "resize-png", "pixels-keras_ref")
SPLIT = ("split-keras", "split-keras_ref")
DECODED = ("decode-jpeg", "pixels-keras_ref")
PLATEAU = ("plateau", "schedules-keras_ref")

MUTANTS_DATA = (
    *MUTANTS_AUGMENT,
    Mutant(
        "corner-aligned resize", "resizing keeps the corners in place", replaced((decode, "_taps", corners)), PIXELS
    ),
    Mutant("resize without half pixels", "pixels are points", replaced((decode, "_taps", no_half)), PIXELS),
    Mutant("antialias", "resizing averages", replaced((decode, "_interpolate", resized)), PIXELS),
    Mutant(
        "crop from the corner",
        "the part that is kept is not the middle",
        replaced((decode, "_centre_crop", top_left)),
        ("pixels-keras_ref",),
    ),
    Mutant(
        "channels swapped",
        "decoded images are BGR",
        wrapped(decode, "_decode", lambda original: lambda data: original(data).flip(0)),
        DECODED,
    ),
    Mutant(
        "image transposed",
        "height and width change places in decoding",
        wrapped(decode, "_decode", lambda original: lambda data: original(data).transpose(1, 2).contiguous()),
        DECODED,
    ),
    Mutant(
        "split off by one",
        "the first image to validate on is trained on",
        replaced((split, "keras_split", off_by_one)),
        SPLIT,
    ),
    Mutant(
        "split by another generator",
        "files are shuffled by NumPy's new generator",
        replaced((split, "np", SimpleNamespace(random=SimpleNamespace(RandomState=np.random.default_rng)))),
        SPLIT,
    ),
    Mutant(
        "patience off by one",
        "early stopping waits an epoch more",
        replaced((stopping, "_early_stopping", more_patience)),
        ("early-stopping", "early-stopping-keras_ref"),
    ),
    Mutant(
        "min_delta forgotten",
        "the smallest gain counts as one",
        replaced((stopping, "_early_stopping", no_delta)),
        ("early-stopping", "early-stopping-keras_ref"),
    ),
    Mutant(
        "plateau too short",
        "the rate falls an epoch early",
        replaced((schedule, "ReduceLROnPlateau", less_forgiving)),
        PLATEAU,
    ),
    Mutant(
        "plateau relative",
        "the threshold is a fraction of the best value",
        replaced((schedule, "ReduceLROnPlateau", relative_threshold)),
        PLATEAU,
    ),
    Mutant(
        "cosine too short",
        "the rate is at its lowest an epoch early",
        replaced((schedule, "CosineAnnealingLR", shorter)),
        ("cosine", "schedules-keras_ref"),
    ),
    Mutant(
        "accuracy of classes",
        "accuracy is the mean of the classes'",
        replaced((stage_metrics, "MulticlassAccuracy", partial(averaged, MulticlassAccuracy, "macro"))),
        ("metrics",),
    ),
    Mutant(
        "F1 of samples",
        "F1 is that of all samples",
        replaced((stage_metrics, "MacroF1", partial(MulticlassF1Score, average="micro"))),
        ("metrics",),
    ),
    Mutant(
        "kernels transposed on reading",
        "height and width of square kernels change places",
        replaced((read, "name_table", transposed)),
        ("import",),
    ),
    Mutant(
        "statistics swapped on reading",
        "means are read as variances",
        replaced((read, "name_table", swapped_statistics)),
        ("import",),
    ),
    Mutant(
        "exported in the other convention",
        "padding, epsilon and scaling are not those of the weights",
        replaced(
            (write, "_run_keras", other_convention),
            (files, "exported", partial(files.export, name="other_convention")),
        ),
        ("export",),
    ),
)
