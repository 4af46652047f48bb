"""What Keras itself rounds to float32 under float64, mirrored on our side so that float64 can be compared."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lightning_tl.augment import Params, RandomZoom
from lightning_tl.augment.base import as_type
from lightning_tl.optim import KerasAdam


class Float32CorrectedAdam(KerasAdam):
    """KerasAdam with the bias correction of Keras on TensorFlow: of float32(0.9) and float32(0.999).

    ``Adam.update_step`` casts ``beta_1`` and ``beta_2`` to tensors, which TensorFlow makes from Python floats
    as float32 before they become float64; the moments' own decay stays float64. As only the correction
    differs, the learning rate and epsilon of the step carry the ratio of the two.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update at corrected learning rates."""
        rates = [group["lr"] for group in self.param_groups]
        for group in self.param_groups:
            step = group["steps"] + 1
            exact, rounded = (_correction(betas, step) for betas in (group["betas"], _float32(group["betas"])))
            group["lr"] *= rounded / exact
        result = super().step(closure)
        for group, rate in zip(self.param_groups, rates, strict=True):
            group["lr"] = rate
        return result


class Float32Zoom(RandomZoom):
    """RandomZoom with the matrix of Keras, whose entries are rounded to float32 even under float64.

    ``RandomZoom._get_zoom_matrix`` says "zoom matrices are always float32"; joined with zeros of Keras' own
    type they are float64 again, and so are the coordinates.
    """

    def matrix(self, params: Params, height: int, width: int) -> Tensor:
        """As ``RandomZoom.matrix``, computed in float32."""
        return super().matrix(as_type(params, torch.float32), height, width).to(torch.float64)


def _correction(betas: tuple[float, float], step: int) -> float:
    first, second = betas
    return float((1 - second**step) ** 0.5 / (1 - first**step))


def _float32(betas: tuple[float, float]) -> tuple[float, float]:
    first, second = (float(np.float32(beta)) for beta in betas)
    return first, second


def adam_for(backend: str, dtype: str) -> str:
    """Class path of the optimizer to compare with Keras' Adam on this backend at this precision."""
    mirrored = backend == "tensorflow" and dtype != "float32"
    return f"{__name__}.Float32CorrectedAdam" if mirrored else "lightning_tl.optim.KerasAdam"


def zoom_for(class_path: str, dtype: str) -> str:
    """Class path of the transform to compare with Keras' at this precision."""
    mirrored = class_path == "RandomZoom" and dtype != "float32"
    return f"{__name__}.Float32Zoom" if mirrored else class_path
