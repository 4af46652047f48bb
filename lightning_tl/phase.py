"""One stretch of training: what is trainable, which optimizer, for how long."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

from lightning_tl.data.plain import plain
from lightning_tl.errors import InputError
from lightning_tl.values import is_number, is_whole

HIGHER_IS_BETTER = ("accuracy", "f1")
"""How names of metrics end that are to rise."""


def better_mode(monitor: str) -> str:
    """``max`` or ``min``, what a metric of this name is to become; torch and Lightning would minimise an accuracy."""
    return "max" if monitor.endswith(HIGHER_IS_BETTER) else "min"


@dataclass(frozen=True)
class Phase:
    """A stretch of training with one set of trainable layers, one fresh optimizer and one learning rate.

    Args:
        name: unique in a run, for example ``head`` or ``finetune``.
        epochs: at most this many.
        lr: learning rate at the start of the phase.
        unfreeze_last: how many of the backbone's last layers train, ``all`` for all; of Keras' list for MobileNetV2,
            elsewhere of the modules with weights, and the leaves, in the order in which they run.
        optimizer: class path, or ``{"class_path": ..., "init_args": {...}}`` without ``lr``.
        scheduler: ``none``, ``cosine`` (to zero over the phase's epochs, stepped each epoch) or ``plateau``
            (``torch.optim.lr_scheduler.ReduceLROnPlateau``).
        scheduler_args: further arguments of the scheduler, for example ``{"patience": 2, "factor": 0.5}``.
        early_stopping: arguments of Lightning's ``EarlyStopping`` (``monitor`` defaults to ``val_loss``, ``mode`` to
            what that metric is to become: ``max`` of accuracy and F1); ends the phase, not the run.
        start_from: ``last`` weights of the phase before, or its ``best`` (lowest validation loss).
        scale_lr: ``none``, the rate as given on any number of devices; ``linear``, times the number of devices
            (Goyal et al., arXiv:1706.02677), or ``sqrt``, times its root: for batches that grow with the devices.

    Raises:
        InputError: a value out of range.
    """

    name: str
    epochs: int
    lr: float
    unfreeze_last: int | Literal["all"] = 0
    optimizer: str | dict[str, Any] = "lightning_tl.optim.KerasAdam"
    scheduler: Literal["none", "cosine", "plateau"] = "none"
    scheduler_args: dict[str, Any] = field(default_factory=dict)
    early_stopping: dict[str, Any] | None = None
    start_from: Literal["last", "best"] = "last"
    scale_lr: Literal["none", "linear", "sqrt"] = "none"

    def __post_init__(self) -> None:
        _check(
            bool(self.name) and isinstance(self.name, str) and "/" not in self.name,
            "name",
            "a name without slash",
            self.name,
        )
        _check(
            is_whole(self.epochs) and self.epochs >= 1,
            "epochs",
            "at least 1 epoch",
            self.epochs,
        )
        _check(is_number(self.lr) and 0 < self.lr < math.inf, "lr", "a learning rate above 0", self.lr)
        layers = self.unfreeze_last
        counted = is_whole(layers) and layers >= 0  # type: ignore[operator]
        _check(layers == "all" or counted, "unfreeze_last", "0 or more", layers)
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
            _check(str(monitor).startswith("val_"), f"{argument}: monitor", "a metric of validation, val_...,", monitor)
        unused = bool(self.scheduler_args) and self.scheduler == "none"
        _check(not unused, "scheduler_args", "a scheduler to take them (scheduler: cosine or plateau)", self.scheduler)
        plainly = {"lr": float(self.lr), "optimizer": self.optimizer, "scheduler_args": self.scheduler_args or {}}
        for argument, value in (plainly | {"early_stopping": self.early_stopping}).items():
            object.__setattr__(self, argument, plain(value))  # checkpoints hold them, and what is built from them

    def lr_on(self, devices: int) -> float:
        """The learning rate that a run on so many devices starts the phase with."""
        factors = {"none": 1.0, "linear": float(devices), "sqrt": math.sqrt(devices)}
        return self.lr * factors[self.scale_lr]

    def check_continues(self, begun: Mapping[str, Any]) -> None:
        """See that an optimizer and scheduler of this phase as it was, ``begun``, are those of this phase.

        Args:
            begun: from ``to_dict``, of the same name; of an earlier version it may lack some arguments.

        Raises:
            InputError: an argument differs that would be taken from the checkpoint without a word.
        """
        own = _in_one_form(self.to_dict())
        theirs = _in_one_form({**self.to_dict(), **begun})
        names = ["lr", "unfreeze_last", "optimizer", "scheduler", "scheduler_args", "scale_lr"]
        if self.scheduler == "cosine" and "T_max" not in self.scheduler_args:
            names.append("epochs")  # over which the rate falls
        for name in names:
            if theirs[name] != own[name]:
                raise InputError(
                    f"phases: {self.name}: {name}: the checkpoint has begun the phase with {begun[name]!r}, which its "
                    f"optimizer and scheduler go by. Received: {getattr(self, name)!r}; resume with the run's own "
                    "phases, or add one behind them."
                )

    def watches_as(self, begun: Mapping[str, Any]) -> bool:
        """Whether early stopping goes by the same metric as in this phase as it was, so that its best counts."""
        own = _in_one_form(self.to_dict())["early_stopping"] or {}
        theirs = _in_one_form({**self.to_dict(), **begun})["early_stopping"] or {}
        return all(own.get(name) == theirs.get(name) for name in ("monitor", "mode"))

    def to_dict(self) -> dict[str, Any]:
        """Plain Python values, as a checkpoint can hold them."""
        return asdict(self)


def _in_one_form(values: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of a phase of which equal ones compare equal: with defaults written out, and lists for tuples."""
    same = {name: _with_lists(value) for name, value in values.items()}
    optimizer = same["optimizer"]
    path, options = (optimizer, {}) if isinstance(optimizer, str) else map(optimizer.get, ("class_path", "init_args"))
    same["optimizer"] = {"class_path": path, "init_args": options or {}}
    for name in ("scheduler_args", "early_stopping"):
        if same[name] is not None and (name == "early_stopping" or same["scheduler"] == "plateau"):
            monitor = same[name].get("monitor", "val_loss")
            same[name] = {"monitor": monitor, "mode": better_mode(monitor), **same[name]}
    return same


def _with_lists(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _with_lists(item) for key, item in value.items()}
    return [_with_lists(item) for item in value] if isinstance(value, (list, tuple)) else value


def make_phases(phases: Sequence[Phase | Mapping[str, Any]]) -> tuple[Phase, ...]:
    """Phases from mappings or Phases.

    Raises:
        InputError: no phase, an unknown key, a missing one, or two phases of one name.
    """
    if not phases:
        raise InputError(
            "phases: none given. Give at least one, for example "
            "[{name: head, epochs: 5, lr: 1.0e-3}, {name: finetune, epochs: 5, lr: 1.0e-5, unfreeze_last: 20}]."
        )
    made = tuple(phase if isinstance(phase, Phase) else _from_mapping(phase) for phase in phases)
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
