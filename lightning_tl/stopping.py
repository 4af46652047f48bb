"""Early stopping of one phase, where Lightning's own callback would stop the run."""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import lightning
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import EarlyStopping

from lightning_tl.errors import InputError
from lightning_tl.phase import Phase, better_mode
from lightning_tl.values import is_number

NUMBERS = ("patience", "min_delta")
"""Arguments that are numbers: after a validation, when they are compared, it would be late to say so."""
THRESHOLDS = ("stopping_threshold", "divergence_threshold")
"""Such as may be None too."""


class PhaseStopping:
    """Lightning's ``EarlyStopping``, asked for its decision only.

    Args:
        phase: ``early_stopping`` has the arguments; without them it never stops. Without ``mode``, accuracies and F1
            are to rise, and everything else to fall.

    Raises:
        InputError: arguments that EarlyStopping does not take.
    """

    def __init__(self, phase: Phase) -> None:
        self._name, options = phase.name, phase.early_stopping
        self._stopper = None if options is None else _early_stopping(phase.name, options)

    def should_stop(self, trainer: lightning.Trainer) -> bool:
        """After a validation: whether the phase ends here, the same on every rank.

        Raises:
            InputError: what it monitors is not logged.
        """
        stopper = self._stopper
        if stopper is None:
            return False
        value = trainer.callback_metrics.get(stopper.monitor)
        if value is None:
            raise _not_logged(self._name, "early_stopping", stopper.monitor, trainer.callback_metrics)
        stop, _ = stopper._evaluate_stopping_criteria(value.detach().cpu().squeeze())
        return trainer.strategy.reduce_boolean_decision(stop, all=False)

    def state_dict(self) -> dict[str, Any] | None:
        """Of a checkpoint; None where it never stops."""
        return None if self._stopper is None else self._stopper.state_dict()

    def load_state_dict(self, state: dict[str, Any] | None) -> None:
        """Count on from there, if there is anything to count, with the patience of now."""
        if self._stopper is not None and state is not None:
            self._stopper.load_state_dict({**state, "patience": self._stopper.patience})

    @property
    def stops(self) -> bool:
        """Whether it may stop at all."""
        return self._stopper is not None


def check_monitors(phases: Sequence[Phase], logged: Collection[str]) -> None:
    """See that what the phases' early stopping and plateau schedules go by is among what a validation has logged.

    Raises:
        InputError: it is not.
    """
    for phase in phases:
        watching = {"early_stopping": phase.early_stopping}
        watching |= {"scheduler_args": phase.scheduler_args} if phase.scheduler == "plateau" else {}
        for argument, options in watching.items():
            monitor = (options or {}).get("monitor", "val_loss")
            if options is not None and monitor not in logged:
                raise _not_logged(phase.name, argument, monitor, logged)


def _not_logged(phase: str, argument: str, monitor: str, logged: Collection[str]) -> InputError:
    return InputError(
        f"phases: {phase}: {argument}: nothing is logged as {monitor}. Logged: {', '.join(sorted(logged))}."
    )


def _early_stopping(phase: str, options: Mapping[str, Any]) -> EarlyStopping:
    monitor = str(options.get("monitor", "val_loss"))
    try:
        for name, value in options.items():
            wanted = name in NUMBERS or (name in THRESHOLDS and value is not None)
            if wanted and not (is_number(value) and math.isfinite(value)):
                raise TypeError(f"{name} must be a finite number, and is {value!r}")
            if name == "patience" and (value < 0 or value % 1):
                raise TypeError(f"patience must be a number of validations, 0 or more, and is {value!r}")
            if name == "min_delta" and value < 0:  # Keras takes its absolute value, Lightning does not
                raise TypeError(f"min_delta must be 0 or more, and is {value!r}")
        return EarlyStopping(**{"monitor": monitor, "mode": better_mode(monitor), **options})
    except (TypeError, MisconfigurationException) as error:
        raise InputError(
            f"phases: {phase}: early_stopping takes the arguments of Lightning's EarlyStopping. "
            f"Received: {dict(options)} ({error})."
        ) from error
