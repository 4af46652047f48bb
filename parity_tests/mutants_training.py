"""Mistakes in the phases."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any

import lightning
import torch
from torch import Tensor

from lightning_tl import PhasedFinetuning, TransferClassifier, draws, frozen_graph
from lightning_tl.phase import Phase
from parity_tests.mutant import Mutant, replaced, wrapped

Wrapper = Callable[[Any], Any]


def keep_state(rebuild: Any) -> Any:
    """The new optimizer inherits moments and steps of the old."""

    def kept(self: PhasedFinetuning, trainer: lightning.Trainer, module: TransferClassifier) -> None:
        (old,) = trainer.optimizers
        state, steps = dict(old.state), old.param_groups[0]["steps"]
        rebuild(self, trainer, module)
        (new,) = trainer.optimizers
        new.state.update({parameter: deepcopy(value) for parameter, value in state.items()})
        new.param_groups[0]["steps"] = steps

    return kept


def rate(factor: float) -> Wrapper:
    """The finetune phase has another learning rate."""

    def make(set_phase: Any) -> Any:
        def changed(self: TransferClassifier, phase: Phase) -> list[str]:
            lr = phase.lr * factor if phase.name == "finetune" else phase.lr
            return set_phase(self, replace(phase, lr=lr))  # type: ignore[no-any-return]

        return changed

    return make


def frozen_head(set_phase: Any) -> Any:
    """The head trains in the first phase alone."""

    def changed(self: TransferClassifier, phase: Phase) -> list[str]:
        names: list[str] = set_phase(self, phase)
        if hasattr(self, "head"):
            self.head.requires_grad_(phase.unfreeze_last == 0)
        return names

    return changed


def one_epoch(stream_key: Any) -> Any:
    """The same draws in every epoch."""
    return lambda seed, stream, epoch: stream_key(seed, stream, 0)


def by_position(uniforms: Any) -> Any:
    """Draws follow the place in the batch instead of the sample."""

    def changed(key: int | Tensor, index: Tensor, count: int) -> Tensor:
        return uniforms(key, torch.arange(len(index)), count)  # type: ignore[no-any-return]

    return changed


def no_rebuild(rebuild: Any) -> Any:
    """The first phase's optimizer goes on."""
    return lambda self, trainer, module: None


MUTANTS_TRAINING = (
    Mutant(
        "optimizer state kept",
        "the finetune phase begins with the head phase's moments",
        wrapped(PhasedFinetuning, "_rebuild", keep_state),
        ("trajectory-timm",),
    ),
    Mutant(
        "optimizer not rebuilt",
        "the finetune phase goes on with the head phase's optimizer",
        wrapped(PhasedFinetuning, "_rebuild", no_rebuild),
        ("trajectory-timm",),
    ),
    Mutant(
        "learning rate 2e-5",
        "the finetune phase has twice its learning rate",
        wrapped(TransferClassifier, "set_phase", rate(2.0)),
        ("trajectory-timm",),
    ),
    Mutant(
        "head frozen in finetune",
        "the finetune phase trains the backbone alone",
        wrapped(TransferClassifier, "set_phase", frozen_head),
        ("gradients", "trajectory-timm"),
    ),
    Mutant(
        "one epoch's draws",
        "dropout masks repeat in every epoch",
        wrapped(draws, "stream_key", one_epoch),
        ("trajectory-timm",),
    ),
    Mutant(
        "draws by position",
        "dropout masks follow the place in the batch",
        wrapped(draws, "uniforms", by_position),
        ("trajectory-timm",),
    ),
    Mutant(
        "graph not made anew",
        "the finetune phase computes what the head phase froze by the same graph, so that only the head trains",
        replaced((frozen_graph.FrozenGraph, "_is_as_it_was", lambda graph, fingerprint: bool(graph._modules))),
        ("trajectory-graph", "graph-of-each-phase"),
    ),
)
