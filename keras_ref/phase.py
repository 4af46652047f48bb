"""One stretch of training: what is trainable, which optimizer, for how long."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from keras_ref.errors import InputError
from keras_ref.options import number, whole

ADAM = "lightning_tl.optim.KerasAdam"
"""The class path under which a config asks for what is Keras' own Adam."""
MONITORS = ("val_accuracy", "val_f1", "val_loss")
"""What a validation tells. Keras only warns of another name, and never stops."""


@dataclass(frozen=True)
class Phase:
    """A stretch of training with one set of trainable layers, one fresh optimizer and one learning rate.

    Args:
        name: unique in a run, for example ``head`` or ``finetune``.
        epochs: at most this many.
        lr: learning rate at the start of the phase.
        unfreeze_last: how many of the backbone's last layers train, counted as Keras counts; ``all`` for all.
        optimizer: Adam. differs: other optimizers are torch classes, which Keras cannot run.
        scheduler: ``none``, ``cosine`` (to zero over the phase's epochs, stepped each epoch) or ``plateau``
            (``torch.optim.lr_scheduler.ReduceLROnPlateau``).
        scheduler_args: further arguments of the scheduler, for example ``{"patience": 2, "factor": 0.5}``.
        early_stopping: ``monitor`` (default ``val_loss``), ``patience`` (3), ``min_delta`` (0.0) and ``mode``
            (max for accuracies and F1, else min); ends the phase, not the run.
        start_from: ``last`` weights of the phase before, or its ``best`` (lowest validation loss).
        scale_lr: ``none``, ``linear`` or ``sqrt``. differs: all the same on the one device here.

    Raises:
        InputError: a value out of range.
    """

    name: str
    epochs: int
    lr: float
    unfreeze_last: int | Literal["all"] = 0
    optimizer: str | dict[str, Any] = ADAM
    scheduler: Literal["none", "cosine", "plateau"] = "none"
    scheduler_args: dict[str, Any] = field(default_factory=dict)
    early_stopping: dict[str, Any] | None = None
    start_from: Literal["last", "best"] = "last"
    scale_lr: Literal["none", "linear", "sqrt"] = "none"

    def __post_init__(self) -> None:
        named = isinstance(self.name, str) and bool(self.name) and "/" not in self.name
        _check(named, "name", "a name without slash (a number in quotes)", self.name)
        _check(whole(self.epochs, 1), "epochs", "at least 1 epoch", self.epochs)
        _check(number(self.lr) and 0 < self.lr < math.inf, "lr", "a learning rate above 0", self.lr)
        layers = self.unfreeze_last
        _check(layers == "all" or whole(layers, 0), "unfreeze_last", "0 or more", layers)
        _check(
            self.scheduler in ("none", "cosine", "plateau"),
            "scheduler",
            "none, cosine or plateau",
            self.scheduler,
        )
        _check(self.start_from in ("last", "best"), "start_from", "last or best", self.start_from)
        _check(self.scale_lr in ("none", "linear", "sqrt"), "scale_lr", "none, linear or sqrt", self.scale_lr)
        for argument, options in (("scheduler_args", self.scheduler_args), ("early_stopping", self.early_stopping)):
            _check(options is None or isinstance(options, Mapping), argument, "a mapping of arguments", options)
            monitor = (options or {}).get("monitor", "val_loss")
            # What is of training is known after the validation at which it would be judged.
            _check(monitor in MONITORS, f"{argument}: monitor", f"one of {', '.join(MONITORS)}", monitor)
        unused = bool(self.scheduler_args) and self.scheduler == "none"
        _check(not unused, "scheduler_args", "a scheduler to take them (scheduler: cosine or plateau)", self.scheduler)
        given = self.optimizer
        optimizer = given.get("class_path") if isinstance(given, Mapping) else given
        _check(optimizer == ADAM, "optimizer", f"{ADAM}, the only one that Keras has too,", optimizer)
        arguments = given.get("init_args") if isinstance(given, Mapping) else None
        _check(arguments is None or isinstance(arguments, Mapping), "optimizer: init_args", "a mapping", arguments)

    @property
    def optimizer_args(self) -> dict[str, Any]:
        """``init_args`` of the optimizer: of ``betas`` and ``eps``."""
        return {} if isinstance(self.optimizer, str) else dict(self.optimizer.get("init_args") or {})


def make_phases(phases: Sequence[Mapping[str, Any]]) -> tuple[Phase, ...]:
    """Phases from mappings.

    Raises:
        InputError: no phase, no list of mappings, an unknown key, a missing one, or two phases of one name.
    """
    if not phases:
        raise InputError(
            "phases: none given. Give at least one, for example [{name: head, epochs: 5, lr: 1.0e-3}, "
            "{name: finetune, epochs: 5, lr: 1.0e-5, unfreeze_last: 20}]."
        )
    listed = isinstance(phases, Sequence) and all(isinstance(phase, Mapping) for phase in phases)
    _check(listed, "the list", "one mapping a phase, as {name: head, epochs: 5, lr: 1.0e-3},", phases)
    made = tuple(_from_mapping(phase) for phase in phases)
    names = [phase.name for phase in made]
    if len(set(names)) < len(names):
        raise InputError(f"phases: every phase needs a name of its own. Received: {', '.join(names)}.")
    return made


def _from_mapping(values: Mapping[str, Any]) -> Phase:
    known = {f.name for f in fields(Phase)}
    unknown, missing = sorted(set(values) - known), sorted({"name", "epochs", "lr"} - set(values))
    if unknown or missing:
        problem = f"unknown key {', '.join(unknown)}" if unknown else f"missing {', '.join(missing)}"
        raise InputError(f"phases: {problem} in {dict(values)}. Known keys: {', '.join(sorted(known))}.")
    return Phase(**values)


def _check(good: bool, argument: str, wanted: str, received: object) -> None:
    if not good:
        raise InputError(f"phases: {argument}: {wanted} is needed. Received: {received!r}.")
