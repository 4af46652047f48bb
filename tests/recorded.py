"""Training steps that are recorded on a CPU, where functions stand in for their own CUDA graphs."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from training import draw_images, make_data, make_model

from lightning_tl import TransferClassifier, cuda_graph, step_graph


def stand_in(patch: pytest.MonkeyPatch, capture: Callable[..., Any]) -> None:
    """Have graphs offered, of anything on any device, that ``capture`` makes."""
    patch.setattr(cuda_graph, "capture", capture)
    patch.setattr(cuda_graph, "offered", lambda x: True)


class Recordings:
    """Stands in for ``capture``, which needs CUDA: how many training steps it was asked for, each its own graph."""

    def __init__(self) -> None:
        self.steps = 0
        self.kept: list[Sequence[Any]] = []

    def __call__(
        self, function: Callable[..., Any], inputs: Sequence[Tensor], kept: Sequence[Any] = (), copies: bool = True
    ) -> Callable[..., Any]:
        self.kept.append(kept)
        found = function(*inputs)
        self.steps += not isinstance(found, Tensor)

        def graph(*given: Tensor) -> Any:
            found = function(*given)
            return found if isinstance(found, Tensor) else cuda_graph.copied(found)

        return graph


def record(patch: pytest.MonkeyPatch) -> Recordings:
    """Have training steps recorded, and say which."""
    made = Recordings()
    stand_in(patch, made)
    patch.setattr(step_graph, "offered", lambda x: True)
    patch.setattr(step_graph, "waiting", nullcontext)
    return made


def small_model(images: Path) -> TransferClassifier:
    """Without a trainer, its last layers training on these images' classes."""
    torch.manual_seed(0)
    made = make_model(make_data(draw_images(images)))
    made.backbone.unfreeze_last(5)
    made.log = lambda *_, **__: None  # type: ignore[method-assign]  # there is no trainer
    return made.train()


def batch(number: int = 0, size: int = 32) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(number)
    pixels = torch.randint(0, 256, (8, 3, size, size), generator=random).float()
    return {"image": pixels, "label": torch.arange(8) % 3, "index": torch.arange(8) + 8 * number}


def step(model: TransferClassifier, number: int = 0) -> Tensor:
    return model.training_step(batch(number, model.backbone.image_size[0]), number)


def used(model: TransferClassifier) -> int:
    """Graphs of steps that are in use."""
    return sum(graph is not None for graph in model._step_graph._recorder._graphs.values())
