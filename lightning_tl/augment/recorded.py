"""Augmentation as a CUDA graph: some hundred small kernels for one batch, started at once."""

from collections.abc import Callable, Hashable, Sequence
from functools import cache
from inspect import signature
from typing import Any

import torch
from torch import Tensor

from lightning_tl import cuda_graph
from lightning_tl.augment.base import Augmentation

GRAPHS_KEPT = 4
"""For so many shapes of a batch; each has memory of its own."""
OURS = "lightning_tl.augment."
Augment = Callable[[Tensor, Tensor, Sequence[Tensor]], Tensor]


class Recorded:
    """Graphs of one pipeline, for transforms of this package alone: others may do in Python what no graph repeats."""

    def __init__(self) -> None:
        self._graphs: dict[Hashable, Callable[..., Tensor] | None] = {}
        self._keys: tuple[tuple[int, ...], Tensor] = ((), torch.empty(0))

    def __call__(
        self,
        augment: Augment,
        transforms: Sequence[Augmentation],
        fused: bool,
        images: Tensor,
        index: Tensor,
        keys: Sequence[int],
    ) -> Tensor | None:
        """What ``augment`` gives, by a graph; None where there can be none.

        Args:
            augment: of images, index and keys, which are zero-dimensional int64 tensors.
            transforms: that it applies; with other arguments there is another graph.
            fused: whether it resamples once; otherwise likewise.
            images: (batch, 3, height, width).
            index: int64 (batch,).
            keys: of the transforms' streams.
        """
        if not cuda_graph.offered(images) or images.device != index.device:
            return None
        if not transforms or not all(type(transform).__module__.startswith(OURS) for transform in transforms):
            return None
        arguments = [(type(transform), *_arguments(transform)) for transform in transforms]
        autocast = torch.is_autocast_enabled("cuda")
        case = (*arguments, fused, images.shape, images.stride(), images.dtype, index.dtype, autocast)
        inputs = (images, index, self._on(images.device, tuple(keys)))
        graph = self._graphs.pop(case) if case in self._graphs else _graph(augment, inputs)
        self._graphs[case] = graph  # as the last, which goes last
        if len(self._graphs) > GRAPHS_KEPT:
            del self._graphs[next(iter(self._graphs))]
        return None if graph is None else graph(*inputs)

    def __reduce__(self) -> tuple[type["Recorded"], tuple[()]]:
        """Graphs do not travel to other processes, nor into copies."""
        return Recorded, ()

    def _on(self, device: torch.device, keys: tuple[int, ...]) -> Tensor:
        """The keys on the device, to which they are sent once an epoch, as sending waits for the device."""
        if self._keys[0] != keys or self._keys[1].device != device:
            self._keys = keys, torch.tensor(keys).to(device)
        return self._keys[1]


def _graph(augment: Augment, inputs: tuple[Tensor, Tensor, Tensor]) -> Callable[..., Tensor] | None:
    try:
        return cuda_graph.capture(lambda images, index, keys: augment(images, index, keys.unbind()), inputs)
    except RuntimeError:  # it cannot be recorded
        return None


def _arguments(transform: Augmentation) -> tuple[Hashable, ...]:
    """Of its constructor, as its attributes are now."""
    return tuple(_hashable(getattr(transform, name)) for name in _names(type(transform)))


@cache
def _names(kind: type[Augmentation]) -> tuple[str, ...]:
    return tuple(signature(kind).parameters)


def _hashable(value: Any) -> Hashable:
    return tuple(value) if isinstance(value, list) else value
