"""The best weights of a phase, for a next one that starts from them."""

from typing import Any

import torch
from torch import Tensor, nn

BACKBONE = "backbone."
"""How names of its tensors begin."""


class BestWeights:
    """What a phase trained, at its lowest validation loss.

    Args:
        wanted: whether the next phase starts from them; nothing is kept otherwise.
    """

    def __init__(self, wanted: bool) -> None:
        self._wanted = wanted
        self._best: dict[str, Any] = {}

    def keep(self, module: nn.Module, loss: float) -> None:
        """After a validation: copy what trains, on the CPU, if the loss is the lowest so far.

        So do statistics, as of BatchNorm, in layers of a subclass; the backbone's never change.
        """
        if self._wanted and loss < self._best.get("loss", float("inf")):
            parameters, saved = dict(module.named_parameters()), module.state_dict()
            changing = {
                name: value
                for name, value in saved.items()
                if isinstance(value, Tensor)
                and (parameters[name].requires_grad if name in parameters else not name.startswith(BACKBONE))
            }
            kept = {name: value.detach().cpu().clone() for name, value in changing.items()}
            self._best = {"loss": loss, "weights": kept}

    @torch.no_grad()
    def restore(self, module: nn.Module) -> bool:
        """Write them back; whether there are any."""
        tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        for name, value in self._best.get("weights", {}).items():
            tensors[name].copy_(value)
        return bool(self._best)

    def state_dict(self) -> dict[str, Any]:
        """``loss`` and ``weights``; empty where nothing is kept."""
        return dict(self._best)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self._best = dict(state)
