"""Features of images that the frozen backbone would compute anew in every epoch."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class FeatureCache:
    """Features by the images' index, kept where they were computed: 5 KB an image in float32 of MobileNetV2.

    They hold as long as neither the images nor the backbone's weights change; ``clear`` when the images do.

    Args:
        weights: what says whether the weights are others, by being so itself; asked for every batch.
    """

    def __init__(self, weights: Callable[[], Any] = lambda: None) -> None:
        self._weights, self._of = weights, None
        self.clear()

    def clear(self) -> None:
        """Forget all of them."""
        self._rows, self._row_of, self._count = torch.empty(0, 0), torch.empty(0, dtype=torch.int64), 0

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # what it does depends on what it knows
    def features(self, index: Tensor, compute: Callable[[Tensor], Tensor]) -> Tensor:
        """Features of a batch, (batch, num_features), without gradient.

        Args:
            index: int64 (batch,); an image below 0 is padding, and never known.
            compute: features of those of the batch for which it is given True, a mask, bool (batch,); not called
                where all are known.
        """
        weights = self._weights()
        if weights != self._of:
            self.clear()
            self._of = weights
        unknown = self._unknown(index)
        count = int(unknown.sum())  # a GPU is waited for once, where all are known
        if count:
            computed = compute(unknown).detach()
            self._keep(index[unknown], computed)
            if count == len(index):
                return computed
        rows = self._rows[self._row_of[index.clamp_min(0)].clamp_min(0)]
        if count:  # known ones beside
            rows[unknown] = computed
        return rows

    def _unknown(self, index: Tensor) -> Tensor:
        if not len(self._row_of):  # and nobody knows yet on which device they will be
            return torch.ones_like(index, dtype=torch.bool)
        last = len(self._row_of) - 1
        return (index < 0) | (index > last) | (self._row_of[index.clamp(0, last)] < 0)

    @torch.inference_mode(False)  # validation's tensors could not be trained on
    @torch.no_grad()
    def _keep(self, index: Tensor, features: Tensor) -> None:
        features, index = features[index >= 0], index[index >= 0]
        if not len(index):
            return
        self._grow(int(index.max()) + 1, self._count + len(index), features)
        rows = torch.arange(self._count, self._count + len(index), device=index.device)
        self._rows[rows], self._row_of[index] = features, rows
        self._count += len(index)

    def _grow(self, numbers: int, rows: int, like: Tensor) -> None:
        """Room for so many numbers of images, of which a stage may have few, and rows of features."""
        if numbers > len(self._row_of):
            known = torch.full((max(numbers, 2 * len(self._row_of)),), -1, device=like.device)
            known[: len(self._row_of)] = self._row_of
            self._row_of = known
        if rows > len(self._rows):
            larger = like.new_empty(max(rows, 2 * len(self._rows)), like.shape[1])
            if self._count:
                larger[: self._count] = self._rows[: self._count]
            self._rows = larger
