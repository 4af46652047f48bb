"""Learning-rate schedules within one phase, in the form that Lightning steps."""

import math
from collections.abc import Mapping
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, ReduceLROnPlateau

from lightning_tl.errors import InputError
from lightning_tl.phase import Phase, better_mode
from lightning_tl.values import is_number

NUMBERS = ("T_max", "eta_min", "factor", "patience", "threshold", "cooldown", "min_lr", "eps")
"""Arguments that are numbers: at the end of an epoch, where schedulers compute, it would be late to say so."""

COUNTS = ("patience", "cooldown")
"""Those of epochs."""


def build_scheduler(optimizer: Optimizer, phase: Phase) -> dict[str, Any] | None:
    """Lightning's scheduler config for ``phase``, stepped after each epoch; None for a constant rate.

    ``plateau`` watches ``val_loss`` (``scheduler_args: {monitor: ...}`` for another) and defaults to patience 10
    and factor 0.1, which are torch's defaults and Keras' too, and to the mode that the metric's name asks for.

    Raises:
        InputError: arguments that the scheduler does not take.
    """
    options = dict(phase.scheduler_args)
    try:
        _check_numbers(options)
        if phase.scheduler == "cosine":
            return {"scheduler": _cosine(optimizer, **{"T_max": phase.epochs, **options})}
        if phase.scheduler == "plateau":
            monitor = options.get("monitor", "val_loss")
            arguments = {name: value for name, value in options.items() if name != "monitor"}
            scheduler = ReduceLROnPlateau(optimizer, **{"mode": better_mode(monitor), **arguments})
            return {"scheduler": scheduler, "monitor": monitor, "strict": False}
    except (TypeError, ValueError) as error:
        raise InputError(
            f"phases: {phase.name}: the {phase.scheduler} scheduler does not take scheduler_args {options}: {error}."
        ) from error
    return None


def _cosine(
    optimizer: Optimizer,
    T_max: int,  # noqa: N803
    eta_min: float = 0.0,
    last_epoch: int = -1,
    monitor: str | None = None,
) -> CosineAnnealingLR:
    """``monitor`` is ignored: it watches nothing."""
    if not T_max > 0:
        raise ValueError(f"T_max must be above 0, and is {T_max}")
    if last_epoch != -1:
        raise ValueError(f"last_epoch must be -1, as a phase's optimizer has no epochs behind it, and is {last_epoch}")
    return CosineAnnealingLR(optimizer, T_max=T_max, eta_min=eta_min)


def _check_numbers(options: Mapping[str, Any]) -> None:
    for name in NUMBERS:
        value = options.get(name, 0)
        if name == "min_lr" and isinstance(value, (list, tuple)) and len(value) == 1:  # of each group, which is one
            (value,) = value
        if not is_number(value) or not math.isfinite(value):
            raise TypeError(f"{name} must be a finite number, and is {value!r}")
        if name in COUNTS and (value < 0 or value % 1):
            raise ValueError(f"{name} must be a number of epochs, 0 or more, and is {value!r}")
    if not 0 < options.get("factor", 0.1) < 1:
        raise ValueError(f"factor must lie between 0 and 1, and is {options['factor']!r}")
