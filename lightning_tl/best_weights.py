"""The best weights of a phase, for a next one that starts from them."""

from typing import Any

import torch
from torch import nn


class BestWeights:
    """What a phase trained, at its lowest validation loss.

    Args:
        wanted: whether the next phase starts from them; nothing is kept otherwise.
    """

    def __init__(self, wanted: bool) -> None:
        self._wanted = wanted
        self._best: dict[str, Any] = {}

    def keep(self, module: nn.Module, loss: float) -> None:
        """After a validation: copy what trains, on the CPU, if the loss is the lowest so far."""
        if self._wanted and loss < self._best.get("loss", float("inf")):
            trained = {name: p.detach().cpu().clone() for name, p in module.named_parameters() if p.requires_grad}
            self._best = {"loss": loss, "weights": trained}

    @torch.no_grad()
    def restore(self, module: nn.Module) -> bool:
        """Write them back; whether there are any."""
        parameters = dict(module.named_parameters())
        for name, value in self._best.get("weights", {}).items():
            parameters[name].copy_(value)
        return bool(self._best)

    def state_dict(self) -> dict[str, Any]:
        """``loss`` and ``weights``; empty where nothing is kept."""
        return dict(self._best)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self._best = dict(state)
