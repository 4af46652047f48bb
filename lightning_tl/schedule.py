"""Learning-rate schedules within one phase, in the form that Lightning steps."""

from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, ReduceLROnPlateau

from lightning_tl.errors import InputError
from lightning_tl.phase import Phase, better_mode


def build_scheduler(optimizer: Optimizer, phase: Phase) -> dict[str, Any] | None:
    """Lightning's scheduler config for ``phase``, stepped after each epoch; None for a constant rate.

    ``plateau`` watches ``val_loss`` (``scheduler_args: {monitor: ...}`` for another) and defaults to patience 10
    and factor 0.1, which are torch's defaults and Keras' too, and to the mode that the metric's name asks for.

    Raises:
        InputError: arguments that the scheduler does not take.
    """
    options = dict(phase.scheduler_args)
    monitor = options.pop("monitor", "val_loss")
    try:
        if phase.scheduler == "cosine":
            return {"scheduler": CosineAnnealingLR(optimizer, **{"T_max": phase.epochs, **options})}
        if phase.scheduler == "plateau":
            options = {"mode": better_mode(monitor), **options}
            return {"scheduler": ReduceLROnPlateau(optimizer, **options), "monitor": monitor, "strict": False}
    except (TypeError, ValueError) as error:
        raise InputError(
            f"phases: {phase.name}: the {phase.scheduler} scheduler does not take scheduler_args {options}: {error}."
        ) from error
    return None
