"""Claims 3, 5, 8 and 9: loss, optimizer, dropout and the head's initial weights."""

from typing import Any

import numpy as np
import torch

from lightning_tl.head import Dropout, class_weight_tensor, linear_head, weighted_loss
from lightning_tl.optim import build_optimizer
from lightning_tl.phase import Phase
from parity_tests import ours
from parity_tests.claim import claim
from parity_tests.compare import absolute, relative, worst
from parity_tests.mirror import adam_for
from parity_tests.processes import Arrays, KerasProcess

CLASSES = ("a", "b", "c", "d", "e", "f", "g")
WEIGHTS = {"a": 3.0, "c": 0.25, "g": 1.5}
EPSILON = 1e-7
"""keras.config.epsilon(), to which Keras clips probabilities."""


def logits_and_labels(scale: float) -> Arrays:
    rng = np.random.default_rng(4)
    return {"logits": rng.normal(0, scale, (64, len(CLASSES))), "labels": rng.integers(0, len(CLASSES), 64)}


def our_loss(arrays: Arrays, float64: bool, weights: Any = None, smoothing: float = 0.0) -> Arrays:
    """Mean loss, its gradient, and each sample's loss."""
    logits = ours.cast(arrays["logits"], float64).requires_grad_(True)
    labels = torch.from_numpy(arrays["labels"])
    class_weights = None if weights is None else class_weight_tensor(weights, CLASSES).to(logits.dtype)
    mean = weighted_loss(logits, labels, class_weights, smoothing)
    mean.backward()
    each = [weighted_loss(logits[i : i + 1], labels[i : i + 1], None, smoothing) for i in range(len(labels))]
    assert logits.grad is not None
    return {
        "mean": ours.to_numpy(mean),
        "gradient": ours.to_numpy(logits.grad),
        "each": ours.to_numpy(torch.stack(each)),
    }


@claim(
    "loss",
    3,
    "Away from saturation the loss, its gradient and each sample's part are equal, relative to the largest.",
)
def loss(theirs: KerasProcess) -> dict[str, float]:
    arrays = logits_and_labels(2.0)
    cases: dict[str, dict[str, Any]] = {
        "plain": {},
        "label smoothing": {"smoothing": 0.1},
        "class weights": {"weights": WEIGHTS},
    }
    errors = {}
    for name, case in cases.items():
        options: dict[str, Any] = {"smoothing": case.get("smoothing", 0.0)}
        if "weights" in case:
            options |= {"class_weights": case["weights"], "classes": CLASSES}
        expected = theirs.call("head.loss", options, **arrays)
        errors[name] = worst(our_loss(arrays, theirs.float64, **case), expected)
    return errors


@claim(
    "loss-saturated",
    3,
    "At saturation Keras on torch and jax is cross-entropy on probabilities clipped to [1e-7, 1 - 1e-7] with no "
    "gradient where clipped, on tensorflow cross-entropy on logits; ours is that everywhere.",
)
def loss_saturated(theirs: KerasProcess) -> dict[str, float]:
    arrays = logits_and_labels(60.0)
    found = our_loss(arrays, theirs.float64)
    expected = theirs.call("head.loss", {}, **arrays)
    described = found if theirs.backend == "tensorflow" else clipped(arrays, found, theirs.float64)
    return {"Keras as described": worst(described, expected), "ours unclipped": worst(found, exact(arrays))}


def clipped(arrays: Arrays, found: Arrays, float64: bool) -> Arrays:
    """What Keras makes of our loss on torch and jax, by its description."""
    dtype = np.float64 if float64 else np.float32
    low, high = dtype(EPSILON), dtype(1.0 - EPSILON)
    each = found["each"].clip(-np.log(high), -np.log(low))
    right = log_softmax(arrays["logits"])[np.arange(len(each)), arrays["labels"]]
    inside = (np.exp(right) > low) & (np.exp(right) < high)
    return {"mean": each.mean(), "gradient": found["gradient"] * inside[:, None], "each": each}


def exact(arrays: Arrays) -> Arrays:
    """Cross-entropy on logits, written in float64 with NumPy."""
    logits, labels = arrays["logits"], arrays["labels"]
    logs = log_softmax(logits)
    each = -logs[np.arange(len(labels)), labels]
    gradient = (np.exp(logs) - np.eye(logits.shape[1])[labels]) / len(labels)
    return {"mean": each.mean(), "gradient": gradient, "each": each}


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


@claim(
    "adam",
    5,
    "After each of 100 steps with gradients from 1 to 1e-12 parameters are equal, relative to the way travelled.",
)
def adam(theirs: KerasProcess) -> dict[str, float]:
    rng = np.random.default_rng(5)
    scales = 10.0 ** np.array([0, -3, -6, -7, -8, -10, -12])
    gradients = rng.normal(0.3, 1, (100, 1, len(scales), 16)) * scales[:, None]
    gradients[50:60] = 0.0
    values = np.zeros(gradients.shape[1:])
    errors = {}
    for lr in (1e-3, 1e-5):
        expected = theirs.call("head.adam", {"lr": lr}, values=values, gradients=gradients)["path"]
        found = our_path(values, gradients, lr, adam_for(theirs.backend, theirs.dtype), theirs.float64)
        errors[f"lr {lr:g}"] = max(relative(found[:, 0, i], expected[:, 0, i]) for i in range(len(scales)))
    return errors


def our_path(values: np.ndarray, gradients: np.ndarray, lr: float, optimizer: str, float64: bool) -> np.ndarray:
    """Parameters after each step, (steps, tensors, …)."""
    params = [torch.nn.Parameter(ours.cast(value, float64)) for value in values]
    phase = Phase("adam", epochs=1, lr=lr, optimizer=optimizer)
    built = build_optimizer(phase.optimizer, params, phase.lr)
    path = []
    for step in gradients:
        for parameter, gradient in zip(params, step, strict=True):
            parameter.grad = ours.cast(gradient, float64)
        built.step()
        path.append([ours.to_numpy(parameter).copy() for parameter in params])
    return np.array(path)


@claim("dropout", 8, "With one mask dropout is equal, relative to the largest; Keras' own layer and keras_ref's.")
def dropout(theirs: KerasProcess) -> dict[str, float]:
    rng = np.random.default_rng(6)
    given = {"features": rng.uniform(0.5, 6, (8, 64)), "uniforms": rng.random((8, 64), np.float32)}
    errors = {}
    for rate in (0.2, 0.5):
        expected = theirs.call("head.dropout", {"rate": rate}, **given)
        mask = (expected["stock"] != 0).astype(np.float32)  # no feature is 0, so what is 0 was dropped
        assert 0.5 * rate < 1 - mask.mean() < 2 * rate, "the rate"
        errors[f"Keras' Dropout, rate {rate}"] = relative(
            our_dropout(given["features"], mask, rate, theirs.float64), expected["stock"]
        )
        errors[f"shared numbers, rate {rate}"] = relative(
            our_dropout(given["features"], given["uniforms"], rate, theirs.float64), expected["shared"]
        )
    return errors


def our_dropout(features: np.ndarray, uniforms: np.ndarray, rate: float, float64: bool) -> np.ndarray:
    layer = Dropout(rate).train()
    return ours.to_numpy(layer(ours.cast(features, float64), torch.from_numpy(uniforms)))


@claim(
    "initial-head",
    9,
    "The head's initial weights are of Keras' distribution (two-sample Kolmogorov-Smirnov distance, fixed seeds), its "
    "bias is zero; and those of keras_ref in shared mode are the same numbers.",
    dtypes=("float32",),
)
def initial_head(theirs: KerasProcess) -> dict[str, float]:
    seeds, features, classes = list(range(8)), 1280, len(CLASSES)
    options = {"features": features, "classes": classes, "seeds": seeds}
    expected = theirs.call("head.initial_head", options)
    heads = [linear_head(features, classes, seed) for seed in seeds]
    kernels = np.stack([ours.to_numpy(head.weight).T for head in heads])
    limit = float(np.sqrt(6 / (features + classes)))
    return {
        "distribution": kolmogorov_smirnov(kernels, expected["stock"]),
        "limit": abs(float(np.abs(kernels).max()) / limit - 1),
        "bias": max(absolute(ours.to_numpy(head.bias), expected["bias"][0]) for head in heads),
        "shared numbers": absolute(kernels, expected["shared"]),
    }


def kolmogorov_smirnov(first: np.ndarray, second: np.ndarray) -> float:
    """Largest distance of two empirical distribution functions, times sqrt(n m / (n + m))."""
    first, second = np.sort(first.ravel()), np.sort(second.ravel())
    values = np.concatenate([first, second])
    ranks = [np.searchsorted(sample, values, side="right") / len(sample) for sample in (first, second)]
    size = len(first) * len(second) / (len(first) + len(second))
    return float(np.abs(ranks[0] - ranks[1]).max() * np.sqrt(size))
