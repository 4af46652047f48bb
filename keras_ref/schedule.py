"""Learning-rate schedules and early stopping within one phase, as Keras callbacks."""

import math
from collections.abc import Mapping
from typing import Any

import keras

from keras_ref.errors import InputError
from keras_ref.options import number
from keras_ref.phase import Phase

HIGHER_IS_BETTER = ("accuracy", "f1")
"""How names of metrics end that are to rise."""

NUMBERS = ("T_max", "eta_min", "factor", "patience", "threshold", "cooldown", "min_lr", "eps", "min_delta")
"""Arguments that are numbers: at the end of an epoch, where schedulers compute, it would be late to say so."""

COUNTS = ("patience", "cooldown")
"""Those of epochs."""


def better_mode(monitor: str) -> str:
    """``max`` or ``min``, what a metric of this name is to become; Keras knows it of its own metrics alone."""
    return "max" if monitor.endswith(HIGHER_IS_BETTER) else "min"


def build_scheduler(phase: Phase) -> list[Any]:
    """The callback that sets the learning rate of ``phase`` after each epoch; none for a constant rate.

    The config speaks torch (``lightning_tl`` hands it to torch's schedulers); here it is said in Keras.

    Raises:
        InputError: arguments that the scheduler does not take.
    """
    options = dict(phase.scheduler_args or {})
    try:
        _check_numbers(options)
        if phase.scheduler == "cosine":
            return [_cosine(phase, **{"T_max": phase.epochs, **options})]
        if phase.scheduler == "plateau":
            return [Plateau(**options)]
    except (TypeError, ValueError) as error:
        raise InputError(
            f"phases: {phase.name}: the {phase.scheduler} scheduler does not take scheduler_args {options}: {error}."
        ) from error
    return []


def build_early_stopping(phase: Phase) -> list[Any]:
    """The callback that ends the phase early, or none.

    Raises:
        InputError: arguments other than ``monitor``, ``patience``, ``min_delta`` and ``mode``, or none of their kind.
    """
    if phase.early_stopping is None:
        return []
    monitor = str(phase.early_stopping.get("monitor", "val_loss"))
    defaults = {"monitor": monitor, "patience": 3, "min_delta": 0.0, "mode": better_mode(monitor)}
    unknown = sorted(set(phase.early_stopping) - set(defaults))
    if unknown:
        raise InputError(
            f"phases: {phase.name}: early_stopping: known here are {', '.join(defaults)}. "
            f"Received: {', '.join(unknown)}."
        )
    options = {**defaults, **phase.early_stopping}
    try:
        _check_numbers(options)
        if options["mode"] not in ("min", "max"):
            raise ValueError(f"mode is min or max, and not {options['mode']}")
    except (TypeError, ValueError) as error:
        raise InputError(f"phases: {phase.name}: early_stopping: {error}.") from error
    return [EarlyStopping(**options)]


def _cosine(
    phase: Phase,
    T_max: int,  # noqa: N803
    eta_min: float = 0.0,
    last_epoch: int = -1,
    monitor: str | None = None,
) -> Any:
    """``eta_min + (lr - eta_min) (1 + cos(pi epoch / T_max)) / 2``, CosineAnnealingLR's closed form.

    ``monitor`` is ignored: it watches nothing.
    """
    if not T_max > 0:
        raise ValueError(f"T_max must be above 0, and is {T_max}")
    if last_epoch != -1:
        raise ValueError(f"last_epoch must be -1, as a phase's optimizer has no epochs behind it, and is {last_epoch}")

    def rate(epoch: int, _: float) -> float:
        return eta_min + (phase.lr - eta_min) * (1 + math.cos(math.pi * epoch / T_max)) / 2

    return keras.callbacks.LearningRateScheduler(rate)


def _check_numbers(options: Mapping[str, Any]) -> None:
    for name, value in options.items():
        if name in NUMBERS and not (number(value) and math.isfinite(value)):
            raise TypeError(f"{name} must be a finite number, and is {value!r}")
        if name in COUNTS and (value < 0 or value % 1):
            raise ValueError(f"{name} must be a number of epochs, 0 or more, and is {value!r}")
    if not 0 < options.get("factor", 0.1) < 1:
        raise ValueError(f"factor must lie between 0 and 1, and is {options['factor']!r}")
    if options.get("min_delta", 0) < 0:
        raise ValueError(f"min_delta must be 0 or more, and is {options['min_delta']!r}")


class EarlyStopping(keras.callbacks.EarlyStopping):  # type: ignore[misc]  # keras ships no types
    """Keras' EarlyStopping, ending the phase at once where a value is not finite, as Lightning's does."""

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """After a validation; Keras would take NaN for the best for ever where it comes first."""
        if math.isfinite((logs or {}).get(self.monitor) or 0.0):
            super().on_epoch_end(epoch, logs)
        else:
            self.stopped_epoch, self.model.stop_training = epoch, True


class Plateau(keras.callbacks.ReduceLROnPlateau):  # type: ignore[misc]  # keras ships no types
    """Keras' ReduceLROnPlateau, counting as torch's does.

    torch reduces when *more* than ``patience`` epochs were bad, Keras at ``patience`` of them; torch does not
    count the epoch that ends the cooldown, Keras does; torch's ``threshold`` is relative, Keras'
    ``min_delta`` absolute.

    Args:
        monitor: key of the epoch's logs.
        mode: min or max; without it, what the name of ``monitor`` asks for.
        factor: of the learning rate, below 1.
        patience: bad epochs that are forgiven.
        threshold: what counts as better, a fraction of the best value (``rel``) or a difference (``abs``).
        threshold_mode: ``rel`` or ``abs``.
        cooldown: epochs after a reduction in which bad ones do not count.
        min_lr: lowest learning rate.
        eps: a smaller change of the learning rate is not made.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        mode: str | None = None,
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float = 0.0,
        eps: float = 1e-8,
    ) -> None:
        if mode not in (None, "min", "max") or threshold_mode not in ("rel", "abs"):
            raise ValueError(f"mode is min or max, threshold_mode rel or abs, and not {mode}, {threshold_mode}")
        super().__init__(
            monitor=monitor,
            mode=mode or better_mode(monitor),
            factor=factor,
            patience=patience + 1,
            cooldown=cooldown + 1 if cooldown else 0,
            min_lr=min_lr,
        )
        self.threshold, self.relative, self.eps = threshold, threshold_mode == "rel", eps

    def _reduce_optimizer_lr(self, optimizer: Any, epoch: int, name: str = "") -> bool:
        rate = float(keras.ops.convert_to_numpy(optimizer.learning_rate))
        if rate - max(rate * self.factor, self.min_lr) <= self.eps:
            return False
        return bool(super()._reduce_optimizer_lr(optimizer, epoch, name))

    def _is_improvement(self, monitor_value: float, reference_value: float | None) -> bool:
        """By torch's own arithmetic: its first value is compared with infinity, which NaN is not better than."""
        sign = -1 if self.mode == "min" else 1
        best = -sign * math.inf if reference_value is None else reference_value
        limit = best * (1 + sign * self.threshold) if self.relative else best + sign * self.threshold
        return monitor_value < limit if self.mode == "min" else monitor_value > limit
