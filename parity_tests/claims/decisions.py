"""Claim 14: metrics and early stopping on the same values; ``schedules.py`` has the learning rates."""

from typing import Any

import numpy as np
import torch

from lightning_tl import stopping
from lightning_tl.stage_metrics import StageMetrics
from parity_tests.claim import claim
from parity_tests.compare import relative
from parity_tests.processes import KerasProcess

CLASSES, SAMPLES, BATCH = 5, 203, 32
EPOCHS = 24

STOPPING: list[dict[str, Any]] = [
    {"patience": 3},
    {"patience": 0},
    {"patience": 1, "min_delta": 0.1},
    {"patience": 2, "min_delta": 0.05, "mode": "max"},
    {"patience": 5, "min_delta": 1e-3},
]


def sequences() -> np.ndarray:
    """Values of a monitored quantity, float32 (sequences, EPOCHS): falling, random, plateaus, steps, ties."""
    rng = np.random.default_rng(0)
    falling = np.exp(-np.arange(EPOCHS) / 8)
    kinds = [falling, falling[::-1], np.ones(EPOCHS), np.repeat(falling[::6], 6), np.tile([1.0, 0.9, 1.1], 8)]
    kinds += [falling + scale * rng.normal(size=EPOCHS) for scale in (0.02, 0.05, 0.1, 0.2) for _ in range(5)]
    kinds += [rng.uniform(0, 1, EPOCHS) for _ in range(10)]
    kinds += [rng.integers(0, 8, EPOCHS) / 8 for _ in range(10)]
    kinds += [np.round(falling + 0.1 * rng.normal(size=EPOCHS), 1) for _ in range(5)]
    return np.array(kinds, dtype=np.float32)


def with_nan(first: int) -> np.ndarray:
    """The same with NaN and an infinity at random places from ``first`` on."""
    values, rng = sequences(), np.random.default_rng(1)
    for row in values:
        row[rng.integers(first, EPOCHS, 3)] = np.nan
        row[rng.integers(first, EPOCHS)] = np.inf
    return values


def our_stops(values: np.ndarray, variants: list[dict[str, Any]]) -> np.ndarray:
    """Epoch after which each phase would end, -1 for never: int (variants, sequences)."""
    return np.array([[our_stop(row, variant) for row in values] for variant in variants])


def our_stop(values: np.ndarray, arguments: dict[str, Any]) -> int:
    """As ``PhasedFinetuning`` asks its stopper after each validation."""
    stopper = stopping._early_stopping("phase", arguments)
    for epoch, value in enumerate(torch.from_numpy(values)):
        if stopper._evaluate_stopping_criteria(value)[0]:
            return epoch
    return -1


def disagreements(ours: np.ndarray, theirs: np.ndarray) -> float:
    """How many sequences end at another epoch. Theirs must not all end together, which would show nothing."""
    assert len(np.unique(theirs)) > EPOCHS // 5
    return float((ours != theirs).sum())


@claim(
    "metrics",
    14,
    "Accuracy, macro F1 and mean loss over batches of unequal size by Keras' own metrics, relative.",
    dtypes=("float32",),
)
def metrics(theirs: KerasProcess) -> dict[str, float]:
    rng = np.random.default_rng(0)
    label = rng.integers(0, CLASSES, SAMPLES)
    logits = rng.normal(size=(SAMPLES, CLASSES)) + 1.5 * np.eye(CLASSES)[label] * rng.uniform(size=(SAMPLES, 1))
    logits[:, 0] += 0.7  # classes are not guessed equally often, so that accuracy, recall and F1 differ
    logits = logits.astype(np.float32)
    loss = rng.uniform(0, 3, -(-SAMPLES // BATCH)).astype(np.float32)
    expected = theirs.call(
        "decisions.metrics", {"batch": BATCH}, probabilities=_softmax(logits), label=label, loss=loss
    )
    found = StageMetrics("val", CLASSES)
    for batch, start in enumerate(range(0, SAMPLES, BATCH)):
        part = slice(start, start + BATCH)
        found.update(torch.from_numpy(logits[part]), torch.from_numpy(label[part]), torch.tensor(loss[batch]))
    values = {name.removeprefix("val_"): metric.compute() for name, metric in found.named()}
    return {name: relative(values[name], expected[name]) for name in expected}


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


@claim(
    "early-stopping",
    14,
    "keras.callbacks.EarlyStopping on fifty sequences under five settings: number of decisions that differ, for "
    "finite values, and with check_finite: false for NaN and infinity after the first epoch.",
    dtypes=("float32",),
)
def early_stopping(theirs: KerasProcess) -> dict[str, float]:
    errors = {}
    unchecked = [{**variant, "check_finite": False} for variant in STOPPING]
    for name, values, variants in (("finite", sequences(), STOPPING), ("not finite", with_nan(1), unchecked)):
        options = {"variants": [{"mode": "min", **variant} for variant in STOPPING]}
        expected = theirs.call("decisions.early_stopping", options, values=values)["epochs"]
        errors[name] = disagreements(our_stops(values, variants), expected)
    return errors


@claim(
    "early-stopping-nan",
    14,
    "By default ours also stops at the first value that is not finite: number of decisions that are neither "
    "that epoch nor Keras' earlier one.",
    dtypes=("float32",),
)
def early_stopping_by_nan(theirs: KerasProcess) -> float:
    values = with_nan(1)
    options = {"variants": [{"mode": "min", **variant} for variant in STOPPING]}
    expected = theirs.call("decisions.early_stopping", options, values=values)["epochs"]
    broken = np.argmax(~np.isfinite(values), axis=1)
    earlier = np.where((expected >= 0) & (expected < broken), expected, broken)
    return disagreements(our_stops(values, STOPPING), earlier)


@claim(
    "early-stopping-keras_ref",
    14,
    "The reference's callback on the same finite sequences: number of decisions that differ.",
    dtypes=("float32",),
)
def early_stopping_of_reference(theirs: KerasProcess) -> float:
    values = sequences()
    expected = theirs.call("decisions.early_stopping_of_reference", {"variants": STOPPING}, values=values)
    return disagreements(our_stops(values, STOPPING), expected["epochs"])
