"""Augmentation as a CUDA graph: some hundred small kernels for one batch, started at once."""

from collections.abc import Callable, Hashable, Sequence
from functools import cache
from inspect import signature
from typing import Any

from torch import Tensor

from lightning_tl.augment.base import Augmentation
from lightning_tl.cuda_graph import Recorder

OURS = "lightning_tl.augment."
Augment = Callable[[Tensor, Tensor, Sequence[Tensor]], Tensor]


class Recorded:
    """Graphs of one pipeline, for transforms of this package alone: others may do in Python what no graph repeats."""

    def __init__(self) -> None:
        self.recorder = Recorder()

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
        if not images.is_cuda or not transforms:
            return None
        if not all(type(transform).__module__.startswith(OURS) for transform in transforms):
            return None
        case = (fused, *((type(transform), *_arguments(transform)) for transform in transforms))

        def by_keys(images: Tensor, index: Tensor, keys: Tensor) -> Tensor:
            return augment(images, index, keys.unbind())

        return self.recorder(by_keys, (images, index), keys, case)


def _arguments(transform: Augmentation) -> tuple[Hashable, ...]:
    """Of its constructor, as its attributes are now."""
    return tuple(_hashable(getattr(transform, name)) for name in _names(type(transform)))


@cache
def _names(kind: type[Augmentation]) -> tuple[str, ...]:
    return tuple(signature(kind).parameters)


def _hashable(value: Any) -> Hashable:
    return tuple(value) if isinstance(value, list) else value
