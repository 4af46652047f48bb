"""Features of images that the frozen backbone would compute anew in every epoch."""

from collections.abc import Callable

import torch
from torch import Tensor


class FeatureCache:
    """Features by the images' index, kept where they were computed: 5 KB an image in float32 of MobileNetV2.

    They hold as long as neither the images nor the backbone's weights change; ``clear`` when they do.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget all of them."""
        self._rows, self._known = torch.empty(0, 0), torch.empty(0, dtype=torch.bool)

    @torch.compiler.disable  # type: ignore[untyped-decorator]  # what it does depends on what it knows
    def features(self, index: Tensor, compute: Callable[[Tensor], Tensor]) -> Tensor:
        """Features of a batch, (batch, num_features), without gradient.

        Args:
            index: int64 (batch,); an image below 0 is padding, and never known.
            compute: features of those of the batch for which it is given True, a mask, bool (batch,); not called
                where all are known.
        """
        unknown = self._unknown(index)
        if unknown.any():
            computed = compute(unknown).detach()
            self._keep(index[unknown], computed)
            if unknown.all():
                return computed
        rows = self._rows[index.clamp_min(0)]
        if unknown.any():  # padding
            rows[unknown] = computed
        return rows

    def _unknown(self, index: Tensor) -> Tensor:
        if not len(self._known):  # and nobody knows yet on which device they will be
            return torch.ones_like(index, dtype=torch.bool)
        inside = (index >= 0) & (index < len(self._known))
        unknown = ~inside
        unknown[inside] = ~self._known[index[inside]]
        return unknown

    @torch.inference_mode(False)  # validation's tensors could not be trained on
    @torch.no_grad()
    def _keep(self, index: Tensor, features: Tensor) -> None:
        features, index = features[index >= 0], index[index >= 0]
        if not len(index):
            return
        size = int(index.max()) + 1
        if size > len(self._known):
            self._grow(max(size, 2 * len(self._known)), features)
        self._rows[index], self._known[index] = features, True

    def _grow(self, size: int, like: Tensor) -> None:
        rows, known = like.new_empty(size, like.shape[1]), torch.zeros(size, dtype=torch.bool, device=like.device)
        if len(self._known):
            rows[: len(self._rows)], known[: len(self._known)] = self._rows, self._known
        self._rows, self._known = rows, known
