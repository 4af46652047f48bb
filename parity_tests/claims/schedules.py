"""Claim 14, learning rates: plateau and cosine schedules on the same sequences of values."""

import math
from typing import Any

import numpy as np
import torch

from lightning_tl import schedule
from lightning_tl.phase import Phase
from parity_tests.claim import claim
from parity_tests.claims.decisions import EPOCHS, sequences
from parity_tests.processes import KerasProcess

PLATEAUS: list[dict[str, Any]] = [
    {"factor": 0.5, "patience": 0},
    {"factor": 0.1, "patience": 2, "threshold": 0.01},
    {"factor": 0.5, "patience": 1, "threshold": 0.05, "cooldown": 2},
    {"factor": 0.3, "patience": 2, "threshold": 0.05, "mode": "max", "min_lr": 1e-5},
    {"factor": 0.5, "patience": 3, "threshold": 1e-3, "cooldown": 1, "min_lr": 2e-4},
]
"""Arguments as torch knows them, threshold in absolute terms."""
RELATIVE: list[dict[str, Any]] = [{}, {"patience": 1}, {"patience": 0, "threshold": 0.1, "factor": 0.5, "cooldown": 2}]


def our_rates(values: np.ndarray, scheduler: str, arguments: dict[str, Any], lr: float) -> np.ndarray:
    """The learning rate of each epoch, (sequences, epochs), stepped as Lightning steps it."""
    return np.array([_rates(row, scheduler, arguments, lr) for row in values])


def _rates(values: np.ndarray, scheduler: str, arguments: dict[str, Any], lr: float) -> list[float]:
    phase = Phase("phase", len(values), lr, scheduler=scheduler, scheduler_args=arguments)  # type: ignore[arg-type]
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr)
    config = schedule.build_scheduler(optimizer, phase)
    assert config is not None
    rates = []
    for value in torch.from_numpy(values):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        config["scheduler"].step(*([value] if "monitor" in config else []))
    return rates


def largest_ratio(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Largest relative difference of two learning rates."""
    assert (theirs < theirs[..., :1]).any()
    return float(np.abs(ours / theirs - 1).max())


def translated(arguments: dict[str, Any]) -> dict[str, Any]:
    """Arguments of torch's ReduceLROnPlateau as Keras' own takes them.

    torch reduces after *more* than ``patience`` bad epochs, Keras at ``patience`` of them; torch forgives all
    epochs of a cooldown, Keras counts its last one.
    """
    cooldown = arguments.get("cooldown", 0)
    return {
        "mode": arguments.get("mode", "min"),
        "factor": arguments["factor"],
        "patience": arguments["patience"] + 1,
        "min_delta": arguments.get("threshold", 1e-4),
        "cooldown": cooldown + 1 if cooldown else 0,
        "min_lr": arguments.get("min_lr", 0.0),
    }


@claim(
    "plateau",
    14,
    "Learning rates under keras.callbacks.ReduceLROnPlateau on fifty sequences, its patience and cooldown counted "
    "one more: largest relative difference with eps 0, largest difference with torch's own eps.",
    dtypes=("float32",),
)
def plateau(theirs: KerasProcess) -> dict[str, float]:
    options = {"lr": 1e-3, "variants": [translated(arguments) for arguments in PLATEAUS]}
    expected = theirs.call("decisions.plateau", options, values=sequences())["rates"]
    return {
        "eps 0": largest_ratio(plateau_rates({"eps": 0.0}), expected),
        "default eps": float(np.abs(plateau_rates({}) - expected).max()),
    }


def plateau_rates(more: dict[str, Any]) -> np.ndarray:
    """Ours under all of PLATEAUS: (variants, sequences, epochs)."""
    variants = [{**arguments, "threshold_mode": "abs", **more} for arguments in PLATEAUS]
    return np.array([our_rates(sequences(), "plateau", variant, 1e-3) for variant in variants])


@claim(
    "schedules-keras_ref",
    14,
    "The reference's plateau and cosine callbacks from the same phases: largest relative difference of a rate.",
    dtypes=("float32",),
)
def schedules_of_reference(theirs: KerasProcess) -> dict[str, float]:
    absolute = [{**arguments, "threshold_mode": "abs"} for arguments in PLATEAUS]
    cosines: list[dict[str, Any]] = [{}, {"eta_min": 1e-5}, {"T_max": 40}]
    errors = {}
    for name, scheduler, variants in (
        ("plateau", "plateau", [*RELATIVE, *absolute]),
        ("cosine", "cosine", cosines),
    ):
        values = sequences() if scheduler == "plateau" else sequences()[:1]
        options = {"lr": 1e-3, "variants": [[scheduler, args] for args in variants]}
        expected = theirs.call("decisions.schedule_of_reference", options, values=values)["rates"]
        mine = [our_rates(values, scheduler, args, 1e-3) for args in variants]
        errors[name] = largest_ratio(np.array(mine), expected)
    return errors


@claim(
    "cosine",
    14,
    "Learning rates of each epoch by keras.optimizers.schedules.CosineDecay: largest relative difference.",
    dtypes=("float32",),
)
def cosine(theirs: KerasProcess) -> float:
    options = {"lr": 1e-3, "epochs": EPOCHS, "eta_min": 1e-5}
    expected = theirs.call("decisions.cosine", options)["rates"]
    mine = our_rates(np.zeros((1, EPOCHS), np.float32), "cosine", {"eta_min": 1e-5}, 1e-3)[0]
    assert math.isclose(expected[0], 1e-3, rel_tol=1e-6)
    return largest_ratio(mine, expected)
